//! An entry as it is written: a line of canonical JSON.

mod plain;

use std::borrow::Cow;
use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Consent, Decided, Entry, EntryKind};

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

/// Its numbers.
struct Numbers {
    generation: i64,
    lease_epoch: i64,
    sequence: i64,
}

impl Line<'_> {
    /// Whether it is an entry's at all.
    fn check(&self) -> Result<Numbers, NoEntry> {
        if self.version != VERSION {
            return Err(NoEntry::Version(self.version.clone().into_owned()));
        }
        let number = |text: &str| text.parse().map_err(|_| NoEntry::Number(text.to_owned()));
        let numbers = Numbers {
            generation: number(&self.subject.generation)?,
            lease_epoch: number(&self.lease_epoch)?,
            sequence: number(&self.sequence)?,
        };
        if self.decided(&numbers).id() == self.id { Ok(numbers) } else { Err(NoEntry::Id) }
    }

    fn decided(&self, numbers: &Numbers) -> Decided<'_> {
        Decided {
            kind: self.kind,
            uid: &self.subject.uid,
            attempt: &self.attempt,
            sequence: numbers.sequence,
            decision: &self.decision,
            revision: &self.revision,
            weight: &self.weight,
            asked_by: "",
            consents: &[],
        }
        .by(&self.asked_by, &self.consents)
    }

    /// Whether its numbers are written as an entry's are.
    fn has_plain_numbers(&self) -> bool {
        [&self.lease_epoch, &self.sequence, &self.subject.generation].into_iter().all(|it| is_plain(it))
    }

    /// Whether it is written as an entry is, if it is this line and has been checked: then of the entry, the same would be written as
    /// of what was read, but for its numbers.
    fn is_canonical(&self, line: &[u8]) -> bool {
        self.has_plain_numbers() && Rest(line).matches(self)
    }
}

/// Whether a number is written as numbers are: `+7`, `007` and `-0` are some, too.
fn is_plain(number: &str) -> bool {
    number == "0" || number.strip_prefix('-').unwrap_or(number).starts_with(|first| matches!(first, '1'..='9'))
}

/// What of a line has not been found to be what is written: nothing has to be written to find out.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn matches(mut self, line: &Line<'_>) -> bool {
        serde_json::to_writer(&mut self, line).is_ok() && self.0.is_empty()
    }
}

impl Write for Rest<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(piece).ok_or(io::ErrorKind::InvalidData)?;
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
        let numbers = line.check()?;
        Ok(Self {
            kind: line.kind,
            subject_kind: line.subject.kind.into_owned(),
            namespace: line.subject.namespace.into_owned(),
            name: line.subject.name.into_owned(),
            uid: line.subject.uid.into_owned(),
            generation: numbers.generation,
            spec_digest: line.subject.spec_digest.into_owned(),
            attempt: line.attempt.into_owned(),
            sequence: numbers.sequence,
            decision: line.decision.into_owned(),
            reason: line.reason.into_owned(),
            revision: line.revision.into_owned(),
            weight: line.weight.into_owned(),
            measurements: line.measurements.into_owned(),
            policy: line.policy.into_owned(),
            asked_by: line.asked_by.into_owned(),
            consents: line.consents.into_owned(),
            time: line.time,
            lease_epoch: numbers.lease_epoch,
            operator: line.operator.into_owned(),
        })
    }
}

impl Entry {
    /// The line of it: canonical JSON.
    ///
    /// # Errors
    /// Of the serialiser; an entry has nothing that it refuses.
    pub fn line(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

/// What the entry in a line decides, and whether it is written in the one form that an entry has. Nothing of the line is copied.
///
/// # Errors
/// It is none.
pub fn examine<T>(line: &[u8], look: impl FnOnce(Decided<'_>) -> T) -> serde_json::Result<(T, bool)> {
    // The text is looked at as a whole, which is faster than string by string.
    let text = std::str::from_utf8(line).map_err(serde_json::Error::custom)?;
    if let Some(read) = plain::read(text) {
        let numbers = read.check().map_err(serde_json::Error::custom)?;
        return Ok((look(read.decided(&numbers)), read.has_plain_numbers()));
    }
    let read: Line<'_> = serde_json::from_str(text)?;
    let numbers = read.check().map_err(serde_json::Error::custom)?;
    Ok((look(read.decided(&numbers)), read.is_canonical(line)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::sample;
    use super::*;
    use crate::api::condition;

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
            texts in prop::array::uniform7(".{0,12}"), pauses in any::<bool>(), controls in "[\0-\x7f\u{80}\u{2028}\u{ffff}\u{10ffff}]{0,12}",
            numbers in any::<[i64; 3]>(), milliseconds in -1_000_000_000_000_i64..10_000_000_000_000,
        ) {
            let [name, attempt, decision, revision, weight, uid, asked_by] = texts;
            let decision = if pauses { "Pause".into() } else { decision };
            let [generation, sequence, lease_epoch] = numbers;
            let consent = Consent { actor: uid.clone(), comment: controls.clone(), role: name.clone(), uid: weight.clone() };
            let time = DateTime::from_timestamp_millis(milliseconds).unwrap();
            let entry = Entry {
                name, attempt, decision, revision, weight, uid, asked_by, reason: controls, generation, sequence, lease_epoch, time,
                consents: vec![consent.clone(), consent],
                ..sample()
            };
            let line = entry.line().unwrap();
            prop_assert_eq!(String::from_utf8_lossy(&line), serde_json_canonicalizer::to_string(&entry).unwrap());
            prop_assert_eq!(examine(&line, |it| it == entry.decided()).unwrap(), (true, true));
            prop_assert_eq!(serde_json::from_slice::<Entry>(&line).unwrap(), entry);
        }
    }

    proptest! {
        #[test]
        fn a_number_is_plain_if_it_is_what_is_written_of_it(text in "[+-]?[0-9]{1,3}") {
            prop_assert_eq!(is_plain(&text), text.parse::<i64>().unwrap().to_string() == text);
        }

        /// However a line was changed: what is still an entry is canonical if, and only if, it is what is written of that entry.
        #[test]
        fn a_line_is_canonical_if_it_is_what_is_written_of_its_entry(
            at in any::<prop::sample::Index>(), by in prop::sample::select(vec![" ", "0", "+", "\\u0053", "\\/", "1", "Z", "\n", ""]), over in 0..2_usize,
        ) {
            let consent = Consent { actor: "a".into(), comment: "Sure/".into(), role: "risk".into(), uid: "u".into() };
            let consents = if at.index(2) == 0 { vec![consent] } else { Vec::new() };
            let mut line = Entry { consents, ..entry() }.line().unwrap();
            let at = at.index(line.len() + 1);
            line.splice(at..(at + over).min(line.len()), by.bytes());
            let read = serde_json::from_slice::<Entry>(&line);
            let due = read.ok().map(|entry| (format!("{:?}", entry.decided()), entry.line().unwrap() == line));
            prop_assert_eq!(examine(&line, |it| format!("{it:?}")).ok(), due, "{}", String::from_utf8_lossy(&line));
        }
    }

    /// Of everything as much as the API takes: names, a reason of characters that JSON writes as six, an approval of each step and of each
    /// role of the entry, and as many again of roles that the operator asks for.
    #[test]
    fn the_longest_entry_that_can_be_decided_fits_into_a_bundle() {
        let (steps, roles) = (20, 8);
        let text = |length| "x".repeat(length);
        let consent = Consent { actor: text(32), comment: text("sha256:".len() + 64), role: text(32), uid: text(36) };
        let longest = Entry {
            kind: EntryKind::Outcome,
            namespace: text(63),
            name: text(253),
            uid: text(36),
            generation: i64::MIN,
            spec_digest: text(71),
            attempt: text(63),
            sequence: i64::MIN,
            decision: text(63),
            reason: condition::brief(&"\u{1}".repeat(10_000)),
            revision: text(63),
            weight: "100.00%".into(),
            measurements: text(71),
            policy: text(71),
            asked_by: text(32),
            consents: vec![consent; steps + 2 * roles],
            lease_epoch: i64::MIN,
            operator: text(63),
            ..entry()
        };
        let bytes = longest.line().unwrap().len();
        assert!(bytes < usize::from(u16::MAX) / 2, "{bytes}");
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
            assert_eq!(serde_json::from_str::<Entry>(&other).unwrap(), entry());
            assert!(!examine(other.as_bytes(), |_| ()).unwrap().1, "{other}");
        }
        for behind in ["\n", " "] {
            assert!(!examine((line.clone() + behind).as_bytes(), |_| ()).unwrap().1, "{behind:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_no_entry() {
        let line = entry().line().unwrap();
        for at in [line.len() / 2, line.len()] {
            let mut other = line.clone();
            other.insert(at, 0xff);
            assert!(examine(&other, |_| ()).is_err(), "{at}");
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
