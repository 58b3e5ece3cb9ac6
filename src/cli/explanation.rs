//! Why a model serves: which entry it is of, what that may be used for and on what data it rests, who has approved it, and
//! what was decided last, on what. And of an entry by itself, what those who approve it read.
//!
//! Pure. It says what status, entries and Approvals say, and concludes nothing: what counts of an approval is the operator's word
//! (`status.approvals`), and who gave it is the Approval's.

mod entry;

use kube::ResourceExt;

use super::gates;
use super::screen::{Cell, Line as Shown, aligned, show};
use super::tree::active;
use crate::api::condition;
use crate::api::model_deployment::{Attempt, AttemptState, EntryRef, ModelDeploymentStatus, UsedFor, Verdict};
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry};

/// What there is to say: a label, and words.
type Line = (&'static str, String);

/// Names of the entries that the explanation is about: of what serves, and of what is on its way.
#[must_use]
pub fn entries_of(resource: &ModelDeployment) -> Vec<String> {
    let Some(status) = &resource.status else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for (_, it) in subjects(status) {
        if !names.contains(&it.name) {
            names.push(it.name.clone());
        }
    }
    names
}

fn subjects(status: &ModelDeploymentStatus) -> impl Iterator<Item = (&'static str, &EntryRef)> {
    let candidate = active(status).map(|it| &it.entry);
    let candidate = candidate.filter(|it| status.stable.as_ref() != Some(*it));
    let serves = status.stable.as_ref().map(|it| ("serves", it));
    serves.into_iter().chain(candidate.map(|it| ("on its way", it)))
}

/// The explanation; ends in a line break. `entries` and `approvals` are those of the namespace that were found.
#[must_use]
pub fn explain(resource: &ModelDeployment, entries: &[ModelRegistryEntry], approvals: &[Approval]) -> String {
    let mut lines = Vec::new();
    let name = resource.name_any();
    let status = resource.status.clone().unwrap_or_default();
    let subjects: Vec<_> = subjects(&status).collect();
    if subjects.is_empty() {
        lines.push(Shown::of(format!("{name}  nothing serves, and nothing is on its way")));
    }
    for (how, it) in subjects {
        lines.push(Shown::of(format!("{name}  {how}: revision {} of entry {}", it.revision, it.name)));
        let known = match entries.iter().find(|entry| entry.name_any() == it.name) {
            Some(entry) if entry.uid().is_none_or(|uid| uid == it.uid) => {
                entry::lines(entry, used(resource, it), approvals)
            }
            Some(_) => {
                vec![("model", format!("entry {} was deleted, and another one is registered by that name", it.name))]
            }
            None => vec![("model", format!("there is no entry {} any more", it.name))],
        };
        lines.extend(block(known));
    }
    lines.extend(block(decided(&status)));
    show(&lines)
}

/// The explanation of an entry by itself, whether or not anything serves it; ends in a line break.
#[must_use]
pub fn explain_entry(entry: &ModelRegistryEntry, approvals: &[Approval]) -> String {
    let conditions = entry.status.iter().flat_map(|it| &it.conditions);
    let mut lines = vec![Shown::of(format!("{}  is an entry of the registry", entry.name_any()))];
    let mut known = entry::lines(entry, entry::users(entry), approvals);
    let reading = entry.status.as_ref().and_then(|it| it.artifact.as_ref()?.reading.as_ref());
    known.extend(reading.map(|it| ("now", gates::how_far(it))));
    let said = conditions.filter(|it| !["Reconciling", "Stalled"].contains(&it.type_.as_str()));
    known.extend(said.map(|it| ("now", format!("{} {:?}: {} ({})", it.type_, it.status, it.message, it.reason))));
    lines.extend(block(known));
    show(&lines)
}

fn block(lines: Vec<Line>) -> Vec<Shown> {
    let rows: Vec<[Cell; 2]> = lines.into_iter().map(|(label, words)| [label.into(), words.into()]).collect();
    aligned(rows).into_iter().map(|row| row.behind("  ")).collect()
}

/// What it is used for, by the decision on the record, and what the spec says if that is something else.
fn used(resource: &ModelDeployment, it: &EntryRef) -> Vec<Line> {
    let revisions = resource.status.iter().flat_map(|it| &it.revisions);
    let used_for = revisions.filter(|known| known.revision == it.revision).find_map(|it| it.used_for.clone());
    let said = Some(UsedFor::of(&resource.spec)).filter(|said| Some(said) != used_for.as_ref());
    let all = [("used", used_for), ("spec says", said)].into_iter();
    all.filter_map(|(label, it)| Some((label, it.filter(UsedFor::is_said)?.to_string()))).collect()
}

/// What was decided last, and the numbers it rests on.
fn decided(status: &ModelDeploymentStatus) -> Vec<Line> {
    let Some(attempt) = &status.attempt else { return Vec::new() };
    let mut lines = vec![("decided", decision(attempt))];
    lines.extend(attempt.message.as_ref().map(|it| ("because", it.clone())));
    lines.extend(status.verdicts.iter().map(|it| ("on", measured(it))));
    let now = condition::find(&status.conditions, "Ready");
    lines.extend(now.map(|it| ("now", format!("{} ({})", it.message, it.reason))));
    lines
}

fn decision(attempt: &Attempt) -> String {
    let at = attempt.entered_at.format("%FT%TZ");
    let cause = attempt.cause.map(|it| format!(", {it:?}")).unwrap_or_default();
    let weight = match attempt.state {
        AttemptState::RolledBack | AttemptState::Failed => String::new(),
        _ => format!(" at {}", attempt.weight),
    };
    format!(
        "{:?}{weight} of attempt {}, at {at}{cause}, number {} on the record",
        attempt.state, attempt.id, attempt.decided
    )
}

fn measured(it: &Verdict) -> String {
    let value = it.value.as_deref().unwrap_or("no value");
    let stable = it.stable_value.as_ref().map(|it| format!(", stable {it}")).unwrap_or_default();
    format!("{} {value}{stable}: {:?}, {}", it.metric, it.verdict, it.time.format("%FT%TZ"))
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
