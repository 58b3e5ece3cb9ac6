//! The store of the audit log goes away under the operator as the chart installs it, with its log on S3.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase};
use werkbank_e2e::s3::{S3, SlowLine};
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options, sibling};

use crate::scene::{GOOD, Model, Scene, Wanted, of_entry, unharmed};

const LOG: &str = "s3://models/audit";
/// Nobody has the time for it.
const SLOW: &str = "[{weight: 20%, for: 10m}]";
/// Over before the store is back.
const SHORT: &str = "[{weight: 20%, for: 10s}, {weight: 50%, for: 3s}]";
/// Until Envoy sends the three nothing. How soon is measured elsewhere: here, nobody waits for the store, which stays away for longer.
const WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn while_the_logs_store_is_away_nothing_advances_and_the_way_back_does_not_wait() {
    let s3 = S3::start().unwrap();
    let line = s3.over_a_line().unwrap();
    let scene = with_its_log_on(&line).await;
    let [climbs, breaks, aborted, revoked] = ["climbs", "breaks", "aborted", "revoked"].map(|name| scene.model(name));
    for model in [climbs, breaks, aborted, revoked] {
        model.deploy(&GOOD).await;
        model.until("the first version serves", |it| it.phase == Phase::Stable).await;
    }
    let (uri, sha256) = scene.artifact();
    scene.register("second", json!({"uri": uri, "sha256": sha256})).await;
    let slow = Wanted { version: "2", steps: SLOW, ..GOOD };
    breaks.deploy(&Wanted { error_rate: "1", ..slow.clone() }).await;
    aborted.deploy(&slow).await;
    revoked.apply(&of_entry(&revoked.manifest(&slow), "second")).await;
    for model in [breaks, aborted, revoked] {
        model.until_observing("20%").await;
    }
    let load = climbs.load(50).await;
    climbs.deploy(&Wanted { version: "2", steps: SHORT, ..GOOD }).await;
    climbs.until_observing("20%").await;

    line.cut();
    let operators = scene.operators().await;
    let (silent_since, errors) = (Instant::now(), breaks.load(50).await);
    aborted.ask("abort", "n1").await;
    scene.revoke("second").await;
    for (model, cause) in [(aborted, Cause::Aborted), (revoked, Cause::Revoked), (breaks, Cause::GuardrailBreached)] {
        goes_back(&model, cause, silent_since).await;
    }
    holds(&climbs).await;
    assert_eq!(scene.operators().await, operators, "none has ended");

    line.mend();
    climbs.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    unharmed(&load.stop().await.unwrap());
    drop(errors.stop().await);
    for (model, decision) in [(climbs, "Promote"), (breaks, "RollBack"), (aborted, "RollBack"), (revoked, "RollBack")] {
        model.until("everything is on the record", |it| it.unrecorded.is_empty()).await;
        let last = is_told(&scene, &s3, &model, decision);
        let asked_by = last["askedBy"].as_str().unwrap();
        assert_eq!(asked_by.len(), if model.name == "aborted" { 32 } else { 0 }, "an actor, or nobody: {last}");
    }
    let verified = audit(&scene, &s3, &["verify", LOG]);
    assert!(verified.starts_with("verified: "), "{verified}");
    scene.end().await;
}

/// The operator, with credentials of the store in a Secret, as `docs/how-to/install.md` says.
async fn with_its_log_on(line: &SlowLine) -> Scene {
    let scene = Scene::empty(Options::from_env()).await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}});
    scene.apply("operator-namespace", &namespace.to_string()).await;
    // It speaks plain HTTP, which nobody should have outside of a test.
    let credentials = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "audit-store", "namespace": OPERATOR_NAMESPACE},
        "stringData": {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ALLOW_HTTP": "true"},
    });
    scene.apply("audit-store", &credentials.to_string()).await;
    let s3 = format!(
        "audit.store=S3,audit.s3.url={LOG},audit.s3.region=us-east-1,audit.s3.credentialsSecret=audit-store,audit.s3.endpoint={}",
        line.endpoint()
    );
    scene.install(&[&s3]).await;
    scene
}

/// Envoy sends its candidate nothing, while nothing can be recorded.
async fn goes_back(model: &Model<'_>, cause: Cause, silent_since: Instant) {
    let is_back = |it: &ModelDeploymentStatus| {
        let attempt = it.attempt.as_ref();
        attempt.is_some_and(|it| it.cause == Some(cause) && it.state == AttemptState::RolledBack)
    };
    let status = model.until(&format!("it is taken back: {cause:?}"), is_back).await;
    let serving: Vec<u32> = model.weights().await.into_values().filter(|it| *it > 0).collect();
    assert_eq!(serving.len(), 1, "{:?}", model.weights().await);
    assert!(silent_since.elapsed() < WITHIN, "{cause:?}: {:?}", silent_since.elapsed());
    assert!(status.unrecorded.iter().any(|it| it.decision == "RollBack"), "{:#?}", status.unrecorded);
}

/// Its step is over, and it says since when and why it goes no further.
async fn holds(model: &Model<'_>) {
    let ready = |it: &ModelDeploymentStatus| it.conditions.iter().find(|it| it.type_ == "Ready").cloned();
    let says = |it: &ModelDeploymentStatus| ready(it).is_some_and(|it| it.reason == "AuditUnavailable");
    let status = model.until("it says why it waits", says).await;
    let message = ready(&status).unwrap().message;
    assert!(message.contains("since 20"), "{message}");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let attempt = model.status().await.attempt.unwrap();
    assert_eq!((attempt.state, attempt.weight.to_string()), (AttemptState::Observing, "20%".into()));
}

/// The decision is on the log once, behind all that was decided before it.
fn is_told(scene: &Scene, s3: &S3, model: &Model<'_>, decision: &str) -> Value {
    let listed = audit(scene, s3, &["list", LOG, "--name", model.name, "--type", "Intent", "--output", "json"]);
    let intents: Vec<Value> =
        listed.lines().map(|it| serde_json::from_str::<Value>(it).unwrap()["entry"].take()).collect();
    let numbers: Vec<String> = intents.iter().map(|it| it["sequence"].as_str().unwrap().to_owned()).collect();
    assert_eq!(numbers, (1..=numbers.len()).map(|it| it.to_string()).collect::<Vec<_>>(), "{listed}");
    let last = intents.last().unwrap();
    assert_eq!(last["decision"], decision, "{listed}");
    last.clone()
}

/// What `werkbank audit` prints, by somebody with the credentials of the store.
fn audit(scene: &Scene, s3: &S3, words: &[&str]) -> String {
    let key = scene.workbench.audit_log().unwrap().key;
    let environment = [
        ("AWS_ENDPOINT_URL", s3.endpoint()),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_REGION", "us-east-1".into()),
        ("AWS_ACCESS_KEY_ID", "test".into()),
        ("AWS_SECRET_ACCESS_KEY", "test".into()),
    ];
    let program = sibling("werkbank").unwrap();
    let output =
        Command::new(program).arg("audit").args(words).args(["--key", &key]).envs(environment).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
