//! The right to write, as the lease gave it.
//!
//! Held in local monotonic time: no other machine's clock, and no step of our own, can prolong
//! it. It ends well before another replica may take the lease, so a request that is already under
//! way has time to arrive. It is no fence by itself; the fence is that every write is a
//! compare-and-swap, and that the epoch goes into status.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Shared by the lease, which grants it, and everything that writes.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    grant: Arc<Mutex<Option<Grant>>>,
}

#[derive(Debug, Clone, Copy)]
struct Grant {
    epoch: i64,
    until: Instant,
}

impl Authority {
    /// Grants, or prolongs, the right to write.
    pub fn grant(&self, epoch: i64, until: Instant) {
        *self.lock() = Some(Grant { epoch, until });
    }

    /// Takes the right away.
    pub fn revoke(&self) {
        *self.lock() = None;
    }

    /// The leader's epoch, while this process is the leader.
    #[must_use]
    pub fn epoch(&self) -> Option<i64> {
        self.epoch_at(Instant::now())
    }

    /// [`Authority::epoch`] at a given instant.
    #[must_use]
    pub fn epoch_at(&self, now: Instant) -> Option<i64> {
        (*self.lock()).filter(|grant| now < grant.until).map(|grant| grant.epoch)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Grant>> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_right_ends_by_itself_at_its_time() {
        let (authority, now) = (Authority::default(), Instant::now());
        assert_eq!(authority.epoch_at(now), None);
        authority.grant(7, now + Duration::from_secs(10));
        assert_eq!(authority.epoch_at(now + Duration::from_secs(9)), Some(7));
        assert_eq!(authority.epoch_at(now + Duration::from_secs(10)), None);
        authority.revoke();
        assert_eq!(authority.epoch_at(now), None);
    }
}
