//! Recall: traffic goes back from a revision on probation to the last proven one, which may have no pods any more.
//!
//! It waits for nothing but those pods: not for the trail, not for `suspend`. Until they are ready, as many as all of
//! the traffic takes, the revision that is taken back goes on serving. No other attempt advances while they are
//! awaited, up to `progressDeadline`: a fallback that does not come up must not block the repair. When they are ready,
//! everything that is not proven goes at once, the candidate of another attempt too, in one write of the
//! route; only one that has all of the traffic by then stays, because it has taken the place of what is taken back.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use super::transition::TakeBack;
use crate::api::Weight;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState, Cause, Probation, Recall, RevisionRole};
use crate::decide::EventType;

impl Pass<'_> {
    /// The pods of the last proven revision come up; with them, traffic goes back. Whether they are there already.
    pub(super) fn recall(&mut self, probation: &Probation, why: &TakeBack) -> bool {
        let message = condition::brief(&why.message);
        if why.cause.is_sticky() {
            self.refuse(&probation.revision, Some(why.cause));
        }
        if self.may_go_back(probation) {
            self.go_back(probation, why.cause, &message);
            return true;
        }
        let at = self.now;
        if let Some(it) = self.status.probation.as_mut() {
            it.recall = Some(Recall { cause: why.cause, message: message.clone(), at });
        }
        let back = &probation.fallback.revision;
        self.set_role(back, RevisionRole::Fallback);
        self.note_about(probation, Weight::FULL, "Recall", &format!("{:?}: {message}", why.cause));
        let type_ = if why.cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        let note = format!("revision {} goes back to {back} when its pods are ready: {message}", probation.revision);
        self.tell(type_, &format!("{:?}", why.cause), "Recall", note);
        false
    }

    /// Goes back when the pods are there; whether they are.
    pub(super) fn await_fallback(&mut self, probation: &Probation, recall: &Recall) -> bool {
        // While nobody knows what the spec names, it goes on as it was last known to.
        let names_another = self.target.is_ok() && !self.names(&probation.fallback.revision);
        if recall.cause == Cause::Reverted && names_another {
            self.stay(probation);
            return false;
        }
        let may = self.may_go_back(probation);
        if may {
            self.go_back(probation, recall.cause, &recall.message);
        }
        may
    }

    /// Whether the pods are there, and there is traffic to take back.
    fn may_go_back(&self, probation: &Probation) -> bool {
        let goes_up = self.active().filter(|it| it.state != AttemptState::RollingBack);
        let replaced = goes_up.is_some_and(|it| it.weight == Weight::FULL);
        self.carries_all(&probation.fallback.revision) && !replaced
    }

    /// The spec has changed its mind again: what served all the while goes on.
    fn stay(&mut self, probation: &Probation) {
        if let Some(it) = self.status.probation.as_mut() {
            it.recall = None;
        }
        self.set_role(&probation.fallback.revision, RevisionRole::Kept);
        self.look_again(self.now);
    }

    /// All traffic to the last proven revision, from whoever has some.
    fn go_back(&mut self, probation: &Probation, cause: Cause, message: &str) {
        if let Some(other) = self.active().filter(|it| it.state != AttemptState::RollingBack).cloned() {
            let why = format!("revision {}, which it began from, is taken back: it begins anew", probation.revision);
            self.note_of(&other.id, &other.revision, Weight::NONE, "RollBack", &why);
            let note = format!("revision {} goes back from {} to 0%: {why}", other.revision, other.weight);
            self.tell(EventType::Normal, "Superseded", "RollBack", note);
        }
        let entry = self.status.stable.replace(probation.fallback.clone()).unwrap_or_default();
        self.set_role(&probation.fallback.revision, RevisionRole::Stable);
        self.set_role(&probation.revision, RevisionRole::Candidate);
        let attempt = self.attempt_at(probation.attempt.clone(), entry, AttemptState::RollingBack);
        self.status.attempt = Some(Attempt { cause: Some(cause), message: Some(condition::brief(message)), ..attempt });
        self.status.verdicts.clone_from(&probation.verdicts);
        self.status.probation = None;
        self.intend_at_once("RollBack", &format!("{cause:?}: {message}"));
        let type_ = if cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        let note =
            format!("revision {} goes back to revision {}: {message}", probation.revision, probation.fallback.revision);
        self.tell(type_, &format!("{cause:?}"), "RollBack", note);
    }

    /// Whether the spec asks for this revision, as far as anybody knows.
    pub(super) fn names(&self, revision: &str) -> bool {
        self.target.as_ref().is_ok_and(|it| it.entry.revision == revision)
    }

    /// Whether a revision is kept only to be gone back to, and nobody wants to.
    pub(super) fn sleeps(&self, role: RevisionRole) -> bool {
        let called = self.status.probation.as_ref().is_some_and(|it| it.recall.is_some());
        role == RevisionRole::Fallback && !called
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

    /// What is awaited while the last proven revision is called back, for people.
    pub(super) fn awaited_fallback(&self) -> Option<(Cause, String)> {
        let probation = self.status.probation.as_ref()?;
        let recall = probation.recall.as_ref()?;
        let back = &probation.fallback.revision;
        let (ready, wanted) = (self.serving_of(back), Weight::FULL.capacity(self.full()));
        let message = format!(
            "revision {} is taken back: {}; waiting for revision {back}: {ready} of {wanted} pods are ready",
            probation.revision, recall.message
        );
        Some((recall.cause, message))
    }
}
