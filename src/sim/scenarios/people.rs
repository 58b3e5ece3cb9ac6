//! People who hold a rollout, let it go, or hurry it.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, bad, delete, deploy, edit, good, request, request_here};
use super::super::view::{MODELS, NAME, View};
use super::canary;
use crate::api::model_deployment::AttemptState::{Observing, RolledBack, Shifting, Starting};
use crate::decide::Measurement;

fn suspended(suspend: bool) -> Value {
    json!({"suspend": suspend})
}

fn held_at_5(name: &'static str) -> Scenario {
    canary(name).when(|it| it.is_at(Observing, "5%"), request_here("pause", "n1"))
}

fn second_gets_bad(view: &View, query: &str) -> Measurement {
    if view.has("second-is-bad") && asked_of(view, query) == "churn-2" { bad() } else { good() }
}

fn gets_bad(view: &View) {
    view.set("second-is-bad");
}

/// Held, and everything has passed that would let the step end.
fn is_held_and_proven(view: &View) -> bool {
    view.is_held() && view.is_proven()
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        held_at_5("paused_and_resumed")
            .when(is_held_and_proven, request_here("resume", "n2"))
            .until(|it| it.serves("churn-2")),
        held_at_5("paused_twice")
            .when(|it| it.is_held(), request_here("resume", "n2"))
            .when(|it| it.is_at(Observing, "5%") && !it.is_held(), request_here("pause", "n3"))
            .when(|it| it.is_held(), request_here("resume", "n4"))
            .until(|it| it.serves("churn-2")),
        held_at_5("paused_and_aborted").when(|it| it.is_held(), request("abort")).until(|it| it.is_in(RolledBack)),
        held_at_5("deleted_while_paused").when(|it| it.is_held(), delete(MODELS, NAME)),
        held_at_5("paused_and_breached")
            .metrics(second_gets_bad)
            .when(|it| it.is_held(), gets_bad)
            .until(|it| it.is_in(RolledBack)),
        held_at_5("paused_and_superseded").when(|it| it.is_held(), deploy("churn-3")).until(|it| it.serves("churn-3")),
        canary("paused_while_starting")
            .when(|it| it.is_in(Starting), request_here("pause", "n1"))
            .when(|it| it.is_held(), request_here("resume", "n2"))
            .until(|it| it.serves("churn-2")),
        canary("paused_while_shifting")
            .when(|it| it.is_at(Shifting, "50%"), request_here("pause", "n1"))
            .when(|it| it.is_held(), request_here("resume", "n2"))
            .until(|it| it.serves("churn-2")),
        canary("promoted_by_request")
            .when(|it| it.is_at(Observing, "5%") && it.is_proven(), request_here("promote", "n1"))
            .until(|it| it.serves("churn-2")),
        canary("promoted_by_request_at_the_last_step")
            .when(|it| it.is_at(Observing, "50%") && it.is_proven(), request_here("promote", "n1"))
            .until(|it| it.serves("churn-2")),
        canary("promoted_by_request_while_another_asks_in_vain")
            .when(|it| it.is_at(Observing, "5%") && it.is_proven(), request_here("promote", "n1"))
            .when(|it| it.status().handled_request.is_some(), request_here("retry", "n2"))
            .until(|it| it.serves("churn-2")),
        canary("suspended_mid_canary_and_let_go")
            .when(|it| it.is_at(Observing, "5%"), edit(suspended(true)))
            .when(is_held_and_proven, edit(suspended(false)))
            .until(|it| it.serves("churn-2")),
        canary("suspended_and_breached")
            .metrics(second_gets_bad)
            .when(|it| it.is_at(Observing, "50%"), edit(suspended(true)))
            .when(|it| it.is_held(), gets_bad)
            .until(|it| it.is_in(RolledBack)),
        canary("suspended_and_reverted")
            .when(|it| it.is_at(Observing, "5%"), edit(suspended(true)))
            .when(|it| it.is_held(), deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        Scenario::named("suspended_before_it_begins")
            .when(|it| it.serves("churn-1"), edit(json!({"suspend": true, "modelRef": {"name": "churn-2"}})))
            .when(|it| it.is_told("Suspended"), edit(suspended(false)))
            .until(|it| it.serves("churn-2")),
    ]
}
