//! Until when something goes wrong in a run. What is promised within a second while nothing does is promised within
//! a longer time after that: no fault may leave a breach or a revocation waiting for a chance event.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
pub(super) struct Trouble(Instant);

impl Trouble {
    /// None so far.
    pub(super) fn none() -> Self {
        Self(Instant::now())
    }

    /// Something goes wrong now.
    pub(super) fn is_here(&mut self) {
        self.lasts(Duration::ZERO);
    }

    /// Something goes wrong, and for so long.
    pub(super) fn lasts(&mut self, time: Duration) {
        self.0 = self.0.max(Instant::now() + time);
    }

    /// For how long nothing has gone wrong.
    pub(super) fn is_over_for(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }
}
