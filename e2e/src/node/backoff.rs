//! How long a crashed container waits: doubling from a base to a cap, and back
//! to the base after it ran well for twice the cap, as the kubelet does it.

use std::time::Duration;

/// The delays between restarts of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first exit.
    pub base: Duration,
    /// No delay is longer.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The delay before restart number `exits` (1 = the first), where `exits`
    /// counts the exits since the container last ran well.
    #[must_use]
    pub fn delay(&self, exits: u32) -> Duration {
        let doublings = exits.saturating_sub(1).min(20);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    /// Whether a run of this length clears what came before.
    #[must_use]
    pub fn forgives(&self, ran: Duration) -> bool {
        ran >= self.cap.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_base_to_the_cap() {
        let backoff = Backoff::default();
        let seconds: Vec<u64> = (1..=8).map(|exits| backoff.delay(exits).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(backoff.delay(u32::MAX), backoff.cap);
    }

    #[test]
    fn only_a_run_of_twice_the_cap_is_forgiven() {
        let backoff = Backoff::default();
        assert!(!backoff.forgives(Duration::from_secs(59)));
        assert!(backoff.forgives(Duration::from_secs(60)));
    }
}
