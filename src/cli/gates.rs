//! The gates that stand before what is on its way: which are open, and what the closed ones wait for.
//!
//! Pure. What is shown is what the operator has said in the entry's conditions.

use kube::ResourceExt;

use super::screen::{Cell, Line, Tone, aligned};
use super::tree::active;
use crate::api::condition;
use crate::api::model_deployment::Phase;
use crate::api::verification::Reading;
use crate::api::{ModelDeployment, ModelRegistryEntry, Weight};

/// The condition of an entry whose artifact may be read just now.
const ARTIFACT: &str = "ArtifactVerified";
/// The conditions of an entry that are gates, as they are called here.
const OF_ENTRY: [(&str, &str); 3] =
    [("artifact", ARTIFACT), ("governance", "GovernanceComplete"), ("approval", "Approved")];

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
    let status = entry.and_then(|it| it.status.as_ref());
    let conditions = status.map(|it| it.conditions.as_slice()).unwrap_or_default();
    for (gate, type_) in OF_ENTRY {
        let Some(said) = condition::find(conditions, type_) else { continue };
        let state = if said.status == true.into() {
            Cell::toned(Tone::Good, "open")
        } else {
            Cell::toned(Tone::Doubtful, "closed")
        };
        let reading = status.and_then(|it| it.artifact.as_ref()?.reading.as_ref()).filter(|_| type_ == ARTIFACT);
        let message = reading.map_or_else(|| said.message.clone(), |it| format!("{}; {}", how_far(it), said.message));
        rows.push([gate.into(), state, message.into()]);
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

/// In one unit, so that two looks can be compared; and when it was so, for a pod may have fallen silent.
pub(super) fn how_far(reading: &Reading) -> String {
    let mib = |bytes: i64| bytes / (1 << 20);
    let at = reading.at.format("%TZ");
    match reading.of.filter(|it| *it > 0) {
        Some(of) => {
            let percent = i128::from(reading.bytes) * 100 / i128::from(of);
            format!("{} of {} MiB read ({percent}%) at {at}", mib(reading.bytes), mib(of))
        }
        None => format!("{} MiB read at {at}", mib(reading.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_reading_is_needs_no_sum_to_be_compared_and_no_end_to_be_told() {
        let reading = |bytes, of| Reading { bytes, of, at: chrono::DateTime::UNIX_EPOCH };
        assert_eq!(how_far(&reading(1230 << 20, Some(5120 << 20))), "1230 of 5120 MiB read (24%) at 00:00:00Z");
        assert_eq!(how_far(&reading((3 << 20) + 1, None)), "3 MiB read at 00:00:00Z");
        assert_eq!(how_far(&reading(i64::MAX, Some(1))).matches('%').count(), 1, "whatever a pod says");
        assert_eq!(how_far(&reading(0, Some(0))), "0 MiB read at 00:00:00Z");
    }
}
