//! An autoscaler for each revision, with Kubernetes' own controller: it decides how many pods there are, and
//! nobody fights it.
//!
//! This control plane has no metrics server, so autoscalers know nothing but their bounds. Load is played by who
//! scales the stable revision the way an autoscaler does.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::Api;
use werkbank::api::labels;
use werkbank::api::model_deployment::Phase;
use werkbank_e2e::workbench::Options;

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// The manifest with an autoscaler, between `min` and 8 pods, in place of `replicas`.
pub(crate) fn autoscaled(manifest: &str, min: i32) -> String {
    let scaling = format!(
        "autoscaling: {{min: {min}, max: 8, metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 70}}}}}}]}}"
    );
    let changed = manifest.replacen("replicas: 2", &scaling, 1);
    assert_ne!(changed, manifest);
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_gets_the_pods_that_a_weight_takes_and_what_it_decides_stays() {
    let mut options = Options::from_env();
    options.control_plane.audit = true;
    let scene = Scene::empty(options).await;
    scene.install(&[]).await;
    let model = scene.model("scores");
    model.apply(&autoscaled(&model.manifest(&GOOD), 2)).await;
    let stable = model.until("the first version serves", |it| it.phase == Phase::Stable).await.stable.unwrap().revision;
    assert_eq!((pods(&model, &stable).await, at_least(&model, &stable).await), (2, 2));
    let name = labels::name(&[model.name, &stable]);
    scene.kubectl(&["-n", NAMESPACE, "scale", "deployment", &name, "--replicas=4"]).await;
    model.until("four pods serve", |it| it.replicas == 4).await;

    let load = model.load(50).await;
    let second = Wanted { version: "2", steps: "[{weight: 25%, for: 3s}, {weight: 50%, for: 10m}]", ..GOOD };
    model.apply(&autoscaled(&model.manifest(&second), 2)).await;
    let candidate = model.until_observing("25%").await.candidate.unwrap();
    assert_eq!((pods(&model, &candidate).await, at_least(&model, &candidate).await), (1, 1));
    assert_eq!((pods(&model, &stable).await, at_least(&model, &stable).await), (4, 4), "all traffic may come back");
    model.until_observing("50%").await;
    assert_eq!((pods(&model, &candidate).await, at_least(&model, &candidate).await), (2, 2));
    let last = Wanted { steps: "[{weight: 25%, for: 3s}, {weight: 50%, for: 1s}]", ..second };
    model.apply(&autoscaled(&model.manifest(&last), 2)).await;
    model
        .until("it is promoted", |it| {
            it.phase == Phase::Stable && it.stable.as_ref().is_some_and(|it| it.revision == candidate)
        })
        .await;
    assert_eq!(pods(&model, &candidate).await, 4, "as many as served before");
    unharmed(&load.stop().await.unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(at_least(&model, &candidate).await, 2, "what the spec says");
    only_autoscalers_scale(&scene);
    scene.end().await;
}

/// The operator wrote no Deployment but to create it: what became of their pods was the autoscalers' doing.
fn only_autoscalers_scale(scene: &Scene) {
    let requests = scene.workbench.control_plane().requests().unwrap();
    let of_deployments = |verb: &str| {
        let sent = requests.iter().filter(|it| it.resource.starts_with("deployments") && it.user.contains("werkbank"));
        sent.filter(|it| it.verb == verb).count()
    };
    assert_eq!((of_deployments("create"), of_deployments("patch"), of_deployments("update")), (2, 0, 0));
}

async fn pods(model: &Model<'_>, revision: &str) -> i32 {
    let api: Api<Deployment> = Api::namespaced(model.scene.client(), model.namespace);
    api.get(&labels::name(&[model.name, revision])).await.unwrap().spec.unwrap().replicas.unwrap()
}

async fn at_least(model: &Model<'_>, revision: &str) -> i32 {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(model.scene.client(), model.namespace);
    api.get(&labels::name(&[model.name, revision])).await.unwrap().spec.unwrap().min_replicas.unwrap()
}
