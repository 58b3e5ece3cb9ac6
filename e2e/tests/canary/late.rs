//! Outcomes that arrive late, when the revision to go back to has no pods any more.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use werkbank::api::labels;
use werkbank::api::model_deployment::{Cause, ModelDeploymentStatus, Phase, RevisionRole};

use crate::scene::{GOOD, Model, Scene, Wanted, unharmed};

/// How late, in seconds: longer than the old revision keeps its pods.
const DELAY: f64 = 25.0;

#[tokio::test(flavor = "multi_thread")]
async fn a_late_failure_brings_back_pods_that_were_gone_and_then_the_traffic() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let first = model.status().await.stable.unwrap().revision;
    let load = model.load(50).await;
    model.apply(&manifest(&model, &Wanted { version: "2", steps: "[{weight: 50%, for: 1s}]", ..GOOD })).await;
    let status = model.until("it is promoted, and on probation", |it| it.phase == Phase::Probation).await;
    let second = status.stable.unwrap().revision;
    assert!(said(&status.conditions, "Ready").contains("hit-rate is judged at"), "{:#?}", status.conditions);
    assert_eq!(envoy(&model).await, of(&[&second]));

    model.until("the first is kept without pods", |it| role(it, &first) == Some(RevisionRole::Fallback)).await;
    while !pods(&model, &first).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(model.status().await.phase, Phase::Probation, "its pods are gone before it is needed");

    let back = |it: &ModelDeploymentStatus| it.phase == Phase::RolledBack;
    let status = model.until("the outcomes take the second back", back).await;
    assert_eq!(status.attempt.as_ref().unwrap().cause, Some(Cause::ObjectiveMissed));
    assert_eq!((status.stable.unwrap().revision, status.probation), (first.clone(), None));
    assert!(status.taken_back.iter().any(|it| it.revision == second), "{:?}", status.taken_back);
    let verdict = status.verdicts.iter().find(|it| it.metric == "hit-rate").unwrap();
    let age: f64 = verdict.value.as_ref().unwrap().parse().unwrap();
    assert!((DELAY..DELAY + 10.0).contains(&age), "judged {age} s after the steps");
    assert_eq!(envoy(&model).await, of(&[&first]));
    assert_eq!(pods(&model, &first).await.len(), 2);
    unharmed(&load.stop().await.unwrap());
    let decisions = scene.trail(&model).await;
    assert!(["Recall", "RollBack"].iter().all(|it| decisions.iter().any(|entry| entry.decision == *it)));
    scene.end().await;
}

/// Its outcome is how old the steps are, so it always fails, and tells when it was judged.
fn manifest(model: &Model<'_>, wanted: &Wanted) -> String {
    let late = format!(
        "    - name: hit-rate\n      role: Objective\n      delay: {DELAY}s\n      \
         prometheus: {{query: 'time() - {{{{ windowEnd }}}}'}}\n      threshold: {{max: 1}}\n"
    );
    model.manifest(wanted).replacen("    drain: 2s\n", "    drain: 2s\n    keepStable: 4s\n", 1) + &late
}

fn said(conditions: &[werkbank::api::Condition], type_: &str) -> String {
    conditions.iter().find(|it| it.type_ == type_).map(|it| it.message.clone()).unwrap_or_default()
}

fn role(status: &ModelDeploymentStatus, revision: &str) -> Option<RevisionRole> {
    status.revisions.iter().find(|it| it.revision == revision).map(|it| it.role)
}

/// Who gets requests, as Envoy works with it.
async fn envoy(model: &Model<'_>) -> BTreeSet<String> {
    model.weights().await.into_iter().filter(|(_, weight)| *weight > 0).map(|(service, _)| service).collect()
}

fn of(revisions: &[&str]) -> BTreeSet<String> {
    revisions.iter().map(|it| labels::name(&["scores", it])).collect()
}

async fn pods(model: &Model<'_>, revision: &str) -> BTreeSet<String> {
    let api: Api<Pod> = Api::namespaced(model.scene.client(), model.namespace);
    let own = ListParams::default().labels(&format!("{}={revision}", labels::REVISION));
    api.list(&own).await.unwrap().into_iter().map(|pod| pod.name_any()).collect()
}
