//! The scenarios, by subject. To add one is to add it to a list.

use super::scenario::{Scenario, asked_of, bad, delete, deploy, edit, good, request};
use super::view::{MODELS, NAME};
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};
use serde_json::json;

/// All of them.
pub(super) fn all() -> Vec<Scenario> {
    rollouts()
}

fn canary(name: &'static str) -> Scenario {
    Scenario::named(name).when(|it| it.serves("churn-1"), deploy("churn-2"))
}

fn rollouts() -> Vec<Scenario> {
    vec![
        Scenario::named("first_deployment").until(|it| it.serves("churn-1")),
        canary("canary_promoted").until(|it| it.serves("churn-2")),
        canary("guardrail_breached_at_5")
            .metrics(|view, query| if asked_of(view, query) == "churn-2" { bad() } else { good() })
            .until(|it| it.is_in(RolledBack)),
        canary("reverted_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        canary("superseded_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("aborted").when(|it| it.is_at(Observing, "5%"), request("abort")).until(|it| it.is_in(RolledBack)),
        canary("replicas_edited_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), edit(json!({"replicas": 6})))
            .until(|it| it.serves("churn-2")),
        canary("deleted_mid_canary").when(|it| it.is_at(Observing, "5%"), delete(MODELS, NAME)),
    ]
}
