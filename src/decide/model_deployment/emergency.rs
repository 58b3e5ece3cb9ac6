//! A stable revision that does not serve must not block its own repair.
//!
//! While no pod of the stable revision is ready, every request on its share of the traffic fails. With
//! `rollout.emergencyPromote: true` a candidate that is ready for all of the traffic, and that no guardrail
//! speaks against, takes over at once: waiting for proof could only cost more. Without it, a rollout goes on
//! as usual; what is compared with the stable revision has no data then, and holds it.

use super::pass::Pass;
use crate::api::model_deployment::{Attempt, MetricRole, VerdictKind};

impl Pass<'_> {
    /// Whether the candidate is to take all traffic without further proof.
    pub(super) fn is_emergency(&self) -> bool {
        self.policy.emergency_promote && self.stable_is_down() && !self.guardrail_fails()
    }

    /// Whether no pod of the stable revision serves, although some should.
    pub(super) fn stable_is_down(&self) -> bool {
        let stable = self.status.stable.as_ref();
        self.policy.replicas > 0 && stable.is_some_and(|it| self.serving_of(&it.revision) == 0)
    }

    fn guardrail_fails(&self) -> bool {
        let guardrails = self.policy.metrics.iter().filter(|it| it.role == MetricRole::Guardrail);
        let mut verdicts = guardrails.filter_map(|rule| self.status.verdicts.iter().find(|it| rule.is_of(it)));
        verdicts.any(|it| it.verdict == VerdictKind::Fail)
    }

    /// Why a candidate that was not watched through its steps gets all traffic; for the record.
    pub(super) fn unwatched(&self, attempt: &Attempt) -> Option<String> {
        if self.is_emergency() {
            return Some("no pod of the stable revision is ready (rollout.emergencyPromote)".into());
        }
        attempt.fast_return.then(|| "it was proven within rollout.rollbackWindow".into())
    }
}
