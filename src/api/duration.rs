//! One grammar for durations everywhere in the API: `90s`, `10m`, `1h30m`, `24h`, `7d`, `500ms`.

use std::borrow::Cow;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration as written, largest unit first: days, hours, minutes, seconds, milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

/// Why a duration is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: write numbers with units d, h, m, s or ms, largest first, such as 30s or 1h30m (at most 10 years)"
)]
pub struct NotADuration {
    text: String,
}

/// Largest first, which is also the order they must be written in.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Waits longer than this are typing errors.
const LONGEST: u64 = 3_650 * 86_400_000;

impl DurationText {
    /// The duration meant.
    ///
    /// # Errors
    /// When the text is not in the grammar or longer than ten years.
    pub fn duration(&self) -> Result<Duration, NotADuration> {
        self.millis()
            .filter(|millis| *millis <= LONGEST)
            .map(Duration::from_millis)
            .ok_or_else(|| NotADuration { text: self.0.clone() })
    }

    fn millis(&self) -> Option<u64> {
        let mut rest = self.0.as_str();
        let mut total: u64 = 0;
        let mut allowed: &[(&str, u64)] = &UNITS;
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at_checked(digits)?;
            let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_lowercase()).len();
            let (name, tail) = tail.split_at_checked(letters)?;
            let at = allowed.iter().position(|(unit, _)| *unit == name)?;
            let (_, millis) = allowed.get(at)?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
            allowed = allowed.get(at + 1..)?;
            rest = tail;
        }
        (!self.0.is_empty()).then_some(total)
    }
}

/// `wait` after `at`; the end of time when there is no such moment.
#[must_use]
pub fn after(at: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait).ok().and_then(|wait| at.checked_add_signed(wait)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// A duration in the grammar of [`DurationText`], for messages and status.
#[must_use]
pub fn written(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(LONGEST);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        let (count, left) = (rest / millis, rest % millis);
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
        rest = left;
    }
    if text.is_empty() { "0s".into() } else { text }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 2,
            "maxLength": 32,
            // A rule, not a pattern: a pattern's message says what does not match, not what to write.
            "x-kubernetes-validations": [{
                "rule": "self.matches('^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$')",
                "message": "durations are numbers with units d, h, m, s or ms, largest first: write 30s or 1h30m",
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(text: &str) -> Result<f64, NotADuration> {
        DurationText(text.into()).duration().map(|it| it.as_secs_f64())
    }

    #[test]
    fn units_combine_largest_first() {
        assert_eq!(seconds("90s"), Ok(90.0));
        assert_eq!(seconds("1h30m"), Ok(5_400.0));
        assert_eq!(seconds("7d"), Ok(604_800.0));
        assert_eq!(seconds("1s500ms"), Ok(1.5));
        assert_eq!(seconds("0s"), Ok(0.0));
        for bad in ["", "5", "m", "30m1h", "1m1m", "1.5h", "-5s", "5 s", "1w", "99999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(millis in 0_u64..LONGEST) {
            let it = Duration::from_millis(millis);
            prop_assert_eq!(DurationText(written(it)).duration(), Ok(it));
        }
    }
}
