//! One line of the log: what was decided about what, before it takes effect.

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
///
/// On the log it is a line of canonical JSON (RFC 8785), whose integers are text: JSON's are exact up to 2^53 only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Line", try_from = "Line")]
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
    /// When, by the operator's clock.
    pub time: DateTime<Utc>,
    /// Epoch of the leader that decided (the lease's transitions).
    pub lease_epoch: i64,
    /// Version of the operator that recorded it.
    pub operator: String,
}

/// An entry as it is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    attempt: String,
    decision: String,
    id: String,
    lease_epoch: String,
    operator: String,
    reason: String,
    revision: String,
    sequence: String,
    subject: Subject,
    time: DateTime<Utc>,
    #[serde(rename = "type")]
    kind: EntryKind,
    version: String,
    weight: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Subject {
    generation: String,
    kind: String,
    name: String,
    namespace: String,
    spec_digest: String,
    uid: String,
}

/// The form of an entry: another one is another number.
const VERSION: &str = "1";

impl From<Entry> for Line {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id(),
            attempt: entry.attempt,
            decision: entry.decision,
            lease_epoch: entry.lease_epoch.to_string(),
            operator: entry.operator,
            reason: entry.reason,
            revision: entry.revision,
            sequence: entry.sequence.to_string(),
            subject: Subject {
                generation: entry.generation.to_string(),
                kind: entry.subject_kind,
                name: entry.name,
                namespace: entry.namespace,
                spec_digest: entry.spec_digest,
                uid: entry.uid,
            },
            time: entry.time,
            kind: entry.kind,
            version: VERSION.into(),
            weight: entry.weight,
        }
    }
}

/// Why a line is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum NoEntry {
    #[error("its version is {0}; this is a program for version {VERSION}")]
    Version(String),
    #[error("{0} is no whole number")]
    Number(String),
    #[error("its id is not that of its decision")]
    Id,
}

impl TryFrom<Line> for Entry {
    type Error = NoEntry;

    fn try_from(line: Line) -> Result<Self, NoEntry> {
        if line.version != VERSION {
            return Err(NoEntry::Version(line.version));
        }
        let number = |text: String| text.parse().map_err(|_| NoEntry::Number(text));
        let entry = Self {
            kind: line.kind,
            subject_kind: line.subject.kind,
            namespace: line.subject.namespace,
            name: line.subject.name,
            uid: line.subject.uid,
            generation: number(line.subject.generation)?,
            spec_digest: line.subject.spec_digest,
            attempt: line.attempt,
            sequence: number(line.sequence)?,
            decision: line.decision,
            reason: line.reason,
            revision: line.revision,
            weight: line.weight,
            time: line.time,
            lease_epoch: number(line.lease_epoch)?,
            operator: line.operator,
        };
        if entry.id() == line.id { Ok(entry) } else { Err(NoEntry::Id) }
    }
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
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap_or_default(),
        lease_epoch: 3,
        operator: "0.1.0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry { spec_digest: "sha256:00".into(), sequence: (1 << 53) + 1, ..sample() }
    }

    #[test]
    fn an_entry_is_a_line_of_canonical_json_whose_numbers_are_text() {
        let line = serde_json_canonicalizer::to_string(&entry()).unwrap();
        let expected = concat!(
            r#"{"attempt":"s1-abc-1-0d7b","decision":"Shift","id":"ID","leaseEpoch":"3","operator":"0.1.0","#,
            r#""reason":"the step is over","revision":"s1-abc","sequence":"9007199254740993","#,
            r#""subject":{"generation":"2","kind":"ModelDeployment","name":"churn","namespace":"crm","#,
            r#""specDigest":"sha256:00","uid":"0d7b6c1e"},"time":"2025-11-23T12:13:20Z","type":"Intent","#,
            r#""version":"1","weight":"25%"}"#
        );
        assert_eq!(line, expected.replace("ID", &entry().id()));
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry());
    }

    #[test]
    fn what_is_another_form_or_another_decision_is_no_entry() {
        let line = serde_json_canonicalizer::to_string(&entry()).unwrap();
        for (from, to, says) in [
            (r#""version":"1""#, r#""version":"2""#, "its version is 2"),
            (r#""decision":"Shift""#, r#""decision":"Promote""#, "its id is not that of its decision"),
            (r#""generation":"2""#, r#""generation":"2.5""#, "2.5 is no whole number"),
            (r#""version""#, r#""versions""#, "unknown field `versions`"),
        ] {
            let error = serde_json::from_str::<Entry>(&line.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
