//! One line of the trail: what was decided about what, before it takes effect.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::hex::hex;

/// What an [`Entry`] says about its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// Decided; not yet in effect.
    Intent,
    /// Observed in effect.
    Outcome,
    /// The intent of this sequence number never took effect.
    Void,
}

/// One decision about one resource. Holds no personal data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Intent, outcome or void.
    pub kind: EntryKind,
    /// Kind of the resource decided about, e.g. `ModelDeployment`.
    pub subject_kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Its `metadata.generation` when decided.
    pub generation: i64,
    /// Id of the attempt (rollout) the decision belongs to; empty outside one.
    pub attempt: String,
    /// Counts the decisions about this resource, from 1; one intent each.
    pub sequence: i64,
    /// CamelCase: `Shift`, `Promote`, `RollBack`, …
    pub decision: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The revision decided about, and the weight it is to get in percent, e.g. `25%`.
    pub revision: String,
    /// See `revision`.
    pub weight: String,
    /// When, by the operator's clock.
    pub time: DateTime<Utc>,
    /// Epoch of the leader that decided (the lease's transitions).
    pub lease_epoch: i64,
}

impl Entry {
    /// Whether both are the same entry about the same decision. The id leaves the effect out, so
    /// revision and weight are compared, too: steps may have been edited between two tries.
    #[must_use]
    pub fn is_same_decision(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.id() == other.id()
            && (&self.revision, &self.weight) == (&other.revision, &other.weight)
    }

    /// Deterministic id: the same decision taken twice has the same id.
    /// SHA-256 over uid, attempt, sequence and decision; 32 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.uid, &self.attempt, &self.sequence.to_string(), &self.decision] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex(&hash.finalize(), 16)
    }
}
