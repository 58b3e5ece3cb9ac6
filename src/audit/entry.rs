//! One line of the log: what was decided about what, before it takes effect.

pub mod line;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::hex::hex;

/// What an [`Entry`] says about its decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntryKind {
    /// Decided; not yet in effect.
    Intent,
    /// Observed in effect.
    Outcome,
    /// The intent of this sequence number never took effect.
    Void,
}

/// One decision about one resource. Holds no personal data.
///
/// On the log it is a line of canonical JSON (RFC 8785), whose integers are text: JSON's are exact up to 2^53 only.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// `sha256:` and the digest of its spec's canonical JSON when decided.
    pub spec_digest: String,
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
    /// `sha256:` and the digest of the measurements it rests on: of `status.verdicts`, as canonical JSON, when it was decided. Empty
    /// where nothing was measured.
    pub measurements: String,
    /// The same of the rules that are not in the spec itself: the lists of metrics that it refers to. Empty without any.
    pub policy: String,
    /// Who asked for it, as an actor (see [`super::people`]), by the name that the request gives. Empty where nobody did, and
    /// [`UNKNOWN_ACTOR`] where that could not be told in time.
    pub asked_by: String,
    /// The approvals it rests on, by role; the one that it notes ([`is_of_words`]).
    pub consents: Vec<Consent>,
    /// When, by the operator's clock.
    pub time: DateTime<Utc>,
    /// Epoch of the leader that decided (the lease's transitions).
    pub lease_epoch: i64,
    /// Version of the operator that recorded it.
    pub operator: String,
}

/// What a person has said, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Who: 32 hexadecimal digits that nobody can lead back to a name without the person's key.
    pub actor: String,
    /// `sha256:` and the salted digest of the words; empty if there were none.
    pub comment: String,
}

/// A person's Approval that a decision rests on, or that it notes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    /// Who: a pseudonym, see [`super::people`].
    pub actor: String,
    /// `sha256:` and a salted digest of why, in the person's own words, which are not on the log; empty if nothing was said.
    pub comment: String,
    /// As what.
    pub role: String,
    /// The uid of the Approval.
    pub uid: String,
}

/// Stands for an actor while the record does not say who that is, or where it did not in time.
pub const UNKNOWN_ACTOR: &str = "unknown";

/// The decision that notes that somebody says no.
pub const REJECT: &str = "Reject";
/// The decision that notes that an Approval which is on the log is gone.
pub const RETRACT: &str = "Retract";

/// Whether a decision only notes what somebody has said: in whose Approval, its one consent tells.
#[must_use]
pub fn is_of_words(decision: &str) -> bool {
    [REJECT, RETRACT].contains(&decision)
}

/// Whether a decision takes hold before it is on the record: who asked for it may be known only after it was first recorded.
#[must_use]
fn is_named_later(decision: &str) -> bool {
    ["Pause", "Recall", "RollBack", "Withdraw"].contains(&decision)
}

/// What an entry decides, in the fields of [`Entry`]: two that have the same here are the same entry about the same decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decided<'a> {
    pub kind: EntryKind,
    pub uid: &'a str,
    pub attempt: &'a str,
    pub sequence: i64,
    pub decision: &'a str,
    /// Its effect. Not in the id, and compared all the same: steps may have been edited between two tries.
    pub revision: &'a str,
    /// See `revision`.
    pub weight: &'a str,
    /// Who asked for it, if that is known when it is decided ([`is_named_later`]), and whose approvals it rests on; of intents alone. As with
    /// `revision`: between two tries somebody may have been refused, or have taken an approval back, and what takes effect rests on another.
    pub asked_by: &'a str,
    /// See `asked_by`.
    pub consents: &'a [Consent],
}

impl<'a> Decided<'a> {
    /// The same, by these people.
    #[must_use]
    pub fn by(self, asked_by: &'a str, consents: &'a [Consent]) -> Self {
        match self.kind {
            EntryKind::Intent if is_named_later(self.decision) => Self { consents, ..self },
            EntryKind::Intent => Self { asked_by, consents, ..self },
            EntryKind::Outcome | EntryKind::Void => self,
        }
    }

    /// See [`Entry::id`].
    fn id(&self) -> String {
        let mut hash = Sha256::new();
        for part in [self.uid, self.attempt, &self.sequence.to_string(), self.decision] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        hex(&hash.finalize(), 16)
    }
}

impl Entry {
    /// What it decides.
    #[must_use]
    pub fn decided(&self) -> Decided<'_> {
        Decided {
            kind: self.kind,
            uid: &self.uid,
            attempt: &self.attempt,
            sequence: self.sequence,
            decision: &self.decision,
            revision: &self.revision,
            weight: &self.weight,
            asked_by: "",
            consents: &[],
        }
        .by(&self.asked_by, &self.consents)
    }

    /// Whether both are the same entry about the same decision.
    #[must_use]
    pub fn is_same_decision(&self, other: &Self) -> bool {
        self.decided() == other.decided()
    }

    /// Deterministic id: the same decision taken twice has the same id.
    /// SHA-256 over uid, attempt, sequence and decision; 32 hex digits.
    #[must_use]
    pub fn id(&self) -> String {
        self.decided().id()
    }
}

/// An intent, as good as any.
#[cfg(test)]
pub(crate) fn sample() -> Entry {
    Entry {
        kind: EntryKind::Intent,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: "churn".into(),
        uid: "0d7b6c1e".into(),
        generation: 2,
        spec_digest: String::new(),
        attempt: "s1-abc-1-0d7b".into(),
        sequence: 1,
        decision: "Shift".into(),
        reason: "the step is over".into(),
        revision: "s1-abc".into(),
        weight: "25%".into(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap_or_default(),
        lease_epoch: 3,
        operator: "0.1.0".into(),
    }
}

/// `printf 'uid\0attempt\0%s\0Shift\0' 7 | sha256sum | cut -c-32`: whoever keeps ids finds them again.
#[test]
fn the_id_is_the_digest_that_is_documented() {
    let named =
        Entry { uid: "uid".into(), attempt: "attempt".into(), sequence: 7, decision: "Shift".into(), ..sample() };
    assert_eq!(named.id(), "e0320056d8d30b5c6fc66a6e423cb11f");
    assert_eq!(Entry { reason: "another".into(), weight: "10%".into(), ..named.clone() }.id(), named.id());
}
