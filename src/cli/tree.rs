//! A rollout as a tree of text: what serves, what is on its way, what is known about it, what it waits for.
//!
//! Pure. Everything shown was written into status by the operator; nothing is concluded here, so the
//! screen and the conditions cannot disagree.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use kube::ResourceExt;

use crate::api::condition::{self, ConditionStatus};
use crate::api::duration;
use crate::api::model_deployment::{
    Attempt, AttemptState, ModelDeploymentStatus, RequestOutcome, RevisionRole, RevisionStatus, Verdict,
};
use crate::api::{Condition, ModelDeployment, Weight};

/// The deployment as a tree; ends in a line break.
#[must_use]
pub fn render(resource: &ModelDeployment, now: DateTime<Utc>) -> String {
    let mut lines = vec![headline(resource)];
    if let Some(status) = &resource.status {
        lines.extend(sentences(resource, status, now).into_iter().map(|line| format!("  {line}")));
        lines.extend(revisions(resource, status, now));
    }
    lines.into_iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", clean(line.trim_end()));
        text
    })
}

/// Messages repeat what gateways and metric sources say: none of it may steer a terminal.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn headline(resource: &ModelDeployment) -> String {
    let name = resource.name_any();
    let Some(status) = &resource.status else {
        return format!(
            "{name}  the operator has not looked at it yet; is it running, and does it watch this namespace?"
        );
    };
    let words = ["Ready", "Available"]
        .into_iter()
        .filter_map(|type_| condition::find(&status.conditions, type_).map(|it| format!("  {type_}={:?}", it.status)));
    format!("{name}  {:?}{}", status.phase, words.collect::<String>())
}

fn sentences(resource: &ModelDeployment, status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<String> {
    let mut lines = Vec::new();
    let generation = resource.metadata.generation.unwrap_or_default();
    if status.observed_generation < generation {
        lines.push(format!(
            "outdated: this is about generation {}, the spec is at {generation}",
            status.observed_generation
        ));
    }
    let holds = |type_: &str, wanted: ConditionStatus| {
        condition::find(&status.conditions, type_).filter(|it| it.status == wanted)
    };
    let said = |label: &str, it: &Condition| format!("{label}: {} ({})", it.message, it.reason);
    if let Some(reconciling) = holds("Reconciling", ConditionStatus::True) {
        lines.push(said("waits for", reconciling));
    } else if let Some(ready) = holds("Ready", ConditionStatus::False) {
        lines.push(said("not ready", ready));
    }
    // What serves, and how long it still has to prove itself.
    lines.extend(
        holds("Ready", ConditionStatus::True).filter(|_| status.probation.is_some()).map(|it| it.message.clone()),
    );
    let told = holds("Ready", ConditionStatus::False).map(|it| it.message.as_str());
    if let Some(stalled) = holds("Stalled", ConditionStatus::True).filter(|it| Some(it.message.as_str()) != told) {
        lines.push(said("stalled", stalled));
    }
    lines.extend(refused(status, told));
    lines.extend(status.attempt.as_ref().and_then(|attempt| history(resource, attempt, now)));
    lines
}

/// The last request, if it did nothing and nobody has said so yet.
fn refused(status: &ModelDeploymentStatus, told: Option<&str>) -> Option<String> {
    let request = status.handled_request.as_ref().filter(|it| it.outcome == RequestOutcome::Refused)?;
    let why = request.message.as_deref()?;
    let known = told.is_some_and(|it| it.contains(why));
    (!known).then(|| format!("refused: {}: {why}", request.verb))
}

/// How the last attempt ended, and how to try again.
fn history(resource: &ModelDeployment, attempt: &Attempt, now: DateTime<Utc>) -> Option<String> {
    let ago = age(attempt.entered_at, now);
    match attempt.state {
        AttemptState::RolledBack | AttemptState::Failed => {
            let cause = attempt.cause.map(|it| format!("{it:?}")).unwrap_or_default();
            Some(format!(
                "last attempt: {} {:?} {ago} ago: {cause}; try it again: kubectl werkbank retry {}",
                attempt.revision,
                attempt.state,
                resource.name_any()
            ))
        }
        AttemptState::Promoted => Some(format!("last attempt: {} Promoted {ago} ago", attempt.revision)),
        _ => None,
    }
}

fn revisions(resource: &ModelDeployment, status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<String> {
    let rows: Vec<[String; 4]> = status
        .revisions
        .iter()
        .map(|it| [it.revision.clone(), format!("{:?}", it.role), weight(status, it).to_string(), entry(status, it)])
        .collect();
    let mut lines = Vec::new();
    let last = rows.len().saturating_sub(1);
    for (index, (row, revision)) in aligned(&rows).into_iter().zip(&status.revisions).enumerate() {
        let (branch, rail) = if index == last { ("└─", "   ") } else { ("├─", "│  ") };
        lines.push(format!("{branch} {row}  {}", progress(resource, status, revision, now)));
        if revision.role == RevisionRole::Candidate {
            lines.extend(verdicts(&status.verdicts).into_iter().map(|line| format!("{rail}{line}")));
        }
        if revision.role == RevisionRole::Stable {
            lines.extend(verdicts(watching(status)).into_iter().map(|line| format!("{rail}{line}")));
        }
    }
    lines
}

/// What judges the stable revision at this moment.
fn watching(status: &ModelDeploymentStatus) -> &[Verdict] {
    match (&status.probation, &status.stable_watch) {
        (Some(probation), _) => &probation.verdicts,
        (None, Some(watch)) if active(status).is_none() => &watch.verdicts,
        _ => &[],
    }
}

/// The attempt that is under way.
fn active(status: &ModelDeploymentStatus) -> Option<&Attempt> {
    status.attempt.as_ref().filter(|it| it.state.is_active())
}

/// A revision's share of traffic, as decided.
fn weight(status: &ModelDeploymentStatus, it: &RevisionStatus) -> Weight {
    let candidate = active(status).map_or(Weight::NONE, |attempt| attempt.weight);
    match it.role {
        RevisionRole::Stable => candidate.rest(),
        RevisionRole::Candidate => candidate,
        RevisionRole::Draining | RevisionRole::Kept | RevisionRole::Fallback => Weight::NONE,
    }
}

fn entry(status: &ModelDeploymentStatus, it: &RevisionStatus) -> String {
    if let Some(entry) = &it.entry {
        return entry.name.clone();
    }
    // One that an earlier version of the operator began.
    let attempt = status.attempt.as_ref().map(|attempt| &attempt.entry);
    let fallback = status.probation.as_ref().map(|it| &it.fallback);
    let named =
        [status.stable.as_ref(), attempt, fallback].into_iter().flatten().find(|entry| entry.revision == it.revision);
    named.map_or_else(|| "-".to_owned(), |entry| entry.name.clone())
}

fn progress(
    resource: &ModelDeployment,
    status: &ModelDeploymentStatus,
    it: &RevisionStatus,
    now: DateTime<Utc>,
) -> String {
    match (it.role, active(status)) {
        (RevisionRole::Candidate, Some(attempt)) => {
            let steps = resource.spec.rollout.as_ref().map_or(0, |rollout| rollout.steps.len());
            let step = attempt.step.map(|step| format!(", step {} of {steps}", step.saturating_add(1)));
            let paused = attempt.paused_since.map(|since| format!(", paused for {}", age(since, now)));
            let samples = attempt.samples.map(|samples| format!(", {samples} requests"));
            format!(
                "{:?} for {}{}{}{}",
                attempt.state,
                age(attempt.entered_at, now),
                paused.unwrap_or_default(),
                step.unwrap_or_default(),
                samples.unwrap_or_default()
            )
        }
        (RevisionRole::Stable, None) => {
            let since = status.probation.as_ref().map(|it| it.since);
            since.map(|since| format!("on probation for {}", age(since, now))).unwrap_or_default()
        }
        (RevisionRole::Fallback, _) => "to go back to".to_owned(),
        (RevisionRole::Draining | RevisionRole::Kept, _) => {
            it.draining_since.map(|since| format!("for {}", age(since, now))).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn verdicts(verdicts: &[Verdict]) -> Vec<String> {
    let rows: Vec<[String; 3]> = verdicts
        .iter()
        .map(|it| [it.metric.clone(), format!("{:?}", it.verdict), it.value.clone().unwrap_or_else(|| "-".into())])
        .collect();
    let last = rows.len().saturating_sub(1);
    let row = |(index, (row, it)): (usize, (String, &Verdict))| {
        let branch = if index == last { "└─" } else { "├─" };
        let stable = it.stable_value.as_ref().map(|value| format!("stable {value}; ")).unwrap_or_default();
        let failures = if it.failures > 0 { format!("; failed {} in a row", it.failures) } else { String::new() };
        format!("{branch} {row}  {stable}{}{failures}", it.message)
    };
    aligned(&rows).into_iter().zip(verdicts).enumerate().map(row).collect()
}

/// Columns as wide as their widest cell.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let widths: Vec<usize> = (0..N)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    rows.iter()
        .map(|row| row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect::<Vec<_>>().join("  "))
        .collect()
}

/// Two units are enough for a person: `2d3h`, `1h5m`, `42s`.
fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let seconds = (now - since).num_seconds().max(0).unsigned_abs();
    let coarse = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds - seconds % 60,
        _ => seconds - seconds % 3_600,
    };
    duration::written(std::time::Duration::from_secs(coarse))
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
