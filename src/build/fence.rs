//! What was taken back stays so: a write that a dead process has sent may still be on its way.
//!
//! Such a write carries the version of the route (or of the Service) that it was decided on. Where traffic never
//! came to the candidate there is nothing to write when it is taken back: that version would still be the newest, and
//! the late write would win. So whoever takes traffic back writes in any case: the number of the decision, into an
//! annotation. The version moves, and what comes late is refused. The annotation stays, and nobody asks for it
//! any more.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::annotation;

/// The number of the decision that took traffic back last.
pub const FENCE: &str = "werkbank.dev/fence";

/// This decision is to be written, whatever else is there already.
pub fn raise(metadata: &mut ObjectMeta, decision: i64) {
    metadata.annotations.get_or_insert_default().insert(FENCE.into(), decision.to_string());
}

/// Whether what is to be written was; nothing is asked of what has no fence.
#[must_use]
pub fn stands(live: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    annotation(wanted, FENCE).is_none_or(|it| annotation(live, FENCE) == Some(it))
}
