//! When something last went wrong in a run, and when it was last slow. Until it has recovered from the one, and has had the time that is
//! promised since the other, no promise is held against the operator.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
pub(super) struct Trouble {
    wrong_until: Instant,
    slow_until: Instant,
}

impl Trouble {
    /// None so far.
    pub(super) fn none() -> Self {
        Self { wrong_until: Instant::now(), slow_until: Instant::now() }
    }

    /// Something goes wrong now.
    pub(super) fn is_here(&mut self) {
        self.lasts(Duration::ZERO);
    }

    /// Something goes wrong, and for so long.
    pub(super) fn lasts(&mut self, time: Duration) {
        self.wrong_until = self.wrong_until.max(Instant::now() + time);
    }

    /// For so long nobody can do anything, and then everybody goes on as before: nothing has to recover.
    pub(super) fn slows(&mut self, time: Duration) {
        self.slow_until = self.slow_until.max(Instant::now() + time);
    }

    /// Until now nobody could.
    pub(super) fn was_slow(&mut self) {
        self.slows(Duration::ZERO);
    }

    /// For how long nothing has gone wrong.
    pub(super) fn is_over_for(&self) -> Duration {
        Instant::now().saturating_duration_since(self.wrong_until)
    }

    /// For how long everybody could do what there was to do.
    pub(super) fn is_swift_for(&self) -> Duration {
        Instant::now().saturating_duration_since(self.slow_until)
    }
}
