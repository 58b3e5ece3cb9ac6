//! Requests that are copied before any is sent.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, bad, delete, deploy, edit, good, request};
use super::super::view::{MODELS, NAME, View};
use super::upgraded;
use crate::api::model_deployment::AttemptState::{RolledBack, Shadowing};
use crate::decide::Measurement;

fn rollout(percent: u8) -> Value {
    json!({"shadow": {"percent": percent, "for": "2m"}, "steps": [{"weight": "5%", "for": "1m"}]})
}

fn shadowed(name: &'static str) -> Scenario {
    upgraded(Scenario::named(name).spec(json!({"rollout": rollout(50)})))
}

/// Behind a gateway that has no mirrors.
fn plain() -> Value {
    let parent = json!({"name": "internal", "namespace": "infra", "sectionName": "plain"});
    json!({"gateway": {"parentRefs": [parent], "hostnames": ["churn.internal"]}})
}

fn second_is_bad(view: &View, query: &str) -> Measurement {
    if asked_of(view, query) == "churn-2" { bad() } else { good() }
}

fn copies(view: &View) -> bool {
    view.is_in(Shadowing) && view.status().attempt.is_some_and(|it| it.observing_since.is_some())
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        shadowed("shadowed_and_promoted").until(|it| it.serves("churn-2")),
        shadowed("shadow_breached").metrics(second_is_bad).until(|it| it.is_in(RolledBack)),
        shadowed("shadow_aborted").when(copies, request("abort")).until(|it| it.is_in(RolledBack)),
        shadowed("shadow_aborted_before_it_is_there")
            .when(|it| it.is_in(Shadowing), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        shadowed("deleted_while_shadowed").when(copies, delete(MODELS, NAME)),
        shadowed("shadow_superseded").when(copies, deploy("churn-3")).until(|it| it.serves("churn-3")),
        shadowed("shadow_grows").when(copies, edit(json!({"rollout": rollout(100)}))).until(|it| it.serves("churn-2")),
        shadowed("shadow_taken_away")
            .when(copies, edit(json!({"rollout": {"shadow": null}})))
            .until(|it| it.serves("churn-2")),
        upgraded(
            Scenario::named("a_gateway_without_mirrors").spec(json!({"rollout": rollout(50), "traffic": plain()})),
        )
        .when(|it| it.is_in(Shadowing) && it.has_proposal(), edit(json!({"rollout": {"shadow": null}})))
        .until(|it| it.serves("churn-2")),
        shadowed("gateway_edited_under_a_shadow")
            .when(copies, edit(json!({"traffic": {"gateway": {"hostnames": ["elsewhere.internal"]}}})))
            .until(|it| it.serves("churn-2") && it.has_host("elsewhere.internal")),
    ]
}
