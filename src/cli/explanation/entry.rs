//! What an entry says of itself, and what has been said of it: a label and words for each thing.

use kube::ResourceExt;

use super::Line;
use crate::api::approval::name_of;
use crate::api::governance::{DataSource, Governance, Owners, Risk};
use crate::api::model_registry_entry::{Lifecycle, RoleWord};
use crate::api::vendor::Vendor;
use crate::api::{Approval, ModelRegistryEntry};
use crate::cli::provenance;

/// `used`: what is known of its use.
pub(super) fn lines(entry: &ModelRegistryEntry, used: Vec<Line>, approvals: &[Approval]) -> Vec<Line> {
    let spec = &entry.spec;
    let model = &spec.model;
    let mut lines = vec![("model", format!("{} {}, {:?}", model.name, model.version, model.kind))];
    lines.extend(spec.artifact.iter().map(|it| ("bytes", format!("{} sha256:{}", it.uri, it.sha256))));
    lines.extend(spec.vendor.iter().flat_map(run_by));
    lines.extend(spec.lineage.iter().flat_map(provenance::made_of));
    lines.extend(spec.evaluations.iter().map(|it| ("examined", provenance::examined(it))));
    if spec.lifecycle() != Lifecycle::Active {
        lines.push(("lifecycle", format!("{:?}", spec.lifecycle())));
    }
    lines.extend(used);
    lines.extend(spec.governance.as_ref().map(allowed).filter(|it| !it.is_empty()).map(|it| ("allowed", it)));
    lines.extend(risk(spec.governance.as_ref()).map(|it| ("risk", it)));
    lines.extend(spec.governance.iter().flat_map(found));
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

/// What runs revisions of it.
pub(super) fn users(entry: &ModelRegistryEntry) -> Vec<Line> {
    let Some(status) = entry.status.as_ref().filter(|it| !it.used_by.is_empty()) else { return Vec::new() };
    let names: Vec<&str> = status.used_by.iter().map(|it| it.name.as_str()).collect();
    let more = if status.used_by_more { ", and others" } else { "" };
    vec![("used by", format!("{}{more}", names.join(", ")))]
}

/// Who runs it, on what terms, and what takes its place.
fn run_by(it: &Vendor) -> [Line; 2] {
    let terms = [
        Some(format!("{}, as {}", it.name, it.model)),
        (!it.residency.is_empty()).then(|| format!("in {}", it.residency.join(" or "))),
        Some(format!("on contract {}", it.dpa_ref)),
        it.subprocessors_ref.as_ref().map(|it| format!("with processors of its own {it}")),
        it.transfer_mechanism.map(|it| format!("transfer {it:?}")),
    ];
    let exit = format!("entry {}, examined in {}", it.exit.fallback_ref.name, it.exit.evidence);
    [("run by", terms.into_iter().flatten().collect::<Vec<_>>().join(", ")), ("way out", exit)]
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

/// What was found when it was assessed.
fn found(governance: &Governance) -> Vec<Line> {
    let of = |it: &Risk| {
        let whose = it.owner.as_ref().map(|it| format!(", by {it}")).unwrap_or_default();
        format!("{}: {} ({:?}); against it: {}{whose}", it.id, it.description, it.severity, it.mitigation)
    };
    let limits = governance.limitations.iter().map(|it| ("limits", it.clone()));
    governance.risks.iter().map(|it| ("risk", of(it))).chain(limits).collect()
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
        it.feature_view.as_ref().map(|it| format!("feature view {it}")),
        it.contract.as_ref().map(|it| format!("contract {} sha256:{}", it.uri, it.sha256)),
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
