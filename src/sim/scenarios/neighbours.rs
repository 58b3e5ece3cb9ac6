//! Others beside it: of the same name in another namespace, and of a longer one that runs the same revision.

use http::Method;
use serde_json::{Value, json};

use super::super::others::copies::is_copy;
use super::super::scenario::{Scenario, delete, deploy, request};
use super::super::stories::Story;
use super::super::view::{DEPLOYMENTS, ENTRIES, MODELS, View, within};
use super::canary;
use crate::api::model_deployment::AttemptState::{Observing, RolledBack};

const ELSEWHERE: &str = "shop";

fn elsewhere(path: &str) -> String {
    within(path).replace("/crm/", &format!("/{ELSEWHERE}/"))
}

/// The same spec, for this entry.
fn neighbour(view: &View, collection: &str, name: &str, entry: &str) {
    let mut spec = view.deployment()["spec"].clone();
    spec["modelRef"]["name"] = entry.into();
    let metadata = json!({"name": name});
    let deployment = json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata,
        "spec": spec});
    let (code, answer) = view.cluster.ask(Method::POST, collection, deployment);
    assert_eq!(code, 201, "{answer}");
}

fn settle(view: &View) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}});
    view.cluster.ask(Method::POST, "/api/v1/namespaces", namespace);
    let mut entry = Story::entry("churn-1", 1);
    entry["metadata"]["namespace"] = ELSEWHERE.into();
    view.cluster.ask(Method::POST, &elsewhere(ENTRIES), entry);
    neighbour(view, &elsewhere(MODELS), "churn", "churn-1");
    neighbour(view, &within(MODELS), "churn-eu", "churn-2");
}

/// All of them serve.
fn all_serve(view: &View) -> bool {
    let ready = |it: &Value| it["status"]["replicas"].as_i64() == it["spec"]["replicas"].as_i64();
    let serves = |it: &Value| ready(it) && !it["status"]["stable"].is_null();
    let models = view.cluster.all(MODELS);
    models.len() == 3 && models.iter().all(|(_, it)| serves(it))
}

/// How many pods the others have, and that each has a Deployment of its own.
fn the_others_stand(view: &View) -> bool {
    let all = view.cluster.all(DEPLOYMENTS);
    let of = |part: &str| {
        let of = all.iter().filter(|(path, it)| path.contains(part) && !is_copy(it));
        of.filter_map(|(_, it)| it["status"]["readyReplicas"].as_i64()).sum::<i64>()
    };
    of("/shop/") == 4 && of("/churn-eu-") == 4
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario::named("beside_others_of_its_name")
            .when(|it| it.serves("churn-1"), settle)
            .when(all_serve, deploy("churn-2"))
            .when(|it| it.is_at(Observing, "50%"), request("abort"))
            .until(|it| it.is_in(RolledBack) && the_others_stand(it)),
        canary("deleted_beside_others_of_its_name")
            .when(|it| it.serves("churn-2"), settle)
            .when(all_serve, delete(MODELS, "churn"))
            .until(|it| it.deployment().is_null() && the_others_stand(it)),
    ]
}
