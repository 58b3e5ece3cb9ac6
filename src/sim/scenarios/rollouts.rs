//! What goes well.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, deploy, edit, register};
use super::{canary, upgraded};
use crate::api::model_deployment::AttemptState::{Observing, Starting};

pub(super) fn all() -> Vec<Scenario> {
    let steps = |weights: &[&str]| -> Value { weights.iter().map(|it| json!({"weight": it, "for": "1m"})).collect() };
    vec![
        Scenario::named("first_deployment").until(|it| it.serves("churn-1")),
        canary("canary_promoted").until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("canary_without_steps").spec(json!({"rollout": null})))
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("three_steps").spec(json!({"rollout": {"steps": steps(&["1%", "10%", "30%"])}})))
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("not_analysed").spec(json!({"analysis": {"none": "a test"}})))
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("blue_green").spec(json!({"traffic": null, "rollout": null})))
            .until(|it| it.serves("churn-2")),
        upgraded(Scenario::named("one_replica").spec(json!({"replicas": 1}))).until(|it| it.serves("churn-2")),
        canary("one_after_the_other")
            .when(|it| it.serves("churn-2"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("there_and_back").when(|it| it.serves("churn-2"), deploy("churn-1")).until(|it| it.serves("churn-1")),
        canary("replicas_raised_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), edit(json!({"replicas": 6})))
            .until(|it| it.serves("churn-2")),
        canary("replicas_lowered_mid_canary")
            .when(|it| it.is_at(Observing, "50%"), edit(json!({"replicas": 2})))
            .until(|it| it.serves("churn-2")),
        Scenario::named("replicas_lowered_with_a_new_model")
            .when(|it| it.serves("churn-1"), edit(json!({"replicas": 1, "modelRef": {"name": "churn-2"}})))
            .until(|it| it.serves("churn-2")),
        Scenario::named("scaled_to_zero_and_back")
            .when(|it| it.serves("churn-1"), edit(json!({"replicas": 0})))
            .when(|it| it.status().replicas == 0, edit(json!({"replicas": 3})))
            .until(|it| it.status().replicas == 3),
        canary("steps_edited_live")
            .when(|it| it.is_at(Observing, "5%"), edit(json!({"rollout": {"steps": steps(&["20%", "40%"])}})))
            .until(|it| it.serves("churn-2")),
        Scenario::named("an_entry_that_comes_later")
            .when(|it| it.serves("churn-1"), deploy("churn-5"))
            .when(|it| it.is_stalled_by("EntryNotFound"), |it| register(it, "churn-5", 5))
            .until(|it| it.serves("churn-5")),
        Scenario::named("the_same_bytes_under_another_entry")
            .when(|it| it.serves("churn-1"), |it| register(it, "churn-one", 1))
            .when(|_| true, deploy("churn-one"))
            .until(|it| it.serves("churn-one")),
        Scenario::named("pods_that_come_late")
            .pods(|view, entry, wanted| if entry == "churn-2" && !view.has("pods") { 1 } else { wanted })
            .when(|it| it.serves("churn-1"), deploy("churn-2"))
            .when(|it| it.is_at(Starting, "5%"), |it| it.set("pods"))
            .until(|it| it.serves("churn-2")),
    ]
}
