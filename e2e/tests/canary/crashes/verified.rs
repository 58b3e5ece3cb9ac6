//! An entry whose artifact a Job reads in a store, and a deployment that waits for that.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use werkbank::api::ModelRegistryEntry;
use werkbank::api::artifact_digest::Sha256Digest;
use werkbank::api::labels;
use werkbank_e2e::s3::S3;

use super::story::manifest;
use crate::artifacts::{OBJECT, let_in};
use crate::scene::{Model, NAMESPACE, Scene, of_entry};

const BYTES: &[u8] = b"{}";

/// The store, which serves as long as it is held.
pub(super) async fn store(scene: &Scene) -> S3 {
    let store = S3::start().unwrap();
    store.put(OBJECT, BYTES).unwrap();
    let_in(scene, "store", &store.endpoint(), json!({})).await;
    store
}

fn entry_of(model: &Model<'_>) -> String {
    format!("{}-stored", model.name)
}

/// Nothing may serve that entry any more.
pub(super) async fn revoke(model: &Model<'_>) {
    model.scene.revoke(&entry_of(model)).await;
}

/// Registered and deployed in the same moment, as from Git.
pub(super) async fn begin(model: &Model<'_>, steps: &'static str) {
    let sha256 = Sha256Digest::of(BYTES).to_string();
    let artifact = json!({"uri": "s3://models/scores/model.json", "sha256": sha256, "secretRef": {"name": "store"}});
    let entry = entry_of(model);
    model.scene.register(&entry, artifact).await;
    model.apply(&of_entry(&manifest(model, "2", steps), &entry)).await;
}

async fn found(model: &Model<'_>) -> ModelRegistryEntry {
    let api: Api<ModelRegistryEntry> = Api::namespaced(model.scene.client(), NAMESPACE);
    api.get(&entry_of(model)).await.unwrap()
}

/// Nothing looks at the artifact any more, and the entry knows who uses it.
pub(super) async fn end(model: &Model<'_>) {
    ends(model, true).await;
}

/// The same of one that nobody uses any more, and that can go.
pub(super) async fn end_unused(model: &Model<'_>) {
    ends(model, false).await;
}

async fn ends(model: &Model<'_>, is_used: bool) {
    let jobs: Api<Job> = Api::namespaced(model.scene.client(), NAMESPACE);
    let its = ListParams::default().labels(&format!("{}={}", labels::ENTRY, entry_of(model)));
    let began = Instant::now();
    loop {
        let left = jobs.list(&its).await.unwrap().items.len();
        let entry = found(model).await;
        let is_kept = entry.metadata.finalizers.is_some_and(|it| !it.is_empty());
        let status = entry.status.unwrap_or_default();
        // Whether it is kept is a write of its own.
        if left == 0 && is_kept == is_used && status.used_by.is_empty() != is_used {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{left} Jobs are left, and it says {status:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the entry says in the end.
pub(super) async fn summary(model: &Model<'_>) -> Value {
    let entry = found(model).await;
    let status = entry.status.unwrap_or_default();
    let conditions: Vec<Value> = status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason])).collect();
    let artifact = status.artifact.unwrap_or_default();
    json!({
        "finalizers": entry.metadata.finalizers, "usedBy": status.used_by, "conditions": conditions,
        "looks": artifact.looks, "bytes": artifact.bytes, "isRight": artifact.is_right(),
        "reading": artifact.reading, "lookingSince": artifact.looking_since,
    })
}
