//! One line of the log: what was decided about what, before it takes effect.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
    /// Who asked for it, as an actor (see [`super::people`]), by the name that the request gives. Empty where nobody did, or where the
    /// record did not say in time who that is.
    pub asked_by: String,
    /// The approvals it rests on, by role.
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

/// A person's approval that a decision rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// An entry as it is written. Its fields are in the order of their names, and none is a number: what serde writes is canonical.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    asked_by: Cow<'a, str>,
    #[serde(borrow)]
    attempt: Cow<'a, str>,
    consents: Cow<'a, [Consent]>,
    #[serde(borrow)]
    decision: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    lease_epoch: Cow<'a, str>,
    #[serde(borrow)]
    measurements: Cow<'a, str>,
    #[serde(borrow)]
    operator: Cow<'a, str>,
    #[serde(borrow)]
    policy: Cow<'a, str>,
    #[serde(borrow)]
    reason: Cow<'a, str>,
    #[serde(borrow)]
    revision: Cow<'a, str>,
    #[serde(borrow)]
    sequence: Cow<'a, str>,
    #[serde(borrow)]
    subject: Subject<'a>,
    time: DateTime<Utc>,
    #[serde(rename = "type")]
    kind: EntryKind,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    weight: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Subject<'a> {
    #[serde(borrow)]
    generation: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    spec_digest: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

/// The form of an entry: another one is another number.
const VERSION: &str = "1";

impl Line<'_> {
    /// Whether its numbers are written as an entry's are: `+7` and `007` are numbers, too.
    fn has_plain_numbers(&self) -> bool {
        let numbers = [&self.lease_epoch, &self.sequence, &self.subject.generation];
        numbers.into_iter().all(|text| text.parse().is_ok_and(|number: i64| number.to_string() == *text))
    }
}

impl<'a> From<&'a Entry> for Line<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            asked_by: entry.asked_by.as_str().into(),
            attempt: entry.attempt.as_str().into(),
            consents: entry.consents.as_slice().into(),
            decision: entry.decision.as_str().into(),
            id: entry.id().into(),
            lease_epoch: entry.lease_epoch.to_string().into(),
            measurements: entry.measurements.as_str().into(),
            operator: entry.operator.as_str().into(),
            policy: entry.policy.as_str().into(),
            reason: entry.reason.as_str().into(),
            revision: entry.revision.as_str().into(),
            sequence: entry.sequence.to_string().into(),
            subject: Subject {
                generation: entry.generation.to_string().into(),
                kind: entry.subject_kind.as_str().into(),
                name: entry.name.as_str().into(),
                namespace: entry.namespace.as_str().into(),
                spec_digest: entry.spec_digest.as_str().into(),
                uid: entry.uid.as_str().into(),
            },
            time: entry.time,
            kind: entry.kind,
            version: VERSION.into(),
            weight: entry.weight.as_str().into(),
        }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Line::from(self).serialize(to)
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

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::try_from(Line::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl TryFrom<Line<'_>> for Entry {
    type Error = NoEntry;

    fn try_from(line: Line<'_>) -> Result<Self, NoEntry> {
        if line.version != VERSION {
            return Err(NoEntry::Version(line.version.into_owned()));
        }
        let number = |text: Cow<'_, str>| text.parse().map_err(|_| NoEntry::Number(text.into_owned()));
        let entry = Self {
            kind: line.kind,
            subject_kind: line.subject.kind.into_owned(),
            namespace: line.subject.namespace.into_owned(),
            name: line.subject.name.into_owned(),
            uid: line.subject.uid.into_owned(),
            generation: number(line.subject.generation)?,
            spec_digest: line.subject.spec_digest.into_owned(),
            attempt: line.attempt.into_owned(),
            sequence: number(line.sequence)?,
            decision: line.decision.into_owned(),
            reason: line.reason.into_owned(),
            revision: line.revision.into_owned(),
            weight: line.weight.into_owned(),
            measurements: line.measurements.into_owned(),
            policy: line.policy.into_owned(),
            asked_by: line.asked_by.into_owned(),
            consents: line.consents.into_owned(),
            time: line.time,
            lease_epoch: number(line.lease_epoch)?,
            operator: line.operator.into_owned(),
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

    /// The entry in a line, and whether it is written in the one form that an entry has.
    ///
    /// # Errors
    /// It is none.
    pub fn read(line: &[u8]) -> serde_json::Result<(Self, bool)> {
        let read: Line<'_> = serde_json::from_slice(line)?;
        // Of the entry, the same would be written as of what was read: its id and version are only accepted if they are what they should
        // be, and its numbers are looked at here.
        let is_canonical = read.has_plain_numbers() && serde_json::to_vec(&read)? == line;
        Ok((Self::try_from(read).map_err(serde_json::Error::custom)?, is_canonical))
    }

    /// The line of it: canonical JSON.
    ///
    /// # Errors
    /// Of the serialiser; an entry has nothing that it refuses.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
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
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: DateTime::from_timestamp(1_763_900_000, 0).unwrap_or_default(),
        lease_epoch: 3,
        operator: "0.1.0".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry { spec_digest: "sha256:00".into(), sequence: (1 << 53) + 1, ..sample() }
    }

    #[test]
    fn an_entry_is_a_line_of_canonical_json_whose_numbers_are_text() {
        let line = serde_json_canonicalizer::to_string(&entry()).unwrap();
        let expected = concat!(
            r#"{"askedBy":"","attempt":"s1-abc-1-0d7b","consents":[],"decision":"Shift","id":"ID","leaseEpoch":"3","#,
            r#""measurements":"","operator":"0.1.0","policy":"","reason":"the step is over","revision":"s1-abc","sequence":"9007199254740993","#,
            r#""subject":{"generation":"2","kind":"ModelDeployment","name":"churn","namespace":"crm","#,
            r#""specDigest":"sha256:00","uid":"0d7b6c1e"},"time":"2025-11-23T12:13:20Z","type":"Intent","#,
            r#""version":"1","weight":"25%"}"#
        );
        assert_eq!(line, expected.replace("ID", &entry().id()));
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), entry());
    }

    proptest! {
        #[test]
        fn whatever_it_says_its_line_is_canonical(
            texts in prop::array::uniform6(".{0,12}"), controls in "[\0-\x7f\u{80}\u{2028}\u{ffff}\u{10ffff}]{0,12}",
            numbers in any::<[i64; 3]>(), milliseconds in -1_000_000_000_000_i64..10_000_000_000_000,
        ) {
            let [name, attempt, decision, revision, weight, uid] = texts;
            let [generation, sequence, lease_epoch] = numbers;
            let consent = Consent { actor: uid.clone(), comment: controls.clone(), role: name.clone(), uid: weight.clone() };
            let time = DateTime::from_timestamp_millis(milliseconds).unwrap();
            let entry = Entry {
                name, attempt, decision, revision, weight, uid, reason: controls, generation, sequence, lease_epoch, time,
                consents: vec![consent.clone(), consent],
                ..sample()
            };
            let line = entry.line().unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&line), serde_json_canonicalizer::to_string(&entry).unwrap());
            prop_assert_eq!(Entry::read(&line).unwrap(), (entry, true));
        }
    }

    proptest! {
        /// However a line was changed: what is still an entry is canonical if, and only if, it is what is written of that entry.
        #[test]
        fn a_line_is_canonical_if_it_is_what_is_written_of_its_entry(
            at in any::<prop::sample::Index>(), by in prop::sample::select(vec![" ", "0", "+", "\\u0053", "\\/", "1", "Z", "\n", ""]), over in 0..2_usize,
        ) {
            let consent = Consent { actor: "a".into(), comment: "Sure/".into(), role: "risk".into(), uid: "u".into() };
            let mut line = Entry { consents: vec![consent], ..entry() }.line().unwrap();
            let at = at.index(line.len());
            line.splice(at..(at + over).min(line.len()), by.bytes());
            if let Ok((entry, is_canonical)) = Entry::read(&line) {
                prop_assert_eq!(is_canonical, entry.line().unwrap() == line, "{}", String::from_utf8_lossy(&line));
            }
        }
    }

    #[test]
    fn the_same_said_in_another_form_is_told() {
        let line = serde_json_canonicalizer::to_string(&entry()).unwrap();
        for (from, to) in [
            (r#","attempt""#, r#", "attempt""#),
            ("Shift", r"\u0053hift"),
            ("12:13:20Z", "12:13:20.000Z"),
            (r#""generation":"2""#, r#""generation":"02""#),
            (r#""leaseEpoch":"3""#, r#""leaseEpoch":"+3""#),
            (r#""askedBy":"","attempt":"s1-abc-1-0d7b""#, r#""attempt":"s1-abc-1-0d7b","askedBy":"""#),
        ] {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line);
            assert_eq!(Entry::read(other.as_bytes()).unwrap(), (entry(), false), "{other}");
        }
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
