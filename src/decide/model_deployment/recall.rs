//! Recall: traffic goes back from a revision on probation to the last proven one, which may have no pods any more.
//!
//! It waits for nothing but those pods: not for the trail, not for `suspend`. Until they are ready, as many as all of
//! the traffic takes, the revision that is taken back goes on serving. No other attempt advances while they are
//! awaited, up to `progressDeadline`: a fallback that does not come up must not block the repair. When they are ready,
//! everything that is not proven goes at once, the candidate of another attempt too, in one write of the
//! route; only one that has all of the traffic by then stays, because it has taken the place of what is taken back.
//!
//! So while a revision is called back, traffic goes, in this order, to
//!
//! 1. a candidate that has all of it, as long as nothing takes it from that one;
//! 2. the last proven revision, as soon as its pods can take all of it: also in the very pass in which a candidate is
//!    aborted, breaches, is replaced, or loses its pods. What has failed gets nothing back, not for one pass;
//! 3. what served when it was called back, because something has to.
//!
//! A candidate that goes with it goes for a reason of its own if it has one in that pass, as if nothing else
//! happened: what a person aborts, or a guardrail speaks against, does not begin anew.

use chrono::{DateTime, Utc};

use super::images;
use super::kept;
use super::pass::Pass;
use super::request::{Request, Verb};
use super::transition::TakeBack;
use crate::api::Weight;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState, Cause, Probation, Recall, RevisionRole, RevisionStatus};
use crate::decide::EventType;

impl Pass<'_> {
    /// The pods of the last proven revision come up; with them, traffic goes back. Whether they are there already.
    pub(super) fn recall(&mut self, probation: &Probation, why: &TakeBack, request: Option<&Request>) -> bool {
        let message = condition::brief(&why.message);
        if why.cause.is_sticky() {
            self.refuse(&probation.revision, Some(why.cause));
        }
        let by = self.who_aborts(why.cause);
        let recall = Recall {
            cause: why.cause,
            message: message.clone(),
            at: self.now,
            asked_by: by.clone().unwrap_or_default(),
        };
        if self.may_go_back(probation, request) {
            self.go_back(probation, &recall, request);
            return true;
        }
        if let Some(it) = self.status.probation.as_mut() {
            it.recall = Some(recall);
        }
        let back = &probation.fallback.revision;
        self.set_role(back, RevisionRole::Fallback);
        self.asked_for(by, |it| {
            it.note_about(probation, Weight::FULL, "Recall", &format!("{:?}: {message}", why.cause))
        });
        let type_ = if why.cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        let note = format!("revision {} goes back to {back} when its pods are ready: {message}", probation.revision);
        self.tell(type_, &format!("{:?}", why.cause), "Recall", note);
        false
    }

    /// Goes back when the pods are there; whether they are.
    pub(super) fn await_fallback(&mut self, probation: &Probation, recall: &Recall, request: Option<&Request>) -> bool {
        // While nobody knows what the spec names, it goes on as it was last known to.
        let names_another = self.target.is_ok() && !self.names(&probation.fallback.revision);
        if recall.cause == Cause::Reverted && (names_another || probation.images_differ.is_some()) {
            self.stay(probation);
            return false;
        }
        let may = self.may_go_back(probation, request);
        if may {
            self.go_back(probation, recall, request);
        }
        may
    }

    /// Whether the pods are there, and there is traffic to take back.
    fn may_go_back(&self, probation: &Probation, request: Option<&Request>) -> bool {
        let stays = self.replacing().is_some() && !self.is_taking_back(request);
        self.carries_all(&probation.fallback.revision) && !stays
    }

    /// The candidate that goes up, if there is one.
    fn goes_up(&self) -> Option<&Attempt> {
        self.active().filter(|it| it.state.goes_up())
    }

    /// The one that has all of the traffic, and takes the place of the stable revision.
    fn replacing(&self) -> Option<&Attempt> {
        self.goes_up().filter(|it| it.weight == Weight::FULL)
    }

    /// The spec has changed its mind again, or names what is not there any more: what served all the while goes on.
    fn stay(&mut self, probation: &Probation) {
        if let Some(it) = self.status.probation.as_mut() {
            it.recall = None;
        }
        self.set_role(&probation.fallback.revision, RevisionRole::Kept);
        self.look_again(self.now);
    }

    /// The candidate of another attempt goes too: for a reason of its own, or to begin anew.
    fn give_up(&mut self, other: &Attempt, probation: &Probation, request: Option<&Request>) {
        let abort = request.filter(|it| it.verb == Verb::Abort);
        if let Some(abort) = abort {
            self.status.handled_request = Some(abort.done());
        }
        let own = self.take_back(other, abort.is_some());
        let cause = own.as_ref().map_or(Cause::Superseded, |it| it.cause);
        if cause.is_sticky() {
            self.refuse(&other.revision, Some(cause));
        }
        let anew = || format!("revision {}, which it began from, is taken back: it begins anew", probation.revision);
        let reason = own.as_ref().map_or_else(anew, |it| format!("{cause:?}: {}", it.message));
        let by = self.who_aborts(cause);
        self.asked_for(by, |it| it.note_of(&other.id, &other.revision, Weight::NONE, "RollBack", &reason));
        let why = own.map_or_else(anew, |it| it.message);
        let note = format!("revision {} goes back from {} to 0%: {why}", other.revision, other.weight);
        let type_ = if cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        self.tell(type_, &format!("{cause:?}"), "RollBack", note);
    }

    /// All traffic to the last proven revision, from whoever has some.
    pub(super) fn go_back(&mut self, probation: &Probation, recall: &Recall, request: Option<&Request>) {
        let (cause, message) = (recall.cause, &recall.message);
        if let Some(other) = self.goes_up().cloned() {
            self.give_up(&other, probation, request);
        }
        let changed = self.changed_images(probation);
        if let Some(changed) = &changed {
            kept::forget(&mut self.status, &probation.fallback.revision);
            self.tell(EventType::Warning, images::DIFFER, "RollBack", changed.as_str());
        }
        let message = &changed.map_or_else(|| message.clone(), |it| format!("{message}; {it}"));
        let served_by = self.stable_replicas();
        let entry = self.status.stable.replace(probation.fallback.clone()).unwrap_or_default();
        self.set_role(&probation.fallback.revision, RevisionRole::Stable);
        self.set_role(&probation.revision, RevisionRole::Candidate);
        let attempt = self.attempt_at(probation.attempt.clone(), entry, AttemptState::RollingBack);
        let (message, stable_replicas) = (condition::brief(message), attempt.stable_replicas.max(served_by));
        self.status.attempt =
            Some(Attempt { cause: Some(cause), message: Some(message.clone()), stable_replicas, ..attempt });
        self.notice_that_it_sleeps();
        self.status.verdicts.clone_from(&probation.verdicts);
        self.status.probation = None;
        let by = Some(recall.asked_by.clone());
        self.asked_for(by, |it| it.intend_at_once("RollBack", &format!("{cause:?}: {message}")));
        let type_ = if cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        let note =
            format!("revision {} goes back to revision {}: {message}", probation.revision, probation.fallback.revision);
        self.tell(type_, &format!("{cause:?}"), "RollBack", note);
    }

    /// Whether the spec asks for this revision, as far as anybody knows.
    pub(super) fn names(&self, revision: &str) -> bool {
        self.target.as_ref().is_ok_and(|it| it.entry.revision == revision)
    }

    /// Whether a revision needs no pods: it is kept only to be gone back to, and nobody wants to, or it was stopped.
    pub(super) fn sleeps(&self, it: &RevisionStatus) -> bool {
        let called = self.status.probation.as_ref().is_some_and(|it| it.recall.is_some());
        it.role == RevisionRole::Fallback && !called || self.is_stopped(&it.revision)
    }

    /// What is gone back to.
    pub(super) fn fallback(&self) -> Option<&str> {
        self.status.probation.as_ref().map(|it| it.fallback.revision.as_str())
    }

    /// Until when nothing else advances, because all of it is about to go back.
    pub(super) fn recalled_until(&self) -> Option<DateTime<Utc>> {
        let recall = self.status.probation.as_ref()?.recall.as_ref()?;
        Some(after(recall.at, self.policy.progress_deadline))
    }

    /// Whether that is still to come.
    pub(super) fn awaits_fallback(&self) -> bool {
        self.recalled_until().is_some_and(|at| at > self.now)
    }

    /// Whether its pods are awaited, and have not come in time.
    pub(super) fn awaits_in_vain(&self) -> bool {
        self.recalled_until().is_some_and(|at| at <= self.now) && self.replacing().is_none()
    }

    /// What is awaited while the last proven revision is called back, for people.
    pub(super) fn awaited_fallback(&self) -> Option<(Cause, String)> {
        let probation = self.status.probation.as_ref()?;
        let recall = probation.recall.as_ref()?;
        let back = &probation.fallback.revision;
        let awaited = match self.replacing() {
            Some(other) => {
                let held = self.held(other).map(|(_, message)| message);
                let waits = held.or_else(|| self.awaited(other)).unwrap_or_default();
                format!(
                    "revision {} has all of the traffic and takes its place when it is promoted: {waits}",
                    other.revision
                )
            }
            None => {
                let (ready, wanted) = (self.serving_of(back), Weight::FULL.capacity(self.full()));
                let changed = self.changed_images(probation).map(|it| format!("; {it}")).unwrap_or_default();
                format!("waiting for revision {back}: {ready} of {wanted} pods are ready{changed}")
            }
        };
        Some((recall.cause, format!("revision {} is taken back: {}; {awaited}", probation.revision, recall.message)))
    }

    /// That, if it is what goes on at this moment.
    pub(super) fn comes_back(&self) -> Option<String> {
        let (_, message) = self.awaited_fallback().filter(|_| self.replacing().is_none() && !self.awaits_in_vain())?;
        Some(message)
    }
}
