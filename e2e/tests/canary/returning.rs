//! Back to a revision that served a moment ago, and past one that serves no more.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole};
use werkbank_e2e::process::Signal;

use crate::scene::{GOOD, Model, Scene, Wanted, unharmed};

/// Steps that nobody in this test has the time for.
const SLOW: &str = "[{weight: 20%, for: 10m}]";

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_to_what_is_proven_is_one_shift_onto_the_same_pods() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let first = model.status().await.stable.unwrap().revision;
    let before = pods(&model, &first).await;
    let load = model.load(50).await;
    model.apply(&manifest(&model, &Wanted { version: "2", steps: "[{weight: 50%, for: 1s}]", ..GOOD })).await;
    let status = model.until("the second is promoted", |it| serves(it) && !is_stable(it, &first)).await;
    let kept = status.revisions.iter().find(|it| it.revision == first).map(|it| it.role);
    assert_eq!(kept, Some(RevisionRole::Kept));

    model.apply(&manifest(&model, &Wanted { version: "1", steps: SLOW, ..GOOD })).await;
    let status = model.until("the first serves again", |it| serves(it) && is_stable(it, &first)).await;
    assert!(status.attempt.unwrap().fast_return);
    assert_eq!(pods(&model, &first).await, before, "no pod was started for it");
    assert_eq!(model.weights().await.len(), 1);
    unharmed(&load.stop().await.unwrap());

    emergency(&scene, &model).await;
    scene.end().await;
}

/// The stable revision's pods do not get ready any more while a candidate that nobody complains of is watched.
async fn emergency(scene: &Scene, model: &Model<'_>) {
    let status = model.status().await;
    let stable = status.stable.unwrap().revision;
    model.apply(&manifest(model, &Wanted { version: "3", steps: SLOW, ..GOOD })).await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    // They hang, and are not started again: nobody asks whether they live.
    for pod in pods(model, &stable).await {
        let pid = scene.workbench.node().unwrap().pid(model.namespace, &pod, "server").unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
    }
    let status = model.until("the candidate takes over", |it| is_stable(it, &candidate)).await;
    let attempt = status.attempt.unwrap();
    assert_eq!((attempt.state, attempt.emergency), (AttemptState::Promoted, true));
    assert!(status.proven.iter().all(|it| it.revision != candidate), "it was not watched to the end");
}

fn manifest(model: &Model<'_>, wanted: &Wanted) -> String {
    let more = "keepStable: 10m, rollbackWindow: 1h, emergencyPromote: true";
    let more: String = more.split(", ").map(|it| format!("    {it}\n")).collect();
    model.manifest(wanted).replacen("    drain: 2s\n", &format!("    drain: 2s\n{more}"), 1)
}

fn serves(status: &ModelDeploymentStatus) -> bool {
    status.phase == Phase::Stable && status.conditions.iter().any(|it| it.type_ == "Ready" && it.reason == "Stable")
}

fn is_stable(status: &ModelDeploymentStatus, revision: &str) -> bool {
    status.stable.as_ref().is_some_and(|it| it.revision == revision)
}

async fn pods(model: &Model<'_>, revision: &str) -> BTreeSet<String> {
    let api: Api<Pod> = Api::namespaced(model.scene.client(), model.namespace);
    let own = ListParams::default().labels(&format!("{}={revision}", labels::REVISION));
    api.list(&own).await.unwrap().into_iter().map(|pod| pod.name_any()).collect()
}
