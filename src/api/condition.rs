//! Conditions: the part of status that tools wait for.
//!
//! Every condition has one author, [`set`] keeps `lastTransitionTime`
//! unless the status itself changes, and the order is fixed: two passes that come to
//! the same conclusion produce the same bytes, and nothing is written.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `True`, `False` or `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Not known yet.
    Unknown,
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// One aspect of a resource's state, as `kubectl wait --for=condition=…` reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// CamelCase name, such as `Ready`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// CamelCase word from the documented list.
    pub reason: String,
    /// One sentence for people; where something is wrong, it says what to do.
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: DateTime<Utc>,
    /// The `metadata.generation` this was concluded from.
    #[serde(default)]
    pub observed_generation: i64,
}

/// Longest message, in characters: a status must stay small whatever others say in it.
const LONGEST: usize = 1024;

/// The text, cut where it is longer than a message may be.
#[must_use]
pub fn brief(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Sets `type_` in `conditions`, keeping them sorted by type and the transition
/// time when only reason or message change.
pub fn set(conditions: &mut Vec<Condition>, new: Condition) {
    let new = Condition { message: brief(&new.message), ..new };
    match conditions.iter_mut().find(|it| it.type_ == new.type_) {
        Some(old) => {
            let since = if old.status == new.status { old.last_transition_time } else { new.last_transition_time };
            *old = Condition { last_transition_time: since, ..new };
        }
        None => conditions.push(new),
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
}

/// The condition of that type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|it| it.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(status: bool, reason: &str, second: i64) -> Condition {
        Condition {
            type_: "Ready".into(),
            status: status.into(),
            reason: reason.into(),
            message: String::new(),
            last_transition_time: DateTime::from_timestamp(second, 0).unwrap(),
            observed_generation: 1,
        }
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let mut conditions = Vec::new();
        set(&mut conditions, ready(false, "Starting", 1));
        set(&mut conditions, ready(false, "Shifting", 2));
        assert_eq!(find(&conditions, "Ready"), Some(&ready(false, "Shifting", 1)));
        set(&mut conditions, ready(true, "Stable", 3));
        assert_eq!(find(&conditions, "Ready"), Some(&ready(true, "Stable", 3)));
    }
}
