//! At most one transition per pass, the most important one.
//!
//! Checked in the order of the priority list in [`super`]. Each check is a small
//! function from what is known to "take it back, for this cause" or nothing.

use super::hold;
use super::pass::Pass;
use super::request::Verb;
use crate::api::Weight;
use crate::api::condition;
use crate::api::duration::written;
use crate::api::model_deployment::{Attempt, AttemptState, Cause, MetricRole, RevisionRole, Verdict, VerdictKind};
use crate::decide::EventType;

/// Why a candidate is taken back.
pub(super) struct TakeBack {
    pub(super) cause: Cause,
    pub(super) message: String,
}

impl TakeBack {
    pub(super) fn because(cause: Cause, message: impl Into<String>) -> Option<Self> {
        Some(Self { cause, message: message.into() })
    }
}

impl Cause {
    /// Whether the revision itself is to blame: such a one is not tried again unless asked for.
    #[must_use]
    pub fn is_sticky(self) -> bool {
        !matches!(self, Self::Reverted | Self::Superseded)
    }
}

impl Pass<'_> {
    /// Does the most important transition.
    pub(super) fn transition(&mut self) {
        self.watch_capacity();
        self.watch_suspension();
        self.watch_gate_open();
        let request = self.request();
        if self.watch_revocation(request.as_ref()) || self.watch_probation(request.as_ref()) {
            return;
        }
        match self.active().cloned() {
            Some(attempt) if attempt.state == AttemptState::RollingBack => self.end_rollback(&attempt),
            Some(attempt) => {
                let abort = request.as_ref().filter(|it| it.verb == Verb::Abort);
                if let Some(abort) = abort {
                    self.status.handled_request = Some(abort.done());
                }
                match self.take_back(&attempt, abort.is_some()) {
                    Some(why) => self.begin_rollback(&attempt, why),
                    None if self.has_lost_all(&attempt) => self.withdraw(&attempt),
                    None if request.is_some_and(|it| self.steer(&attempt, &it)) => {}
                    None => self.advance(&attempt),
                }
            }
            None => self.begin(request.filter(|it| it.verb == Verb::Retry)),
        }
    }

    pub(super) fn take_back(&self, attempt: &Attempt, aborted: bool) -> Option<TakeBack> {
        if let Some(revoked) = self.revoked(&attempt.entry) {
            return Some(revoked);
        }
        if aborted {
            return TakeBack::because(Cause::Aborted, "aborted by request");
        }
        let breached = || self.breached_by(&self.status.verdicts);
        let recorded = || TakeBack::because(Cause::PreviouslyRolledBack, self.rolled_back_later(&attempt.revision)?);
        if self.serves_alone(attempt) {
            return self.breached_alone().or_else(recorded);
        }
        self.reverted(attempt)
            .or_else(breached)
            .or_else(|| self.superseded(attempt))
            .or_else(recorded)
            .or_else(|| self.artifact_refused(attempt))
            .or_else(|| TakeBack::because(Cause::CapacityLost, self.lost_too_often(attempt)?))
            .or_else(|| self.overdue(attempt))
    }

    fn reverted(&self, attempt: &Attempt) -> Option<TakeBack> {
        let (stable, target) = (self.status.stable.as_ref()?, self.target.as_ref().ok()?);
        let back = stable.revision == target.entry.revision && attempt.revision != stable.revision;
        back.then(|| TakeBack::because(Cause::Reverted, "the spec names the stable revision again"))?
    }

    /// The worst that these verdicts say.
    pub(super) fn breached_by(&self, verdicts: &[Verdict]) -> Option<TakeBack> {
        self.breached(verdicts, MetricRole::Guardrail, Cause::GuardrailBreached)
            .or_else(|| self.breached(verdicts, MetricRole::Objective, Cause::ObjectiveMissed))
    }

    fn breached(&self, verdicts: &[Verdict], role: MetricRole, cause: Cause) -> Option<TakeBack> {
        let failing = |verdict: &&Verdict| {
            let rule = self.policy.metrics.iter().find(|rule| rule.is_of(verdict) && rule.role == role);
            let tolerated = rule.map(|rule| self.policy.tolerated(rule));
            verdict.verdict == VerdictKind::Fail && tolerated.is_some_and(|tolerated| verdict.failures > tolerated)
        };
        let verdict = verdicts.iter().find(failing)?;
        let delay = self.policy.late().find(|(rule, _)| rule.is_of(verdict)).map(|(_, delay)| delay);
        let message = match delay {
            Some(delay) => format!("{}, {} after the steps: {}", verdict.metric, written(delay), verdict.message),
            None => format!("{}: {} ({} times in a row)", verdict.metric, verdict.message, verdict.failures),
        };
        TakeBack::because(cause, message)
    }

    fn superseded(&self, attempt: &Attempt) -> Option<TakeBack> {
        let target = self.target.as_ref().ok()?;
        let other = target.entry.revision != attempt.revision;
        other.then(|| {
            TakeBack::because(Cause::Superseded, format!("the spec names revision {} now", target.entry.revision))
        })?
    }

    fn artifact_refused(&self, attempt: &Attempt) -> Option<TakeBack> {
        let problem = self.pod_problem(attempt)?;
        problem
            .is_final
            .then(|| TakeBack::because(Cause::ArtifactRefused, format!("{}: {}", problem.reason, problem.message)))?
    }

    pub(super) fn begin_rollback(&mut self, attempt: &Attempt, why: TakeBack) {
        let now = self.now;
        self.change(|it| {
            it.state = AttemptState::RollingBack;
            it.taken_from = Some(it.weight).filter(|it| *it > Weight::NONE).or(it.withdrawn_from.take());
            it.weight = Weight::NONE;
            it.step = None;
            it.short_of_capacity_since = None;
            it.unjudged_since = None;
            hold::release(it);
            it.entered_at = now;
            it.cause = Some(why.cause);
            it.message = Some(condition::brief(&why.message));
        });
        if why.cause.is_sticky() {
            self.refuse(&attempt.revision, Some(why.cause));
        }
        let by = self.who_aborts(why.cause);
        self.asked_for(by, |it| it.intend_at_once("RollBack", &format!("{:?}: {}", why.cause, why.message)));
        let type_ = if why.cause.is_sticky() { EventType::Warning } else { EventType::Normal };
        self.tell(
            type_,
            &format!("{:?}", why.cause),
            "RollBack",
            format!("revision {} goes back from {} to 0%: {}", attempt.revision, attempt.weight, why.message),
        );
    }

    fn end_rollback(&mut self, attempt: &Attempt) {
        if !self.traffic_is_in_effect() {
            return;
        }
        let first = self.status.stable.is_none();
        let state = if first && attempt.cause.is_some_and(Cause::is_sticky) {
            AttemptState::Failed
        } else {
            AttemptState::RolledBack
        };
        let now = self.now;
        self.change(|it| (it.state, it.entered_at) = (state, now));
        // A first deployment that failed keeps its pods: they are what there is to look at.
        if state == AttemptState::RolledBack {
            let candidates = self.status.revisions.iter().filter(|it| it.role == RevisionRole::Candidate);
            let leaving: Vec<String> = candidates.map(|it| it.revision.clone()).collect();
            leaving.iter().for_each(|it| self.set_role(it, RevisionRole::Draining));
        }
        self.outcome("RollBack", "no traffic goes to the candidate");
        self.tell(
            EventType::Normal,
            "RolledBack",
            "RollBack",
            format!("revision {} has no traffic any more", attempt.revision),
        );
    }
}
