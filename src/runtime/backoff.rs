//! How long to wait after the n-th failure in a row.
//!
//! Doubling from one second to a minute, spread by a hash of the resource's uid and the attempt,
//! so that a thousand resources that fail together do not come back together. No randomness: the
//! same failure waits the same time wherever it is replayed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);
/// What takes weight away is tried again at this pace: the promise is a second after it can get through.
const URGENT: Duration = Duration::from_millis(1200);
/// Conflicts are expected to heal with the next watch event.
const FIRST_CONFLICT: Duration = Duration::from_millis(100);
const LONGEST_CONFLICT: Duration = Duration::from_secs(5);
/// A watch that is down holds up everything of its kind.
const LONGEST_WATCH: Duration = Duration::from_secs(30);

/// The wait after `attempt` failures in a row, counted from 1.
pub(super) fn after_failure(uid: &str, attempt: u32) -> Duration {
    spread(doubled(FIRST, LONGEST, attempt), uid, attempt)
}

/// The same for a write that must not wait long, however often it failed.
pub(super) fn after_urgent_failure(uid: &str, attempt: u32) -> Duration {
    spread(doubled(FIRST, URGENT, attempt), uid, attempt)
}

/// The wait after `attempt` conflicts in a row, counted from 1.
pub(super) fn after_conflict(uid: &str, attempt: u32) -> Duration {
    spread(doubled(FIRST_CONFLICT, LONGEST_CONFLICT, attempt), uid, attempt)
}

/// The wait after `attempt` failures in a row of a watch, counted from 1.
pub(super) fn after_watch_failure(key: &str, attempt: u32) -> Duration {
    spread(doubled(FIRST, LONGEST_WATCH, attempt), key, attempt)
}

/// When to look again although nothing happened: ten minutes, spread.
pub(super) fn resync(uid: &str) -> Duration {
    spread(Duration::from_mins(10), uid, 0)
}

fn doubled(first: Duration, longest: Duration, attempt: u32) -> Duration {
    let factor = 2_u32.saturating_pow(attempt.saturating_sub(1));
    first.saturating_mul(factor).min(longest)
}

/// 80 % to 120 % of it.
pub(super) fn spread(base: Duration, key: &str, attempt: u32) -> Duration {
    let mut hash = DefaultHasher::new();
    (key, attempt).hash(&mut hash);
    let permille = 800 + u32::try_from(hash.finish() % 401).unwrap_or(0);
    base.saturating_mul(permille) / 1000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_from_a_second_to_a_minute() {
        let seconds: Vec<u64> = (1..=8).map(|attempt| doubled(FIRST, LONGEST, attempt).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn what_takes_weight_away_never_waits_much_longer_than_a_second() {
        assert!((1..100).all(|attempt| after_urgent_failure("a", attempt) < Duration::from_millis(1500)));
    }

    proptest! {
        #[test]
        fn waits_are_spread_but_bounded_and_repeatable(uid in "[a-f0-9]{8}", attempt in 0_u32..u32::MAX) {
            let wait = after_failure(&uid, attempt);
            prop_assert!(wait >= FIRST * 8 / 10 && wait <= LONGEST * 12 / 10);
            prop_assert_eq!(wait, after_failure(&uid, attempt));
        }
    }

    #[test]
    fn resources_that_fail_together_do_not_come_back_together() {
        let waits: std::collections::HashSet<_> = (0..100).map(|uid| after_failure(&uid.to_string(), 3)).collect();
        assert!(waits.len() > 50, "{}", waits.len());
    }
}
