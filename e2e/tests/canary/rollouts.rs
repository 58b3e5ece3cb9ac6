//! What a rollout is: it climbs, it is taken back, it is called off; and nothing happens for nothing.

use std::time::{Duration, Instant};

use werkbank::api::model_deployment::{AttemptState, Cause, Phase, VerdictKind};
use werkbank_e2e::load::{exactly, within_sampling_error};

use crate::scene::{GOOD, Scene, Wanted};

/// Requests per step that shares are measured over.
const MEASURED: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_climbs_its_steps_and_is_promoted_without_a_failed_request() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    model.deploy(&Wanted { version: "2", ..GOOD }).await;
    for (weight, share) in [("20%", 0.2), ("50%", 0.5)] {
        let status = model.until_observing(weight).await;
        let candidate = status.candidate.unwrap();
        let counts = exactly(&model.target().await, MEASURED).await.unwrap();
        let still = model.status().await.attempt.unwrap().weight.to_string();
        // Only what was sent while the weight held counts; the step may have ended meanwhile.
        if still == weight {
            let observed = counts.header.get(&candidate).copied().unwrap_or_default();
            assert!(
                within_sampling_error(observed, counts.requests, share),
                "{observed} of {} at {weight}",
                counts.requests
            );
        }
        assert_eq!(counts.failed(), 0, "{counts:?}");
    }
    let status = model.until("the candidate is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.attempt.as_ref().unwrap().state, AttemptState::Promoted);
    model.until("the old revision is gone", |it| it.revisions.len() == 1).await;
    let report = load.stop().await.unwrap();
    assert_eq!(report.total.failed(), 0, "{:?}", report.total);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_breaks_a_guardrail_is_back_at_zero_within_the_promised_time() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(100).await;
    let stable = model.status().await.stable.unwrap().revision;
    model.deploy(&Wanted { version: "2", error_rate: "0.5", ..GOOD }).await;
    let failing =
        model.until("the guardrail fails", |it| it.verdicts.iter().any(|it| it.verdict == VerdictKind::Fail)).await;
    let begun = failing.verdicts.iter().find(|it| it.verdict == VerdictKind::Fail).unwrap().time;
    let at_zero = loop {
        let weights = model.weights().await;
        if weights.iter().all(|(name, weight)| name.contains(&stable) || *weight == 0) {
            break chrono::Utc::now();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // (failureLimit + 1) intervals + 1 s, from the measurement that saw it.
    let took = (at_zero - begun).to_std().unwrap();
    assert!(took <= Duration::from_secs(2), "weight 0 after {took:?}");
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::GuardrailBreached));
    assert_eq!(status.stable.unwrap().revision, stable);
    // From now on nobody sees an error any more.
    drop(load);
    let counts = exactly(&model.target().await, MEASURED).await.unwrap();
    assert_eq!((counts.failed(), counts.share(&stable)), (0, 1.0), "{counts:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reverting_the_spec_mid_canary_takes_the_candidate_back_at_once() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    model.until_observing("20%").await;
    model.deploy(&Wanted { steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    let begin = Instant::now();
    let status = model.until("the stable version has all traffic", |it| it.phase == Phase::Stable).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Reverted));
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_manifest_again_and_again_changes_nothing() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    model.until("it is at rest", |it| it.revisions.len() == 1).await;
    let before = model.status().await;
    for _ in 0..20 {
        model.deploy(&GOOD).await;
    }
    assert_eq!(model.status().await, before);
    scene.end().await;
}
