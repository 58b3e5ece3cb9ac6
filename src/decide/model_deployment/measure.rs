//! What to measure now.
//!
//! Pure: it only says which queries are due; the observer asks them and brings the
//! answers into the next decision. Both sides of a comparison are asked in the same pass.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::policy::{Bounds, MetricRule, Policy};
use crate::api::duration;
use crate::api::model_deployment::{Attempt, AttemptState, MetricRole, ModelDeployment};
use crate::api::{Weight, model_deployment::ModelDeploymentStatus};
use crate::text::query;

/// The variables of query templates.
pub const VARIABLES: [&str; 6] = ["namespace", "deployment", "revision", "window", "windowStart", "windowEnd"];

/// A query that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The metric; `None` counts the candidate's requests.
    pub metric: Option<String>,
    /// Whom it is about.
    pub subject: Subject,
    /// The rendered PromQL, or why the template cannot be rendered.
    pub promql: Result<String, String>,
}

/// Whom a query is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The candidate.
    Candidate,
    /// The stable revision.
    Stable,
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

/// The metrics that are asked for in the attempt's present state: an objective is judged by a whole step's weight.
fn asked<'a>(policy: &'a Policy, attempt: &Attempt) -> impl Iterator<Item = &'a MetricRule> {
    let objectives = attempt.state == AttemptState::Observing;
    policy.metrics.iter().filter(move |it| objectives || it.role != MetricRole::Objective)
}

/// The queries that are due at `now`.
#[must_use]
pub fn due(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    now: DateTime<Utc>,
) -> Vec<Query> {
    let (Some(attempt), Some(stable)) = (watched(status), status.stable.as_ref()) else { return Vec::new() };
    if next(policy, status, now).is_none_or(|at| at > now) {
        return Vec::new();
    }
    let candidate = variables(resource, &attempt.revision, attempt, now);
    let baseline = variables(resource, &stable.revision, attempt, now);
    let render = |template: &str, subject| {
        let variables = if subject == Subject::Stable { &baseline } else { &candidate };
        query::render(template, variables).map_err(|error| error.to_string())
    };
    let mut queries = Vec::new();
    if let Some(template) = &policy.samples {
        queries.push(Query { metric: None, subject: Subject::Candidate, promql: render(template, Subject::Candidate) });
    }
    for metric in asked(policy, attempt) {
        let compared = matches!(metric.bounds, Bounds::Compare { .. });
        for subject in [Some(Subject::Candidate), compared.then_some(Subject::Stable)].into_iter().flatten() {
            queries.push(Query { metric: Some(metric.name.clone()), subject, promql: render(&metric.query, subject) });
        }
    }
    queries
}

fn variables(
    resource: &ModelDeployment,
    revision: &str,
    attempt: &Attempt,
    now: DateTime<Utc>,
) -> BTreeMap<&'static str, String> {
    let start = attempt.observing_since.unwrap_or(attempt.entered_at);
    let seconds = (now - start).num_seconds().max(1).unsigned_abs();
    let values = [
        resource.metadata.namespace.clone().unwrap_or_default(),
        resource.metadata.name.clone().unwrap_or_default(),
        revision.to_owned(),
        duration::written(std::time::Duration::from_secs(seconds)),
        start.timestamp().to_string(),
        now.timestamp().to_string(),
    ];
    VARIABLES.into_iter().zip(values).collect()
}
