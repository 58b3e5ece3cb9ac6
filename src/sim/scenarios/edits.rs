//! Edits of the spec besides the model: gateway, port, template, metrics, ConfigMaps.

use http::Method;
use serde_json::{Value, json};

use super::super::scenario::{Scenario, deploy, edit, guardrail};
use super::super::view::{CONFIG_MAPS, NAME, NAMESPACE, ROUTES, View, path, within};
use super::canary;
use crate::api::model_deployment::AttemptState::Observing;

/// `spec.traffic` with these parents and hosts.
fn traffic(section: Option<&str>, host: &str) -> Value {
    let mut parent = json!({"name": "internal", "namespace": "infra"});
    if let Some(section) = section {
        parent["sectionName"] = section.into();
    }
    json!({"traffic": {"gateway": {"parentRefs": [parent], "hostnames": [host]}}})
}

fn config_map(name: &str, key: &str, text: &str) -> Value {
    let metadata = json!({"namespace": NAMESPACE, "name": name});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: text}})
}

/// A template that mounts the ConfigMap `rules`.
fn with_rules() -> Value {
    let volume = json!({"name": "rules", "configMap": {"name": "rules"}});
    json!({"template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.4"}], "volumes": [volume]}}})
}

fn edit_rules(view: &View) {
    view.cluster.ask(Method::PATCH, &path(CONFIG_MAPS, "rules"), json!({"data": {"rules": "two"}}));
}

fn create_rules(view: &View) {
    view.cluster.ask(Method::POST, &within(CONFIG_MAPS), config_map("rules", "rules", "one"));
}

fn attempts(view: &View, number: i64) -> bool {
    view.status().attempts >= number && view.serves("churn-1")
}

pub(super) fn all() -> Vec<Scenario> {
    let shared = || json!({"analysis": {"metrics": [], "metricsFrom": [{"configMapRef": {"name": "http"}}]}});
    let list = || json!([guardrail()]).to_string();
    vec![
        Scenario::named("gateway_edited")
            .when(|it| it.serves("churn-1"), edit(traffic(None, "elsewhere.internal")))
            .until(|it| it.has_host("elsewhere.internal")),
        canary("gateway_edited_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), edit(traffic(None, "elsewhere.internal")))
            .until(|it| it.serves("churn-2") && it.has_host("elsewhere.internal")),
        Scenario::named("gateway_edit_refused_and_corrected")
            .when(|it| it.serves("churn-1"), edit(traffic(Some("nowhere"), "elsewhere.internal")))
            .when(|it| it.has_proposal(), edit(traffic(Some("http"), "elsewhere.internal")))
            .until(|it| it.has_host("elsewhere.internal")),
        canary("gateway_edit_refused_mid_canary")
            .when(|it| it.is_at(Observing, "5%"), edit(traffic(Some("nowhere"), "elsewhere.internal")))
            .until(|it| it.serves("churn-2")),
        Scenario::named("traffic_removed")
            .when(|it| it.serves("churn-1"), edit(json!({"traffic": null, "rollout": null})))
            // Somebody's copy of it stays.
            .until(|it| it.cluster.get(&path(ROUTES, NAME)).is_null()),
        Scenario::named("traffic_added")
            .spec(json!({"traffic": null, "rollout": null}))
            .when(|it| it.serves("churn-1"), edit(traffic(None, "churn.internal")))
            .until(|it| it.has_host("churn.internal")),
        Scenario::named("port_edited")
            .when(|it| it.serves("churn-1"), edit(json!({"port": 9090})))
            .until(|it| attempts(it, 2)),
        Scenario::named("template_edited")
            .when(
                |it| it.serves("churn-1"),
                edit(
                    json!({"template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.5"}]}}}),
                ),
            )
            .until(|it| attempts(it, 2)),
        Scenario::named("template_that_is_none_and_is_corrected")
            .spec(json!({"template": {"spec": {"containers": "none"}}}))
            .when(
                |it| it.is_stalled(),
                edit(
                    json!({"template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.5"}]}}}),
                ),
            )
            .until(|it| it.serves("churn-1")),
        Scenario::named("config_map_edited")
            .spec(with_rules())
            .given(CONFIG_MAPS, config_map("rules", "rules", "one"))
            .when(|it| it.serves("churn-1"), edit_rules)
            .until(|it| attempts(it, 2)),
        Scenario::named("config_map_that_comes_later")
            .spec(with_rules())
            .when(|it| it.is_stalled(), create_rules)
            .until(|it| it.serves("churn-1")),
        Scenario::named("shared_metrics")
            .spec(shared())
            .given(CONFIG_MAPS, config_map("http", "metrics.yaml", &list()))
            .when(|it| it.serves("churn-1"), deploy("churn-2"))
            .until(|it| it.serves("churn-2")),
        Scenario::named("shared_metrics_that_come_later")
            .spec(shared())
            .when(
                |it| it.is_stalled(),
                move |it| {
                    it.cluster.ask(Method::POST, &within(CONFIG_MAPS), config_map("http", "metrics.yaml", &list()));
                },
            )
            .until(|it| it.serves("churn-1")),
    ]
}
