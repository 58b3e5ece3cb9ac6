//! An entry whose artifact a Job reads in a store, and a deployment that waits for that.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use werkbank::api::ModelRegistryEntry;
use werkbank::api::labels;
use werkbank::api::model_registry_entry::ModelRegistryEntryStatus;

use super::{QUICK, manifest};
use crate::artifacts::{OBJECT, let_in};
use crate::s3::S3;
use crate::scene::{Model, NAMESPACE, Scene};

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

/// Registered and deployed in the same moment, as from Git.
pub(super) async fn begin(model: &Model<'_>) {
    let sha256: String = Sha256::digest(BYTES).iter().map(|byte| format!("{byte:02x}")).collect();
    let artifact = json!({"uri": "s3://models/scores/model.json", "sha256": sha256, "secretRef": {"name": "store"}});
    let entry = entry_of(model);
    model.scene.register(&entry, artifact).await;
    let of_entry = format!("modelRef: {{name: {entry}}}");
    model.apply(&manifest(model, "2", QUICK).replace("modelRef: {name: scores}", &of_entry)).await;
}

async fn status(model: &Model<'_>) -> ModelRegistryEntryStatus {
    let api: Api<ModelRegistryEntry> = Api::namespaced(model.scene.client(), NAMESPACE);
    api.get(&entry_of(model)).await.unwrap().status.unwrap_or_default()
}

/// Nothing looks at the artifact any more, and the entry knows who uses it.
pub(super) async fn end(model: &Model<'_>) {
    let jobs: Api<Job> = Api::namespaced(model.scene.client(), NAMESPACE);
    let its = ListParams::default().labels(&format!("{}={}", labels::ENTRY, entry_of(model)));
    let began = Instant::now();
    loop {
        let (left, status) = (jobs.list(&its).await.unwrap().items.len(), status(model).await);
        if left == 0 && !status.used_by.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{left} Jobs are left, and it says {status:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the entry says in the end.
pub(super) async fn summary(model: &Model<'_>) -> Value {
    let api: Api<ModelRegistryEntry> = Api::namespaced(model.scene.client(), NAMESPACE);
    let entry = api.get(&entry_of(model)).await.unwrap();
    let status = entry.status.unwrap_or_default();
    let conditions: Vec<Value> = status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason])).collect();
    let artifact = status.artifact.unwrap_or_default();
    json!({
        "finalizers": entry.metadata.finalizers, "usedBy": status.used_by, "conditions": conditions,
        "looks": artifact.looks, "bytes": artifact.bytes, "isRight": artifact.is_right(),
        "reading": artifact.reading, "lookingSince": artifact.looking_since,
    })
}
