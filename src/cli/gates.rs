//! The gates that stand before what is on its way: which are open, and what the closed ones wait for.
//!
//! Pure. What is shown is what the operator has said in the entry's conditions.

use kube::ResourceExt;

use super::screen::{Cell, Line, Tone, aligned};
use super::tree::active;
use crate::api::condition;
use crate::api::model_deployment::Phase;
use crate::api::{ModelDeployment, ModelRegistryEntry, Weight};

/// The conditions of an entry that are gates, as they are called here.
const OF_ENTRY: [(&str, &str); 3] =
    [("artifact", "ArtifactVerified"), ("governance", "GovernanceComplete"), ("approval", "Approved")];

/// The entry whose gates are of interest: of what is on its way, or waits to begin.
#[must_use]
pub fn entry_of(resource: &ModelDeployment) -> Option<&str> {
    let status = resource.status.as_ref()?;
    let waits = (status.phase == Phase::Gating).then_some(resource.spec.model_ref.name.as_str());
    active(status).map(|it| it.entry.name.as_str()).or(waits)
}

/// A line for each gate; nothing, where there is none. `entry` is the one of [`entry_of`], if it is there.
#[must_use]
pub fn lines(resource: &ModelDeployment, entry: Option<&ModelRegistryEntry>) -> Vec<Line> {
    let mut rows: Vec<[Cell; 3]> = Vec::new();
    let conditions = entry.and_then(|it| it.status.as_ref()).map(|it| it.conditions.as_slice()).unwrap_or_default();
    for (gate, type_) in OF_ENTRY {
        let Some(said) = condition::find(conditions, type_) else { continue };
        let state = if said.status == true.into() {
            Cell::toned(Tone::Good, "open")
        } else {
            Cell::toned(Tone::Doubtful, "closed")
        };
        rows.push([gate.into(), state, said.message.clone().into()]);
    }
    let attempt = resource.status.as_ref().and_then(active);
    for step in attempt.into_iter().flat_map(|it| &it.approvals) {
        let is_past = attempt.is_some_and(|it| it.weight >= step.weight && it.weight > Weight::NONE);
        let state = if is_past { Cell::toned(Tone::Good, "passed") } else { Cell::toned(Tone::Doubtful, "ahead") };
        let who = format!(
            "role {}: kubectl werkbank approve modeldeployment/{} --role {}",
            step.role,
            resource.name_any(),
            step.role
        );
        rows.push([format!("step {}", step.weight).into(), state, who.into()]);
    }
    aligned(rows)
}
