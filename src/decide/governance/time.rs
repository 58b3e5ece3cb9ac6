//! Until when a rollout of an entry may begin: before its data is too old, and its review is due.
//!
//! Both concern beginnings only. What is on its way goes on, and what serves serves on: an incident is somebody else's decision
//! (`lifecycle: Revoked`).

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::duration::after;
use crate::api::governance::DataSource;
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::decide::Missing;

/// Reason: nobody has reviewed it in time.
pub const OVERDUE: &str = "ReviewOverdue";
/// Reason: the day of its review is none.
pub const UNREADABLE: &str = "TimeUnreadable";
/// Reason: its data is older than `maxAge`.
pub const TOO_OLD: &str = "DataTooOld";
/// Reason: its data is of a time that has not come.
pub const FROM_THE_FUTURE: &str = "DataAgeUnknown";

/// By how much a clock may be wrong.
const TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// Why no rollout of the entry `name` begins at this time.
#[must_use]
pub fn too_late(name: &str, entry: &ModelRegistryEntrySpec, now: DateTime<Utc>) -> Option<Missing> {
    let of_sources = entry.data_sources.iter().filter_map(|it| of_source(name, it, now));
    Missing::together(of_review(name, entry, now).into_iter().chain(of_sources))
}

fn of_review(name: &str, entry: &ModelRegistryEntrySpec, now: DateTime<Utc>) -> Option<Missing> {
    let day = entry.review_by.as_ref()?;
    match day.end() {
        Ok(due) => (due <= now).then(|| {
            let day = &day.0;
            let message = format!("entry {name} was to be reviewed by {day}, and nothing begins to roll out from it since: review it and move its spec.reviewBy");
            Missing { reason: OVERDUE, message, is_final: true }
        }),
        Err(error) => {
            let message = format!("nothing begins to roll out from entry {name}: its spec.reviewBy {error}");
            Some(Missing { reason: UNREADABLE, message, is_final: true })
        }
    }
}

/// When that may change by itself.
#[must_use]
pub fn next_change(entry: &ModelRegistryEntrySpec, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let of_sources = entry.data_sources.iter().filter_map(span).flat_map(|(from, to)| [from, to]);
    due(entry).into_iter().chain(of_sources).filter(|at| *at > now).min()
}

fn due(entry: &ModelRegistryEntrySpec) -> Option<DateTime<Utc>> {
    entry.review_by.as_ref()?.end().ok()
}

/// From when to when the data of a source is neither of the future nor too old; nothing where that does not matter, or
/// cannot be read, which is another finding.
fn span(source: &DataSource) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let as_of = source.as_of.as_ref()?.moment().ok()?;
    let max_age = source.max_age.as_ref()?.duration().ok()?;
    Some((as_of.checked_sub_signed(TOLERANCE)?, after(as_of, max_age)))
}

fn of_source(entry: &str, source: &DataSource, now: DateTime<Utc>) -> Option<Missing> {
    let (from, to) = span(source)?;
    let name = &source.name;
    let as_of = source.as_of.as_ref().map(|it| it.0.as_str()).unwrap_or_default();
    if now < from {
        let message = format!(
            "data source {name} of entry {entry} is of {as_of}, which is still to come: set the operator's clock, or register the entry with the right asOf"
        );
        return Some(Missing { reason: FROM_THE_FUTURE, message, is_final: false });
    }
    let max_age = source.max_age.as_ref().map(|it| it.0.as_str()).unwrap_or_default();
    (now >= to).then(|| {
        let message = format!("data source {name} of entry {entry} is of {as_of}, and nothing begins to roll out on data older than {max_age} (maxAge): register a version that was made of newer data");
        Missing { reason: TOO_OLD, message, is_final: true }
    })
}
