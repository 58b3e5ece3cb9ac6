//! When a process publishes the log: a moment after it has appended something, and now and then what others have left.
//!
//! The operator's own loop ([`Log::keep`]) looks each second. Here it is a step, so that everything else can come before it.

use std::time::Duration;

use tokio::time::Instant;

use super::Run;
use crate::audit::Log;

/// When what is due.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    own: Option<Instant>,
    others: Option<Instant>,
}

impl Publishing {
    /// From now on there may be something on the log that nobody alive has appended.
    pub(super) fn looks_at_others(&mut self) {
        self.others = Some(Instant::now() + Log::LOOKS_AT_OTHERS_EVERY);
    }

    /// When something is due; `None`: all is published, as far as is known.
    pub(super) fn next(&self) -> Option<Instant> {
        self.own.into_iter().chain(self.others).min()
    }

    pub(super) fn is_due(&self) -> bool {
        self.next().is_some_and(|at| at <= Instant::now())
    }

    fn owes(&mut self, wait: Duration, is_others: bool) {
        let which = if is_others { &mut self.others } else { &mut self.own };
        which.get_or_insert(Instant::now() + wait);
    }
}

impl Run<'_> {
    /// What the process knows to be on the log, and under no checkpoint.
    pub(super) fn owes(&mut self) {
        let owes = self.process.as_ref().and_then(|it| it.log.owes_a_checkpoint_in());
        owes.into_iter().for_each(|(wait, is_others)| self.publishing.owes(wait, is_others));
    }

    pub(super) async fn publish(&mut self) {
        let Some(log) = self.process.as_ref().map(|it| it.log.clone()) else { return };
        let others = self.publishing.others.is_some_and(|at| at <= Instant::now());
        let published = log.keeps(others).await;
        // After a failure both wait.
        let again = published.err().map(|rest| Instant::now() + rest);
        self.publishing.own = again.filter(|_| self.publishing.own.is_some());
        self.publishing.others = match again {
            Some(again) => self.publishing.others.map(|at| at.max(again)),
            None => self.publishing.others.filter(|_| !others),
        };
        let (whose, done) =
            (if others { " what others left" } else { "" }, if again.is_some() { "not done" } else { "done" });
        self.told(format!("publish{whose}: {done}"));
    }
}
