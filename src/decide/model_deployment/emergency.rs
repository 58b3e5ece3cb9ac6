//! A stable revision that does not serve must not block its own repair.
//!
//! While no pod of the stable revision is ready, every request on its share of the traffic fails. With
//! `rollout.emergencyPromote: true` a candidate that is ready for all of the traffic, and that no guardrail
//! speaks against, takes over after half a minute: waiting for proof could only cost more, but a pod that merely moves
//! must not promote anybody. Without it, a rollout goes on
//! as usual; what is compared with the stable revision has no data then, and holds it.

use std::time::Duration;

use super::pass::Pass;
use super::policy::MetricRule;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, VerdictKind};

/// A pod that is moved to another node comes back within this time.
const GRACE: Duration = Duration::from_secs(30);

impl Pass<'_> {
    /// Whether the candidate is to take all traffic without further proof.
    pub(super) fn is_emergency(&self) -> bool {
        let down_long = self.status.stable_down_since.is_some_and(|since| after(since, GRACE) <= self.now);
        self.policy.emergency_promote && down_long && self.stable_is_down() && !self.guardrail_fails()
    }

    /// Notes since when a stable revision that served does not serve; pods that have never been there, after
    /// `replicas: 0` say, are merely on their way.
    pub(super) fn watch_stable(&mut self) {
        if !self.stable_is_down() {
            self.status.stable_down_since = None;
            return;
        }
        let served = self.status.conditions.iter().any(|it| it.type_ == "Available" && it.reason == "PodsReady");
        let since = self.status.stable_down_since.or(served.then_some(self.now));
        self.status.stable_down_since = since;
        let over = since.filter(|_| self.policy.emergency_promote).map(|since| after(since, GRACE));
        if let Some(over) = over.filter(|at| *at > self.now) {
            self.look_again(over);
        }
    }

    /// What was gone back to whatever pods it has is down from then on, if it has none.
    pub(super) fn notice_that_it_sleeps(&mut self) {
        if self.stable_is_down() {
            self.status.stable_down_since = Some(self.now);
        }
    }

    /// Whether no pod of the stable revision serves, although some should.
    pub(super) fn stable_is_down(&self) -> bool {
        let stable = self.status.stable.as_ref();
        self.policy.replicas > 0 && stable.is_some_and(|it| self.serving_of(&it.revision) == 0)
    }

    /// Whether a guardrail's newest verdict is Fail.
    pub(super) fn guardrail_fails(&self) -> bool {
        let fails =
            |rule: &MetricRule| self.status.verdicts.iter().any(|it| rule.is_of(it) && it.verdict == VerdictKind::Fail);
        self.policy.guardrails().any(fails)
    }

    /// Why a candidate that was not watched through its steps gets all traffic; for the record.
    pub(super) fn unwatched(&self, attempt: &Attempt) -> Option<String> {
        if self.is_emergency() {
            return Some("no pod of the stable revision is ready (rollout.emergencyPromote)".into());
        }
        attempt.fast_return.then(|| "it was proven within rollout.rollbackWindow".into())
    }
}
