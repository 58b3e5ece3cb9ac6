//! Times told by the gaps between them.
//!
//! All that a rule does with a time is to add waits to it and to compare the sum with another. So no rule tells two gaps apart that
//! are both longer than the longest sum, and two worlds with the same gaps up to there are the same (the regions of timed
//! automata: Alur and Dill, "A theory of timed automata", 1994).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::same::LONGEST_WAIT;

pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}

/// Every time that is told.
pub(super) fn dated(value: &Value, times: &mut BTreeSet<DateTime<Utc>>) {
    match value {
        Value::Object(fields) => fields.values().for_each(|it| dated(it, times)),
        Value::Array(items) => items.iter().for_each(|it| dated(it, times)),
        Value::String(text) => times.extend(time(text)),
        _ => {}
    }
}

/// A revision drains for a while, whatever else happens, and of two the younger counts: only how long they have is compared with
/// anything, and what has for longer than the longest wait is drained in any case.
pub(super) fn tell_ages(revisions: &mut Value, now: DateTime<Utc>) {
    for revision in revisions.as_array_mut().into_iter().flatten() {
        let since = revision["drainingSince"].as_str().and_then(time);
        revision["drainingSince"] = json!(since.map(|it| (now - it).num_seconds().min(LONGEST_WAIT + 1)));
    }
}

/// Where each time lies when every gap that is longer than the longest wait is just longer. The newest is at 0.
pub(super) fn regions(times: &BTreeSet<DateTime<Utc>>) -> BTreeMap<DateTime<Utc>, i64> {
    let mut newer = times.last().copied().unwrap_or_default();
    let mut place = 0;
    let told = times.iter().rev().map(|at| {
        place -= (newer - *at).num_seconds().min(LONGEST_WAIT + 1);
        newer = *at;
        (*at, place)
    });
    told.collect()
}

pub(super) fn tell_times(value: &mut Value, regions: &BTreeMap<DateTime<Utc>, i64>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|it| tell_times(it, regions)),
        Value::Array(items) => items.iter_mut().for_each(|it| tell_times(it, regions)),
        Value::String(text) => {
            if let Some(place) = time(text).and_then(|it| regions.get(&it)) {
                *value = json!({ "at": place });
            }
        }
        _ => {}
    }
}
