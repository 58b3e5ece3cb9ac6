//! A rollout as a tree of text: what serves, what is on its way, what is known about it, what it waits for.
//!
//! Pure. Everything shown was written into status by the operator; nothing is concluded here, so the
//! screen and the conditions cannot disagree.

use chrono::{DateTime, Utc};
use kube::ResourceExt;

use super::gates;
use super::screen::{Cell, Line, Tone, aligned, show};
use crate::api::condition::{self, ConditionStatus};
use crate::api::duration;
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, ModelDeploymentStatus, RequestOutcome, RevisionRole, RevisionStatus, Verdict,
};
use crate::api::model_deployment::{Phase, VerdictKind};
use crate::api::{Condition, ModelDeployment, ModelRegistryEntry, Weight};

/// The deployment as a tree; ends in a line break. `entry` is the one whose gates stand before it ([`gates::entry_of`]).
#[must_use]
pub fn render(resource: &ModelDeployment, entry: Option<&ModelRegistryEntry>, now: DateTime<Utc>) -> String {
    show(&lines(resource, entry, now))
}

/// The same, line by line.
pub(super) fn lines(resource: &ModelDeployment, entry: Option<&ModelRegistryEntry>, now: DateTime<Utc>) -> Vec<Line> {
    let mut lines = vec![headline(resource)];
    if let Some(status) = &resource.status {
        lines.extend(sentences(resource, status, now).into_iter().map(|line| line.behind("  ")));
        let gates = gates::lines(resource, entry);
        lines.extend(revisions(resource, status, now, gates.is_empty()));
        lines.extend(branch(entry.map(|it| format!("gates of {}", it.name_any())), gates));
    }
    lines
}

/// The last branch of the tree.
fn branch(name: Option<String>, leaves: Vec<Line>) -> Vec<Line> {
    if leaves.is_empty() {
        return Vec::new();
    }
    let last = leaves.len().saturating_sub(1);
    let leaf = |(index, leaf): (usize, Line)| leaf.behind(if index == last { "   └─ " } else { "   ├─ " });
    let name = Line::of("└─ ").and(name.unwrap_or_else(|| "gates".into()));
    [name].into_iter().chain(leaves.into_iter().enumerate().map(leaf)).collect()
}

fn headline(resource: &ModelDeployment) -> Line {
    let name = resource.name_any();
    let Some(status) = &resource.status else {
        return Line::of(format!(
            "{name}  the operator has not looked at it yet; is it running, and does it watch this namespace?"
        ));
    };
    let line = Line::of(format!("{name}  ")).and(Cell::toned(tone_of(status.phase), format!("{:?}", status.phase)));
    let said = ["Ready", "Available"].into_iter();
    let said = said.filter_map(|type_| condition::find(&status.conditions, type_).map(|it| (type_, it)));
    said.fold(line, |line, (type_, it)| line.and(format!("  {type_}={:?}", it.status)))
}

fn tone_of(phase: Phase) -> Tone {
    match phase {
        Phase::Stable => Tone::Good,
        Phase::RollingBack | Phase::RolledBack | Phase::Failed => Tone::Bad,
        _ => Tone::Doubtful,
    }
}

fn sentences(resource: &ModelDeployment, status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<Line> {
    let mut lines = Vec::new();
    let generation = resource.metadata.generation.unwrap_or_default();
    if status.observed_generation < generation {
        lines.push(Line::of(format!(
            "outdated: this is about generation {}, the spec is at {generation}",
            status.observed_generation
        )));
    }
    let holds = |type_: &str, wanted: ConditionStatus| {
        condition::find(&status.conditions, type_).filter(|it| it.status == wanted)
    };
    let said = |tone: Tone, label: &str, it: &Condition| {
        Line::of(Cell::toned(tone, format!("{label}:"))).and(format!(" {} ({})", it.message, it.reason))
    };
    if let Some(reconciling) = holds("Reconciling", ConditionStatus::True) {
        lines.push(said(Tone::Doubtful, "waits for", reconciling));
    } else if let Some(ready) = holds("Ready", ConditionStatus::False) {
        lines.push(said(Tone::Bad, "not ready", ready));
    }
    // What serves, and how long it still has to prove itself.
    lines.extend(
        holds("Ready", ConditionStatus::True).filter(|_| status.probation.is_some()).map(|it| Line::of(&it.message)),
    );
    let told = holds("Ready", ConditionStatus::False).map(|it| it.message.as_str());
    if let Some(stalled) = holds("Stalled", ConditionStatus::True).filter(|it| Some(it.message.as_str()) != told) {
        lines.push(said(Tone::Bad, "stalled", stalled));
    }
    lines.extend(refused(status, told).map(Line::of));
    lines.extend(status.attempt.as_ref().and_then(|attempt| history(resource, attempt, now)).map(Line::of));
    lines
}

/// The last request, if it did nothing and nobody has said so yet.
fn refused(status: &ModelDeploymentStatus, told: Option<&str>) -> Option<String> {
    let request = status.handled_request.as_ref().filter(|it| it.outcome == RequestOutcome::Refused)?;
    let why = request.message.as_deref()?;
    let known = told.is_some_and(|it| it.contains(why));
    (!known).then(|| format!("refused: {}: {why}", request.verb))
}

/// How the last attempt ended, and how to go on: what is revoked is not tried again.
fn history(resource: &ModelDeployment, attempt: &Attempt, now: DateTime<Utc>) -> Option<String> {
    let ago = age(attempt.entered_at, now);
    match attempt.state {
        AttemptState::RolledBack | AttemptState::Failed => {
            let cause = attempt.cause.map(|it| format!("{it:?}")).unwrap_or_default();
            let next = match attempt.cause {
                Some(Cause::Revoked) => "point spec.modelRef at another entry".to_owned(),
                _ => format!("try it again: kubectl werkbank retry {}", resource.name_any()),
            };
            Some(format!("last attempt: {} {:?} {ago} ago: {cause}; {next}", attempt.revision, attempt.state))
        }
        AttemptState::Promoted => Some(format!("last attempt: {} Promoted {ago} ago", attempt.revision)),
        _ => None,
    }
}

/// A branch for each, with what is known about it; `are_last`: the tree ends here.
fn revisions(
    resource: &ModelDeployment,
    status: &ModelDeploymentStatus,
    now: DateTime<Utc>,
    are_last: bool,
) -> Vec<Line> {
    let row = |it: &RevisionStatus| -> [Cell; 4] {
        let role = format!("{:?}", it.role);
        [it.revision.as_str().into(), role.into(), weight(status, it).to_string().into(), entry(status, it).into()]
    };
    let rows = status.revisions.iter().map(row).collect();
    let mut lines = Vec::new();
    let last = status.revisions.len().saturating_sub(1);
    for (index, (row, revision)) in aligned(rows).into_iter().zip(&status.revisions).enumerate() {
        let (branch, rail) = if index == last && are_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        lines.push(row.behind(branch).and(format!("  {}", progress(resource, status, revision, now))));
        let known = match revision.role {
            RevisionRole::Candidate => status.verdicts.as_slice(),
            RevisionRole::Stable => watching(status),
            _ => &[],
        };
        lines.extend(verdicts(known).into_iter().map(|line| line.behind(rail)));
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
pub(super) fn active(status: &ModelDeploymentStatus) -> Option<&Attempt> {
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

fn verdicts(verdicts: &[Verdict]) -> Vec<Line> {
    let row = |it: &Verdict| -> [Cell; 3] {
        [it.metric.as_str().into(), word_of(it), it.value.as_deref().unwrap_or("-").into()]
    };
    let rows = verdicts.iter().map(row).collect();
    let last = verdicts.len().saturating_sub(1);
    let line = |(index, (row, it)): (usize, (Line, &Verdict))| {
        let stable = it.stable_value.as_ref().map(|value| format!("stable {value}; ")).unwrap_or_default();
        let failures = if it.failures > 0 { format!("; failed {} in a row", it.failures) } else { String::new() };
        row.behind(if index == last { "└─ " } else { "├─ " }).and(format!("  {stable}{}{failures}", it.message))
    };
    aligned(rows).into_iter().zip(verdicts).enumerate().map(line).collect()
}

/// A verdict, toned.
pub(super) fn word_of(it: &Verdict) -> Cell {
    let tone = match it.verdict {
        VerdictKind::Pass => Tone::Good,
        VerdictKind::Fail => Tone::Bad,
        VerdictKind::Inconclusive | VerdictKind::NoData | VerdictKind::ProviderError => Tone::Doubtful,
    };
    Cell::toned(tone, format!("{:?}", it.verdict))
}

/// Two units are enough for a person: `2d3h`, `1h5m`, `42s`.
pub(super) fn age(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
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
pub(super) mod tests;
