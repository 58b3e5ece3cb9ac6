//! A person holds the weight, by `pause` or by a suspension (see `suspension`), and lets it go.
//!
//! A hold stands beside the walk: the attempt keeps its state, and everything that protects goes on (guardrails,
//! measurements, rollback, weight 0 for a candidate without pods). What does not happen is a rise: no further weight,
//! none that comes back after pods were lost, and no end of the promotion.
//!
//! | deadline | while the weight is held |
//! |---|---|
//! | `onOutage.after`, `progressDeadline` | goes on: what it waits for is broken, and nobody asked for that |
//! | `maxStepTime` | stands still: the step does not end because a person does not want it to; once let go it has all of its time again |
//!
//! `for` goes on, too: the weight is in effect, and watched.
//!
//! `promote` is the other way round: what is left of `for`, and of the steps, is skipped; proof is not. It is carried
//! out if every metric's newest verdict is Pass at that moment, or refused: a request that lay
//! in wait for proof would come true when nobody looks. For the same reason it lapses when the proof
//! is lost while pods for all traffic come up.

use chrono::{DateTime, Utc};

use super::asker::has_done;
use super::capacity::is_short;
use super::pass::Pass;
use super::request::{self, Request, Verb};
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{Attempt, AttemptState, HandledRequest, RequestOutcome};
use crate::decide::EventType;

/// What keeps an attempt's weight from rising.
pub enum Hold {
    /// A person asked for it, at that time.
    Paused(DateTime<Utc>),
    /// The spec or the namespace does, since that time.
    Suspended(DateTime<Utc>),
}

impl Hold {
    /// CamelCase, from the documented list.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Paused(_) => "Paused",
            Self::Suspended(_) => "Suspended",
        }
    }

    /// What has to happen before a promotion can be asked for.
    pub(super) fn before_promote(&self) -> String {
        match self {
            Self::Paused(_) => "the attempt is paused: resume it first, then promote".into(),
            Self::Suspended(_) => format!(
                "the attempt is suspended: spec.suspend is true, or the namespace's annotation {} is; its condition Ready says which: promote when it goes on",
                labels::SUSPEND
            ),
        }
    }
}

/// What holds an attempt that goes up; one that is taken back is held by nothing.
#[must_use]
pub fn of(attempt: &Attempt) -> Option<Hold> {
    let goes_up = attempt.state.goes_up();
    let hold = attempt.suspended_since.map(Hold::Suspended).or(attempt.paused_since.map(Hold::Paused));
    hold.filter(|_| goes_up)
}

/// From when `maxStepTime` counts; nothing while it stands still.
pub(super) fn step_time_from(attempt: &Attempt) -> Option<DateTime<Utc>> {
    let observing = attempt.observing_since.filter(|_| of(attempt).is_none())?;
    Some(attempt.held_until.map_or(observing, |it| it.max(observing)))
}

/// Whoever goes back is held by nothing, and has nothing more to skip.
pub(super) fn release(attempt: &mut Attempt) {
    attempt.paused_since = None;
    attempt.suspended_since = None;
    attempt.held_until = None;
    keep_steps(attempt);
}

/// It takes its steps after all.
pub(super) fn keep_steps(attempt: &mut Attempt) {
    attempt.skip_steps = false;
    attempt.skip_asked_by = None;
}

impl Pass<'_> {
    /// Notes since when a suspension holds the attempt, and when it was let go.
    pub(super) fn watch_suspension(&mut self) {
        let (suspended, now) = (self.is_suspended(), self.now);
        let Some(attempt) = self.active() else { return };
        let was_held = of(attempt).is_some();
        self.change(|it| {
            it.suspended_since = suspended.then(|| it.suspended_since.unwrap_or(now));
            if suspended {
                keep_steps(it);
            }
            if was_held && of(it).is_none() {
                it.held_until = Some(now);
            }
        });
    }

    /// The request that is meant for what is there now, and may be carried out. Any that is meant for something else is refused on the way.
    pub(super) fn request(&mut self) -> Option<Request> {
        let asked_by = self.asker();
        let request = Request { asked_by, ..request::pending(self.resource, &self.status)? };
        let objection = if self.resource.status.is_none() {
            Some("it came with the object: a request is made to an attempt under way".to_owned())
        } else {
            request::addressed(&request, &self.status).err()
        };
        match objection {
            Some(why) => {
                self.refuse_request(&request, &why);
                None
            }
            None if self.waits_for_asker(&request) => None,
            None => Some(request),
        }
    }

    /// It does nothing, and people are told why.
    pub(super) fn refuse_request(&mut self, request: &Request, why: &str) {
        self.status.handled_request = Some(request.refused(why));
        let note = format!("{} is refused: {why}", request.verb.word());
        self.tell(EventType::Warning, "RequestRefused", "Request", note);
    }

    /// Carries out what a person wants of an attempt that goes on; whether there was something to be done.
    pub(super) fn steer(&mut self, attempt: &Attempt, request: &Request) -> bool {
        match request.verb {
            Verb::Pause => self.pause(attempt, request),
            // Going on may wait for the record.
            Verb::Resume if self.may_record() => self.resume(attempt, request),
            Verb::Promote => match self.unproven(attempt) {
                Some(why) => self.refuse_request(request, &why),
                None => self.promote(request),
            },
            Verb::Resume | Verb::Abort | Verb::Retry => return false,
        }
        true
    }

    fn pause(&mut self, attempt: &Attempt, request: &Request) {
        let now = self.now;
        self.change(|it| {
            it.paused_since = Some(now);
            keep_steps(it);
        });
        self.status.handled_request = Some(request.done());
        self.asked_for(request.asked_by.clone(), |it| it.note_at_once("Pause", "pause was requested"));
        let note = format!("revision {} is held at {} by request", attempt.revision, attempt.weight);
        self.tell(EventType::Normal, "Paused", "Pause", note);
    }

    fn resume(&mut self, attempt: &Attempt, request: &Request) {
        let now = self.now;
        self.change(|it| {
            it.paused_since = None;
            it.held_until = Some(now);
        });
        self.status.handled_request = Some(request.done());
        self.asked_for(request.asked_by.clone(), |it| it.note_aside("Resume", "resume was requested"));
        let note = format!("revision {} goes on from {} by request", attempt.revision, attempt.weight);
        self.tell(EventType::Normal, "Resumed", "Resume", note);
        // It may have been ready to for long.
        self.look_again(self.now);
    }

    fn promote(&mut self, request: &Request) {
        self.status.handled_request = Some(request.done());
        let now = self.now;
        self.change(|it| {
            it.skip_steps = true;
            it.skip_asked_by.clone_from(&request.asked_by);
            // Pods for all of the traffic are awaited from now on.
            it.entered_at = if it.state == AttemptState::Starting { now } else { it.entered_at };
        });
        if let Some(attempt) = self.active().cloned() {
            self.advance(&attempt);
        }
    }

    /// What is missing for all traffic, besides time, while the present weight is watched.
    fn unproven(&self, attempt: &Attempt) -> Option<String> {
        let since = attempt.observing_since?;
        if let Some(error) = self.policy.errors.first() {
            return Some(error.message.clone());
        }
        if let Err(blocked) = &self.target {
            return Some(blocked.message.clone());
        }
        if let Some(closed) = self.gates_up_to(attempt, Weight::FULL) {
            return Some(closed.message);
        }
        if let Some(contested) = self.contests().next() {
            return Some(contested.message);
        }
        if let Some(mixed) = self.mixed_candidate() {
            return Some(mixed);
        }
        if is_short(attempt) {
            return Some(self.awaited_pods(attempt, attempt.weight));
        }
        let missing = self.unpassed_since(since)?;
        Some(format!("{}; ask again when it is Pass", self.lacks(missing, since)))
    }

    /// A promotion that has lost its proof before it came true.
    pub(super) fn lapse(&mut self, attempt: &Attempt) -> bool {
        let closed = || self.gates_up_to(attempt, Weight::FULL).is_some();
        let waits = attempt.skip_steps && attempt.state != AttemptState::Promoting;
        let lost = waits && (!self.step_is_proven(attempt) || closed());
        if lost {
            self.change(keep_steps);
            let why = self.unproven(attempt).unwrap_or_else(|| "its proof was lost".into());
            let own = |it: &&mut HandledRequest| it.attempt == attempt.id && has_done(it, Verb::Promote);
            if let Some(it) = self.status.handled_request.as_mut().filter(own) {
                it.outcome = RequestOutcome::Refused;
                it.message = Some(crate::api::condition::brief(&why));
            }
            self.tell(EventType::Warning, "RequestRefused", "Request", format!("promote lapses: {why}"));
        }
        lost
    }

    /// What holds the attempt, for people.
    pub(super) fn held(&self, attempt: &Attempt) -> Option<(&'static str, String)> {
        let hold = of(attempt)?;
        let (how, since, whose) = match hold {
            Hold::Paused(since) => ("paused", since, "by request: it goes on with kubectl werkbank resume".to_owned()),
            Hold::Suspended(since) => ("suspended", since, self.suspension().unwrap_or_default()),
        };
        let by = if matches!(hold, Hold::Paused(_)) { "," } else { ":" };
        let mut message = format!("{how} at {} since {}{by} {whose}", attempt.weight, since.format("%FT%TZ"));
        if let Some(awaited) = self.awaited(attempt) {
            message.push_str(&format!("; {awaited}"));
        }
        Some((hold.reason(), message))
    }

    /// Why the last request to this attempt, at this step, did nothing.
    pub(super) fn refused_request(&self, attempt: &Attempt) -> Option<String> {
        let request = self.status.handled_request.as_ref().filter(|it| it.outcome == RequestOutcome::Refused)?;
        let here = request.attempt == attempt.id && request.step == request::step_of(attempt);
        let why = request.message.as_deref().filter(|_| here)?;
        Some(format!("{} was refused: {why}", request.verb))
    }
}
