//! A stable revision that does not serve any more.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, bad, good, guardrail};
use super::super::view::View;
use super::upgraded;
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};
use crate::decide::Measurement;

fn broken(view: &View, entry: &str, wanted: i64) -> i64 {
    if entry == "churn-1" && view.has("broken") { 0 } else { wanted }
}

fn spec() -> Value {
    json!({"rollout": {"steps": [{"weight": "5%", "for": "10m"}], "emergencyPromote": true}})
}

fn prepared(name: &'static str) -> Scenario {
    upgraded(Scenario::named(name).spec(spec())).pods(broken)
}

/// `churn-2` gets bad together with it.
fn second_gets_bad(view: &View, query: &str) -> Measurement {
    if view.has("broken") && asked_of(view, query) == "churn-2" { bad() } else { good() }
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        prepared("a_broken_stable_is_replaced_at_once")
            .when(|it| it.is_at(Observing, "5%"), |it| it.set("broken"))
            .until(|it| it.serves("churn-2")),
        prepared("a_broken_stable_that_comes_back")
            .when(|it| it.is_at(Observing, "5%"), |it| it.set("broken"))
            .when(|it| it.status().stable_down_since.is_some(), |it| it.unset("broken"))
            .until(|it| it.serves("churn-2")),
        prepared("a_broken_stable_and_a_bad_candidate")
            .spec(json!({"analysis": {"failureLimit": 0, "interval": "10s", "metrics": [guardrail()]}}))
            .metrics(second_gets_bad)
            .when(|it| it.is_at(Observing, "5%"), |it| it.set("broken"))
            .when(|it| it.is_in(RolledBack), |it| it.unset("broken"))
            .until(|it| it.status().stable_down_since.is_none() && it.is_stalled_by("GuardrailBreached")),
    ]
}
