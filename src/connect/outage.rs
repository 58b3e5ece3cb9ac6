//! Not to wait for who does not answer.
//!
//! A server that hangs costs every caller its whole patience, and a caller is a pass that holds one of
//! a few slots: rollbacks that need nothing of that server would wait behind it. So after a few calls in a row
//! without an answer, calls are refused at once for a moment, and then one at a time tries again.
//! One alone does not count: it may have asked for too much, and must not silence the others.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{SubsecRound, TimeDelta, Utc};
use tokio::time::Instant;

/// Calls in a row without an answer, before others are refused.
const ENOUGH: u32 = 3;
/// Between two calls that try whether it answers again, unless said otherwise.
const REST: Duration = Duration::from_secs(5);

/// Whether one server answers, as far as this process knows. Time comes in.
#[derive(Debug)]
pub(crate) struct Outage {
    silence: Mutex<Option<Silence>>,
    /// As long as a call may take, so there is one at a time.
    rest: Duration,
}

impl Default for Outage {
    fn default() -> Self {
        Self::of_calls(REST)
    }
}

#[derive(Debug)]
struct Silence {
    since: Instant,
    /// Calls without an answer.
    calls: u32,
    /// When the next one may try.
    next: Instant,
}

impl Outage {
    /// Of a server whose calls take this long at most.
    pub(crate) fn of_calls(rest: Duration) -> Self {
        Self { silence: Mutex::default(), rest }
    }

    /// Whether to call now.
    ///
    /// # Errors
    /// How long the server has not answered, if it is left alone now.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut silence = self.lock();
        let Some(silence) = silence.as_mut().filter(|it| it.calls >= ENOUGH) else { return Ok(()) };
        if now < silence.next {
            return Err(now.duration_since(silence.since));
        }
        silence.next = now + self.rest;
        Ok(())
    }

    /// Whether a call would be refused now; nothing is tried.
    ///
    /// # Errors
    /// How long the server has not answered.
    pub(crate) fn would_admit(&self, now: Instant) -> Result<(), Duration> {
        match self.lock().as_ref().filter(|it| it.calls >= ENOUGH && now < it.next) {
            Some(silence) => Err(now.duration_since(silence.since)),
            None => Ok(()),
        }
    }

    /// It answered, whatever it said.
    pub(crate) fn answered(&self) {
        *self.lock() = None;
    }

    /// A call that began at `began` got no answer until `now`.
    pub(crate) fn silent(&self, began: Instant, now: Instant) {
        let mut silence = self.lock();
        let known = silence.get_or_insert(Silence { since: began, calls: 0, next: now });
        known.calls = known.calls.saturating_add(1);
        known.next = known.next.max(now + self.rest);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Silence>> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For messages: since when, in words.
pub(crate) fn told(silent_for: Duration) -> String {
    let since = Utc::now() - TimeDelta::from_std(silent_for).unwrap_or_default();
    format!("has not answered since {} and is left alone for a moment", since.round_subsecs(0).format("%H:%M:%S UTC"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// Three calls at once got no answer by the instant returned.
    fn silent() -> (Outage, Instant) {
        let (outage, began) = (Outage::default(), Instant::now());
        let now = began + PATIENCE;
        for _ in 0..ENOUGH {
            assert_eq!(outage.admit(began), Ok(()));
        }
        (0..ENOUGH).for_each(|_| outage.silent(began, now));
        (outage, now)
    }

    #[test]
    fn after_a_few_calls_without_an_answer_the_next_ones_do_not_wait() {
        let (outage, now) = silent();
        assert_eq!(outage.admit(now), Err(PATIENCE), "and are told for how long");
        assert_eq!(outage.admit(now + Duration::from_secs(4)), Err(PATIENCE + Duration::from_secs(4)));
    }

    #[test]
    fn one_call_without_an_answer_silences_nobody() {
        let (outage, now) = (Outage::default(), Instant::now());
        for _ in 0..100 {
            outage.silent(now, now);
            assert_eq!(outage.admit(now), Ok(()));
            outage.answered();
        }
    }

    #[test]
    fn then_one_call_at_a_time_tries_again() {
        let (outage, now) = silent();
        let later = now + REST;
        assert_eq!(outage.admit(later), Ok(()));
        assert!(outage.admit(later).is_err(), "while that one is under way");
        outage.silent(later, later + PATIENCE);
        assert!(outage.admit(later + PATIENCE).is_err());
        assert_eq!(outage.admit(later + PATIENCE + REST), Ok(()));
    }

    #[test]
    fn a_call_that_never_tells_how_it_ended_does_not_end_the_trying() {
        let (outage, now) = silent();
        assert_eq!(outage.admit(now + REST), Ok(()));
        assert_eq!(outage.admit(now + REST + REST), Ok(()));
    }

    #[test]
    fn an_answer_ends_it() {
        let (outage, now) = silent();
        outage.answered();
        assert_eq!(outage.admit(now), Ok(()));
        outage.silent(now, now);
        assert_eq!(outage.admit(now), Ok(()), "and it counts from the beginning");
    }
}
