//! Until when an attempt waits, and for what.
//!
//! | it lacks | since | for | or else |
//! |---|---|---|---|
//! | an answer of the metric source | `silentSince`, `unjudgedSince` | `onOutage.after` | `MetricSourceOutage` |
//! | pods for the weight it has | `shortOfCapacitySince` | `progressDeadline` | `CapacityLost` |
//! | proof, in a step that nobody holds | `observingSince`, `heldUntil` | `maxStepTime` | `StepTimeExceeded` |
//! | pods or a route, for the next weight | `enteredAt` | `progressDeadline` | `ProgressDeadlineExceeded` |
//!
//! What could go on but for an approval waits for a person: the last two do not count meanwhile, and begin anew then.
//! The silence of a source lasts from a question to a later one: one that takes long to be given up is no outage by itself.
//! There is a deadline only while something is missing. What takes an attempt back and what wakes the operator
//! is this one list: so none is slept through, and none that has passed in vain wakes anybody again.

use chrono::{DateTime, Utc};

use super::pass::Pass;
use super::transition::TakeBack;
use super::{hold, measure};
use crate::api::duration::{after, written};
use crate::api::model_deployment::{Attempt, AttemptState, Cause};

/// The end of a wait.
struct Deadline {
    at: DateTime<Utc>,
    or_else: TakeBack,
}

impl Deadline {
    fn new(at: DateTime<Utc>, cause: Cause, message: String) -> Self {
        Self { at, or_else: TakeBack { cause, message } }
    }
}

impl Pass<'_> {
    /// What is to be done because a deadline has passed.
    pub(super) fn overdue(&self, attempt: &Attempt) -> Option<TakeBack> {
        self.deadlines(attempt).find(|it| it.at <= self.now).map(|it| it.or_else)
    }

    /// Looks again when time alone makes a difference: at a deadline, when a step may end, for a measurement.
    pub(super) fn wake_up(&mut self) {
        self.wake_for_probation();
        let Some(attempt) = self.active() else { return };
        let step_ends = || {
            let (_, step) = self.policy.step_at(attempt.weight).filter(|_| attempt.state == AttemptState::Observing)?;
            Some(after(attempt.observing_since?, step.for_))
        };
        let shadow_ends = || {
            let shadow = self.policy.shadow.as_ref().filter(|_| attempt.state == AttemptState::Shadowing)?;
            Some(after(attempt.observing_since?, shadow.for_))
        };
        let times = self.deadlines(attempt).map(|it| it.at).chain(step_ends()).chain(shadow_ends());
        // What has passed may have passed in vain.
        let to_come: Vec<_> = times.filter(|at| *at > self.now).collect();
        let measured = measure::next(self.policy, &self.status, &self.observed.asked, self.now);
        to_come.into_iter().chain(measured).for_each(|at| self.look_again(at));
    }

    /// Of everything that is missing at this moment, the most important first.
    fn deadlines(&self, attempt: &Attempt) -> impl Iterator<Item = Deadline> {
        // Weight 0 is awaited for as long as it takes.
        let awaited = || {
            let gated = self.held_by_gate(attempt).is_some();
            let own = || [self.proof(attempt), self.progress(attempt)].into_iter().flatten();
            let of_others = [self.answer(attempt), self.lost_pods(attempt)].into_iter().flatten();
            of_others.chain((!gated).then(own).into_iter().flatten())
        };
        // Nor is there a time after which nothing is better than what serves alone.
        let waits = attempt.state != AttemptState::RollingBack && !self.serves_alone(attempt);
        waits.then(awaited).into_iter().flatten()
    }

    fn answer(&self, attempt: &Attempt) -> Option<Deadline> {
        let limit = self.policy.rollback_on_outage?;
        let asked = self.status.verdicts.iter().filter(|it| self.policy.metrics.iter().any(|rule| rule.is_of(it)));
        // That it was silent once, and nobody has asked since, is no long silence: a source is asked again before it counts.
        let silent = asked.filter_map(|it| {
            let since = it.silent_since.filter(|since| after(*since, limit) <= it.time)?;
            Some((since, format!("{}: no answer", it.metric), &it.message))
        });
        let unread = || {
            let missing = self.policy.missing_list()?;
            Some((attempt.unjudged_since?, "the metrics cannot be read".to_owned(), &missing.message))
        };
        let (since, what, why) = silent.chain(unread()).min_by_key(|(since, ..)| *since)?;
        let message = format!("{what} for {}: {why}", written(limit));
        Some(Deadline::new(after(since, limit), Cause::MetricSourceOutage, message))
    }

    fn lost_pods(&self, attempt: &Attempt) -> Option<Deadline> {
        let limit = self.policy.progress_deadline;
        let since = attempt.short_of_capacity_since?;
        let weight = self.carried(attempt);
        let missing = self.awaited_pods(attempt, weight);
        let message = format!("too few pods for {weight} since {}: {missing}", written(limit));
        Some(Deadline::new(after(since, limit), Cause::CapacityLost, message))
    }

    fn proof(&self, attempt: &Attempt) -> Option<Deadline> {
        if let Some(shadow) = self.policy.shadow.as_ref().filter(|_| attempt.state == AttemptState::Shadowing) {
            let limit = shadow.max_time?;
            let message = format!("shadowing did not end within {}", written(limit));
            return Some(Deadline::new(after(hold::step_time_from(attempt)?, limit), Cause::StepTimeExceeded, message));
        }
        if attempt.state != AttemptState::Observing || self.step_is_proven(attempt) {
            return None;
        }
        let limit = self.policy.step_at(attempt.weight)?.1.max_step_time?;
        let message = format!("the step at {} did not end within {}", attempt.weight, written(limit));
        Some(Deadline::new(after(hold::step_time_from(attempt)?, limit), Cause::StepTimeExceeded, message))
    }

    fn progress(&self, attempt: &Attempt) -> Option<Deadline> {
        // What has come may have come in time: who was away, or may not advance, is the operator.
        let missing = match attempt.state {
            // It waits from when its pods were lost, not from when it was noticed; unless it is to get more than it had.
            AttemptState::Starting if attempt.withdrawn_from.is_some_and(|it| it >= self.next_weight(attempt)) => false,
            // Pods that serve are not missing while their Deployment is being scaled.
            AttemptState::Starting => {
                let wanted = self.next_weight(attempt).capacity(self.full());
                self.reachable(&attempt.revision).is_none() || self.serving_of(&attempt.revision) < wanted
            }
            AttemptState::Shadowing => !self.copies_requests() && self.edit().is_none(),
            AttemptState::Shifting | AttemptState::Promoting => !self.traffic_is_in_effect(),
            _ => false,
        };
        if !missing {
            return None;
        }
        let limit = self.policy.progress_deadline;
        let waiting = self.awaited(attempt).unwrap_or_else(|| "nothing".into());
        let message = format!("no progress within {}: {waiting}", written(limit));
        Some(Deadline::new(after(attempt.entered_at, limit), Cause::ProgressDeadlineExceeded, message))
    }
}
