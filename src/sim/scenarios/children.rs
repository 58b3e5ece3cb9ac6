//! Children that somebody else edits, deletes or has; and the end of it all.

use http::Method;
use serde_json::{Value, json};

use super::super::scenario::{Scenario, delete, deploy, let_go, request, revoke};
use super::super::view::{
    CONFIG_MAPS, DEPLOYMENTS, ENTRIES, MODELS, NAME, NAMESPACE, RECORDS, ROUTES, SERVICES, View, path,
};
use super::canary;
use crate::api::labels;
use crate::api::model_deployment::AttemptState;
use crate::api::model_deployment::AttemptState::{Observing, Promoting, RolledBack, RollingBack, Shifting, Starting};

/// The name of the children of the stable revision.
pub(super) fn stable(view: &View) -> String {
    labels::name(&[NAME, &view.status().stable.unwrap().revision])
}

fn candidate(view: &View) -> String {
    labels::name(&[NAME, &view.status().attempt.unwrap().revision])
}

pub(super) fn edit_child(view: &View, collection: &str, name: &str, patch: Value) {
    view.cluster.ask(Method::PATCH, &path(collection, name), patch);
}

pub(super) fn delete_child(view: &View, collection: &str, name: &str) {
    view.cluster.ask(Method::DELETE, &path(collection, name), Value::Null);
}

/// All traffic to the candidate.
pub(super) fn grab_traffic(view: &View) {
    let rules = json!([{"backendRefs": [{"name": candidate(view), "port": 8080, "weight": 10_000}]}]);
    edit_child(view, ROUTES, NAME, json!({"spec": {"rules": rules}}));
}

fn somebodys_service(name: &str) -> Value {
    let metadata = json!({"namespace": NAMESPACE, "name": name});
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"port": 1}]}})
}

/// A route with the deployment's name.
pub(super) fn somebodys_route() -> Value {
    let metadata = json!({"namespace": NAMESPACE, "name": NAME});
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": {"rules": []}})
}

/// The server reads its rules from a ConfigMap.
fn with_rules() -> Value {
    let server =
        json!({"name": "server", "image": "registry/scorer:1.4", "envFrom": [{"configMapRef": {"name": "rules"}}]});
    json!({"template": {"spec": {"containers": [server]}}})
}

fn rules(name: &str) -> Value {
    let metadata = json!({"namespace": NAMESPACE, "name": name});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"THRESHOLD": "0.5"}})
}

/// What `churn-2` reads there is copied to this name.
const COPY_OF_THE_SECOND: &str = "churn-rules-alpmz65hnt";

/// The children of `churn-2` in the default template have this name.
const OF_THE_SECOND: &str = "churn-avq9s8kgcx";

/// `churn-2` is deployed once `churn-1` serves, and its entry cannot go any more.
fn after_a_kept_one(name: &'static str) -> Scenario {
    Scenario::named(name).when(|it| it.serves("churn-1") && it.is_kept("churn-1"), deploy("churn-2"))
}

/// The second attempt is in this state.
fn is_second(view: &View, state: AttemptState) -> bool {
    view.is_in(state) && view.status().attempts == 2
}

/// There is no such entry any more.
pub(super) fn is_gone(view: &View, entry: &str) -> bool {
    view.cluster.get(&path(ENTRIES, entry)).is_null()
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        canary("route_edited_by_hand")
            .when(|it| it.is_at(Observing, "5%"), grab_traffic)
            .until(|it| it.serves("churn-2")),
        canary("route_deleted_by_hand")
            .when(|it| it.is_at(Observing, "50%"), |it| delete_child(it, ROUTES, NAME))
            .until(|it| it.serves("churn-2")),
        canary("candidate_scaled_by_hand")
            .when(
                |it| it.is_at(Observing, "50%"),
                |it| edit_child(it, DEPLOYMENTS, &candidate(it), json!({"spec": {"replicas": 9}})),
            )
            .until(|it| it.serves("churn-2")),
        canary("stable_deployment_deleted_by_hand")
            .when(|it| it.is_at(Observing, "5%"), |it| delete_child(it, DEPLOYMENTS, &stable(it)))
            .until(|it| it.serves("churn-2")),
        canary("service_deleted_by_hand")
            .when(|it| it.is_at(Observing, "5%"), |it| delete_child(it, SERVICES, &candidate(it)))
            .until(|it| it.serves("churn-2")),
        Scenario::named("record_deleted_by_hand")
            .when(|it| it.serves("churn-1"), |it| delete_child(it, RECORDS, &stable(it)))
            .until(|it| it.serves("churn-1") && it.status().replicas == 4),
        canary("a_name_that_is_taken_and_given_back")
            .given(SERVICES, somebodys_service(OF_THE_SECOND))
            .when(|it| it.is_told("ChildNameTaken"), delete(SERVICES, OF_THE_SECOND))
            .until(|it| it.serves("churn-2")),
        canary("a_copys_name_that_is_taken_and_given_back")
            .spec(with_rules())
            .given(CONFIG_MAPS, rules("rules"))
            .given(CONFIG_MAPS, rules(COPY_OF_THE_SECOND))
            .when(|it| it.is_told("ChildNameTaken"), delete(CONFIG_MAPS, COPY_OF_THE_SECOND))
            .until(|it| it.serves("churn-2")),
        canary("entry_forced_away_mid_canary")
            .when(|it| it.is_at(Observing, "5%") && it.is_kept("churn-2"), delete(ENTRIES, "churn-2"))
            .when(|_| true, let_go("churn-2"))
            .when(|it| it.is_told("EntryNotFound"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("entry_deleted_mid_canary")
            .when(|it| it.is_at(Observing, "5%") && it.is_kept("churn-2"), delete(ENTRIES, "churn-2"))
            .when(|it| it.serves("churn-2"), deploy("churn-3"))
            .until(|it| it.serves("churn-3") && is_gone(it, "churn-2")),
        after_a_kept_one("stable_entry_deleted_while_starting")
            .when(|it| is_second(it, Starting), delete(ENTRIES, "churn-1"))
            .until(|it| it.serves("churn-2") && is_gone(it, "churn-1")),
        after_a_kept_one("stable_entry_deleted_while_shifting")
            .when(|it| it.is_at(Shifting, "50%"), delete(ENTRIES, "churn-1"))
            .until(|it| it.serves("churn-2") && is_gone(it, "churn-1")),
        after_a_kept_one("stable_entry_deleted_while_promoting")
            .when(|it| is_second(it, Promoting), delete(ENTRIES, "churn-1"))
            .until(|it| it.serves("churn-2") && is_gone(it, "churn-1")),
        after_a_kept_one("stable_entry_deleted_while_rolling_back")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.is_in(RollingBack), delete(ENTRIES, "churn-1"))
            .when(|it| it.is_in(RolledBack), deploy("churn-3"))
            .until(|it| it.serves("churn-3") && is_gone(it, "churn-1")),
        canary("entry_deleted_and_revoked")
            .when(|it| it.is_at(Observing, "5%") && it.is_kept("churn-2"), delete(ENTRIES, "churn-2"))
            .when(|_| true, revoke("churn-2"))
            .until(|it| it.is_in(RolledBack) && is_gone(it, "churn-2")),
        canary("entry_deleted_with_its_deployment")
            .when(|it| it.is_at(Observing, "5%") && it.is_kept("churn-2"), delete(ENTRIES, "churn-2"))
            .when(|_| true, delete(MODELS, NAME))
            .until(|it| is_gone(it, "churn-2")),
        Scenario::named("deleted_at_rest").when(|it| it.serves("churn-1"), delete(MODELS, NAME)),
        canary("deleted_while_starting").when(|it| is_second(it, Starting), delete(MODELS, NAME)),
        canary("deleted_while_shifting").when(|it| it.is_at(Shifting, "50%"), delete(MODELS, NAME)),
        canary("deleted_while_promoting").when(|it| is_second(it, Promoting), delete(MODELS, NAME)),
        canary("deleted_while_rolling_back")
            .when(|it| it.is_at(Observing, "5%"), request("abort"))
            .when(|it| it.is_in(RollingBack), delete(MODELS, NAME)),
        canary("deleted_mid_canary").when(|it| it.is_at(Observing, "5%"), delete(MODELS, NAME)),
        canary("deleted_and_made_again")
            .when(|it| it.is_at(Observing, "5%"), delete(MODELS, NAME))
            .when(|it| it.deployment().is_null(), |it| it.again())
            .until(|it| it.serves("churn-1")),
    ]
}
