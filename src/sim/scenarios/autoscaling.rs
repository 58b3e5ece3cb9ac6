//! How many pods there are is somebody else's matter.

use serde_json::{Value, json};

use super::super::scenario::{Scenario, asked_of, bad, delete, deploy, edit, good};
use super::super::view::{AUTOSCALERS, DEPLOYMENTS, View};
use super::children::{delete_child, edit_child, stable};
use super::upgraded;
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};

fn between(min: i32, max: i32) -> Value {
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}});
    json!({"replicas": null, "autoscaling": {"min": min, "max": max, "metrics": [cpu]}})
}

fn autoscaled(name: &'static str) -> Scenario {
    Scenario::named(name).spec(between(2, 8))
}

/// The autoscaler of the stable revision gives it six pods.
fn load_comes(view: &View) {
    edit_child(view, DEPLOYMENTS, &stable(view), json!({"spec": {"replicas": 6}}));
}

/// `churn-2` comes when there is load.
fn under_load(name: &'static str) -> Scenario {
    autoscaled(name).when(|it| it.serves("churn-1"), load_comes).when(|it| it.status().replicas == 6, deploy("churn-2"))
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        upgraded(autoscaled("autoscaled")).until(|it| it.serves("churn-2")),
        under_load("autoscaled_under_load").until(|it| it.serves("churn-2")),
        under_load("autoscaled_and_taken_back")
            .metrics(|view, query| if asked_of(view, query) == "churn-2" { bad() } else { good() })
            .until(|it| it.is_in(RolledBack)),
        under_load("autoscaled_and_kept")
            .spec(json!({"rollout": {"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "5m"}}))
            .until(|it| it.serves("churn-2") && it.is_at_peace()),
        autoscaled("autoscaler_deleted_by_hand")
            .when(|it| it.serves("churn-1"), |it| delete_child(it, AUTOSCALERS, &stable(it)))
            .until(|it| it.cluster.all(AUTOSCALERS).len() == 1),
        upgraded(Scenario::named("autoscaling_added_mid_canary"))
            .when(|it| it.is_at(Observing, "5%"), edit(between(4, 8)))
            .until(|it| it.serves("churn-2")),
        upgraded(autoscaled("autoscaling_removed_mid_canary"))
            .when(|it| it.is_at(Observing, "5%"), edit(json!({"autoscaling": null, "replicas": 3})))
            .until(|it| it.serves("churn-2") && it.pods_of("churn-2") == 3),
        autoscaled("autoscaled_and_deleted")
            .when(|it| it.serves("churn-1"), delete(super::super::view::MODELS, super::super::view::NAME)),
    ]
}
