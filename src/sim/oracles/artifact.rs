//! An artifact is verified because its pod has said so; one Job at a time looks at it; and what is wrong is not rolled out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Oracles;
use crate::api::artifact_report::ArtifactReport;
use crate::sim::others::jobs;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, PODS, path};

/// Whether its status says that the artifact is verified.
fn is_verified(entry: &Value) -> bool {
    let conditions = entry["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|it| it["type"] == "ArtifactVerified").any(|it| it["status"] == "True")
}

/// The number of a look.
fn number(job: &Value) -> i64 {
    job["metadata"]["annotations"]["werkbank.dev/look"].as_str().unwrap().parse().unwrap()
}

/// Of whom a controller's child is.
fn owner(object: &Value) -> &str {
    object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default()
}

/// Looks at artifacts, and what they have found. Somebody may delete a Job and its pod before the operator has written down what its
/// cache shows of them.
#[derive(Default)]
pub(super) struct Looks {
    /// The last one's number and uid, by the entry's uid.
    last: BTreeMap<String, (i64, String)>,
    /// Those whose pod has said that it is what is registered, by uid.
    verified: BTreeSet<String>,
}

impl Oracles {
    /// A pod has perhaps said something.
    pub(in crate::sim) fn hears_of_artifacts(&mut self, cluster: &Cluster) {
        let has_said = |pod: &Value| {
            let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            let said = ended["message"].as_str().and_then(ArtifactReport::parse);
            said.is_some() && ended["exitCode"] == 0
        };
        let pods = cluster.all(PODS).into_iter().filter(|(_, it)| has_said(it));
        self.looks.verified.extend(pods.map(|(_, it)| owner(&it).to_owned()));
    }

    /// The operator has written an entry.
    pub(super) fn artifact(&mut self, before: &Value, after: &Value) {
        if !is_verified(after) || is_verified(before) {
            return;
        }
        let last = self.looks.last.get(after["metadata"]["uid"].as_str().unwrap());
        if last.is_none_or(|(_, job)| !self.looks.verified.contains(job)) {
            self.broken(format!("{} is verified, and no pod of the last look has said so", after["metadata"]["name"]));
        }
    }

    /// The operator has created a Job that looks at an artifact.
    pub(super) fn look(&mut self, cluster: &Cluster, job: &Value) {
        let look = (number(job), job["metadata"]["uid"].as_str().unwrap().to_owned());
        let before = self.looks.last.get(owner(job)).cloned();
        let is_older = before.as_ref().is_some_and(|it| it.0 > look.0);
        // Whoever died may have asked for one that is long over: nothing can be learned of it any more.
        if !(is_older && self.is_late) {
            self.looks.last.insert(owner(job).to_owned(), look.clone());
        }
        if is_older && !self.is_late {
            self.broken(format!("look {look:?} at {:?} after {before:?}", jobs::looks_at(job)));
        }
        let same = |it: &Value| owner(it) == owner(job) && !jobs::is_over(it);
        if jobs::looks(cluster).iter().filter(|(_, it)| same(it)).count() > 1 {
            self.broken(format!("two Jobs at a time look at the artifact of {:?}", jobs::looks_at(job)));
        }
    }

    /// Something of this entry begins, or gets more weight, that has not proven itself before; the artifacts are verified.
    pub(super) fn rolled_out_verified(&mut self, cluster: &Cluster, entry: &str) {
        let object = cluster.get(&path(ENTRIES, entry));
        if !is_verified(&object) {
            self.broken(format!("{entry} is rolled out, and its artifact is not verified"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn looks_are_counted_up_except_by_one_who_died_and_is_heard_late() {
        let job = |look: i64| {
            json!({"metadata": {"uid": format!("job-{look}"), "annotations": {"werkbank.dev/look": look.to_string()},
                "ownerReferences": [{"uid": "entry"}]}})
        };
        let mut oracles = Oracles::default();
        let mut looks = |look: i64, is_late: bool| {
            oracles.is_late = is_late;
            oracles.look(&Cluster::default(), &job(look));
            (std::mem::take(&mut oracles.violations).len(), oracles.looks.last["entry"].0)
        };
        assert_eq!([looks(1, false), looks(3, false)], [(0, 1), (0, 3)]);
        assert_eq!(looks(2, true), (0, 3), "nothing is learned of it");
        assert_eq!(looks(2, false), (1, 2));
    }
}
