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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_fence_of_this_very_decision_stands() {
        let fenced = |decision: Option<i64>| {
            let mut metadata = ObjectMeta::default();
            decision.into_iter().for_each(|it| raise(&mut metadata, it));
            metadata
        };
        for (live, wanted, expected) in [
            (None, None, true),
            (Some(4), None, true),
            (None, Some(4), false),
            (Some(4), Some(4), true),
            // One of an earlier rollback stops no write that was sent after it.
            (Some(4), Some(9), false),
        ] {
            assert_eq!(stands(&fenced(live), &fenced(wanted)), expected, "{live:?}, {wanted:?}");
        }
    }
}
