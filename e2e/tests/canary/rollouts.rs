//! What a rollout is, besides a promotion: it is taken back, and it is called off.

use std::time::{Duration, Instant};

use kube::api::{ObjectMeta, PostParams};
use werkbank::api::model_deployment::{Cause, ModelDeploymentStatus, Phase};
use werkbank_e2e::breach::{Breach, all_at};
use werkbank_e2e::load::{exactly, within_sampling_error};

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed, without_failure};

/// Requests per step that shares are measured over.
const MEASURED: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_breaks_a_guardrail_is_back_at_zero_within_the_promised_time() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let stable = model.status().await.stable.unwrap().revision;
    // It serves well until the file is there.
    let broken = scene.workbench.control_plane().run_dir().join("broken");
    let fault =
        format!("        - {{name: FAULT_FILE, value: {}}}\n        - {{name: FAULT_ERROR_RATE", broken.display());
    let wanted = Wanted { version: "2", error_rate: "0.5", steps: "[{weight: 20%, for: 10m}]", ..GOOD };
    model.apply(&model.manifest(&wanted).replace("        - {name: FAULT_ERROR_RATE", &fault)).await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    measured(&model, &candidate, "20%", 0.2).await;

    let load = model.load(100).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    std::fs::write(&broken, "").unwrap();
    let seen =
        tokio::time::timeout(Duration::from_secs(60), breach(&scene, &candidate, &stable).until_weight_zero()).await;
    let took = seen.expect("the breach is never visible, or never answered").unwrap().took();
    eprintln!("weight 0 in Envoy {:.2} s after Prometheus had the breach", took.as_secs_f64());
    // (failureLimit + 1) intervals + 1 s.
    assert!(took <= Duration::from_secs(2), "weight 0 after {took:?}");
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::GuardrailBreached));
    assert_eq!(status.stable.unwrap().revision, stable);
    // What failed is what the candidate answered, and nothing else: the way back costs no request.
    let seen = load.stop().await.unwrap().total;
    assert!(seen.requests >= 300 && seen.failed() > 0, "{seen:?}");
    assert_eq!((seen.failed_elsewhere(&candidate), seen.retried), (0, 0), "{seen:?}");
    // From now on nobody sees an error any more.
    let counts = exactly(&model.target().await, MEASURED).await.unwrap();
    assert_eq!((counts.failed(), counts.share(&stable)), (0, 1.0), "{counts:?}");
    a_restored_object_is_held(&model, &candidate).await;
    scene.end().await;
}

/// The deployment is deleted, and comes back as a backup has it: its spec, and nothing of its status.
async fn a_restored_object_is_held(model: &Model<'_>, candidate: &str) {
    let mut backup = model.api().get(model.name).await.unwrap();
    model.scene.kubectl(&["-n", NAMESPACE, "delete", "modeldeployment", model.name, "--wait"]).await;
    backup.status = None;
    backup.metadata = ObjectMeta { name: backup.metadata.name, ..ObjectMeta::default() };
    model.api().create(&PostParams::default(), &backup).await.unwrap();
    let status = model.until("it is held", |it| it.phase == Phase::Failed).await;
    let attempt = status.attempt.unwrap();
    assert_eq!((attempt.revision.as_str(), attempt.cause), (candidate, Some(Cause::PreviouslyRolledBack)));
    assert_eq!(status.revisions, [], "nothing is made for it");
    model.ask("retry", "again").await;
    model.until("a person asked for it", |it| it.attempts == 2 && it.phase != Phase::Failed).await;
}

/// The guardrail's own query, above its bound.
fn breach<'a>(scene: &'a Scene, candidate: &str, stable: &str) -> Breach<'a> {
    let query = format!(
        r#"sum(rate(inference_requests_total{{revision="{candidate}", code=~"5.."}}[5s]) or vector(0))
           / sum(rate(inference_requests_total{{revision="{candidate}"}}[5s])) > 0.05"#
    );
    let (prometheus, gateway) = (scene.workbench.prometheus().unwrap(), scene.workbench.gateway().unwrap());
    Breach { prometheus, gateway, query, route: (NAMESPACE, "scores"), stable: stable.to_owned() }
}

/// The share of a candidate at the weight it is held at, over real requests, is that weight.
pub(crate) async fn measured(model: &Model<'_>, candidate: &str, weight: &str, share: f64) {
    let before = model.until_observing(weight).await;
    let counts = exactly(&model.target().await, MEASURED).await.unwrap();
    let after = model.status().await;
    let held = |it: &ModelDeploymentStatus| it.attempt.as_ref().map(|it| (it.state, it.weight, it.decided));
    assert_eq!(held(&after), held(&before), "the weight was held");
    assert_eq!(counts.requests, u64::from(MEASURED));
    without_failure(&counts);
    let observed = counts.header.get(candidate).copied().unwrap_or_default();
    eprintln!("{observed} of {} requests at {weight}", counts.requests);
    assert!(within_sampling_error(observed, counts.requests, share), "{counts:?} at {weight}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reverting_the_spec_mid_canary_takes_the_candidate_back_at_once() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    let stable = model.status().await.stable.unwrap().revision;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    model.until_observing("20%").await;
    model.deploy(&Wanted { steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    let begin = Instant::now();
    while !all_at(&model.weights().await, &stable) {
        assert!(begin.elapsed() < Duration::from_secs(5), "Envoy still sends requests to what was taken back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let status = model.until("it is taken back", |it| it.phase == Phase::Stable).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Reverted));
    let counts = exactly(&model.target().await, MEASURED).await.unwrap();
    assert_eq!((counts.failed(), counts.share(&stable)), (0, 1.0), "{counts:?}");
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
