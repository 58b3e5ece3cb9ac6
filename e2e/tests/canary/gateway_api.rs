//! The Gateway API installed after the operator.

use werkbank::api::model_deployment::Phase;
use werkbank_e2e::workbench::Options;

use crate::scene::{GOOD, Scene, unharmed};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_waits_for_the_gateway_api_and_goes_on_by_itself_when_it_is_installed() {
    let scene = Scene::empty(Options::from_env()).await;
    scene.kubectl(&["delete", "crd", "httproutes.gateway.networking.k8s.io"]).await;
    scene.install(&[]).await;
    let model = scene.model("scores");
    model.deploy(&GOOD).await;
    let waits = model
        .until("it waits for the Gateway API", |it| it.conditions.iter().any(|it| it.reason == "GatewayApiMissing"))
        .await;
    assert_eq!(waits.stable, None);
    let crds = scene.workbench.tools().gateway_api_crds().await.unwrap();
    let routes = crds.join("gateway.networking.k8s.io_httproutes.yaml");
    // Nobody touches the deployment: only the operator's own watch can tell it.
    scene.kubectl(&["apply", "--server-side", "-f", routes.to_str().unwrap()]).await;
    model.until("the first version serves", |it| it.phase == Phase::Stable).await;
    let load = model.load(20).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
