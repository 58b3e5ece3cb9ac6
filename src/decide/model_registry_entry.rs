//! What to do about a ModelRegistryEntry: say whether it can be deployed.
//!
//! The spec is immutable and CEL has checked its form, so there is little left:
//! the digest that decisions refer to, and a URI that the fetching side can open.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Plan;
use crate::api::artifact::ArtifactUri;
use crate::api::condition;
use crate::api::model_registry_entry::{Lifecycle, ModelRegistryEntryStatus};
use crate::api::{Condition, ModelRegistryEntry};
use crate::text::hex::hex;

/// What is known besides the entry.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Epoch of this leader.
    pub lease_epoch: i64,
}

/// Decides. Pure and total.
#[must_use]
pub fn decide(
    resource: &ModelRegistryEntry,
    observed: &Observed,
    now: DateTime<Utc>,
) -> Plan<ModelRegistryEntryStatus> {
    if resource.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let generation = resource.metadata.generation.unwrap_or_default();
    let old = resource.status.as_ref();
    let mut status = old.cloned().unwrap_or_default();
    let lifecycle = resource.spec.lifecycle();
    let problem =
        resource.spec.artifact.uri.parse::<ArtifactUri>().err().map(|error| format!("spec.artifact.uri: {error}"));
    status.observed_generation = generation;
    status.spec_digest = spec_digest(resource);
    let mut set = |type_: &str, holds: bool, reason: &str, message: &str| {
        condition::set(
            &mut status.conditions,
            Condition {
                type_: type_.into(),
                status: holds.into(),
                reason: reason.into(),
                message: message.into(),
                last_transition_time: now,
                observed_generation: generation,
            },
        );
    };
    match &problem {
        None => {
            let (reason, message) = standing(lifecycle);
            set("Ready", true, reason, message);
            set("Stalled", false, reason, "nothing needs a person");
        }
        Some(problem) => {
            set("Ready", false, "ArtifactInvalidUri", problem);
            set(
                "Stalled",
                true,
                "ArtifactInvalidUri",
                "the spec is immutable: delete this entry and register a corrected one",
            );
        }
    }
    let (reason, _) = standing(lifecycle);
    set("Reconciling", false, reason, "nothing is under way");
    let changed = old != Some(&status);
    if changed {
        status.lease_epoch = observed.lease_epoch;
    }
    Plan { status: changed.then_some(status), ..Plan::default() }
}

/// Reason and message of an entry that is what its spec says: also one that may not be deployed, because that is what
/// the spec asks for, and nothing is left to be done.
fn standing(lifecycle: Lifecycle) -> (&'static str, &'static str) {
    match lifecycle {
        Lifecycle::Active => ("Registered", "can be deployed; the artifact is verified where it is fetched"),
        Lifecycle::Deprecated => ("Deprecated", "nothing begins to roll out from it; what serves goes on serving"),
        Lifecycle::Revoked => {
            ("Revoked", "nothing may serve it any more: its ModelDeployments say what has become of it there")
        }
    }
}

/// `sha256:` and the digest of the spec's canonical JSON (RFC 8785), which `lifecycle` is no part of.
fn spec_digest(resource: &ModelRegistryEntry) -> String {
    let mut spec = serde_json::to_value(&resource.spec).unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("lifecycle");
    }
    let canonical = serde_json_canonicalizer::to_vec(&spec).unwrap_or_default();
    format!("sha256:{}", hex(&Sha256::digest(canonical), 32))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::condition::ConditionStatus;

    fn entry(uri: &str) -> ModelRegistryEntry {
        let spec = json!({
            "model": {"name": "churn", "version": "1", "kind": "Predictor"},
            "artifact": {"uri": uri, "sha256": "0".repeat(64)},
        });
        let mut entry = ModelRegistryEntry::new("churn-1", serde_json::from_value(spec).unwrap());
        entry.metadata.generation = Some(1);
        entry
    }

    /// The status that is written, if one is.
    fn pass(entry: &mut ModelRegistryEntry, seconds: i64) -> Option<ModelRegistryEntryStatus> {
        let now = DateTime::from_timestamp(1_795_003_200 + seconds, 0).unwrap();
        let plan = decide(entry, &Observed { lease_epoch: 7 }, now);
        assert!(plan.ops.is_empty() && plan.entries.is_empty());
        if plan.status.is_some() {
            entry.status.clone_from(&plan.status);
        }
        plan.status
    }

    fn said(status: &ModelRegistryEntryStatus) -> Vec<String> {
        status.conditions.iter().map(|it| format!("{} {:?} {}", it.type_, it.status, it.reason)).collect()
    }

    #[test]
    fn an_entry_is_registered_once_and_written_again_only_when_something_changed() {
        let mut entry = entry("s3://models/churn/1/");
        let status = pass(&mut entry, 0).unwrap();
        assert_eq!(
            said(&status),
            ["Ready True Registered", "Reconciling False Registered", "Stalled False Registered"]
        );
        assert_eq!((status.observed_generation, status.lease_epoch), (1, 7));
        assert!(status.spec_digest.starts_with("sha256:") && status.spec_digest.len() == 71, "{}", status.spec_digest);
        assert_eq!(pass(&mut entry, 60), None);
        entry.metadata.generation = Some(2);
        let later = pass(&mut entry, 120).unwrap();
        assert_eq!((later.observed_generation, &later.spec_digest), (2, &status.spec_digest));
        assert_eq!(later.conditions[0].last_transition_time, status.conditions[0].last_transition_time);
    }

    #[test]
    fn the_digest_is_of_everything_in_the_spec_but_its_lifecycle() {
        let [one, other] = ["s3://models/churn/1/", "s3://models/churn/2/"].map(|uri| spec_digest(&entry(uri)));
        assert_ne!(one, other);
    }

    #[test]
    fn one_that_is_not_to_be_deployed_is_what_its_spec_asks_for_and_the_same_version() {
        for (lifecycle, reason) in [(Lifecycle::Deprecated, "Deprecated"), (Lifecycle::Revoked, "Revoked")] {
            let mut entry = entry("s3://models/churn/1/");
            let registered = pass(&mut entry, 0).unwrap();
            entry.spec.lifecycle = Some(lifecycle);
            entry.metadata.generation = Some(2);
            let status = pass(&mut entry, 60).unwrap();
            assert_eq!(status.spec_digest, registered.spec_digest);
            let holds = |type_: &str, status: &str| format!("{type_} {status} {reason}");
            let expected = [holds("Ready", "True"), holds("Reconciling", "False"), holds("Stalled", "False")];
            assert_eq!(said(&status), expected);
        }
    }

    #[test]
    fn a_uri_that_nobody_can_open_needs_a_person() {
        let status = pass(&mut entry("ftp://models/churn"), 0).unwrap();
        let said = said(&status);
        assert_eq!(
            (said[0].as_str(), said[2].as_str()),
            ("Ready False ArtifactInvalidUri", "Stalled True ArtifactInvalidUri")
        );
        let ready = status.conditions.iter().find(|it| it.status == ConditionStatus::False).unwrap();
        assert!(ready.message.starts_with("spec.artifact.uri: "), "{}", ready.message);
    }

    #[test]
    fn one_that_is_being_deleted_is_left_alone() {
        let mut entry = entry("s3://models/churn/1/");
        entry.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-20T00:00:00Z")).unwrap();
        assert_eq!(pass(&mut entry, 0), None);
    }
}
