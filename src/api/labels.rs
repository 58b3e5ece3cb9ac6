//! Labels, annotations and names of what the operator makes.
//!
//! Children are found by label and named from the deployment and the revision;
//! a name is therefore the same in every pass and on every leader.

use sha2::{Digest, Sha256};

use crate::text::hex::hex;

/// On every child and pod: the ModelDeployment's name.
pub const DEPLOYMENT: &str = "werkbank.dev/deployment";
/// On everything that belongs to one revision, pods included.
pub const REVISION: &str = "werkbank.dev/revision";
/// On a Job that computes a metric's number, and on its pod: the metric.
pub const METRIC: &str = "werkbank.dev/metric";
/// On a Job that verifies an entry's artifact, and on its pod: the entry.
pub const ENTRY: &str = "werkbank.dev/entry";
/// On a ModelDeployment: a person's request, `<verb>/<attempt>/<step>/<nonce>/<by>`.
pub const REQUEST: &str = "werkbank.dev/request";
/// On a ModelRegistryEntry: each new value asks for another look at the artifact.
pub const VERIFY: &str = "werkbank.dev/verify";
/// On a Namespace: `"true"` suspends every ModelDeployment in it.
pub const SUSPEND: &str = "werkbank.dev/suspend";
/// Finalizer of a ModelRegistryEntry: revisions of it are alive.
pub const IN_USE: &str = "werkbank.dev/in-use";
/// Annotation of Events: id of the decision's entry on the audit log.
pub const AUDIT_ENTRY: &str = "werkbank.dev/audit-entry";
/// Who writes: the field manager, and `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "werkbank";
/// The recommended label for [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Longest name of a Kubernetes Service or label value.
const LONGEST: usize = 63;

/// `<parts joined by ->`, at most 63 characters. A longer one is cut and ends in
/// a digest of the whole, so that equal beginnings stay apart.
#[must_use]
pub fn name(parts: &[&str]) -> String {
    let whole = parts.join("-");
    if whole.len() <= LONGEST {
        return whole;
    }
    let digest = hex(&Sha256::digest(whole.as_bytes()), 5);
    let mut cut = String::new();
    for letter in whole.chars() {
        if cut.len() + letter.len_utf8() > LONGEST - digest.len() - 1 {
            break;
        }
        cut.push(letter);
    }
    format!("{}-{digest}", cut.trim_end_matches(['-', '.']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_fit_and_stay_apart_however_long_they_begin_the_same(
            start in "[a-z][a-z0-9-]{0,240}", a in "[a-z0-9]{0,8}", b in "[a-z0-9]{0,8}", revision in "[a-z0-9]{10}",
        ) {
            let of = |end: &str| name(&[&format!("{start}{end}"), &revision]);
            prop_assert!(of(&a).len() <= LONGEST);
            prop_assert_eq!(a == b, of(&a) == of(&b));
        }
    }

    #[test]
    fn a_name_is_cut_between_letters_whatever_they_are_made_of() {
        // Three bytes each: the cut would fall within one.
        let long = "€".repeat(100);
        let (one, other) = (name(&[&long, "a"]), name(&[&long, "b"]));
        assert!(one.starts_with("€€") && one.len() <= LONGEST && one != other, "{one} {other}");
    }

    #[test]
    fn a_short_name_stays_readable() {
        assert_eq!(name(&["churn", "a7m2k9x4b1"]), "churn-a7m2k9x4b1");
    }
}
