//! The right to write, as the lease gave it.
//!
//! Held in local monotonic time: no other machine's clock, and no step of our own, can prolong
//! it. It ends well before another replica may take the lease, so a request that is already under
//! way has time to arrive. It is no fence by itself; the fence is that every write is a
//! compare-and-swap, and that the epoch goes into status.
//!
//! Asking for it when a write is decided is not enough: the write may then wait for its turn, for
//! a slot, for as long as the API server says. So a request carries its authority along
//! ([`Authority::bind`]), and whoever sends it asks again right before, each time.

use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use tokio::time::Instant;

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

/// A request was not sent, because its sender does not lead any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this process is not the leader any more")]
pub struct NotLeading;

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

    /// Until when the right holds, as far as it goes by now; `None` if it has ended.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        (*self.lock()).map(|grant| grant.until).filter(|until| Instant::now() < *until)
    }

    /// Whether it was granted, and ran out without being taken away: it may come back without
    /// anybody telling.
    #[must_use]
    pub fn has_lapsed(&self) -> bool {
        let now = Instant::now();
        (*self.lock()).is_some_and(|grant| grant.until <= now)
    }

    /// Lets this request be sent only while the right holds.
    #[must_use]
    pub(super) fn bind<B>(&self, mut request: Request<B>) -> Request<B> {
        request.extensions_mut().insert(self.clone());
        request
    }

    /// Whether a request with these extensions may be sent now. One that is bound to no authority may.
    ///
    /// # Errors
    /// When the right it is bound to has ended.
    pub fn allows(extensions: &http::Extensions) -> Result<(), NotLeading> {
        match extensions.get::<Self>() {
            Some(authority) if authority.epoch().is_none() => Err(NotLeading),
            _ => Ok(()),
        }
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

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waited_too_long_is_not_sent_any_more() {
        let authority = Authority::default();
        authority.grant(7, Instant::now() + Duration::from_secs(10));
        let request = authority.bind(Request::new(()));
        assert_eq!(Authority::allows(request.extensions()), Ok(()));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(Authority::allows(request.extensions()), Err(NotLeading));
        assert!(authority.has_lapsed(), "and nobody took it away");
        assert_eq!(Authority::allows(Request::new(()).extensions()), Ok(()), "bound to nothing");
    }
}
