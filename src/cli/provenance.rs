//! Where a version comes from and how it was examined, in a line each.

use crate::api::provenance::{Evaluation, Lineage};

/// What it was made of: a label, and words, for each thing that is said.
pub(super) fn made_of(lineage: &Lineage) -> Vec<(&'static str, String)> {
    let code = lineage.git.iter().map(|it| format!("commit {} of {}", it.commit, it.repository));
    let run = lineage.training_run.iter().map(|it| format!("run {it}"));
    let data = lineage.training_data.iter().map(|it| format!("{} sha256:{}", it.uri, it.sha256));
    let told: Vec<String> = lineage.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let told = (!told.is_empty()).then(|| format!("with {}", told.join(", ")));
    code.chain(run).chain(data).chain(told).map(|it| ("made of", it)).collect()
}

/// What came out of an evaluation.
pub(super) fn examined(it: &Evaluation) -> String {
    let metrics: Vec<String> = it.metrics.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let metrics = if metrics.is_empty() { String::new() } else { format!(": {}", metrics.join(", ")) };
    let at = it.uri.as_ref().map(|uri| format!("{uri} ")).unwrap_or_default();
    format!("{}{metrics}, report {at}sha256:{}", it.name, it.sha256)
}
