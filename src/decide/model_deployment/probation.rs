//! Probation: a promoted revision that outcomes may still take back which arrive late.
//!
//! A metric with `delay` gates no step. It judges the units that were served while both revisions had traffic:
//! from the acceptance of the first weight to the decision to give all traffic. (Not to the acceptance of that:
//! in between nobody knows who was served by whom.) When they are `delay` old it is asked, and
//! until then the revision that was promoted is on probation: it serves, but the last
//! *proven* one is kept to go back to, without pods once `rollout.keepStable` is over. Only this stands beside the
//! attempt, not in it: another candidate may begin its own meanwhile.
//!
//! ```text
//!               every late metric is Pass           ──► proven; what was kept goes
//!  Probation ── `promote`, or nothing judges it     ──► ended, not proven; what was kept goes
//!               Fail, a guardrail, abort, revert    ──► recall: pods of the last proven one ──► RollingBack ──► RolledBack
//! ```
//!
//! - One Fail is enough of a late metric: its window has ended, a second look sees the same.
//! - Guardrails without `delay` go on, with thresholds: there is nothing left to compare with.
//! - No answer is no proof and no breach. It is asked for once more as long as `delay`, and then not any more; the
//!   probation stays until a person ends it. `rollout.onOutage` does not act: nothing rises meanwhile.
//! - What takes the place of a revision on probation without steps, or in an emergency, has served nobody beside another,
//!   so nothing can prove it. It is on probation all the same, until a person ends that or another one is proven:
//!   what is proven stays to go back to.
//! - With `analysis.onStableBreach: Fallback` every promotion begins a probation: for `rollout.rollbackWindow` guardrails may
//!   call it back, and it is proven when they have let it be and say Pass once that is over.
//!
//! How it goes back is in `recall`.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::inquiry::{Answered, Asked, Inquiry, Judges, Query, Topic};
use super::judge;
use super::measure::{comes_first, variables};
use super::pass::Pass;
use super::policy::{MetricRule, Policy};
use super::request::{Request, Verb};
use super::stable_breach::{next_look, watches, window_start};
use super::transition::TakeBack;
use crate::api::Weight;
use crate::api::duration::{after, written};
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, EntryRef, Exposure, ModelDeployment, ModelDeploymentStatus, Probation, RevisionRole,
    Verdict, VerdictKind,
};
use crate::decide::EventType;

/// Weights that are remembered; more than any list of steps has.
const MOST_EXPOSURES: usize = 24;
/// How often an outcome that does not come is asked for, in the time that it may come late.
const LOOKS: u32 = 48;

/// When the units that are judged had all been served.
fn ended(probation: &Probation) -> DateTime<Utc> {
    probation.exposed.last().and_then(|it| it.until).unwrap_or(probation.since)
}

pub(super) fn topic(probation: &Probation, rule: &MetricRule) -> Topic {
    Topic::of(Judges::Probation, &probation.attempt, Some(&rule.name))
}

/// When a metric is to be asked about a revision on probation; `None`: never, not any more, or it is being asked.
pub(super) fn next_of(
    policy: &Policy,
    probation: &Probation,
    rule: &MetricRule,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let topic = topic(probation, rule);
    if asked.is_under_way(&topic) {
        return None;
    }
    let newest = probation.verdicts.iter().find(|it| rule.is_of(it));
    if rule.delay.is_some() && probation.exposed.is_empty() {
        return None;
    }
    let Some(delay) = rule.delay else {
        return watches(rule).then(|| next_look(policy, newest.map(|it| it.time), &topic, asked, now));
    };
    let due = after(ended(probation), delay);
    let Some(newest) = newest.filter(|it| it.time >= due) else { return Some(due) };
    let last = after(due, delay);
    if is_settled(newest.verdict) || newest.time >= last {
        return None;
    }
    let again = after(newest.time, policy.interval.max(delay / LOOKS)).min(last);
    Some(if newest.time > now { now.max(due) } else { again })
}

fn told_of_pass(verdict: &Verdict) -> Option<String> {
    let value = verdict.value.as_deref().unwrap_or("-");
    (verdict.verdict == VerdictKind::Pass).then(|| format!("{} Pass {value}", verdict.metric))
}

fn is_settled(verdict: VerdictKind) -> bool {
    matches!(verdict, VerdictKind::Pass | VerdictKind::Fail)
}

/// The probation in which something is still to be measured.
pub(super) fn open(status: &ModelDeploymentStatus) -> Option<&Probation> {
    status.probation.as_ref().filter(|it| it.recall.is_none())
}

/// When the next measurement of a revision on probation is due.
pub(super) fn next(
    policy: &Policy,
    status: &ModelDeploymentStatus,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let probation = open(status)?;
    let sources = policy.metrics.iter().filter(|rule| !rule.is_job());
    sources.filter_map(|rule| next_of(policy, probation, rule, asked, now)).min()
}

/// The inquiries that are due about a revision on probation.
pub(super) fn due(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Vec<Inquiry> {
    let waits = |it: &&Probation| !comes_first(resource, status, &it.attempt, Some(&it.fallback));
    let Some(probation) = open(status).filter(waits) else { return Vec::new() };
    let is_due = |rule: &&MetricRule| next_of(policy, probation, rule, asked, now).is_some_and(|at| at <= now);
    let inquiry = |rule: &MetricRule| Inquiry {
        topic: topic(probation, rule),
        digest: rule.digest.clone(),
        queries: queries(resource, probation, rule, now),
    };
    policy.metrics.iter().filter(|rule| !rule.is_job()).filter(is_due).map(inquiry).collect()
}

/// From when to when a metric looks that is asked at this moment.
pub(super) fn window(probation: &Probation, rule: &MetricRule, at: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
    let began = probation.exposed.first().map_or(probation.since, |it| it.since);
    if rule.delay.is_some() { (began, ended(probation)) } else { (window_start(probation.since, at), at) }
}

/// All that one metric asks: of its whole window, of each weight where it counts, or of now.
fn queries(resource: &ModelDeployment, probation: &Probation, rule: &MetricRule, now: DateTime<Utc>) -> Vec<Query> {
    let windows: Vec<(Option<usize>, DateTime<Utc>, DateTime<Utc>)> = if rule.test().is_some() {
        let each = probation.exposed.iter().enumerate();
        each.map(|(index, it)| (Some(index), it.since, it.until.unwrap_or(probation.since))).collect()
    } else {
        let (began, ended) = window(probation, rule, now);
        vec![(None, began, ended)]
    };
    let mut queries = Vec::new();
    for (exposure, began, ended) in windows {
        for (subject, revision) in rule.sides(&probation.revision, &probation.baseline) {
            let variables = variables(resource, revision, began, ended);
            queries.extend(rule.queries.iter().map(|(part, it)| Query::of(*part, it, subject, exposure, &variables)));
        }
    }
    queries
}

impl Pass<'_> {
    /// A weight is in effect from now on; noted only for metrics that will ask about it.
    pub(super) fn expose(&mut self) {
        let now = self.now;
        if self.policy.late().next().is_none() {
            return;
        }
        self.change(|it| {
            it.exposed.push(Exposure { weight: it.weight, since: now, until: None });
            let too_many = it.exposed.len().saturating_sub(MOST_EXPOSURES);
            it.exposed.drain(..too_many);
        });
    }

    /// Another weight is decided.
    pub(super) fn cover(&mut self) {
        let now = self.now;
        self.change(|it| {
            if let Some(last) = it.exposed.last_mut().filter(|it| it.until.is_none()) {
                last.until = Some(now);
            }
        });
    }

    /// Whether metrics judge it later, after it took the place of `old`.
    pub(super) fn expects_outcomes(&self, attempt: &Attempt, old: Option<&EntryRef>) -> bool {
        let judges = self.policy.late().next().is_some() || self.policy.fallback_window().is_some();
        old.is_some() && !attempt.fast_return && judges
    }

    /// The probation that a promotion of what is not proven begins. In an emergency nobody was served by both for long
    /// enough to tell, and without steps nobody at all: then it is only to keep what an earlier one kept.
    pub(super) fn probation_of(&self, attempt: &Attempt, old: &EntryRef) -> Option<Probation> {
        let before = self.status.probation.as_ref().filter(|it| it.revision == old.revision);
        let proven = before.map(|it| &it.fallback).filter(|it| it.revision != attempt.revision);
        let exposed = if attempt.emergency { Vec::new() } else { attempt.exposed.clone() };
        let may_be_proven = !attempt.emergency && (self.policy.late().next().is_none() || !exposed.is_empty());
        let until = self.policy.fallback_window().filter(|_| may_be_proven).map(|it| after(self.now, it));
        if exposed.is_empty() && until.is_none() && proven.is_none() {
            return None;
        }
        let watches_on = |it: &&_| self.policy.metrics.iter().any(|rule| rule.is_of(it) && watches(rule));
        Some(Probation {
            attempt: attempt.id.clone(),
            revision: attempt.revision.clone(),
            baseline: old.revision.clone(),
            fallback: proven.unwrap_or(old).clone(),
            // What was kept of it stays: it may be asleep.
            fallback_images: before
                .filter(|_| proven.is_some())
                .map(|it| it.fallback_images.clone())
                .unwrap_or_default(),
            images_differ: None,
            since: self.now,
            exposed,
            // A row of Fail does not end with the promotion.
            verdicts: self.status.verdicts.iter().filter(watches_on).cloned().collect(),
            until,
            recall: None,
        })
    }

    /// Turns answers about a revision on probation into verdicts.
    pub(super) fn judge_probation(&mut self, jobs: &[Answered]) {
        let Some(probation) = open(&self.status) else { return };
        let about = |it: &&Answered| it.is_about(Judges::Probation, &probation.attempt);
        let answered: Vec<&Answered> = self.observed.answered.iter().chain(jobs).filter(about).collect();
        if answered.is_empty() {
            return;
        }
        let verdicts = judge::judge_probation(self.policy, probation, &answered, self.now);
        let judged = Probation { verdicts, ..probation.clone() };
        let given_up = |(rule, _): &(&MetricRule, Duration)| {
            let asked = answered.iter().any(|it| it.inquiry.topic.metric.as_ref() == Some(&rule.name));
            let open = judged.verdicts.iter().any(|it| rule.is_of(it) && !is_settled(it.verdict));
            asked && open && next_of(self.policy, &judged, rule, &self.observed.asked, self.now).is_none()
        };
        let unknown: Vec<String> = self.policy.late().filter(given_up).map(|(rule, _)| rule.name.clone()).collect();
        self.status.probation = Some(judged);
        if !unknown.is_empty() {
            let note = format!("{} gave no proof and is not asked any more; {}", unknown.join(", "), self.ways_out());
            self.tell(EventType::Warning, "OutcomeUnknown", "Judge", note);
        }
    }

    /// Why nothing can prove it, for people.
    pub(super) fn no_outcomes(&self) -> String {
        format!("nobody was served by two revisions, so no outcome can prove it; {}", self.ways_out())
    }

    fn ways_out(&self) -> String {
        let name = self.name();
        format!(
            "kubectl werkbank promote {name} ends the probation without, kubectl werkbank abort {name} goes back to what is proven"
        )
    }

    /// Calls the last proven revision back, goes back to it, or ends the probation. Whether it goes back now: only
    /// then there is nothing else to do. A candidate that is on its way meanwhile is looked at in the same pass.
    pub(super) fn watch_probation(&mut self, request: Option<&Request>) -> bool {
        self.watch_images();
        let Some(probation) = self.status.probation.clone() else { return false };
        if let Some(recall) = &probation.recall {
            return self.await_fallback(&probation, recall, request);
        }
        let asked = request.map(|it| it.verb);
        if let (Some(request), Some(Verb::Abort)) = (request, asked.filter(|_| self.active().is_none())) {
            self.status.handled_request = Some(request.done());
            let why = TakeBack { cause: Cause::Aborted, message: "aborted by request, on probation".into() };
            return self.recall(&probation, &why, None);
        }
        if let Some(why) = self.late_failure(&probation) {
            return self.recall(&probation, &why, request);
        }
        let may_end = self.may_record() && !self.is_taking_back(request);
        match request.filter(|it| it.verb == Verb::Promote && self.active().is_none()) {
            Some(request) if may_end => self.end_by_request(&probation, request),
            _ if may_end && self.policy.can_judge() => self.end_if_over(&probation),
            _ => {}
        }
        false
    }

    fn late_failure(&self, probation: &Probation) -> Option<TakeBack> {
        if self.names(&probation.fallback.revision) && probation.images_differ.is_none() {
            let message = "the spec names the last proven revision again".to_owned();
            return Some(TakeBack { cause: Cause::Reverted, message });
        }
        let later = || TakeBack::because(Cause::PreviouslyRolledBack, self.rolled_back_later(&probation.revision)?);
        self.breached_by(&probation.verdicts).or_else(later)
    }

    /// Whether a candidate is taken back, or loses its weight, in this pass: that does not wait for the record, and so nothing
    /// may go before it that does.
    pub(super) fn is_taking_back(&self, request: Option<&Request>) -> bool {
        let aborted = request.is_some_and(|it| it.verb == Verb::Abort);
        let goes = |it: &Attempt| {
            it.state == AttemptState::RollingBack || self.take_back(it, aborted).is_some() || self.has_lost_all(it)
        };
        self.active().is_some_and(goes)
    }

    /// A person waits no longer. That proves nothing, and does not overrule a guardrail.
    fn end_by_request(&mut self, probation: &Probation, request: &Request) {
        let fails = |it: &&_| self.policy.metrics.iter().any(|rule| rule.is_of(it));
        let failing = probation.verdicts.iter().filter(fails).find(|it| it.verdict == VerdictKind::Fail);
        if let Some(failing) = failing {
            let why = format!("{} is Fail: {}; ask again when it is not", failing.metric, failing.message);
            return self.refuse_request(request, &why);
        }
        self.status.handled_request = Some(request.done());
        let by = request.asked_by.clone();
        self.asked_for(by, |it| it.end(probation, "EndProbation", "promote was requested: it is not proven"));
    }

    /// Until when guardrails may call it back, as the spec is now.
    fn callable_until(&self, probation: &Probation) -> Option<DateTime<Utc>> {
        probation.until.filter(|_| self.policy.fallback_window().is_some())
    }

    /// What guardrails have said since the time is over in which they may call it back.
    fn last_words<'a>(
        &'a self,
        probation: &'a Probation,
        until: DateTime<Utc>,
    ) -> impl Iterator<Item = (&'a MetricRule, Option<&'a Verdict>)> {
        let newest = move |rule: &_| {
            let said = |it: &&Verdict| MetricRule::is_of(rule, it) && (until..=self.now).contains(&it.time);
            probation.verdicts.iter().find(said)
        };
        self.policy.metrics.iter().filter(|it| watches(it)).map(move |it| (it, newest(it)))
    }

    /// The guardrails that let it be, for people; `None`: not yet, or not all is well.
    fn kept_guardrails(&self, probation: &Probation) -> Option<Vec<String>> {
        let Some(until) = self.callable_until(probation) else { return Some(Vec::new()) };
        let passed = |(_, said): (&_, Option<&Verdict>)| said.and_then(told_of_pass);
        self.last_words(probation, until).map(passed).collect::<Option<_>>().filter(|_| until <= self.now)
    }

    fn end_if_over(&mut self, probation: &Probation) {
        let mut late = self.policy.late().peekable();
        if late.peek().is_none() && self.callable_until(probation).is_none() {
            // What a mistake in the spec leaves without a judge is kept until that is corrected.
            if !self.policy.errors.is_empty() {
                return;
            }
            return self.end(probation, "EndProbation", "nothing judges it any more: it is not proven");
        }
        let Some(kept) = self.kept_guardrails(probation) else { return };
        let passed = |(rule, delay): &(&MetricRule, Duration)| {
            let due = after(ended(probation), *delay);
            told_of_pass(probation.verdicts.iter().find(|it| rule.is_of(it) && it.time >= due)?)
        };
        let passes: Option<Vec<String>> = late.map(|it| passed(&it)).chain(kept.into_iter().map(Some)).collect();
        // What is not one thing is not proven.
        let Some(passes) = passes.filter(|_| self.mixed_stable().is_none()) else { return };
        self.prove(&probation.revision);
        self.end(probation, "Prove", &passes.join(", "));
    }

    fn end(&mut self, probation: &Probation, decision: &str, why: &str) {
        self.status.probation = None;
        if self.status.revisions.iter().any(|it| it.role == RevisionRole::Fallback) {
            self.set_role(&probation.fallback.revision, RevisionRole::Draining);
        }
        self.intend_about(probation, Weight::FULL, decision, why);
        let reason = if decision == "Prove" { "Proven" } else { "ProbationEnded" };
        let note = format!("revision {} is not on probation any more: {why}", probation.revision);
        self.tell(EventType::Normal, reason, decision, note);
    }

    /// When to look at it again.
    pub(super) fn wake_for_probation(&mut self) {
        let deadline = self.recalled_until().filter(|at| *at > self.now);
        let measured = next(self.policy, &self.status, &self.observed.asked, self.now);
        let callable = self.status.probation.as_ref().and_then(|it| self.callable_until(it));
        let ends = callable.filter(|at| *at > self.now);
        deadline.into_iter().chain(measured).chain(ends).for_each(|at| self.look_again(at));
    }

    /// What guardrails may still say of it, for people; empty when nothing is open.
    fn unkept_guardrails(&self, probation: &Probation, until: DateTime<Utc>) -> String {
        if until > self.now {
            return format!("its guardrails may take it back until {}", until.format("%FT%TZ"));
        }
        let open = self.last_words(probation, until).filter_map(|(rule, said)| match said {
            Some(it) if it.verdict == VerdictKind::Pass => None,
            Some(it) => Some(format!("{} is {:?}: {}", it.metric, it.verdict, it.message)),
            None => Some(format!("{} has not been measured since {}", rule.name, until.format("%FT%TZ"))),
        });
        open.collect::<Vec<_>>().join("; ")
    }

    /// What a revision on probation still has to prove, for people.
    pub(super) fn unproven_outcomes(&self) -> Option<String> {
        let probation = self.status.probation.as_ref()?;
        let mut waits: Vec<String> = Vec::new();
        let callable = self.callable_until(probation);
        if probation.exposed.is_empty() && (callable.is_none() || self.policy.late().next().is_some()) {
            waits.push(self.no_outcomes());
        }
        if let Some(until) = callable {
            waits.push(self.unkept_guardrails(probation, until));
        }
        for (rule, delay) in self.policy.late().filter(|_| !probation.exposed.is_empty()) {
            let due = after(ended(probation), delay);
            let last = after(due, delay);
            let told = |at: DateTime<Utc>| at.format("%FT%TZ");
            match probation.verdicts.iter().find(|it| rule.is_of(it) && it.time >= due) {
                None => waits.push(format!("{} is judged at {}", rule.name, told(due))),
                Some(it) if it.verdict == VerdictKind::Pass => {}
                Some(it) if it.time >= last => waits.push(format!(
                    "{} is {:?} {} after its time, and not asked any more: {}; {}",
                    rule.name,
                    it.verdict,
                    written(delay),
                    it.message,
                    self.ways_out()
                )),
                Some(it) => waits.push(format!(
                    "{} is {:?}: {}; it is asked until {}",
                    rule.name,
                    it.verdict,
                    it.message,
                    told(last)
                )),
            }
        }
        waits.retain(|it| !it.is_empty());
        if waits.is_empty() {
            // What else keeps it from ending, another condition says.
            let mixed = self.mixed_stable().map(|it| format!(", and it is not proven before its pods are one: {it}"));
            waits.push(format!("all outcomes are good{}", mixed.unwrap_or_default()));
        }
        Some(format!(
            "on probation: {}; revision {} is kept to go back to",
            waits.join("; "),
            probation.fallback.revision
        ))
    }
}
