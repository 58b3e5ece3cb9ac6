//! What to measure now.
//!
//! Pure: it only says which queries are due; the observer asks them and brings the
//! answers into the next decision. Both sides of a comparison are asked in the same pass.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::policy::{MetricRule, Policy};
use super::probation;
use super::question::{Question, Template};
use super::request::{self, Verb};
use crate::api::duration;
use crate::api::model_deployment::{Attempt, AttemptState, EntryRef, MetricRole, ModelDeployment};
use crate::api::{Weight, model_deployment::ModelDeploymentStatus};

/// The variables of query templates.
pub const VARIABLES: [&str; 6] = ["namespace", "deployment", "revision", "window", "windowStart", "windowEnd"];

/// A query that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The metric; `None` counts the candidate's requests.
    pub metric: Option<String>,
    /// Which of its numbers.
    pub part: Part,
    /// Whom it is about.
    pub subject: Subject,
    /// Who is judged by it.
    pub of: Judges,
    /// What to ask, or why the template cannot be filled in.
    pub question: Result<Question, String>,
}

/// One of the numbers that make a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The number itself.
    Value,
    /// Of a proportion.
    Successes,
    /// Of a proportion.
    Trials,
    /// Of a mean.
    Sum,
    /// Of a mean.
    SumSquares,
    /// Of a mean.
    Count,
}

impl Part {
    /// The field of a metric below which its question is, with the dot; a number's is the metric's own.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Successes => "proportion.successes.",
            Self::Trials => "proportion.trials.",
            Self::Sum => "mean.sum.",
            Self::SumSquares => "mean.sumSquares.",
            Self::Count => "mean.count.",
        }
    }
}

/// Whom a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The candidate.
    Candidate,
    /// The stable revision.
    Stable,
}

/// Who is judged by an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judges {
    /// The candidate of an attempt.
    Attempt,
    /// A revision on probation, by its whole window or by what is the case now.
    Probation,
    /// As that, by this one of the weights it was watched at.
    Exposure(usize),
}

/// The attempt whose candidate has traffic, if there is one: the only time there is something to measure.
#[must_use]
pub fn watched(status: &ModelDeploymentStatus) -> Option<&Attempt> {
    let in_traffic = |it: &&Attempt| it.state.is_active() && it.state != AttemptState::RollingBack && has_requests(it);
    // A first deployment has nothing to be compared with and nothing to fall back to.
    status.attempt.as_ref().filter(in_traffic).filter(|_| status.stable.is_some())
}

/// Whether it gets requests, or copies of them.
fn has_requests(attempt: &Attempt) -> bool {
    attempt.weight > Weight::NONE || attempt.state == AttemptState::Shadowing && attempt.observing_since.is_some()
}

/// When the next measurement is due; `None` when there is nothing to measure.
#[must_use]
pub fn next(policy: &Policy, status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let attempt = watched(status)?;
    if asked(policy, attempt).next().is_none() && policy.samples.is_none() {
        return None;
    }
    Some(match attempt.measured_at {
        // The clock was set back: what it said then says nothing of now.
        Some(at) if at > now => now,
        Some(at) => duration::after(at, policy.interval),
        None => attempt.entered_at.min(now),
    })
}

/// The metrics that are asked for in the attempt's present state: an objective is judged by a whole step's weight,
/// and counts are those of one weight, in effect (copies are not drawn).
fn asked<'a>(policy: &'a Policy, attempt: &Attempt) -> impl Iterator<Item = &'a MetricRule> {
    let objectives = attempt.state == AttemptState::Observing;
    let counts = attempt.observing_since.is_some() && attempt.weight > Weight::NONE;
    let due =
        move |it: &&MetricRule| (objectives || it.role != MetricRole::Objective) && (counts || it.test().is_none());
    policy.gating().filter(due)
}

/// The queries that are due at `now`; the attempt's come first.
#[must_use]
pub fn due(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    now: DateTime<Utc>,
) -> Vec<Query> {
    let taken_back = |attempt: &Attempt| {
        // Under the same entry the revisions differ by the template: that is no way to name one of them.
        let back = status.stable.as_ref().filter(|it| it.name != attempt.entry.name);
        comes_first(resource, status, &attempt.id, back)
    };
    if watched(status).is_some_and(taken_back) {
        return Vec::new();
    }
    let mut queries = of_attempt(resource, policy, status, now);
    queries.extend(probation::due(resource, policy, status, now));
    queries
}

fn of_attempt(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    now: DateTime<Utc>,
) -> Vec<Query> {
    let (Some(attempt), Some(stable)) = (watched(status), status.stable.as_ref()) else { return Vec::new() };
    if next(policy, status, now).is_none_or(|at| at > now) {
        return Vec::new();
    }
    let start = attempt.observing_since.unwrap_or(attempt.entered_at);
    let candidate = variables(resource, &attempt.revision, start, now);
    let baseline = variables(resource, &stable.revision, start, now);
    let ask = |metric: Option<&str>, part, template: &Template, subject| {
        let variables = if subject == Subject::Stable { &baseline } else { &candidate };
        let question = template.fill_in(variables).map_err(|error| error.to_string());
        Query { metric: metric.map(str::to_owned), part, subject, of: Judges::Attempt, question }
    };
    let mut queries = Vec::new();
    if let Some(template) = &policy.samples {
        queries.push(ask(None, Part::Value, template, Subject::Candidate));
    }
    for metric in asked(policy, attempt) {
        for subject in [Some(Subject::Candidate), metric.compares().then_some(Subject::Stable)].into_iter().flatten() {
            let questions = metric.queries.iter();
            queries.extend(questions.map(|(part, template)| ask(Some(&metric.name), *part, template, subject)));
        }
    }
    queries
}

/// Whether a person is about to take an attempt back, by `abort` or by naming the entry to go back to: that may not wait
/// for a source that is slow.
pub(super) fn comes_first(
    resource: &ModelDeployment,
    status: &ModelDeploymentStatus,
    attempt: &str,
    back: Option<&EntryRef>,
) -> bool {
    let asked = request::pending(resource, status);
    let abort = asked.is_some_and(|it| it.verb == Verb::Abort && it.attempt == attempt);
    let revert = back.is_some_and(|it| it.name == resource.spec.model_ref.name);
    abort || revert && resource.metadata.generation != Some(status.observed_generation)
}

/// What stands for the variables of a query about this revision, from `start` to `end`.
pub(super) fn variables(
    resource: &ModelDeployment,
    revision: &str,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> BTreeMap<&'static str, String> {
    let seconds = (end - start).num_seconds().max(1).unsigned_abs();
    let values = [
        resource.metadata.namespace.clone().unwrap_or_default(),
        resource.metadata.name.clone().unwrap_or_default(),
        revision.to_owned(),
        duration::written(std::time::Duration::from_secs(seconds)),
        start.timestamp().to_string(),
        end.timestamp().to_string(),
    ];
    VARIABLES.into_iter().zip(values).collect()
}
