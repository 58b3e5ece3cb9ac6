//! An entry's line in its plainest form, which is that of nearly all, read without a parser.
//!
//! A parser has to be ready for everything that JSON may be, and then what it has read has to be written again to know whether it was in
//! the one form that an entry has. Here a line is compared with that form from the beginning. It is read here if it has exactly that form, if nothing in
//! it is written otherwise than it is meant (as a quotation mark in a reason is), and if it names no approvals. Any other is
//! left to the parser. What is told of a line is the same either way.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use super::{EntryKind, Line, Subject};

/// The entry of a line that is canonical, but perhaps for its numbers. `None`: that has to be found out in another way.
pub(super) fn read(line: &str) -> Option<Line<'_>> {
    let mut rest = Rest(line);
    let asked_by = rest.string("{\"askedBy\":\"")?;
    let attempt = rest.string(",\"attempt\":\"")?;
    let decision = rest.string(",\"consents\":[],\"decision\":\"")?;
    let id = rest.string(",\"id\":\"")?;
    let lease_epoch = rest.string(",\"leaseEpoch\":\"")?;
    let measurements = rest.string(",\"measurements\":\"")?;
    let operator = rest.string(",\"operator\":\"")?;
    let policy = rest.string(",\"policy\":\"")?;
    let reason = rest.string(",\"reason\":\"")?;
    let revision = rest.string(",\"revision\":\"")?;
    let sequence = rest.string(",\"sequence\":\"")?;
    let subject = Subject {
        generation: rest.string(",\"subject\":{\"generation\":\"")?,
        kind: rest.string(",\"kind\":\"")?,
        name: rest.string(",\"name\":\"")?,
        namespace: rest.string(",\"namespace\":\"")?,
        spec_digest: rest.string(",\"specDigest\":\"")?,
        uid: rest.string(",\"uid\":\"")?,
    };
    let time = time(&rest.string("},\"time\":\"")?)?;
    let kind = kind(&rest.string(",\"type\":\"")?)?;
    let version = rest.string(",\"version\":\"")?;
    let weight = rest.string(",\"weight\":\"")?;
    (rest.0 == "}").then_some(Line {
        asked_by,
        attempt,
        consents: Cow::Borrowed(&[]),
        decision,
        id,
        lease_epoch,
        measurements,
        operator,
        policy,
        reason,
        revision,
        sequence,
        subject,
        time,
        kind,
        version,
        weight,
    })
}

/// What of a line has not been read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// A text behind `before`, in which every character stands for itself.
    fn string(&mut self, before: &str) -> Option<Cow<'a, str>> {
        let text = self.0.strip_prefix(before)?;
        let end = text.bytes().position(|it| matches!(it, b'"' | b'\\' | ..0x20))?;
        let (text, rest) = text.split_at_checked(end)?;
        self.0 = rest.strip_prefix('"')?;
        Some(Cow::Borrowed(text))
    }
}

fn kind(text: &str) -> Option<EntryKind> {
    match text {
        "Intent" => Some(EntryKind::Intent),
        "Outcome" => Some(EntryKind::Outcome),
        "Void" => Some(EntryKind::Void),
        _ => None,
    }
}

/// A time as times are written: in UTC, with as many thousandths as it has.
fn time(text: &str) -> Option<DateTime<Utc>> {
    let (date_time, fraction) = text.strip_suffix('Z')?.split_at_checked(FORM.len())?;
    let is_of_form = date_time.bytes().zip(FORM.bytes()).all(|(is, due)| match due {
        b'0' => is.is_ascii_digit(),
        _ => is == due,
    });
    let is_short = match fraction.strip_prefix('.') {
        None => fraction.is_empty(),
        Some(digits) => {
            let are_digits = digits.bytes().all(|it| it.is_ascii_digit());
            are_digits && [3, 6, 9].contains(&digits.len()) && !digits.ends_with("000")
        }
    };
    // A leap second is one to the parser.
    let is_plain = is_of_form && is_short && !date_time.ends_with("60");
    is_plain.then(|| text.parse().ok())?
}

const FORM: &str = "0000-00-00T00:00:00";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::sample;
    use super::super::{Consent, Entry};
    use super::*;

    /// What a parser and what the one form of an entry say of a line.
    fn parsed(line: &str) -> Option<String> {
        let entry = serde_json::from_str::<Entry>(line).ok()?;
        (entry.line().unwrap() == line.as_bytes()).then(|| format!("{entry:?}"))
    }

    #[test]
    fn the_plain_form_is_read_and_what_is_written_otherwise_than_it_is_meant_is_left() {
        let is_read = |entry: Entry| read(std::str::from_utf8(&entry.line().unwrap()).unwrap()).is_some();
        assert!(is_read(sample()));
        assert!(is_read(Entry { reason: "Müller's: 1 > 0 \u{7f}".into(), ..sample() }));
        for reason in ["\"", "\\", "\n", "\u{1}"] {
            assert!(!is_read(Entry { reason: reason.into(), ..sample() }), "{reason:?}");
        }
        let consent = Consent { actor: String::new(), comment: String::new(), role: String::new(), uid: String::new() };
        assert!(!is_read(Entry { consents: vec![consent], ..sample() }));
    }

    proptest! {
        /// Whatever was done to a line: what is read of it is what a parser reads, and it is in the one form.
        #[test]
        fn what_is_read_is_what_a_parser_reads(
            milliseconds in prop_oneof![-1_000_000_000_000_i64..10_000_000_000_000, Just(i64::from(i32::MAX) * 1_000_000)],
            nanoseconds in prop::sample::select(vec![0, 1, 1_000, 120_000, 1_000_000]),
            at in any::<prop::sample::Index>(), over in 0..3_usize,
            by in prop::sample::select(vec!["", " ", "0", "60", ".000", "000", "\"", "\\u0053", "\\/", "Z", "z", "T", "-", "\n", "é", "}"]),
        ) {
            let time = DateTime::from_timestamp_millis(milliseconds).unwrap() + chrono::TimeDelta::nanoseconds(nanoseconds);
            let line = String::from_utf8(Entry { time, ..sample() }.line().unwrap()).unwrap();
            prop_assert!(read(&line).is_some() || milliseconds > 253_402_300_799_999, "{line}");
            // In the time, or anywhere.
            let from = if at.index(2) == 0 { line.find("\"time\"").unwrap_or_default() } else { 0 };
            let at = from + at.index(line.len() - from);
            let mut changed = line.clone();
            changed.replace_range(at..(at + over).min(line.len()), by);
            if let Some(read) = read(&changed).filter(Line::has_plain_numbers) {
                let entry = Entry::try_from(read).ok().map(|it| format!("{it:?}"));
                prop_assert_eq!(entry, parsed(&changed), "{}", changed);
            }
        }
    }
}
