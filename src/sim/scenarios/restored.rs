//! Objects that come back from a backup.

use super::super::scenario::{Scenario, asked_of, bad, delete, deploy, good, request};
use super::super::view::{MODELS, NAME, View};
use super::canary;
use crate::api::model_deployment::AttemptState::{Failed, Observing, RolledBack};
use crate::decide::Measurement;

fn second_is_bad(view: &View, query: &str) -> Measurement {
    if asked_of(view, query) == "churn-2" { bad() } else { good() }
}

/// What the trail was away for, and a deletion takes with it, nobody can know later.
fn is_rolled_back_on_the_record(view: &View) -> bool {
    view.is_in(RolledBack) && view.status().unrecorded.is_empty()
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        canary("restored_without_status_after_a_rollback")
            .metrics(second_is_bad)
            .when(is_rolled_back_on_the_record, delete(MODELS, NAME))
            .when(|it| it.deployment().is_null(), |it| it.again_with("churn-2"))
            .until(|it| it.is_in(Failed) && it.is_stalled_by("PreviouslyRolledBack")),
        canary("restored_without_status_and_tried_again")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(is_rolled_back_on_the_record, delete(MODELS, NAME))
            .when(|it| it.deployment().is_null(), |it| it.again_with("churn-2"))
            .when(|it| it.is_stalled_by("PreviouslyRolledBack"), request("retry"))
            .until(|it| it.serves("churn-2")),
        canary("restored_without_status_and_corrected")
            .metrics(second_is_bad)
            .when(is_rolled_back_on_the_record, delete(MODELS, NAME))
            .when(|it| it.deployment().is_null(), |it| it.again_with("churn-2"))
            .when(|it| it.is_stalled_by("PreviouslyRolledBack"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("restored_with_an_older_status")
            .metrics(|view, query| if view.has("bad") { second_is_bad(view, query) } else { good() })
            .when(
                |it| it.is_at(Observing, "5%"),
                |it| {
                    it.back_up();
                    it.set("bad");
                },
            )
            .when(is_rolled_back_on_the_record, |it| {
                it.unset("bad");
                it.restore();
            })
            .until(|it| it.is_in(RolledBack) && it.is_stalled_by("PreviouslyRolledBack")),
    ]
}
