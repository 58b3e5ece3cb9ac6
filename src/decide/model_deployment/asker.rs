//! Who asked for a decision, for the record.
//!
//! A request says by whom it is, and the record makes an actor of that name (see [`crate::audit::people`]). To resume, to promote and to retry
//! wait up to a minute for that while the log takes entries; a step that ends meanwhile ends by itself, and what was asked for it is refused.
//! Nothing else waits: until then it is somebody's whom nobody can name, `unknown` in status. An abort or a pause is recorded when the log
//! answers, and a promotion when its pods are there. By then the request is still there to be asked about, and gets its actor, for which
//! what could not be recorded waits up to a minute once the log takes entries again. It stays unknown if another request has taken the place of that one
//! meanwhile. An actor who is known stays with what was asked for, whatever others ask for before it is recorded.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::pass::{Pass, TRAIL_RETRY};
use super::request::{self, Request, Verb};
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, Cause, HandledRequest, Probation, RequestOutcome, TrailNote};
use crate::audit::{EntryKind, UNKNOWN_ACTOR};

/// How long a decision waits for its actor once the log takes entries again.
const PATIENCE: Duration = Duration::from_secs(60);

impl Pass<'_> {
    /// What is decided in there was asked for by this actor.
    pub(super) fn asked_for<T>(&mut self, by: Option<String>, decide: impl FnOnce(&mut Self) -> T) -> T {
        self.asked_by = by.unwrap_or_default();
        let decided = decide(self);
        self.asked_by.clear();
        decided
    }

    /// By whom the request on the resource is, if it says so.
    pub(super) fn asker(&self) -> Option<String> {
        let unknown = || request::by(self.resource).map(|_| UNKNOWN_ACTOR.to_owned());
        self.observed.asked_by.clone().or_else(unknown)
    }

    /// Which actor asks for something to be taken back, if that is why.
    pub(super) fn who_aborts(&self, cause: Cause) -> Option<String> {
        self.asker().filter(|_| cause == Cause::Aborted)
    }

    /// What was carried out last, if nobody knows who asked for it and the request is still there to be asked about.
    fn of_somebody(&self) -> Option<&HandledRequest> {
        let handled = self.status.handled_request.as_ref()?;
        let is_unknown = handled.asked_by.as_deref() == Some(UNKNOWN_ACTOR);
        (is_unknown && request::is_on(self.resource, handled)).then_some(handled)
    }

    /// The record says by now who asked for what was carried out last: so do what was decided then, and not recorded yet.
    pub(super) fn name_asker(&mut self) {
        let Some(actor) = self.observed.asked_by.clone() else { return };
        let Some(handled) = self.of_somebody().cloned() else { return };
        // Of an attempt, one abort and one pause are carried out while the log is silent: a second is refused, and nothing was decided for it.
        let own = self.status.unrecorded.iter_mut().filter(|it| is_unnamed(it, &handled));
        own.for_each(|it| it.asked_by.clone_from(&actor));
        let skips = |it: &&mut Attempt| it.id == handled.attempt && has_done(&handled, Verb::Promote);
        let skips = self.status.attempt.as_mut().filter(skips).and_then(|it| it.skip_asked_by.as_mut());
        if let Some(by) = skips.filter(|it| *it == UNKNOWN_ACTOR) {
            by.clone_from(&actor);
        }
        let recalls = |it: &&mut Probation| it.attempt == handled.attempt && has_done(&handled, Verb::Abort);
        let recall = self.status.probation.as_mut().filter(recalls).and_then(|it| it.recall.as_mut());
        if let Some(recall) = recall.filter(|it| it.asked_by == UNKNOWN_ACTOR) {
            recall.asked_by.clone_from(&actor);
        }
        self.status.handled_request = Some(HandledRequest { asked_by: Some(actor), ..handled });
    }

    /// Until when what is not recorded waits for its actor.
    pub(super) fn awaits_asker(&self) -> Option<DateTime<Utc>> {
        let until = self.asker_awaited_until()?;
        let handled = self.of_somebody()?;
        self.status.unrecorded.iter().any(|it| is_unnamed(it, handled)).then_some(until)
    }

    /// Whether this request waits for its actor; if so, it is looked at again.
    pub(super) fn waits_for_asker(&mut self, request: &Request) -> bool {
        let waits = !matches!(request.verb, Verb::Abort | Verb::Pause);
        let Some(until) = self.asker_awaited_until().filter(|_| waits) else { return false };
        self.look_again(until.min(after(self.now, TRAIL_RETRY)));
        true
    }

    fn asker_awaited_until(&self) -> Option<DateTime<Utc>> {
        let until = after(self.observed.asker_unknown_since?, PATIENCE);
        (until > self.now).then_some(until)
    }
}

/// Whether it was decided because of this request, by nobody who is known.
fn is_unnamed(note: &TrailNote, handled: &HandledRequest) -> bool {
    let fits = match note.decision.as_str() {
        "Pause" => has_done(handled, Verb::Pause),
        // What is called back goes back later.
        "RollBack" | "Recall" => has_done(handled, Verb::Abort),
        _ => false,
    };
    fits && note.attempt == handled.attempt && note.kind == EntryKind::Intent && note.asked_by == UNKNOWN_ACTOR
}

/// Whether this was asked for, and carried out.
pub(super) fn has_done(handled: &HandledRequest, verb: Verb) -> bool {
    handled.verb == verb.word() && handled.outcome == RequestOutcome::Done
}
