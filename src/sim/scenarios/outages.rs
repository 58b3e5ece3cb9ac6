//! What does not answer, does not come up, or goes away.

use http::Method;
use serde_json::json;

use super::super::scenario::{Scenario, deploy, good, guardrail};
use super::super::view::{DEPLOYMENTS, NAME, NAMESPACE, PODS, View, path, within};
use super::{canary, upgraded};
use crate::api::labels;
use crate::api::model_deployment::AttemptState::{Failed, Observing, RolledBack, Starting};
use crate::decide::Measurement;

/// No answer while `prometheus` is not set.
fn silent(view: &View, _: &str) -> Measurement {
    if view.has("prometheus") { good() } else { Measurement::ProviderError("refused".into()) }
}

fn sees_silence(view: &View) -> bool {
    view.is_at(Observing, "5%") && view.status().verdicts.iter().any(|it| it.silent_since.is_some())
}

/// A pod of the candidate whose artifact is not the registered one.
fn refuses_the_artifact(view: &View) {
    let revision = view.status().attempt.unwrap().revision;
    let why = json!({"reason": "ArtifactDigestMismatch", "message": "not these bytes"}).to_string();
    let fetch = json!({"name": "werkbank-fetch", "image": "", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 12, "message": why}}});
    let labels = json!({labels::DEPLOYMENT: NAME, labels::REVISION: revision});
    let owner = view.cluster.get(&path(DEPLOYMENTS, &labels::name(&[NAME, &revision])));
    let owner = json!({"kind": "Deployment", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]});
    let metadata = json!({"namespace": NAMESPACE, "name": "churn-pod", "labels": labels, "ownerReferences": [owner]});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []}});
    view.cluster.ask(Method::POST, &within(PODS), pod);
    let status = json!({"metadata": {}, "status": {"initContainerStatuses": [fetch]}});
    view.cluster.ask(Method::PUT, &format!("{}/churn-pod/status", within(PODS)), status);
}

/// None of `churn-2` while `pods-lost` is set.
fn lost(view: &View, entry: &str, wanted: i64) -> i64 {
    if entry == "churn-2" && view.has("pods-lost") { 0 } else { wanted }
}

fn never(_: &View, entry: &str, wanted: i64) -> i64 {
    if entry == "churn-2" { 0 } else { wanted }
}

pub(super) fn all() -> Vec<Scenario> {
    // Longer than a wrong clock can make a wait, and back.
    let impatient = json!({"steps": [{"weight": "5%", "for": "2m"}], "progressDeadline": "25m"});
    let on_outage = json!({"steps": [{"weight": "5%", "for": "2m"}], "onOutage": {"after": "25m", "do": "Rollback"}});
    let seldom = json!({"interval": "5m", "metrics": [guardrail()]});
    vec![
        canary("prometheus_silent_and_back")
            .metrics(silent)
            .when(sees_silence, |it| it.set("prometheus"))
            .until(|it| it.serves("churn-2")),
        canary("prometheus_silent_for_too_long")
            .spec(json!({"rollout": on_outage, "analysis": seldom}))
            .metrics(silent)
            .until(|it| it.is_in(RolledBack)),
        canary("no_data_and_then_some")
            .metrics(|view, _| match view.has("data") {
                true => good(),
                false => Measurement::NoData("no series".into()),
            })
            .when(|it| it.is_at(Observing, "5%") && !it.status().verdicts.is_empty(), |it| it.set("data"))
            .until(|it| it.serves("churn-2")),
        canary("pods_that_never_come").spec(json!({"rollout": impatient})).pods(never).until(|it| it.is_in(RolledBack)),
        Scenario::named("first_deployment_failed")
            .spec(json!({"rollout": impatient, "modelRef": {"name": "churn-2"}}))
            .pods(never)
            .until(|it| it.is_in(Failed)),
        Scenario::named("first_deployment_failed_and_replaced")
            .spec(json!({"rollout": impatient, "modelRef": {"name": "churn-2"}}))
            .pods(never)
            .when(|it| it.is_in(Failed), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        canary("pods_lost_and_back")
            .pods(lost)
            .when(|it| it.is_at(Observing, "50%"), |it| it.set("pods-lost"))
            .when(|it| it.status().attempt.is_some_and(|it| it.withdrawn_from.is_some()), |it| it.unset("pods-lost"))
            .until(|it| it.serves("churn-2")),
        canary("pods_lost_for_good")
            .spec(json!({"rollout": impatient}))
            .pods(lost)
            .when(|it| it.is_at(Observing, "5%"), |it| it.set("pods-lost"))
            .until(|it| it.is_in(RolledBack)),
        canary("artifact_refused")
            .pods(never)
            .when(|it| it.is_in(Starting) && it.has_deployment_of_candidate(), refuses_the_artifact)
            .until(|it| it.is_in(RolledBack)),
        upgraded(Scenario::named("a_broken_stable_blocks_no_repair"))
            .pods(|view, entry, wanted| if entry == "churn-1" && view.has("broken") { 0 } else { wanted })
            .when(|it| it.is_in(Starting), |it| it.set("broken"))
            .until(|it| it.serves("churn-2")),
    ]
}
