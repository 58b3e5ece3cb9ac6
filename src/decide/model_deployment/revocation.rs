//! An entry is revoked: the incident switch. Nothing of it gets traffic, whatever else is going on.
//!
//! | what serves the entry | what becomes of it |
//! |---|---|
//! | a candidate | it is taken back, before anything else is looked at |
//! | what is kept to go back to | it is not gone back to any more, and its pods go |
//! | the stable revision, `onRevocation: StopServing` | it is off traffic in this very pass: see below |
//! | the stable revision, `onRevocation: Keep` | it serves until the revision before is back, or the next one is promoted |
//!
//! What takes the place of a stable revision that is stopped: the one that is kept to go back to (on probation, or for
//! `rollout.keepStable`), if it is proven and nothing speaks against it. It gets all traffic at once, though its pods may have to
//! come up first: those requests fail, as they would if nobody served. A candidate on its way begins anew from it. Where
//! nothing is kept, nothing serves. A candidate on its way goes on as a first deployment then: there is nothing to share
//! traffic with, or to compare with, so it gets all of it as soon as it has the pods, unless a person holds it.
//!
//! The same bytes under another entry are another matter: once the spec names such an entry, and that one is not revoked,
//! the revision is that entry's.

use std::collections::BTreeMap;

use super::pass::Pass;
use super::request::{Request, Verb};
use super::transition::TakeBack;
use crate::api::Weight;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, EntryName, EntryRef, ModelDeploymentStatus, OnRevocation, Probation, Recall,
    RevisionRole, RevisionStatus,
};
use crate::decide::EventType;
use crate::decide::model_registry_entry::usage::used_by;

/// Names of the entries of all revisions that are alive, and that of the last attempt, though it has ended.
pub fn entries_of(status: &ModelDeploymentStatus) -> impl Iterator<Item = &str> {
    used_by(status).chain(status.attempt.as_ref().map(|it| it.entry.name.as_str()))
}

impl Pass<'_> {
    /// Why a revision of this entry is to have no traffic, if the entry is revoked.
    pub(super) fn revoked(&self, it: &EntryRef) -> Option<TakeBack> {
        let is_revoked = self.observed.revoked.contains(&it.name);
        is_revoked.then(|| TakeBack::because(Cause::Revoked, format!("entry {} is revoked", it.name)))?
    }

    /// Whose the revisions are. Of the one that the spec names, the spec says: the same bytes may be another entry's now, or that of
    /// one that was registered again. Of one that an earlier version of the operator began, its record does.
    pub(super) fn note_entries(&mut self) {
        // Not for an entry that is not approved: what serves would be safe from the one that it was approved as.
        if let Some(target) = self.target.as_ref().ok().filter(|_| self.entry_gate().is_none()) {
            let named = target.entry.clone();
            let status = &mut self.status;
            let attempt = status.attempt.as_mut().filter(|it| it.state.is_active()).map(|it| &mut it.entry);
            let fallback = status.probation.as_mut().map(|it| &mut it.fallback);
            let all = attempt.into_iter().chain(fallback).chain(&mut status.stable);
            all.filter(|it| it.revision == named.revision).for_each(|it| *it = named.clone());
            let of_named = status.revisions.iter_mut().filter(|it| it.revision == named.revision);
            of_named.for_each(|it| it.entry = Some(EntryName::from(&named)));
        }
        let unknown: Vec<String> =
            self.status.revisions.iter().filter(|it| it.entry.is_none()).map(|it| it.revision.clone()).collect();
        for revision in unknown {
            let entry = self.recorded_entry(&revision);
            self.status
                .revisions
                .iter_mut()
                .filter(|it| it.revision == revision)
                .for_each(|it| it.entry.clone_from(&entry));
        }
    }

    fn recorded_entry(&self, revision: &str) -> Option<EntryName> {
        Some(EntryName::from(&self.recorded(revision)?.record.as_ref().ok()?.entry))
    }

    /// Takes what is revoked off traffic. Whether that is all there is to do now.
    pub(super) fn watch_revocation(&mut self, request: Option<&Request>) -> bool {
        self.wake_for_stopped();
        self.note_entries();
        self.let_go_of_revoked();
        let Some(stable) = self.status.stable.clone() else { return false };
        let Some(why) = self.revoked(&stable) else { return false };
        let refuge = self.refuge(&stable);
        match (self.policy.on_revocation, refuge) {
            (OnRevocation::Keep, None) => false,
            // It is awaited already.
            (OnRevocation::Keep, Some(refuge)) if refuge.recall.is_some() => false,
            (OnRevocation::Keep, Some(refuge)) => {
                self.status.probation = Some(refuge.clone());
                self.recall(&refuge, &why, request)
            }
            (OnRevocation::StopServing, refuge) => {
                self.stop_serving(&stable, refuge, &why, request);
                true
            }
        }
    }

    /// What is kept to go back to, and is revoked, is gone back to no more.
    fn let_go_of_revoked(&mut self) {
        let fallback = self.status.probation.clone().filter(|it| self.revoked(&it.fallback).is_some());
        if let Some(probation) = fallback {
            self.status.probation = None;
            let why = format!("entry {}, of what was kept to go back to, is revoked", probation.fallback.name);
            self.note_about(&probation, Weight::FULL, "EndProbation", &why);
            self.drop_revoked(&probation.fallback);
        }
        let kept: Vec<EntryRef> = self.kept_revisions().filter(|it| self.revoked(it).is_some()).collect();
        kept.iter().for_each(|it| self.drop_revoked(it));
    }

    fn drop_revoked(&mut self, it: &EntryRef) {
        self.refuse(&it.revision, Some(Cause::Revoked));
        self.set_role(&it.revision, RevisionRole::Draining);
        let note = format!("revision {} is not kept to go back to any more: entry {} is revoked", it.revision, it.name);
        self.tell(EventType::Warning, "Revoked", "LetGo", note);
    }

    /// Revisions that served before and still have their pods.
    fn kept_revisions(&self) -> impl Iterator<Item = EntryRef> {
        let entry = |it: &RevisionStatus| {
            let EntryName { name, uid } = it.entry.clone()?;
            Some(EntryRef { revision: it.revision.clone(), name, uid })
        };
        self.status.revisions.iter().filter(|it| it.role == RevisionRole::Kept).filter_map(entry)
    }

    /// What is gone back to from a stable revision that is revoked, as if that were on probation, which it may be.
    fn refuge(&self, stable: &EntryRef) -> Option<Probation> {
        if let Some(probation) = &self.status.probation {
            return Some(probation.clone());
        }
        let proven = |it: &EntryRef| self.status.proven.iter().any(|proven| proven.revision == it.revision);
        let fallback = self.kept_revisions().find(proven)?;
        let attempt = self.promoted_by(&stable.revision);
        Some(Probation {
            attempt,
            revision: stable.revision.clone(),
            baseline: fallback.revision.clone(),
            fallback,
            fallback_images: BTreeMap::new(),
            images_differ: None,
            since: self.now,
            exposed: Vec::new(),
            verdicts: Vec::new(),
            until: None,
            recall: None,
        })
    }

    /// The attempt that promoted a revision, if it is the last one; or else one without a number, which only takes it back.
    fn promoted_by(&self, revision: &str) -> String {
        let last = self.status.attempt.as_ref().filter(|it| it.revision == revision).map(|it| it.id.clone());
        last.unwrap_or_else(|| self.id(revision, 0))
    }

    fn stop_serving(
        &mut self,
        stable: &EntryRef,
        refuge: Option<Probation>,
        why: &TakeBack,
        request: Option<&Request>,
    ) {
        let active = self.active().cloned();
        let takes_over =
            active.as_ref().is_some_and(|it| it.weight == Weight::FULL && self.revoked(&it.entry).is_none());
        match (refuge, active) {
            (Some(refuge), _) if !takes_over => {
                self.refuse(&stable.revision, Some(why.cause));
                let recall =
                    Recall { cause: why.cause, message: why.message.clone(), at: self.now, asked_by: String::new() };
                self.go_back(&refuge, &recall, request);
            }
            (refuge, Some(attempt)) => self.leave_to(&attempt, stable, refuge, why, request),
            (_, None) => self.leave(stable, why),
        }
    }

    /// Nothing is kept and nothing on its way: as a first deployment that is taken back.
    fn leave(&mut self, stable: &EntryRef, why: &TakeBack) {
        let id = self.promoted_by(&stable.revision);
        let attempt = self.attempt_at(id, stable.clone(), AttemptState::RollingBack);
        let message = Some(condition::brief(&why.message));
        self.status.attempt =
            Some(Attempt { cause: Some(why.cause), message, taken_from: Some(Weight::FULL), ..attempt });
        self.status.stable = None;
        self.set_role(&stable.revision, RevisionRole::Candidate);
        self.refuse(&stable.revision, Some(why.cause));
        self.intend_at_once("RollBack", &format!("{:?}: {}", why.cause, why.message));
        self.tell_that_it_stops(stable, "nothing else is kept: nothing serves", why);
    }

    /// Beside an attempt that is under way: what was kept, or nothing, is what traffic goes back to from now on.
    fn leave_to(
        &mut self,
        attempt: &Attempt,
        stable: &EntryRef,
        refuge: Option<Probation>,
        why: &TakeBack,
        request: Option<&Request>,
    ) {
        let fallback = refuge.map(|it| it.fallback);
        let of_probation = self.status.probation.take().map(|it| it.attempt);
        let id = of_probation.unwrap_or_else(|| self.promoted_by(&stable.revision));
        self.set_role(&stable.revision, RevisionRole::Draining);
        if let Some(fallback) = &fallback {
            self.set_role(&fallback.revision, RevisionRole::Stable);
        }
        self.status.stable = fallback;
        self.notice_that_it_sleeps();
        self.refuse(&stable.revision, Some(why.cause));
        self.note_of(&id, &stable.revision, Weight::NONE, "RollBack", &format!("{:?}: {}", why.cause, why.message));
        self.tell_that_it_stops(stable, &format!("revision {} is on its way", attempt.revision), why);
        self.carry_on_alone(attempt, request);
    }

    /// What becomes of the attempt beside which something stops to serve: all that does not wait for the record.
    fn carry_on_alone(&mut self, attempt: &Attempt, request: Option<&Request>) {
        if attempt.state == AttemptState::RollingBack {
            return;
        }
        let abort = request.filter(|it| it.verb == Verb::Abort);
        if let Some(abort) = abort {
            self.status.handled_request = Some(abort.done());
        }
        let (now, shares) = (self.now, attempt.weight > Weight::NONE && attempt.weight < Weight::FULL);
        if attempt.weight < Weight::FULL {
            // What it waits for is another thing from now on, and what it gets without steps proves nothing.
            self.change(|it| {
                it.emergency = true;
                it.entered_at = now;
                if it.state == AttemptState::Shadowing {
                    (it.state, it.observing_since, it.copied, it.shadowed) = (AttemptState::Starting, None, None, true);
                }
            });
        }
        let Some(attempt) = self.active().cloned() else { return };
        match self.take_back(&attempt, abort.is_some()) {
            Some(why) => self.begin_rollback(&attempt, why),
            None if self.has_lost_all(&attempt) => self.withdraw(&attempt),
            None if shares => self.withdraw_for(
                "there is nothing to share the traffic with: it gets all of it as soon as it has the pods",
            ),
            None => {}
        }
    }

    fn tell_that_it_stops(&mut self, stable: &EntryRef, then: &str, why: &TakeBack) {
        let note = format!("revision {} loses all of its traffic: {}; {then}", stable.revision, why.message);
        self.tell(EventType::Warning, "Revoked", "RollBack", note);
    }

    /// Whether a revision was taken back because its entry is revoked.
    pub(super) fn is_revoked(&self, revision: &str) -> bool {
        self.status.taken_back.iter().any(|it| it.revision == revision && it.cause == Cause::Revoked)
    }

    /// Whether a revision served until its entry was revoked, and has had its time to end the last requests.
    pub(super) fn is_stopped(&self, revision: &str) -> bool {
        let attempt = self.stopped().filter(|it| it.revision == revision);
        attempt.is_some_and(|it| after(it.entered_at, self.policy.drain) <= self.now)
    }

    /// The attempt that ended because nothing else was kept.
    fn stopped(&self) -> Option<&Attempt> {
        let attempt = self.status.attempt.as_ref();
        attempt.filter(|it| it.state == AttemptState::Failed && it.cause == Some(Cause::Revoked))
    }

    fn wake_for_stopped(&mut self) {
        let over = self.stopped().map(|it| after(it.entered_at, self.policy.drain));
        over.filter(|at| *at > self.now).into_iter().for_each(|at| self.look_again(at));
    }

    /// Why nothing serves, for people, if it is because of that.
    pub(super) fn revoked_service(&self) -> Option<String> {
        let last = self.status.taken_back.iter().rev().find(|it| it.cause == Cause::Revoked)?;
        self.status.stable.is_none().then(|| {
            format!(
                "revision {} is off traffic because its entry is revoked, and nothing was kept to go back to (rollout.keepStable)",
                last.revision
            )
        })
    }

    /// What serves although it was to be taken back, because what it would go back to is revoked; for people.
    pub(super) fn condemned(&self) -> Option<(Cause, String)> {
        let stable = &self.status.stable.as_ref()?.revision;
        let cause = self.status.taken_back.iter().find(|it| it.revision == *stable)?.cause;
        let goes = self.status.probation.as_ref().is_some_and(|it| it.recall.is_some());
        (!goes && cause != Cause::Revoked).then(|| {
            let message = format!("revision {stable} is to be taken back, and serves because what it would go back to is revoked; deploy another revision");
            (cause, message)
        })
    }

    /// What is kept on traffic although its entry is revoked, for people.
    pub(super) fn kept_although_revoked(&self) -> Option<String> {
        let why = self.revoked(self.status.stable.as_ref()?)?;
        Some(format!("{}, and onRevocation is Keep: it serves until another revision is promoted", why.message))
    }
}
