//! Entries of vendors' models, which know of their way out what happens to it, on a real API server.

use std::time::{Duration, Instant};

use kube::Api;
use serde_json::{Value, json};
use werkbank::api::condition;
use werkbank::api::model_deployment::ModelDeploymentStatus;
use werkbank::api::{Condition, ModelRegistryEntry};

use crate::scene::{GOOD, NAMESPACE, Scene, of_entry};

const EXAMINED: &str = "4e07408562bedb8b60ce05c1decfe3ad16b72230967de01f640b7e4729b49fce";

async fn register(scene: &Scene, name: &str, spec: Value) {
    let mut all = json!({"model": {"name": "texts", "version": name, "kind": "Generator"}});
    all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let entry = json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": all});
    scene.apply(&format!("entry-{name}"), &entry.to_string()).await;
}

async fn vendors(scene: &Scene, name: &str, fallback: &str) {
    let exit = json!({"fallbackRef": {"name": fallback}, "evidence": format!("sha256:{EXAMINED}")});
    let vendor = json!({"name": "mistral", "model": "large", "dpaRef": "dpa-1", "exit": exit});
    let sent = json!([{"name": "briefs", "personalData": false}]);
    let examined = json!([{"name": "briefs", "sha256": EXAMINED}]);
    register(scene, name, json!({"vendor": vendor, "evaluations": examined, "dataSources": sent})).await;
}

/// Until `ExitReady` and `Ready` have this reason and that.
async fn until(scene: &Scene, name: &str, exit: &str, ready: &str) {
    let reason = |all: &[Condition], type_| condition::find(all, type_).map(|it| it.reason.clone());
    let is = |all: &[Condition]| {
        reason(all, "ExitReady").as_deref() == Some(exit) && reason(all, "Ready").as_deref() == Some(ready)
    };
    until_it_says(scene, name, &format!("{exit} and {ready}"), is).await;
}

async fn until_it_says(scene: &Scene, name: &str, what: &str, is: impl Fn(&[Condition]) -> bool) {
    let api: Api<ModelRegistryEntry> = Api::namespaced(scene.client(), NAMESPACE);
    let began = Instant::now();
    loop {
        let status = api.get(name).await.unwrap().status.unwrap_or_default();
        if is(&status.conditions) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{name}, never {what}: {status:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vendor_can_be_left_exactly_as_long_as_there_is_a_way_out() {
    let scene = Scene::set().await;
    vendors(&scene, "theirs", "others").await;
    until(&scene, "theirs", "FallbackNotFound", "FallbackNotFound").await;

    // A circle, which closes behind the back of the first.
    vendors(&scene, "others", "third").await;
    until(&scene, "theirs", "FallbackNotReady", "FallbackNotReady").await;
    vendors(&scene, "third", "others").await;
    for entry in ["third", "others", "theirs"] {
        until(&scene, entry, "FallbackWithoutEnd", "FallbackWithoutEnd").await;
    }

    // Somebody deletes the entry that closes it, and registers one of their own under its name.
    let api: Api<ModelRegistryEntry> = Api::namespaced(scene.client(), NAMESPACE);
    api.delete("third", &Default::default()).await.unwrap();
    until(&scene, "others", "FallbackNotFound", "FallbackNotFound").await;
    let (uri, sha256) = scene.artifact();
    let examined = json!([{"name": "briefs", "sha256": EXAMINED, "metrics": {"accepted": "0.93", "briefs": 200}}]);
    register(&scene, "third", json!({"artifact": {"uri": uri, "sha256": sha256}, "evaluations": examined})).await;
    for entry in ["others", "theirs"] {
        until(&scene, entry, "FallbackReady", "Registered").await;
    }

    // No pod serves what a vendor runs.
    let model = scene.model("scores");
    model.apply(&of_entry(&model.manifest(&GOOD), "theirs")).await;
    let told = |it: &ModelDeploymentStatus| {
        let ready = condition::find(&it.conditions, "Ready");
        ready.is_some_and(|it| it.reason == "EntryWithoutArtifact" && it.message.contains("mistral's model large"))
    };
    model.until("it cannot be rolled out", told).await;

    // The way out is lost.
    scene.revoke("third").await;
    until(&scene, "others", "FallbackRetired", "FallbackRetired").await;
    until(&scene, "theirs", "FallbackNotReady", "FallbackNotReady").await;
    let stalled = |all: &[Condition]| condition::find(all, "Stalled").is_some_and(|it| it.status == true.into());
    until_it_says(&scene, "theirs", "that a person is needed", stalled).await;
    scene.end().await;
}
