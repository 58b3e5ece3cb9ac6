//! Children that somebody else edits, and that are put back.
//!
//! An edit is put back at once. Something that edits again and again (another controller, a pipeline with a copy) must not be fought at
//! full speed: from the fourth time on only every ten seconds. Ten minutes without an edit end it.
//!
//! Remembered by the process that does it, and nowhere else: another one begins to count anew.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ChildKind;
use crate::api::duration::after;

/// With so many resets it is a contest: the next one waits.
pub const TOLERATED: i32 = 3;
/// Between two resets of what is contested.
pub const PAUSE: Duration = Duration::from_secs(10);
/// Without an edit for so long, nobody contests it any more.
pub const CALM: Duration = Duration::from_mins(10);

/// A child that was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Its kind.
    pub kind: ChildKind,
    /// Its `metadata.name`.
    pub name: String,
    /// How often, without ten minutes in between.
    pub times: i32,
    /// The last time.
    pub at: DateTime<Utc>,
}

impl Reset {
    /// Whether it is one of something that does it again and again.
    #[must_use]
    pub fn is_contested(&self, now: DateTime<Utc>) -> bool {
        self.times >= TOLERATED && self.counts(now)
    }

    /// When it may be put back again, and when the contest is over.
    #[must_use]
    pub fn next(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (after(self.at, PAUSE), after(self.at, CALM))
    }

    /// Whether it is remembered: not for ever, nor by a clock that was set back since.
    fn counts(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && self.next().1 > now
    }
}

/// Remembers that a child was put back, and forgets what is over.
pub fn remember(resets: &mut Vec<Reset>, kind: ChildKind, name: &str, now: DateTime<Utc>) {
    resets.retain(|it| it.counts(now));
    match resets.iter_mut().find(|it| it.kind == kind && it.name == name) {
        Some(it) => (it.times, it.at) = (it.times.saturating_add(1), now),
        None => resets.push(Reset { kind, name: name.to_owned(), times: 1, at: now }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_003_200 + seconds, 0).unwrap()
    }

    #[test]
    fn the_third_reset_within_ten_minutes_of_the_one_before_makes_a_contest() {
        let mut resets = Vec::new();
        for (time, contested) in [(0, false), (599, false), (1198, true)] {
            remember(&mut resets, ChildKind::Deployment, "churn", at(time));
            assert_eq!(resets[0].is_contested(at(time)), contested, "{resets:?}");
        }
        assert_eq!(resets[0].next(), (at(1208), at(1798)));
        assert!(resets[0].is_contested(at(1797)) && !resets[0].is_contested(at(1798)));
        assert!(!resets[0].is_contested(at(1197)), "the clock was set back");
        remember(&mut resets, ChildKind::Service, "churn", at(1798));
        assert_eq!(resets.len(), 1, "the first is over: {resets:?}");
        assert_eq!((resets[0].kind, resets[0].times), (ChildKind::Service, 1));
    }
}
