//! Shadowing: requests are copied to the candidate, and its answers thrown away.
//!
//! Before the first step, when `rollout.shadow` asks for it. The gateway mirrors `percent` of the requests that
//! stable answers (a RequestMirror filter in each rule), so guardrails judge the candidate by real requests that nobody
//! waits for. Whether the Gateways have such a filter is found out by a proposal first (see `edit`). It ends as a step does: `for` has passed, and each guardrail's newest verdict is Pass. Objectives
//! are not asked: an answer that reaches nobody brings nothing about. A first deployment, the way back to
//! what is proven and an emergency have nothing to shadow, or no time for it.

use super::acceptance::RouteState;
use super::pass::Pass;
use super::policy::MetricRule;
use super::traffic;
use crate::api::Weight;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState};
use crate::build::route::Backend;
use crate::decide::EventType;

impl Pass<'_> {
    /// The share of requests that is to be copied, if that comes next.
    pub(super) fn shadow_due(&self, attempt: &Attempt) -> Option<Weight> {
        let shadow = self.policy.shadow.as_ref().filter(|_| self.has_gateway() && self.status.stable.is_some())?;
        let untouched = attempt.weight == Weight::NONE && attempt.withdrawn_from.is_none() && !attempt.shadowed;
        let takes_steps = !attempt.fast_return && !self.is_emergency();
        (untouched && takes_steps).then_some(shadow.share)
    }

    /// The share of requests that is copied at this moment, as decided.
    pub(super) fn mirrored(&self) -> Option<(&Attempt, Weight)> {
        let attempt = self.active().filter(|it| it.state == AttemptState::Shadowing)?;
        Some((attempt, attempt.copied?))
    }

    /// The mirror that the route is to have in the end.
    pub(super) fn mirror(&self) -> Option<Backend> {
        let (attempt, weight) = self.mirrored()?;
        let (revision, port) = (attempt.revision.clone(), traffic::port_of(self, &attempt.revision));
        Some(Backend { revision, weight, port })
    }

    /// Whether it is not known yet that the Gateways have such a filter.
    pub(super) fn awaits_mirror(&self) -> bool {
        self.mirrored().is_some_and(|(attempt, _)| attempt.observing_since.is_none())
    }

    /// Whether the true route may have it.
    pub(super) fn mirror_is_accepted(&self) -> bool {
        self.mirrored().is_some() && (!self.awaits_mirror() || self.proposal_state() == Some(RouteState::Accepted))
    }

    /// Whether the gateway copies requests.
    pub(super) fn copies_requests(&self) -> bool {
        self.mirror_is_accepted() && self.traffic_is_in_effect()
    }

    /// The share of requests that the candidate's pods have to stand, copies included.
    pub(super) fn carried(&self, attempt: &Attempt) -> Weight {
        // More copies are asked for when there are pods for them.
        let asked = self.policy.shadow.as_ref().map_or(Weight::NONE, |it| it.share);
        let copied = self.mirrored().map(|(_, share)| share.max(asked));
        attempt.withdrawn_from.or(copied).unwrap_or(attempt.weight)
    }

    /// Begins to copy requests.
    pub(super) fn shadow(&mut self, attempt: &Attempt, share: Weight) {
        if !self.may_advance() || !self.can_be_routed() {
            return;
        }
        let now = self.now;
        self.change(|it| {
            (it.state, it.entered_at, it.observing_since) = (AttemptState::Shadowing, now, None);
            it.copied = Some(share);
        });
        self.intend("Shadow", &format!("pods are ready for {share} of the requests"));
        self.tell(
            EventType::Normal,
            "Shadowing",
            "Shadow",
            format!("{share} of the requests are copied to revision {}; its answers are thrown away", attempt.revision),
        );
    }

    /// Waits for the copies, watches them, and ends.
    pub(super) fn advance_shadow(&mut self, attempt: &Attempt) {
        let wanted = self.policy.shadow.as_ref().map(|it| it.share);
        if wanted.is_none() || self.is_emergency() || self.shadow_is_proven(attempt) {
            self.end_shadow();
        } else if wanted != attempt.copied {
            // More copies are more use of the model: they wait for the gates, as weight does.
            if wanted < attempt.copied || self.may_advance() {
                self.await_copies(wanted);
            }
        } else if attempt.observing_since.is_none() && self.copies_requests() {
            let now = self.now;
            self.change(|it| it.observing_since = Some(now));
            self.outcome("Shadow", "the gateway copies requests");
            self.look_again(now);
        } else if attempt.observing_since.is_some() && !self.copies_requests() {
            self.await_copies(attempt.copied);
        }
    }

    /// From here on as if there had never been any: pods for the first step, and then the step.
    fn end_shadow(&mut self) {
        if !self.may_advance() {
            return;
        }
        let now = self.now;
        self.change(|it| {
            (it.state, it.entered_at, it.observing_since) = (AttemptState::Starting, now, None);
            (it.shadowed, it.copied) = (true, None);
        });
        self.look_again(now);
    }

    /// Another share, or copies that came to an end: proposed to the Gateways anew, and watched from when they come.
    /// Until then the route has no mirror, so what a Gateway will not have any more takes no request away.
    fn await_copies(&mut self, share: Option<Weight>) {
        let now = self.now;
        self.change(|it| (it.copied, it.observing_since, it.entered_at) = (share, None, now));
        self.look_again(now);
    }

    /// What keeps it from ending, for people.
    pub(super) fn awaited_of_shadow(&self, attempt: &Attempt) -> String {
        let Some(since) = attempt.observing_since else {
            if let Some(edit) = self.edit() {
                return edit.message;
            }
            return match self.proposal_state() {
                Some(RouteState::Rejected(why)) => format!(
                    "rollout.shadow is refused by {why}; remove it, or use a Gateway that has the filter RequestMirror with percent"
                ),
                _ => "waiting for the gateway to copy requests".into(),
            };
        };
        let mut missing = self.judge_copies().filter(|rule| !self.passed_since(rule, since));
        missing.next().map_or_else(
            || "watching copied requests".into(),
            |rule| format!("watching copied requests: {} has not passed yet", rule.name),
        )
    }

    /// The guardrails that judge copies: those that do not bet on the gateway's draw.
    fn judge_copies(&self) -> impl Iterator<Item = &MetricRule> {
        self.policy.guardrails().filter(|it| it.test().is_none())
    }

    fn shadow_is_proven(&self, attempt: &Attempt) -> bool {
        let (Some(since), Some(shadow)) = (attempt.observing_since, &self.policy.shadow) else { return false };
        after(since, shadow.for_) <= self.now
            && self.policy.can_judge()
            && self.judge_copies().all(|rule| self.passed_since(rule, since))
    }
}
