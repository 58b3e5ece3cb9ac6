//! What a process remembers of a resource between two passes.
//!
//! Nothing here may be needed for safety: a restart forgets it all, and the next pass only takes
//! a request or a refusal more to learn it again. (A contest takes three edits more.)

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::expectations::Expectations;
use crate::audit::Entry;
use crate::decide::resets::Reset;
use crate::decide::{Op, Refusal};

/// The part of the memory that observing may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PassMemory {
    /// Kinds and names of children whose creation was refused because they exist although the
    /// cache does not show them: one live GET each tells a foreign object from a stale cache.
    pub already_exists: BTreeSet<(String, String)>,
    /// Intents on the trail that this process has not seen in a status.
    pub lost: Vec<Entry>,
    /// Since when the trail takes no entries; `None` if it did the last time it was asked.
    pub trail_outage: Option<TrailOutage>,
    /// The epoch of this leader.
    pub lease_epoch: i64,
    /// The epoch in which a status write was accepted last, which shows that what was decided from was the newest;
    /// `None` if that is in doubt since.
    pub confirmed: Option<i64>,
    /// Whether the last pass wrote all that it meant to.
    pub got_through: bool,
    /// The last write the API server refused (403, 422); gone once a pass gets through.
    pub refusal: Option<Refusal>,
    /// Children that somebody else edits, and that were put back, by the operator's clock.
    pub resets: Vec<Reset>,
}

impl PassMemory {
    /// Whether no write has shown yet that what this leader sees of the resource is the newest.
    #[must_use]
    pub fn is_unconfirmed(&self) -> bool {
        self.confirmed != Some(self.lease_epoch)
    }
}

/// A trail that does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrailOutage {
    /// The first failure.
    pub since: DateTime<Utc>,
    /// The newest failure, by a clock that nobody sets back.
    pub last_tried: Instant,
}

/// An op that did not get through: it is sent again when it is time, or when it is another op
/// (its child changed, or what is wanted of it).
#[derive(Debug, Clone)]
pub(super) struct HeldBack {
    pub(super) op: Op,
    pub(super) until: Instant,
}

/// All that is remembered of one uid.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    pub(super) uid: String,
    pub(super) pass: PassMemory,
    pub(super) expectations: Expectations,
    /// What is not tried at each pass.
    pub(super) held_back: Option<HeldBack>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Conflicts in a row.
    pub(super) conflicts: u32,
}

/// The memories of one kind, by namespace and name.
#[derive(Debug, Default)]
pub(super) struct Memories {
    by_name: Mutex<HashMap<(String, String), Memory>>,
}

impl Memories {
    /// What is remembered of this uid; a new object under an old name starts afresh.
    pub(super) fn recall(&self, key: &(String, String), uid: &str) -> Memory {
        let known = self.lock().get(key).filter(|memory| memory.uid == uid).cloned();
        known.unwrap_or_else(|| Memory { uid: uid.to_owned(), ..Memory::default() })
    }

    pub(super) fn keep(&self, key: &(String, String), memory: Memory) {
        self.lock().insert(key.clone(), memory);
    }

    pub(super) fn forget(&self, key: &(String, String)) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_leader_confirmed_is_in_doubt() {
        let mut memory = PassMemory { lease_epoch: 7, ..PassMemory::default() };
        assert!(memory.is_unconfirmed(), "a process that has just begun");
        memory.confirmed = Some(7);
        assert!(!memory.is_unconfirmed());
        memory.lease_epoch = 9;
        assert!(memory.is_unconfirmed(), "somebody led in between");
    }

    #[test]
    fn a_new_object_under_an_old_name_starts_afresh() {
        let (memories, key) = (Memories::default(), ("crm".to_owned(), "churn".to_owned()));
        let mut memory = memories.recall(&key, "1");
        memory.failures = 3;
        memories.keep(&key, memory);
        assert_eq!(memories.recall(&key, "1").failures, 3);
        assert_eq!(memories.recall(&key, "2").failures, 0);
        memories.forget(&key);
        assert_eq!(memories.recall(&key, "1").failures, 0);
    }
}
