//! What to do about a ModelRegistryEntry: say whether it can be deployed.
//!
//! The spec is immutable and CEL has checked its form, so there is little left:
//! the digest that decisions refer to, and a URI that the fetching side can open.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Plan;
use crate::api::artifact::ArtifactUri;
use crate::api::condition;
use crate::api::model_registry_entry::ModelRegistryEntryStatus;
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
            set("Ready", true, "Registered", "can be deployed; the artifact is verified where it is fetched");
            set("Stalled", false, "Registered", "nothing needs a person");
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
    set("Reconciling", false, "Registered", "nothing is under way");
    let changed = old != Some(&status);
    if changed {
        status.lease_epoch = observed.lease_epoch;
    }
    Plan { status: changed.then_some(status), ..Plan::default() }
}

/// `sha256:` and the digest of the spec's canonical JSON (RFC 8785).
fn spec_digest(resource: &ModelRegistryEntry) -> String {
    let canonical = serde_json_canonicalizer::to_vec(&resource.spec).unwrap_or_default();
    format!("sha256:{}", hex(&Sha256::digest(canonical), 32))
}
