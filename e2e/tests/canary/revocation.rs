//! An entry is revoked while requests arrive, and Envoy sends nothing more to what has it.

use std::time::{Duration, Instant};

use serde_json::json;
use werkbank::api::condition::ConditionStatus;
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase, RevisionRole};
use werkbank::audit::EntryKind;

use crate::scene::{GOOD, Model, Scene, Wanted, of_entry, unharmed};

/// A step that nobody in this test has the time for.
const SLOW: &str = "[{weight: 20%, for: 10m}]";
/// From the answer to the edit of the entry until Envoy sends nothing: what is promised is "seconds".
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_off_envoy_in_seconds_wherever_it_serves() {
    let scene = Scene::set().await;
    let (uri, sha256) = scene.artifact();
    for entry in ["second", "third", "fourth"] {
        scene.register(entry, json!({"uri": uri, "sha256": sha256})).await;
    }
    let model = scene.model("scores");
    let load = model.load(50).await;
    a_candidate(&model).await;
    the_stable_revision(&model).await;
    unharmed(&load.stop().await.unwrap());
    with_nothing_kept(&model).await;
    scene.end().await;
}

async fn a_candidate(model: &Model<'_>) {
    let stable = model.status().await.stable.unwrap().revision;
    model.apply(&manifest(model, "second", &Wanted { version: "2", steps: SLOW, ..GOOD })).await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    // Nobody waits for a person.
    model.ask("pause", "n1").await;
    model.until("it is paused", |it| it.phase == Phase::Paused).await;
    revoke(model, "second", &candidate).await;
    let status = model
        .until("it is taken back", |it| {
            it.phase == Phase::RolledBack || it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::RolledBack)
        })
        .await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Revoked));
    assert_eq!(status.stable.unwrap().revision, stable);
    let ready = status.conditions.iter().find(|it| it.type_ == "Stalled").unwrap();
    assert_eq!(ready.reason, "EntryRevoked", "{}", ready.message);
}

/// What served before has its pods, and nobody's request fails.
async fn the_stable_revision(model: &Model<'_>) {
    let first = model.status().await.stable.unwrap().revision;
    model.apply(&manifest(model, "third", &Wanted { version: "3", steps: "[{weight: 50%, for: 1s}]", ..GOOD })).await;
    let promoted = |it: &ModelDeploymentStatus| {
        it.phase == Phase::Stable && it.revisions.iter().any(|it| it.role == RevisionRole::Kept)
    };
    let second = model.until("the next is promoted", promoted).await.stable.unwrap().revision;
    assert_ne!(second, first);
    revoke(model, "third", &second).await;
    let back = |it: &ModelDeploymentStatus| it.attempt.as_ref().is_some_and(|it| it.state == AttemptState::RolledBack);
    let status = model.until("what was kept serves", back).await;
    assert_eq!(status.stable.unwrap().revision, first);
    let trail = model.scene.trail(model).await;
    let last = trail.iter().rev().find(|it| it.kind == EntryKind::Intent).unwrap();
    assert_eq!((last.decision.as_str(), last.reason.as_str()), ("RollBack", "Revoked: entry third is revoked"));
}

/// Nothing serves, and the next one does, without steps.
async fn with_nothing_kept(model: &Model<'_>) {
    let stable = model.status().await.stable.unwrap().revision;
    revoke(model, "scores", &stable).await;
    let stopped = |it: &ModelDeploymentStatus| it.phase == Phase::Failed && it.replicas == 0;
    let status = model.until("nothing serves, and nothing runs", stopped).await;
    let available = status.conditions.iter().find(|it| it.type_ == "Available").unwrap();
    assert_eq!(
        (available.status, available.reason.as_str()),
        (ConditionStatus::False, "Revoked"),
        "{}",
        available.message
    );
    model.apply(&manifest(model, "fourth", &Wanted { version: "4", steps: SLOW, ..GOOD })).await;
    model.until("another serves", |it| it.phase == Phase::Stable).await;
    let load = model.load(50).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    unharmed(&load.stop().await.unwrap());
}

fn manifest(model: &Model<'_>, entry: &str, wanted: &Wanted) -> String {
    of_entry(&model.manifest(wanted), entry).replacen("    drain: 2s\n", "    drain: 2s\n    keepStable: 10m\n", 1)
}

/// Revokes an entry, and waits until Envoy sends nothing to this revision.
async fn revoke(model: &Model<'_>, entry: &str, revision: &str) {
    model.scene.revoke(entry).await;
    let began = Instant::now();
    let name = labels::name(&[model.name, revision]);
    while model.weights().await.get(&name).is_some_and(|weight| *weight > 0) {
        assert!(began.elapsed() < WITHIN, "{:?}", model.weights().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
