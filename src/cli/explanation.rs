//! Why a model serves: which entry it is of, what that may be used for and on what data it rests, who has approved it, and
//! what was decided last, on what.
//!
//! Pure. It says what status, entries and Approvals say, and concludes nothing: what counts of an approval is the operator's word
//! (`status.approvals`), and who gave it is the Approval's.

use kube::ResourceExt;

use super::provenance;
use super::screen::{Cell, Line as Shown, aligned, show};
use super::tree::active;
use crate::api::approval::name_of;
use crate::api::condition;
use crate::api::governance::{DataSource, Governance, Owners};
use crate::api::model_deployment::{Attempt, AttemptState, EntryRef, ModelDeploymentStatus, UsedFor, Verdict};
use crate::api::model_registry_entry::{Lifecycle, RoleWord};
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
            Some(entry) if entry.uid().is_none_or(|uid| uid == it.uid) => of_entry(resource, it, entry, approvals),
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

fn block(lines: Vec<Line>) -> Vec<Shown> {
    let rows: Vec<[Cell; 2]> = lines.into_iter().map(|(label, words)| [label.into(), words.into()]).collect();
    aligned(rows).into_iter().map(|row| row.behind("  ")).collect()
}

fn of_entry(
    resource: &ModelDeployment,
    it: &EntryRef,
    entry: &ModelRegistryEntry,
    approvals: &[Approval],
) -> Vec<Line> {
    let spec = &entry.spec;
    let model = &spec.model;
    let mut lines = vec![("model", format!("{} {}, {:?}", model.name, model.version, model.kind))];
    lines.extend(spec.artifact.iter().map(|it| ("bytes", format!("{} sha256:{}", it.uri, it.sha256))));
    lines.extend(spec.lineage.iter().flat_map(provenance::made_of));
    lines.extend(spec.evaluations.iter().map(|it| ("examined", provenance::examined(it))));
    if spec.lifecycle() != Lifecycle::Active {
        lines.push(("lifecycle", format!("{:?}", spec.lifecycle())));
    }
    lines.extend(used(resource, it));
    lines.extend(spec.governance.as_ref().map(allowed).filter(|it| !it.is_empty()).map(|it| ("allowed", it)));
    lines.extend(risk(spec.governance.as_ref()).map(|it| ("risk", it)));
    lines.extend(spec.data_sources.iter().map(|it| ("data", data(it))));
    if let Some(by) = &spec.submitted_by {
        let through = spec.delivered_by.as_ref().map(|it| format!(", delivered by {it}")).unwrap_or_default();
        lines.push(("submitted", format!("by {by}{through}")));
    }
    let (name, digest) = (entry.name_any(), spec.digest());
    let words = entry.status.iter().flat_map(|it| &it.approvals);
    let said = |role: &str| approvals.iter().find(|it| it.name_any() == name_of(&name, role, &digest));
    lines.extend(words.map(|it| ("approval", approval(it, said(&it.role)))));
    lines.extend(spec.owners.as_ref().map(owners).filter(|it| !it.is_empty()).map(|it| ("owners", it)));
    lines.extend(spec.review_by.as_ref().map(|it| ("review by", it.0.clone())));
    lines
}

/// What it is used for, by the decision on the record, and what the spec says if that is something else.
fn used(resource: &ModelDeployment, it: &EntryRef) -> Vec<Line> {
    let revisions = resource.status.iter().flat_map(|it| &it.revisions);
    let used_for = revisions.filter(|known| known.revision == it.revision).find_map(|it| it.used_for.clone());
    let said = Some(UsedFor::of(&resource.spec)).filter(|said| Some(said) != used_for.as_ref());
    let all = [("used", used_for), ("spec says", said)].into_iter();
    all.filter_map(|(label, it)| Some((label, it.filter(UsedFor::is_said)?.to_string()))).collect()
}

fn allowed(governance: &Governance) -> String {
    let of = |word: &str, all: &[String]| (!all.is_empty()).then(|| format!("{word} {}", all.join(" or ")));
    let all = [of("for", &governance.purposes), of("in", &governance.regions)];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn risk(governance: Option<&Governance>) -> Option<String> {
    let governance = governance?;
    let class = governance.risk_class.map(|it| format!("{it:?}"));
    let assessed = governance.dpia_ref.as_ref().map(|it| format!("assessed in {it}"));
    let reviewed = governance.automated_decision.filter(|it| it.human_review);
    let reviewed = reviewed.map(|_| "a person looks at decisions when asked to".to_owned());
    let all: Vec<String> = [class, assessed, reviewed].into_iter().flatten().collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn data(it: &DataSource) -> String {
    let about = if it.personal_data { "about people" } else { "not about people" };
    let parts = [
        Some(format!("{}: {about}", it.name)),
        it.legal_basis.map(|it| format!("{it:?}")),
        (!it.consent_signals.is_empty()).then(|| format!("known by {}", it.consent_signals.join(", "))),
        (!it.purposes.is_empty()).then(|| format!("for {}", it.purposes.join(" or "))),
        (!it.residency.is_empty()).then(|| format!("in {}", it.residency.join(" or "))),
        it.retention.as_ref().map(|it| format!("kept {}", it.0)),
        it.as_of.as_ref().map(|it| format!("of {}", it.0)),
        it.ropa_id.as_ref().map(|it| format!("record {it}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn approval(word: &RoleWord, said: Option<&Approval>) -> String {
    let by = said.map(|it| format!(" by {}", it.spec.approver)).unwrap_or_default();
    let comment = said.and_then(|it| it.spec.comment.as_ref()).map(|it| format!(": {it}")).unwrap_or_default();
    format!("{}: {:?}{by}{comment}", word.role, word.word)
}

fn owners(it: &Owners) -> String {
    let of = |word: &str, who: &Option<String>| who.as_ref().map(|who| format!("{word} {who}"));
    let all =
        [of("business", &it.business), of("technical", &it.technical), of("data protection", &it.data_protection)];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
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
