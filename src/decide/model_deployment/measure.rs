//! What to measure now.
//!
//! Pure: it only says which inquiries are due; the observer makes them and brings the answers into a decision, into
//! the same one if the source is quick. Metrics of an attempt are asked in rounds, `analysis.interval` apart; one whose
//! last inquiry is still under way sits a round out.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::first;
use super::inquiry::{Asked, Inquiry, Judges, Part, Query, Subject, Topic};
use super::policy::{MetricRule, Policy};
use super::probation;
use super::question::Template;
use super::request::{self, Verb};
use super::stable_breach;
use crate::api::duration;
use crate::api::model_deployment::{Attempt, AttemptState, EntryRef, MetricRole, ModelDeployment};
use crate::api::{Weight, model_deployment::ModelDeploymentStatus};

/// The variables of query templates.
pub const VARIABLES: [&str; 6] = ["namespace", "deployment", "revision", "window", "windowStart", "windowEnd"];

/// The attempt whose candidate has traffic, if there is one: the only time there is something to measure.
#[must_use]
pub fn watched(status: &ModelDeploymentStatus) -> Option<&Attempt> {
    let in_traffic = |it: &&Attempt| it.state.goes_up() && has_requests(it);
    let is_due = |it: &&Attempt| !first::is_first(status) || first::serves_alone(status, it);
    status.attempt.as_ref().filter(in_traffic).filter(is_due)
}

/// Whether it gets requests, or copies of them.
fn has_requests(attempt: &Attempt) -> bool {
    attempt.weight > Weight::NONE || attempt.state == AttemptState::Shadowing && attempt.observing_since.is_some()
}

/// When the next measurement is due; `None` when there is nothing to measure, or all of it is under way.
#[must_use]
pub fn next(
    policy: &Policy,
    status: &ModelDeploymentStatus,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let attempt = watched(status)?;
    if topics(policy, status, attempt).all(|it| asked.is_under_way(&it)) {
        return None;
    }
    Some(match attempt.measured_at.max(asked.last_round(&attempt.id, now)) {
        // The clock was set back: what it said then says nothing of now.
        Some(at) if at > now => now,
        Some(at) => duration::after(at, policy.interval),
        None => attempt.entered_at.min(now),
    })
}

pub(super) fn topic(attempt: &Attempt, metric: Option<&str>) -> Topic {
    Topic::of(Judges::Attempt, &attempt.id, metric)
}

/// All that is asked for in the attempt's present state.
fn topics<'a>(
    policy: &'a Policy,
    status: &ModelDeploymentStatus,
    attempt: &'a Attempt,
) -> impl Iterator<Item = Topic> + use<'a> {
    let samples = samples(policy, status).map(|_| topic(attempt, None));
    samples.into_iter().chain(asked(policy, status, attempt).map(|it| topic(attempt, Some(&it.name))))
}

/// How the candidate's requests are counted, where a step needs some.
fn samples<'a>(policy: &'a Policy, status: &ModelDeploymentStatus) -> Option<&'a Template> {
    policy.samples.as_ref().filter(|_| !first::is_first(status))
}

/// The metrics that are asked for in the attempt's present state, those aside that Jobs answer: an objective is judged by a whole step's weight,
/// and counts are those of one weight, in effect (copies are not drawn). A first deployment is judged by what can judge one by itself.
fn asked<'a>(
    policy: &'a Policy,
    status: &ModelDeploymentStatus,
    attempt: &Attempt,
) -> impl Iterator<Item = &'a MetricRule> + use<'a> {
    let is_first = first::is_first(status);
    let objectives = attempt.state == AttemptState::Observing;
    let counts = attempt.observing_since.is_some() && attempt.weight > Weight::NONE;
    let due =
        move |it: &&MetricRule| (objectives || it.role != MetricRole::Objective) && (counts || it.test().is_none());
    policy.gating().filter(|it| !it.is_job()).filter(due).filter(move |it| !is_first || first::watches(policy, it))
}

/// The inquiries that are due at `now`.
#[must_use]
pub fn due(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    asked: &Asked,
    now: DateTime<Utc>,
) -> Vec<Inquiry> {
    let taken_back = |attempt: &Attempt| {
        // Under the same entry the revisions differ by the template: that is no way to name one of them.
        let back = status.stable.as_ref().filter(|it| it.name != attempt.entry.name);
        comes_first(resource, status, &attempt.id, back)
    };
    if watched(status).is_some_and(taken_back) {
        return Vec::new();
    }
    let mut inquiries = of_attempt(resource, policy, status, asked, now);
    inquiries.extend(probation::due(resource, policy, status, asked, now));
    inquiries.extend(stable_breach::due(resource, policy, status, asked, now));
    inquiries
}

fn of_attempt(
    resource: &ModelDeployment,
    policy: &Policy,
    status: &ModelDeploymentStatus,
    before: &Asked,
    now: DateTime<Utc>,
) -> Vec<Inquiry> {
    let Some(attempt) = watched(status) else { return Vec::new() };
    if next(policy, status, before, now).is_none_or(|at| at > now) {
        return Vec::new();
    }
    let start = attempt.observing_since.unwrap_or(attempt.entered_at);
    let candidate = variables(resource, &attempt.revision, start, now);
    // What watches a first deployment asks for no other.
    let stable = status.stable.as_ref().map_or(attempt.revision.as_str(), |it| it.revision.as_str());
    let baseline = variables(resource, stable, start, now);
    let samples = samples(policy, status).into_iter().map(|template| {
        let of = |subject, variables| Query::of(Part::Value, template, subject, None, variables);
        let of_stable = policy.compares_values().then(|| of(Subject::Stable, &baseline));
        let queries = [Some(of(Subject::Candidate, &candidate)), of_stable].into_iter().flatten().collect();
        Inquiry { topic: topic(attempt, None), digest: String::new(), queries }
    });
    let metrics = asked(policy, status, attempt).map(|metric| {
        let of_side = |(subject, _)| {
            let variables = if subject == Subject::Stable { &baseline } else { &candidate };
            metric.queries.iter().map(move |(part, it)| Query::of(*part, it, subject, None, variables))
        };
        Inquiry {
            topic: topic(attempt, Some(&metric.name)),
            digest: metric.digest.clone(),
            queries: metric.sides(&attempt.revision, stable).flat_map(of_side).collect(),
        }
    });
    samples.chain(metrics).filter(|it| !before.is_under_way(&it.topic)).collect()
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
