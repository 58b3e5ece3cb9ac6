//! The stable revision between rollouts.
//!
//! Nobody has deployed anything, and yet it breaks a guardrail: a feature is gone, customers have changed, a
//! database is slow. With `analysis.onStableBreach` the guardrails go on watching it, those that can be judged without another
//! revision: a threshold, and no `delay`. Jobs do not: one every half minute, for months, is no watch. Queries look back
//! an hour at most: the time since the last promotion would blunt them.
//!
//! During an attempt they judge its candidate instead, and on probation the revision that is on probation. A breach, `failureLimit` + 1
//! Fail in a row, lasts until there is a Pass again: no data does not acquit. It is in nobody's way: what is deployed next
//! is the repair.

use chrono::{DateTime, TimeDelta, Utc};

use super::inquiry::{Answered, Asked, Inquiry, Judges, Query, Subject, Topic};
use super::judge;
use super::measure::variables;
use super::pass::Pass;
use super::policy::{MetricRule, Policy};
use crate::api::duration::after;
use crate::api::model_deployment::{
    MetricRole, ModelDeployment, ModelDeploymentStatus, StableWatch, Verdict, VerdictKind,
};
use crate::decide::EventType;

/// Reason: the stable revision breaks a guardrail.
pub(super) const BREACHED: &str = "StableBreached";
/// How far back a query looks.
const WINDOW: TimeDelta = TimeDelta::hours(1);

/// Whether a metric can judge a revision that serves alone, by what is the case now.
pub(super) fn watches(rule: &MetricRule) -> bool {
    rule.delay.is_none() && rule.role == MetricRole::Guardrail && !rule.compares()
}

/// Whether it does so at any time: Jobs do only on probation.
pub(super) fn watches_on(rule: &MetricRule) -> bool {
    watches(rule) && !rule.is_job()
}

/// The metrics that do so at any time.
pub(super) fn watching(policy: &Policy) -> impl Iterator<Item = &MetricRule> {
    policy.metrics.iter().filter(|it| watches_on(it))
}

/// The beginning of what is looked at of a revision that has served since then.
pub(super) fn window_start(since: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    since.max(now.checked_sub_signed(WINDOW).unwrap_or(since))
}

/// What is watched at this moment, if anything is.
pub(super) fn watched<'a>(policy: &Policy, status: &'a ModelDeploymentStatus) -> Option<&'a StableWatch> {
    let is_between = status.attempt.as_ref().is_none_or(|it| !it.state.is_active()) && status.probation.is_none();
    let is_wanted = policy.on_stable_breach.is_some() && policy.replicas > 0;
    status.stable_watch.as_ref().filter(|_| is_between && is_wanted)
}

fn topic(watch: &StableWatch, rule: &MetricRule) -> Topic {
    Topic::of(Judges::Stable, &watch.revision, Some(&rule.name))
}

/// When a metric is to be asked; `None` while it is being asked.
fn next_of(
    policy: &Policy,
    watch: &StableWatch,
    rule: &MetricRule,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let topic = topic(watch, rule);
    if asked.is_under_way(&topic) {
        return None;
    }
    let newest = watch.verdicts.iter().find(|it| rule.is_of(it)).map_or(watch.since, |it| it.time);
    Some(next_look(policy, Some(newest), &topic, asked, now))
}

/// When to look again at a revision that serves alone: `newest` is of the newest verdict, in which what is no news is not.
pub(super) fn next_look(
    policy: &Policy,
    newest: Option<DateTime<Utc>>,
    topic: &Topic,
    asked: &Asked,
    now: DateTime<Utc>,
) -> DateTime<Utc> {
    // What a clock said that was set back since says nothing of now.
    let last = newest.filter(|at| *at <= now).max(asked.last(topic, now));
    last.map_or(now, |at| after(at, policy.interval))
}

/// When the stable revision is to be measured next.
fn next(policy: &Policy, status: &ModelDeploymentStatus, asked: &Asked, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let watch = watched(policy, status)?;
    watching(policy).filter_map(|rule| next_of(policy, watch, rule, asked, now)).min()
}

/// The inquiries that are due about the stable revision.
pub(super) fn due(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Vec<Inquiry> {
    let Some(watch) = watched(policy, status) else { return Vec::new() };
    let variables = variables(resource, &watch.revision, window_start(watch.since, now), now);
    let is_due = |rule: &&MetricRule| next_of(policy, watch, rule, asked, now).is_some_and(|at| at <= now);
    let inquiry = |rule: &MetricRule| Inquiry {
        topic: topic(watch, rule),
        digest: rule.digest.clone(),
        queries: rule
            .queries
            .iter()
            .map(|(part, it)| Query::of(*part, it, Subject::Candidate, None, &variables))
            .collect(),
    };
    watching(policy).filter(is_due).map(inquiry).collect()
}

impl Pass<'_> {
    /// Turns answers about the stable revision into verdicts, and tells when a breach begins or ends.
    pub(super) fn judge_stable(&mut self) {
        let Some(watch) = watched(self.policy, &self.status) else { return };
        let about = |it: &&Answered| it.is_about(Judges::Stable, &watch.revision);
        let answered: Vec<&Answered> = self.observed.answered.iter().filter(about).collect();
        if answered.is_empty() {
            return;
        }
        let before = self.stable_breach();
        let verdicts = judge::judge_stable(self.policy, &watch.verdicts, &answered, self.now);
        let revision = watch.revision.clone();
        if let Some(watch) = self.status.stable_watch.as_mut() {
            watch.verdicts = verdicts;
        }
        match (before, self.stable_breach()) {
            (None, Some(breach)) => self.tell(EventType::Warning, BREACHED, "Alert", breach),
            (Some(_), None) => {
                let note = format!("stable revision {revision} keeps its guardrails again");
                self.tell(EventType::Normal, "StableRecovered", "Alert", note);
            }
            _ => {}
        }
    }

    /// Begins, goes on or stops watching the stable revision.
    pub(super) fn keep_watch(&mut self) {
        let stable = self.status.stable.as_ref().filter(|_| self.policy.on_stable_breach.is_some());
        let Some(revision) = stable.map(|it| it.revision.clone()) else {
            self.status.stable_watch = None;
            return;
        };
        let known = self.status.stable_watch.take().filter(|it| it.revision == revision);
        let begins = || StableWatch { revision, since: self.now, verdicts: Vec::new() };
        self.status.stable_watch = Some(known.unwrap_or_else(begins));
        if let Some(at) = next(self.policy, &self.status, &self.observed.asked, self.now) {
            self.look_again(at);
        }
    }

    /// What the stable revision breaks, for people.
    pub(super) fn stable_breach(&self) -> Option<String> {
        let watch = watched(self.policy, &self.status)?;
        let (rule, verdict) = watch.verdicts.iter().find_map(|it| {
            let rule = self.policy.metrics.iter().find(|rule| rule.is_of(it) && watches(rule))?;
            (it.failures > self.policy.tolerated(rule)).then_some((rule, it))
        })?;
        let now = match verdict.verdict {
            VerdictKind::Fail => verdict.message.clone(),
            other => format!("it was Fail, and is {other:?} now: {}", verdict.message),
        };
        Some(format!(
            "stable revision {} breaks guardrail {}: {now}; deploy a revision that keeps it, or go back to an earlier one",
            watch.revision, rule.name
        ))
    }
}

/// Whether nothing is to be told of the newer verdict of a revision that serves alone, or to be done: `tolerated` Fail in a row
/// are no breach, and one more or less beyond is the same breach.
pub(super) fn says_the_same(before: &Verdict, after: &Verdict, tolerated: i32) -> bool {
    let row = |it: &Verdict| it.failures.min(tolerated.saturating_add(1));
    let said = |it: &Verdict| (it.verdict, row(it), it.refused, it.secret_not_readable, it.silent_since);
    let is_told = matches!(after.verdict, VerdictKind::Pass | VerdictKind::Fail) || before.message == after.message;
    before.time <= after.time && said(before) == said(after) && is_told
}
