//! Children that somebody else edits, and that are put back.
//!
//! An edit is put back at once. Something that edits again and again (another controller, a pipeline with a copy) must not be fought at
//! full speed: with the third time it is a contest, and from then on the child is put back every ten seconds only. Ten minutes without
//! an edit end it, and so does the end of the object.
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

/// A very object that is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contended {
    /// Its kind.
    pub kind: ChildKind,
    /// Its `metadata.name`.
    pub name: String,
    /// Its `metadata.uid`: one that comes after it is another.
    pub uid: String,
}

/// That it was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// What was.
    pub child: Contended,
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

    /// Whether one more edit of it waits.
    #[must_use]
    pub fn is_left(&self, now: DateTime<Utc>) -> bool {
        self.is_contested(now) && after(self.at, PAUSE) > now
    }

    /// When that changes: it may be put back again, or the contest is over.
    #[must_use]
    pub fn next(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        after(self.at, if self.is_left(now) { PAUSE } else { CALM })
    }

    /// Whether it is remembered: not for ever, nor by a clock that was set back since.
    fn counts(&self, now: DateTime<Utc>) -> bool {
        self.at <= now && after(self.at, CALM) > now
    }
}

/// Whether it becomes a contest when this child is put back once more.
#[must_use]
pub fn becomes_contest(resets: &[Reset], child: &Contended, now: DateTime<Utc>) -> bool {
    let before = resets.iter().find(|it| it.child == *child && it.counts(now)).map_or(0, |it| it.times);
    before.saturating_add(1) == TOLERATED
}

/// Remembers that a child was put back, and forgets what is over.
pub fn remember(resets: &mut Vec<Reset>, child: Contended, now: DateTime<Utc>) {
    resets.retain(|it| it.counts(now));
    match resets.iter_mut().find(|it| it.child == child) {
        Some(it) => (it.times, it.at) = (it.times.saturating_add(1), now),
        None => resets.push(Reset { child, times: 1, at: now }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_003_200 + seconds, 0).unwrap()
    }

    fn child(kind: ChildKind, uid: &str) -> Contended {
        Contended { kind, name: "churn".into(), uid: uid.into() }
    }

    #[test]
    fn the_third_reset_within_ten_minutes_of_the_one_before_makes_a_contest() {
        let mut resets = Vec::new();
        for (time, contested) in [(0, false), (599, false), (1198, true)] {
            assert_eq!(becomes_contest(&resets, &child(ChildKind::Deployment, "1"), at(time)), contested);
            remember(&mut resets, child(ChildKind::Deployment, "1"), at(time));
            assert_eq!(resets[0].is_contested(at(time)), contested, "{resets:?}");
            assert_eq!(resets[0].is_left(at(time)), contested, "{resets:?}");
        }
        assert!(!becomes_contest(&resets, &child(ChildKind::Deployment, "1"), at(1198)), "it is one already");
        assert!(!resets[0].is_contested(at(1197)), "the clock was set back");
        assert!(resets[0].is_left(at(1207)) && !resets[0].is_left(at(1208)));
        assert_eq!((resets[0].next(at(1207)), resets[0].next(at(1208))), (at(1208), at(1798)));
        assert!(resets[0].is_contested(at(1797)) && !resets[0].is_contested(at(1798)));
        remember(&mut resets, child(ChildKind::Service, "1"), at(1798));
        assert_eq!(
            resets,
            [Reset { child: child(ChildKind::Service, "1"), times: 1, at: at(1798) }],
            "the first is over"
        );
        remember(&mut resets, child(ChildKind::Service, "2"), at(1798));
        assert_eq!(resets.len(), 2, "another object of this name");
    }

    #[test]
    fn two_resets_that_are_over_and_one_more_are_no_contest() {
        let (mut resets, it) = (Vec::new(), child(ChildKind::Deployment, "1"));
        remember(&mut resets, it.clone(), at(0));
        remember(&mut resets, it.clone(), at(1));
        assert!(becomes_contest(&resets, &it, at(600)) && !becomes_contest(&resets, &it, at(601)));
    }
}
