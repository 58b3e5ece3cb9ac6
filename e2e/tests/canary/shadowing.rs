//! Copied requests, by a real Envoy: the candidate gets its share of them, and nobody gets its answers.

use std::time::{Duration, Instant};

use kube::Api;
use serde_json::Value;
use werkbank::api::gateway::HttpRoute;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase};

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

const STEPS: &str = "[{weight: 20%, for: 10m}]";

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_judged_by_copies_and_nobody_is_answered_by_it() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(100).await;
    // As many errors as would take it back, and it never answers anybody.
    model.apply(&shadowed(&model, &Wanted { version: "2", error_rate: "1", steps: STEPS, ..GOOD })).await;
    let status = model.until("it is taken back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::GuardrailBreached));
    unharmed(&load.stop().await.unwrap());

    let load = model.load(100).await;
    model.apply(&shadowed(&model, &Wanted { version: "3", steps: STEPS, ..GOOD })).await;
    let candidate = model.until("requests are copied", copies).await.candidate.unwrap();
    // Prometheus takes some seconds to find new pods; before that it counts nothing.
    let found = Instant::now();
    while served(&model, &candidate).await == 0.0 {
        assert!(found.elapsed() < Duration::from_secs(30), "Prometheus does not find the candidate's pods");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let begin = (Instant::now(), served(&model, &candidate).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let copied = served(&model, &candidate).await - begin.1;
    let sent = begin.0.elapsed().as_secs_f64() * 100.0;
    assert!((0.35..0.65).contains(&(copied / sent)), "{copied} of about {sent} requests were copied, not half");
    model.until_observing("20%").await;
    let counts = load.stop().await.unwrap();
    unharmed(&counts);
    let routes: Api<HttpRoute> = Api::namespaced(scene.client(), NAMESPACE);
    let route = serde_json::to_string(&routes.get("scores").await.unwrap().spec).unwrap();
    assert!(!route.contains("RequestMirror"), "{route}");
    assert!(routes.get_opt("scores.proposed").await.unwrap().is_none());
    scene.end().await;
}

fn shadowed(model: &Model<'_>, wanted: &Wanted) -> String {
    model.manifest(wanted).replacen("  rollout:\n", "  rollout:\n    shadow: {percent: 50, for: 20s}\n", 1)
}

fn copies(status: &ModelDeploymentStatus) -> bool {
    status.attempt.as_ref().is_some_and(|it| it.state == AttemptState::Shadowing && it.observing_since.is_some())
}

/// Requests that the pods of a revision have answered, as they count them.
async fn served(model: &Model<'_>, revision: &str) -> f64 {
    let query = format!("sum(inference_requests_total{{revision=\"{revision}\"}})");
    let answer = model.scene.workbench.prometheus().unwrap().query(&query).await.unwrap();
    let value = answer.pointer("/result/0/value/1").and_then(Value::as_str).unwrap_or("0");
    value.parse().unwrap()
}
