//! Days and moments as people write them: `2027-05-01`, `2026-11-28T06:00:00Z`.
//!
//! Text, read once, as durations are (see [`super::duration`]): a day that is none becomes a condition, not an object
//! that the operator cannot see.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A day as written, in UTC: `2027-05-01`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DayText(pub String);

/// A moment as written, in UTC: `2026-11-28T06:00:00Z`, or the day that begins with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MomentText(pub String);

/// Why something is no day, or no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not in the calendar: write 2027-05-01, or for a moment 2027-05-01T06:00:00Z")]
pub struct NotInTheCalendar {
    text: String,
}

impl DayText {
    /// When it is over.
    ///
    /// # Errors
    /// When there is no such day.
    pub fn end(&self) -> Result<DateTime<Utc>, NotInTheCalendar> {
        let next = midnight(&self.0).and_then(|it| it.checked_add_signed(TimeDelta::days(1)));
        next.ok_or_else(|| NotInTheCalendar { text: self.0.clone() })
    }
}

impl MomentText {
    /// The moment meant.
    ///
    /// # Errors
    /// When there is no such moment.
    pub fn moment(&self) -> Result<DateTime<Utc>, NotInTheCalendar> {
        let exact = || DateTime::parse_from_rfc3339(&self.0).ok().map(|it| it.with_timezone(&Utc));
        midnight(&self.0).or_else(exact).ok_or_else(|| NotInTheCalendar { text: self.0.clone() })
    }
}

fn midnight(day: &str) -> Option<DateTime<Utc>> {
    let day: NaiveDate = day.parse().ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

fn schema(longest: u32, form: &str, example: &str) -> Schema {
    json_schema!({
        "type": "string",
        "minLength": 10,
        "maxLength": longest,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{form}')"),
            "message": format!("days and moments are in UTC: write {example}"),
        }],
    })
}

impl JsonSchema for DayText {
    fn schema_name() -> Cow<'static, str> {
        "Day".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(10, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "2027-05-01")
    }
}

impl JsonSchema for MomentText {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let form = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)?$";
        schema(20, form, "2026-11-28, or 2026-11-28T06:00:00Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(day: &str) -> Option<String> {
        DayText(day.into()).end().ok().map(|it| it.to_rfc3339())
    }

    fn moment(text: &str) -> Option<String> {
        MomentText(text.into()).moment().ok().map(|it| it.to_rfc3339())
    }

    #[test]
    fn a_day_lasts_to_its_end_and_a_moment_may_be_the_beginning_of_one() {
        assert_eq!(end("2027-05-01").as_deref(), Some("2027-05-02T00:00:00+00:00"));
        assert_eq!(end("2028-02-29").as_deref(), Some("2028-03-01T00:00:00+00:00"));
        assert_eq!(moment("2026-11-28").as_deref(), Some("2026-11-28T00:00:00+00:00"));
        assert_eq!(moment("2026-11-28T06:00:00Z").as_deref(), Some("2026-11-28T06:00:00+00:00"));
    }

    #[test]
    fn what_is_not_in_the_calendar_is_an_error_that_says_what_to_write() {
        for text in ["2027-02-29", "2027-13-01", "tomorrow", "", "2027-05-01T25:00:00Z"] {
            assert_eq!((end(text), moment(text)), (None, None), "{text}");
        }
        let message = DayText("2027-02-29".into()).end().unwrap_err().to_string();
        assert!(message.contains("2027-02-29") && message.contains("write 2027-05-01"), "{message}");
    }
}
