//! How an attempt advances: capacity before weight, acceptance before observation, proof before the next step.

use chrono::{DateTime, Utc};

use super::acceptance::{self, RouteState};
use super::capacity::is_short;
use super::first;
use super::hold;
use super::pass::Pass;
use super::policy::MetricRule;
use super::traffic;
use crate::api::Weight;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState, RevisionRole, StepToApprove, VerdictKind};
use crate::decide::EventType;

impl Pass<'_> {
    /// One step further, if nothing is awaited.
    pub(super) fn advance(&mut self, attempt: &Attempt) {
        if self.lapse(attempt) {
            return;
        }
        match attempt.state {
            AttemptState::Starting if self.has_capacity(attempt, self.next_weight(attempt)) => {
                if let Some(share) = self.shadow_due(attempt) {
                    self.shadow(attempt, share);
                } else if attempt.weight == Weight::NONE || self.step_is_over(attempt) {
                    self.move_on(attempt);
                } else {
                    // The proof was lost while pods came up: watch until there is one again.
                    let now = self.now;
                    self.change(|it| (it.state, it.entered_at) = (AttemptState::Observing, now));
                }
            }
            // What is not carried is neither watched nor left behind.
            _ if is_short(attempt) => {}
            AttemptState::Shadowing => self.advance_shadow(attempt),
            AttemptState::Shifting if self.traffic_is_in_effect() => self.observe_step(attempt),
            AttemptState::Observing if self.step_is_over(attempt) => {
                if self.has_capacity(attempt, self.next_weight(attempt)) {
                    self.move_on(attempt);
                } else if self.may_advance() && self.step_gate(attempt).is_none() {
                    let now = self.now;
                    self.change(|it| (it.state, it.entered_at) = (AttemptState::Starting, now));
                }
            }
            AttemptState::Promoting if self.traffic_is_in_effect() || self.makes_room(attempt) => {
                self.settle_in(attempt)
            }
            _ => {}
        }
    }

    /// All of the traffic is in effect. It is watched whoever holds it.
    fn settle_in(&mut self, attempt: &Attempt) {
        if !self.is_watched(attempt) {
            self.watch(attempt);
        } else if !self.is_held() && self.is_approved(attempt) {
            self.complete(attempt);
        }
    }

    /// Whether what has all of the traffic has been watched with it, where nothing has proven it before.
    fn is_watched(&self, attempt: &Attempt) -> bool {
        if first::is_first(&self.status) {
            self.first_is_watched(attempt)
        } else {
            !attempt.fast_return || self.return_is_watched(attempt)
        }
    }

    /// Nothing advances on rules that cannot be read, towards a revision that nobody knows
    /// to be asked for still or that is not approved, with pods that are not one thing, off the record, or against what a
    /// person has said.
    pub(super) fn may_advance(&self) -> bool {
        let can_know = self.policy.errors.is_empty() && self.target.is_ok() && !self.is_held_by_contest();
        let knows = can_know && self.mixed_candidate().is_none() && self.may_record();
        knows && !self.is_held() && self.entry_gate().is_none() && !self.awaits_fallback()
    }

    /// Whether a person holds the weight, or what is there.
    fn is_held(&self) -> bool {
        self.is_suspended() || self.active().is_some_and(|it| hold::of(it).is_some())
    }

    /// Whether every gate is open that it has had to pass.
    fn is_approved(&self, attempt: &Attempt) -> bool {
        self.gates_up_to(attempt, attempt.weight).is_none()
    }

    /// Nothing gets a weight that no route can carry: an attempt waits for the Gateway API without a deadline.
    pub(super) fn can_be_routed(&self) -> bool {
        !self.has_gateway() || self.observed.children.gateway_api
    }

    /// The share of requests after the present one: copies of some, the next step's, or all.
    pub(super) fn next_weight(&self, attempt: &Attempt) -> Weight {
        self.shadow_due(attempt).unwrap_or_else(|| self.next_share(attempt))
    }

    /// The candidate's share of traffic after the present one.
    pub(super) fn next_share(&self, attempt: &Attempt) -> Weight {
        self.next_step(attempt).map_or(Weight::FULL, |(_, weight)| weight)
    }

    /// Index and weight of the next step; none after the last, and none where nothing can be weighed:
    /// without a gateway, or without a stable revision. Capacity is checked for the very weight that is set.
    /// Weight that was withdrawn comes back first, even if its step is gone.
    fn next_step(&self, attempt: &Attempt) -> Option<(Option<i32>, Weight)> {
        let skipped = attempt.fast_return || attempt.skip_steps || self.is_emergency();
        if !self.has_gateway() || self.status.stable.is_none() || skipped {
            return None;
        }
        if let Some(weight) = attempt.withdrawn_from {
            let index = self.policy.step_at(weight).map(|(index, _)| index);
            return (index.is_some() || weight < Weight::FULL).then_some((index, weight));
        }
        self.policy.step_after(attempt.weight).map(|(index, step)| (Some(index), step.weight))
    }

    fn move_on(&mut self, attempt: &Attempt) {
        if !self.may_advance() || !self.can_be_routed() || self.step_gate(attempt).is_some() {
            return;
        }
        let (state, index, weight) = match self.next_step(attempt) {
            Some((index, weight)) => (AttemptState::Shifting, index, weight),
            None => (AttemptState::Promoting, None, Weight::FULL),
        };
        let mut reason = self.evidence(attempt);
        let passed = |it: &StepToApprove| it.weight > attempt.weight && it.weight <= weight;
        for step in self.steps_to_approve(attempt).into_iter().filter(passed) {
            reason.push_str(&format!(", {} approved by role {}", step.weight, step.role));
        }
        if attempt.skip_steps {
            reason = format!("promote was requested: {reason}");
        }
        let alone = attempt.emergency && self.status.stable.is_none();
        let emergency = state == AttemptState::Promoting && (self.is_emergency() || alone);
        let now = self.now;
        self.cover();
        self.change(|it| {
            it.state = state;
            it.step = index;
            it.weight = weight;
            it.entered_at = now;
            it.observing_since = None;
            (it.samples, it.stable_samples) = (None, None);
            it.short_of_capacity_since = None;
            it.emergency = emergency;
            it.held_until = None;
            hold::keep_steps(it);
            if it.withdrawn_from.take().is_none() {
                it.losses = 0;
            }
        });
        let decision = if state == AttemptState::Shifting { "Shift" } else { "Promote" };
        self.asked_for(attempt.skip_asked_by.clone(), |it| it.intend(decision, &reason));
        self.tell(
            EventType::Normal,
            decision,
            decision,
            format!("revision {} goes from {} to {weight}: {reason}", attempt.revision, attempt.weight),
        );
    }

    /// What the step that ends was proven by.
    fn evidence(&self, attempt: &Attempt) -> String {
        if let Some(why) = self.unwatched(attempt) {
            return why;
        }
        if attempt.weight == Weight::NONE {
            return match (&attempt.withdrawn_from, attempt.shadowed) {
                (Some(_), _) => "pods are ready again".into(),
                (None, true) => "guardrails passed on copied requests, and pods are ready".into(),
                (None, false) => "pods are ready".into(),
            };
        }
        if let Some(why) = &self.resource.spec.analysis.none {
            return format!("not analysed: {why}");
        }
        let passes: Vec<String> = self
            .status
            .verdicts
            .iter()
            .map(|it| format!("{} {:?} {}", it.metric, it.verdict, it.value.as_deref().unwrap_or("-")))
            .collect();
        if passes.is_empty() { "its outcomes are judged later".into() } else { passes.join(", ") }
    }

    fn observe_step(&mut self, attempt: &Attempt) {
        let now = self.now;
        self.change(|it| {
            (it.state, it.entered_at, it.observing_since) = (AttemptState::Observing, now, Some(now));
            // What was counted while the weight was on its way is of the one before.
            (it.samples, it.stable_samples) = (None, None);
        });
        self.expose();
        self.outcome("Shift", &format!("the gateway accepted {}", attempt.weight));
        // A step that asks for nothing ends in the next pass.
        self.look_again(self.now);
    }

    /// Whether there is nothing more to wait for at this weight.
    pub(super) fn step_is_over(&self, attempt: &Attempt) -> bool {
        self.is_emergency() || self.step_is_proven(attempt)
    }

    /// `for` has passed, and each metric's newest verdict, begun after the clock started, is Pass;
    /// one that cannot be read has none.
    pub(super) fn step_is_proven(&self, attempt: &Attempt) -> bool {
        let Some(since) = attempt.observing_since else { return false };
        let step = self.policy.step_at(attempt.weight).filter(|_| !attempt.skip_steps);
        let watched = step.is_none_or(|(_, step)| after(since, step.for_) <= self.now);
        watched && self.policy.can_judge() && self.unpassed_since(since).is_none()
    }

    /// Whether a metric's newest verdict is Pass, of a measurement begun since then.
    pub(super) fn passed_since(&self, rule: &MetricRule, since: DateTime<Utc>) -> bool {
        self.status.verdicts.iter().any(|it| rule.is_of(it) && it.verdict == VerdictKind::Pass && it.time >= since)
    }

    /// The first metric of which that is not so.
    pub(super) fn unpassed_since(&self, since: DateTime<Utc>) -> Option<&MetricRule> {
        self.policy.gating().find(|rule| !self.passed_since(rule, since))
    }

    fn complete(&mut self, attempt: &Attempt) {
        let is_cut_short = self.makes_room(attempt);
        let old = self.status.stable.replace(attempt.entry.clone());
        let is_proven = !attempt.emergency && !is_cut_short && !self.expects_outcomes(attempt, old.as_ref());
        let probation = old.as_ref().filter(|_| !is_proven).and_then(|old| self.probation_of(attempt, old));
        let unjudged =
            probation.as_ref().filter(|it| it.exposed.is_empty() && it.until.is_none()).map(|_| self.no_outcomes());
        self.status.probation = probation;
        if let Some(old) = old {
            self.replaced(&old.revision);
        }
        self.set_role(&attempt.revision, RevisionRole::Stable);
        if is_proven {
            self.prove(&attempt.revision);
        }
        self.notice_that_it_sleeps();
        let now = self.now;
        self.change(|it| (it.state, it.entered_at) = (AttemptState::Promoted, now));
        self.outcome("Promote", "all traffic goes to the candidate");
        self.tell(
            EventType::Normal,
            "Promoted",
            "Promote",
            format!("revision {} of entry {} serves all traffic", attempt.revision, attempt.entry.name),
        );
        if let Some(why) = unjudged {
            self.tell(EventType::Warning, "OutcomeUnknown", "Judge", format!("revision {}: {why}", attempt.revision));
        }
    }

    /// Whether what status decided about traffic is what the gateway (or the Service) does.
    pub(super) fn traffic_is_in_effect(&self) -> bool {
        if !traffic::service_follows(self) {
            return false;
        }
        if !self.has_gateway() {
            return self.observed.children.route.is_none();
        }
        match (&self.observed.children.route, traffic::route(self)) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(live), Some(wanted)) => wanted.stands && acceptance::route_state(live) == RouteState::Accepted,
        }
    }

    /// What the attempt is waiting for, for people.
    pub(super) fn awaited(&self, attempt: &Attempt) -> Option<String> {
        match attempt.state {
            AttemptState::Starting => Some(self.awaited_pods(attempt, self.next_weight(attempt))),
            AttemptState::RollingBack => Some(self.awaited_of_route(attempt)),
            _ if is_short(attempt) => Some(self.awaited_pods(attempt, self.carried(attempt))),
            AttemptState::Shadowing => Some(self.refused_route().unwrap_or_else(|| self.awaited_of_shadow(attempt))),
            AttemptState::Promoting if self.traffic_is_in_effect() && attempt.observing_since.is_some() => {
                self.awaited_watch(attempt)
            }
            AttemptState::Shifting | AttemptState::Promoting => Some(self.awaited_of_route(attempt)),
            AttemptState::Observing => self.awaited_proof(attempt),
            _ => None,
        }
    }

    fn awaited_of_route(&self, attempt: &Attempt) -> String {
        match self.refused_route() {
            Some(message) => message,
            None if self.has_gateway() => format!("waiting for the gateway to accept {}", attempt.weight),
            None => "waiting for the Service to switch".into(),
        }
    }

    /// What the gateway has against the route, for people.
    pub(super) fn refused_route(&self) -> Option<String> {
        let route = self.observed.children.route.as_deref().filter(|_| self.has_gateway())?;
        match acceptance::route_state(route) {
            RouteState::Rejected(why) => {
                Some(format!("the route is refused by {why}; correct spec.traffic.gateway or the Gateway"))
            }
            _ => None,
        }
    }

    fn awaited_proof(&self, attempt: &Attempt) -> Option<String> {
        let since = attempt.observing_since?;
        let missing = self.unpassed_since(since);
        let watching = format!("watching {}", attempt.weight);
        Some(missing.map_or(watching.clone(), |rule| format!("{watching}: {}", self.lacks(rule, since))))
    }

    /// What a metric lacks that has not passed since then, for people.
    pub(super) fn lacks(&self, rule: &MetricRule, since: DateTime<Utc>) -> String {
        match self.status.verdicts.iter().find(|it| rule.is_of(it) && it.time >= since) {
            Some(verdict) => format!("{} is {:?}: {}", rule.name, verdict.verdict, verdict.message),
            None => format!("{} has not been measured yet", rule.name),
        }
    }
}
