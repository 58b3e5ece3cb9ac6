//! Artifacts in a real S3-compatible store, verified by real Jobs when they are registered, and when somebody has written to them.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use werkbank::api::artifact_digest::Sha256Digest;
use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase};
use werkbank::api::model_registry_entry::ModelRegistryEntryStatus;
use werkbank::api::verification::Verification;
use werkbank::api::{ModelRegistryEntry, condition, labels};
use werkbank_e2e::s3::S3;
use werkbank_e2e::workbench::Options;

use crate::scene::{GOOD, NAMESPACE, Scene, Wanted, of_entry, unharmed};

/// Looked at again all the time.
const OFTEN: &str = "artifacts.verifyAgainEvery=2s";
pub(crate) const OBJECT: &str = "/models/scores/model.json";

/// An entry of the object in the store.
async fn register(scene: &Scene, name: &str, sha256: &str) {
    let uri = "s3://models/scores/model.json";
    scene.register(name, json!({"uri": uri, "sha256": sha256, "secretRef": {"name": "store"}})).await;
}

/// A Secret for the store at this address, and what else is to be in it.
pub(crate) async fn let_in(scene: &Scene, name: &str, endpoint: &str, more: Value) {
    let mut access = json!({"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint, "AWS_ALLOW_HTTP": "true"});
    access.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let metadata = json!({"name": name, "namespace": NAMESPACE});
    let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "stringData": access});
    scene.apply(&format!("secret-{name}"), &secret.to_string()).await;
}

async fn until(scene: &Scene, name: &str, what: &str, is: impl Fn(&ModelRegistryEntryStatus) -> bool) -> Verification {
    let api: Api<ModelRegistryEntry> = Api::namespaced(scene.client(), NAMESPACE);
    let began = Instant::now();
    loop {
        let status = api.get(name).await.unwrap().status.unwrap_or_default();
        if is(&status) {
            return status.artifact.unwrap_or_default();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{name}, never: {what}; it is {status:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The condition holds or not, for this reason.
fn says(holds: bool, reason: &str) -> impl Fn(&ModelRegistryEntryStatus) -> bool {
    move |status| {
        let said = condition::find(&status.conditions, "ArtifactVerified");
        said.is_some_and(|it| it.status == holds.into() && it.reason == reason)
    }
}

/// Names of the Jobs that look at artifacts.
async fn looks(scene: &Scene) -> Vec<String> {
    let jobs: Api<Job> = Api::namespaced(scene.client(), NAMESPACE);
    let found = jobs.list(&ListParams::default().labels(labels::ENTRY)).await.unwrap();
    found.items.iter().map(ResourceExt::name_any).collect()
}

async fn until_only_looks_of(scene: &Scene, entry: &str) {
    let began = Instant::now();
    loop {
        let left = looks(scene).await;
        if left.len() <= 1 && left.iter().all(|it| it.starts_with(&format!("{entry}-"))) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "Jobs that have said what they found never go: {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn is_promoted(status: &ModelDeploymentStatus) -> bool {
    status.phase == Phase::Stable && status.stable.as_ref().is_some_and(|it| it.name == "right")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_registered_is_read_before_it_is_rolled_out_and_again_when_somebody_has_written_to_it() {
    let store = S3::start().unwrap();
    let scene = Scene::empty(Options::from_env()).await;
    scene.install(&[OFTEN]).await;
    let (uri, sha256) = scene.artifact();
    let bytes = std::fs::read(uri.strip_prefix("file://").unwrap()).unwrap();
    store.put(OBJECT, &bytes).unwrap();
    let_in(&scene, "store", &store.endpoint(), json!({})).await;

    let model = scene.model("scores");
    model.deploy(&GOOD).await;
    model.until("the first version serves, of a file that no Job sees", |it| it.phase == Phase::Stable).await;
    until(&scene, "scores", "nothing is said of a file", |it| it.artifact.is_none()).await;

    let load = model.load(50).await;

    // Other bytes than those that are registered: nothing begins.
    register(&scene, "wrong", &"0".repeat(64)).await;
    let rolls_out = |name: &str, version| of_entry(&model.manifest(&Wanted { version, ..GOOD }), name);
    model.apply(&rolls_out("wrong", "2")).await;
    let told = |it: &ModelDeploymentStatus| {
        let ready = condition::find(&it.conditions, "Ready");
        ready.is_some_and(|it| it.reason == "ArtifactDigestMismatch" && it.message.contains("entry wrong"))
    };
    let held = model.until("it is another artifact", told).await;
    assert_eq!((held.phase, held.attempts), (Phase::Gating, 1));

    register(&scene, "right", &sha256).await;
    let found = until(&scene, "right", "it is verified", says(true, "Verified")).await;
    assert_eq!((found.bytes, found.files), (i64::try_from(bytes.len()).ok(), Some(1)));
    model.apply(&rolls_out("right", "3")).await;
    model.until("what is verified is rolled out", is_promoted).await;

    let again =
        until(&scene, "right", "it is looked at again", |it| it.artifact.as_ref().is_some_and(|it| it.looks > 2)).await;
    assert_eq!(again.verified_at, found.verified_at, "nobody has written to it, so nobody has read it");
    assert!(again.checked_at > found.checked_at);

    // Somebody replaces it.
    store.put(OBJECT, b"{}").unwrap();
    let replaced = until(&scene, "right", "it is another one", says(false, "ArtifactDigestMismatch")).await;
    let actual = Sha256Digest::of(b"{}").to_string();
    assert!(replaced.wrong.unwrap().message.contains(&actual));
    assert!(is_promoted(&model.status().await), "what serves has its own copy");

    // They put it right, and do not wait for the next look.
    store.put(OBJECT, &bytes).unwrap();
    let entries: Api<ModelRegistryEntry> = Api::namespaced(scene.client(), NAMESPACE);
    let ask = json!({"metadata": {"annotations": {labels::VERIFY: "now"}}});
    entries.patch("right", &PatchParams::default(), &Patch::Merge(ask)).await.unwrap();
    until(&scene, "right", "it is right again", says(true, "Verified")).await;

    // What is larger than it may be is not read.
    let_in(&scene, "small", &store.endpoint(), json!({"WERKBANK_ARTIFACT_MAX_BYTES": "1"})).await;
    let artifact = json!({"uri": "s3://models/scores/model.json", "sha256": sha256, "secretRef": {"name": "small"}});
    scene.register("huge", artifact).await;
    let huge = until(&scene, "huge", "it is too large", says(false, "ArtifactTooLarge")).await;
    assert!(huge.unseen.unwrap().message.contains("raise --max-bytes"));

    // What the kubelet could put into an address is not put there, nor into any status.
    let address = "s3://models/$(AWS_SECRET_ACCESS_KEY)/x";
    let artifact = json!({"uri": address, "sha256": sha256, "secretRef": {"name": "store"}});
    scene.register("curious", artifact).await;
    let curious = until(&scene, "curious", "it is not there", says(false, "ArtifactNotFound")).await;
    assert!(curious.wrong.unwrap().message.starts_with(address));

    // `right` is right again, and looked at all the time; the others are looked at again in ten minutes.
    // A Job goes after what it found is on the record, so a moment later.
    until_only_looks_of(&scene, "right").await;
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_far_a_job_is_that_reads_what_takes_long_is_in_the_entrys_status() {
    let store = S3::start().unwrap();
    let scene = Scene::set().await;
    let bytes: Vec<u8> = (0..60_u32 << 20).map(|it| (it >> 10) as u8).collect();
    store.put(OBJECT, &bytes).unwrap();
    let line = store.over_a_slow_line(1 << 20).unwrap();
    let_in(&scene, "store", &line.endpoint(), json!({})).await;
    let sha256 = Sha256Digest::of(&bytes).to_string();
    register(&scene, "large", &sha256).await;

    let reading = |it: &ModelRegistryEntryStatus| it.artifact.as_ref()?.reading.clone();
    let seen = until(&scene, "large", "it is read", |it| reading(it).is_some()).await.reading.unwrap();
    assert_eq!(seen.of, i64::try_from(bytes.len()).ok());
    let further = |it: &ModelRegistryEntryStatus| reading(it).is_some_and(|it| it.bytes > seen.bytes);
    let later = until(&scene, "large", "it is further", further).await.reading.unwrap();
    let between = (later.at - seen.at).num_milliseconds();
    assert!(between >= 10_000, "each answer is a write: {between} ms");
    assert!(later.bytes < seen.of.unwrap(), "{seen:?}, {later:?}");

    line.speeds_up();
    until(&scene, "large", "it is verified", says(true, "Verified")).await;
    until(&scene, "large", "nobody reads it any more", |it| reading(it).is_none()).await;
    scene.end().await;
}
