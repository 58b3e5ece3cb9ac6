//! The stable revision between rollouts, watched by a real Prometheus.

use std::time::Duration;

use werkbank::api::condition::{self, ConditionStatus};
use werkbank::api::model_deployment::{ModelDeploymentStatus, VerdictKind};

use crate::scene::{GOOD, Model, Scene, Wanted, unharmed};

#[tokio::test(flavor = "multi_thread")]
async fn features_that_grow_old_under_a_stable_revision_are_told_of_and_nothing_is_written_meanwhile() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let refreshed = chrono::Utc::now().timestamp();
    model.apply(&manifest(&model, &GOOD, refreshed)).await;
    let fresh = |it: &ModelDeploymentStatus| verdict(it) == Some(VerdictKind::Pass);
    model.until("it is watched", fresh).await;
    let version = version_of(&model).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(version_of(&model).await, version, "six looks that say the same");

    let status = model.until("the features are too old", |it| stalled(it).as_deref() == Some("StableBreached")).await;
    let available = condition::find(&status.conditions, "Available").unwrap();
    assert_eq!(available.status, ConditionStatus::True, "it serves on: {available:?}");
    let events = scene.workbench.control_plane();
    let events = events.kubectl(["-n", model.namespace, "get", "events.events.k8s.io", "-o", "yaml"]).await.unwrap();
    assert!(String::from_utf8_lossy(&events.stdout).contains("reason: StableBreached"));

    let load = model.load(50).await;
    // The repair is a rollout like any other: here of a revision that rests on newer features.
    let repaired = Wanted { version: "2", steps: "[{weight: 50%, for: 1s}]", ..GOOD };
    model.apply(&manifest(&model, &repaired, chrono::Utc::now().timestamp() + 600)).await;
    // The last look at the first may already be with the new query, before the rollout begins: it says Pass as well.
    let first = watched(&status);
    let second = |it: &ModelDeploymentStatus| it.attempts == 2 && watched(it) != first && fresh(it);
    let status = model.until("the second serves, and is watched", second).await;
    assert_eq!(stalled(&status), None);
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

/// A guardrail on the age of the features, which are of this time.
fn manifest(model: &Model<'_>, wanted: &Wanted, refreshed: i64) -> String {
    let age = format!(
        "    - name: feature-age\n      role: Guardrail\n      prometheus: {{query: 'time() - {refreshed}'}}\n      \
         threshold: {{max: 40}}\n"
    );
    let watched = "    failureLimit: 1\n    onStableBreach: Alert\n";
    model.manifest(wanted).replacen("    failureLimit: 1\n", watched, 1) + &age
}

/// The revision that is watched between rollouts.
fn watched(status: &ModelDeploymentStatus) -> Option<String> {
    Some(status.stable_watch.as_ref()?.revision.clone())
}

fn verdict(status: &ModelDeploymentStatus) -> Option<VerdictKind> {
    let watch = status.stable_watch.as_ref()?;
    watch.verdicts.iter().find(|it| it.metric == "feature-age").map(|it| it.verdict)
}

fn stalled(status: &ModelDeploymentStatus) -> Option<String> {
    let stalled = condition::find(&status.conditions, "Stalled").filter(|it| it.status == ConditionStatus::True)?;
    Some(stalled.reason.clone())
}

async fn version_of(model: &Model<'_>) -> Option<String> {
    model.api().get(model.name).await.unwrap().metadata.resource_version
}
