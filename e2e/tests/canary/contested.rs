//! Something edits a Deployment each time the operator has put it back.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use werkbank::api::{condition, labels};
use werkbank_e2e::load::exactly;

use crate::scene::{Model, NAMESPACE, Scene, without_failure};

/// How long it goes on.
const FIGHT: Duration = Duration::from_secs(25);
/// Three resets at once, and then one every ten seconds.
const RESETS: std::ops::RangeInclusive<u32> = 4..=6;

#[tokio::test(flavor = "multi_thread")]
async fn what_edits_a_deployment_again_and_again_is_told_of_and_not_fought_at_full_speed() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let stable = model.status().await.stable.unwrap().revision;
    let name = labels::name(&[model.name, &stable]);
    let edits = fight(&Api::namespaced(scene.client(), NAMESPACE), &name).await;
    // The last one may not have been put back yet.
    assert!(RESETS.contains(&(edits - 1)), "{edits} edits in {FIGHT:?}");
    let status = model.until("it is told", |it| reason(it) == "ChildContested").await;
    let stalled = condition::find(&status.conditions, "Stalled").unwrap();
    assert!(stalled.message.contains(&format!("Deployment {name}")), "{stalled:?}");
    without_failure(&exactly(&model.target().await, 200).await.unwrap());
    is_put_back_in_the_end(&model, &name).await;
    scene.end().await;
}

/// Gives it two pods more whenever it has as many as it should; how often that was.
async fn fight(deployments: &Api<Deployment>, name: &str) -> u32 {
    let wanted = pods(deployments, name).await;
    let (began, mut edits) = (Instant::now(), 0);
    while began.elapsed() < FIGHT {
        if pods(deployments, name).await == wanted {
            let more = Patch::Merge(json!({"spec": {"replicas": wanted + 2}}));
            deployments.patch(name, &PatchParams::default(), &more).await.unwrap();
            edits += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    edits
}

async fn is_put_back_in_the_end(model: &Model<'_>, name: &str) {
    let deployments = Api::namespaced(model.scene.client(), NAMESPACE);
    let wanted = model.api().get(model.name).await.unwrap().spec.replicas.unwrap_or(1);
    let is_back = async {
        while pods(&deployments, name).await != wanted {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(12), is_back).await.expect("it is put back within ten seconds");
}

async fn pods(deployments: &Api<Deployment>, name: &str) -> i32 {
    deployments.get(name).await.unwrap().spec.unwrap().replicas.unwrap()
}

fn reason(status: &werkbank::api::model_deployment::ModelDeploymentStatus) -> &str {
    condition::find(&status.conditions, "Stalled").map(|it| it.reason.as_str()).unwrap_or_default()
}
