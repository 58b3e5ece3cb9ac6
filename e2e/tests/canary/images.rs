//! A revision whose pods run different images gets no more weight.

use serde_json::json;
use werkbank::api::labels;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank_e2e::workbench::OPERATOR_IMAGE;

use crate::scene::{GOOD, NAMESPACE, Scene, Wanted, unharmed};

fn stalled(status: &ModelDeploymentStatus) -> bool {
    status.conditions.iter().any(|it| it.type_ == "Stalled" && it.reason == "ImagesDiffer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_whose_pods_run_different_images_is_held_until_they_are_one() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 6s}]", ..GOOD }).await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    // As if its tag had been pushed over: a pod of this revision, with a container of that name, from another image.
    let (repository, tag) = OPERATOR_IMAGE;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "odd", "namespace": NAMESPACE, "labels": {labels::DEPLOYMENT: "scores", labels::REVISION: candidate}},
        "spec": {"containers": [{"name": "server", "image": format!("{repository}:{tag}"), "args": ["crd"],
            // It is never ready, and gets no request.
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}}}]},
    });
    scene.workbench.apply("odd", &pod.to_string()).await.unwrap();
    model.until("it is held", stalled).await;
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    let held = model.status().await;
    assert!(stalled(&held) && held.phase == Phase::Observing, "{held:#?}");
    scene.kubectl(&["-n", NAMESPACE, "delete", "pod", "odd", "--grace-period=1"]).await;
    model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
