//! Edits of `spec.traffic.gateway` under load: what a Gateway refuses takes no request away.

use kube::Api;
use werkbank::api::gateway::HttpRoute;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase};

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// A step that lasts longer than the test.
const STEPS: &str = "[{weight: 20%, for: 10m}]";
/// `parentRefs` of the manifest, and as edited.
const PARENT: &str = "parentRefs: [{name: internal}]";
const NOWHERE: &str = "parentRefs: [{name: internal, sectionName: nowhere}]";
const HTTP: &str = "parentRefs: [{name: internal, sectionName: http}]";

fn says(status: &ModelDeploymentStatus, type_: &str, reason: &str, words: &[&str]) -> bool {
    let told = status.conditions.iter().find(|it| it.type_ == type_ && it.reason == reason);
    told.is_some_and(|it| words.iter().all(|word| it.message.contains(word)))
}

/// The deployment with `spec.traffic.gateway` edited.
async fn edit(model: &Model<'_>, wanted: &Wanted, gateway: &str) {
    model.apply(&model.manifest(wanted).replace(PARENT, gateway)).await;
}

async fn route(scene: &Scene, name: &str) -> Option<HttpRoute> {
    Api::namespaced(scene.client(), NAMESPACE).get_opt(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_the_gateway_refuses_takes_no_request_away_and_stops_no_rollback() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    let stable = model.status().await.stable.unwrap().revision;
    let candidate = Wanted { version: "2", steps: STEPS, ..GOOD };
    model.deploy(&candidate).await;
    model.until_observing("20%").await;

    edit(&model, &candidate, NOWHERE).await;
    let remedy = ["Gateway internal, section nowhere", "NoMatchingParent", "correct it or the Gateway"];
    let status = model.until("the edit is refused", |it| says(it, "Ready", "RouteRejected", &remedy)).await;
    assert_eq!(status.attempt.unwrap().state, AttemptState::Observing, "the canary goes on");
    let weights = model.weights().await;
    assert_eq!(weights.len(), 2, "both revisions still have their traffic: {weights:?}");

    // Back to the stable revision, with the edit still as wrong.
    edit(&model, &Wanted { steps: STEPS, ..GOOD }, NOWHERE).await;
    let status = model.until("weight 0 is accepted", |it| it.phase == Phase::Stable).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Reverted));
    let weights = model.weights().await;
    assert!(weights.iter().all(|(name, weight)| name.contains(&stable) || *weight == 0), "{weights:?}");
    model.until("nothing goes on without a person", |it| says(it, "Stalled", "RouteRejected", &remedy)).await;

    edit(&model, &GOOD, HTTP).await;
    model.until("the corrected edit is in effect", |it| says(it, "Ready", "Stable", &[])).await;
    assert_eq!(route(&scene, "scores").await.unwrap().spec.parent_refs.list()[0]["sectionName"], "http");

    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_filter_an_invalid_one_and_a_missing_gateway_leave_the_route_as_it_was() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    let before = route(&scene, "scores").await.unwrap().metadata.generation;
    let filter = |it: &str| format!("{PARENT}\n      rules: [{{filters: [{it}]}}]");
    let cases = [
        (filter("{type: URLRewrite, urlRewrite: {hostname: a.example}}"), "RouteRejected", "URLRewrite"),
        (filter("{type: URLRewrite}"), "ChildRefused", "urlRewrite"),
        ("parentRefs: [{name: tomorrow}]".to_owned(), "RoutePending", "waiting for Gateway tomorrow"),
    ];
    for (gateway, reason, word) in cases {
        edit(&model, &GOOD, &gateway).await;
        model.until(reason, |it| says(it, "Ready", reason, &[word, "stays as it was last accepted"])).await;
        model.deploy(&GOOD).await;
        model.until("the edit is taken back", |it| says(it, "Ready", "Stable", &[])).await;
    }
    assert_eq!(route(&scene, "scores").await.unwrap().metadata.generation, before, "it was never written");
    while route(&scene, "scores.proposed").await.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
