//! A first deployment: nothing serves yet that it could be compared with, or go back to.
//!
//! It takes no steps, and gets all of the traffic as soon as its pods are ready. When that is in effect it serves alone, and is
//! watched by the guardrails that can judge a revision by itself ([`watches_on`]). It is stable when each of them has passed; and
//! also after `failureLimit` and one more intervals, if none has failed since it last passed: nobody may have sent it a request
//! yet, and without an answer it is neither good nor bad.
//!
//! To take it back is an outage. So what serves alone goes for nothing less than a person, a revocation, a guardrail, or what the
//! record knows of it. Pods that are lost, a route that is looked at anew, a source that is silent: it goes on, as a stable
//! revision does. If the spec asks for another revision meanwhile, and that one could begin, it is stable at once, without being
//! proven, and the other one has something to be compared with.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use super::policy::{MetricRule, Policy};
use super::stable_breach::watches_on;
use super::transition::TakeBack;
use crate::api::model_deployment::{Attempt, AttemptState, ModelDeploymentStatus, Verdict};

/// Whether an attempt has no other revision beside it that serves.
pub(super) fn is_first(status: &ModelDeploymentStatus) -> bool {
    status.stable.is_none()
}

/// Whether it has all of the traffic, in effect.
pub(super) fn serves_alone(status: &ModelDeploymentStatus, attempt: &Attempt) -> bool {
    is_first(status) && attempt.state == AttemptState::Promoting && attempt.observing_since.is_some()
}

/// Whether it has, or has had until it was taken back.
pub(super) fn has_served_alone(status: &ModelDeploymentStatus, attempt: &Attempt) -> bool {
    let goes_back = attempt.state == AttemptState::RollingBack && attempt.observing_since.is_some();
    serves_alone(status, attempt) || is_first(status) && goes_back
}

/// Whether a metric watches what serves alone.
pub(super) fn watches(policy: &Policy, rule: &MetricRule) -> bool {
    policy.replicas > 0 && watches_on(rule)
}

fn watching(policy: &Policy) -> impl Iterator<Item = &MetricRule> {
    policy.metrics.iter().filter(|it| watches(policy, it))
}

impl Pass<'_> {
    /// See [`serves_alone`].
    pub(super) fn serves_alone(&self, attempt: &Attempt) -> bool {
        serves_alone(&self.status, attempt)
    }

    /// Whether it serves alone, and the spec asks for another revision that nothing keeps from beginning.
    pub(super) fn makes_room(&self, attempt: &Attempt) -> bool {
        let is_other = || self.target.as_ref().is_ok_and(|it| it.entry.revision != attempt.revision);
        let is_barred = || self.entry_gate().is_some() || self.begins_no_more().is_some() || self.refusal().is_some();
        self.serves_alone(attempt) && is_other() && !is_barred() && self.unknown_history().is_none()
    }

    /// What speaks against what serves alone: nothing that was said in comparison with another.
    pub(super) fn breached_alone(&self) -> Option<TakeBack> {
        let watches =
            |it: &&Verdict| self.policy.metrics.iter().any(|rule| rule.is_of(it) && watches(self.policy, rule));
        let verdicts: Vec<Verdict> = self.status.verdicts.iter().filter(watches).cloned().collect();
        self.breached_by(&verdicts)
    }

    /// Whether it has been watched for as long as it has to be.
    pub(super) fn first_is_watched(&self, attempt: &Attempt) -> bool {
        if self.makes_room(attempt) {
            return true;
        }
        if !self.policy.can_judge() {
            return false;
        }
        if watching(self.policy).next().is_none() {
            return true;
        }
        let Some(since) = attempt.observing_since else { return false };
        let has_passed = watching(self.policy).all(|rule| self.passed_since(rule, since));
        has_passed || self.watch_ends(since) <= self.now && !self.fails_since(since)
    }

    /// Whether one has failed, and not passed again: not knowing does not acquit.
    fn fails_since(&self, since: DateTime<Utc>) -> bool {
        let fails = |rule: &MetricRule| {
            self.status.verdicts.iter().any(|it| rule.is_of(it) && it.failures > 0 && it.time >= since)
        };
        watching(self.policy).any(fails)
    }

    /// What is awaited of what has all of the traffic and is watched, for people.
    pub(super) fn awaited_watch(&self, attempt: &Attempt) -> Option<String> {
        let since = attempt.observing_since?;
        let watches = |it: &&MetricRule| !is_first(&self.status) || watches(self.policy, it);
        let missing = self.policy.guardrails().filter(watches).find(|rule| !self.passed_since(rule, since));
        let what = missing.map_or_else(String::new, |rule| format!(": {}", self.lacks(rule, since)));
        Some(format!("watching {}{what}", attempt.weight))
    }
}
