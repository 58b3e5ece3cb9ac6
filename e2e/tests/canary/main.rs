//! A canary on a real control plane, with real Envoy, real Prometheus and the operator installed by its chart.
#![cfg(test)]

mod gateway_edit;
mod scene;

use std::time::{Duration, Instant};

use werkbank::api::model_deployment::{AttemptState, Cause, Phase, VerdictKind};
use werkbank_e2e::load::{exactly, within_sampling_error};

use scene::{GOOD, Scene, Wanted, manifest};

/// Requests per step that shares are measured over.
const MEASURED: u32 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_climbs_its_steps_and_is_promoted_without_a_failed_request() {
    let scene = Scene::set().await;
    let load = scene.load(50).await;
    scene.deploy(&Wanted { version: "2", ..GOOD }).await;
    for (weight, share) in [("20%", 0.2), ("50%", 0.5)] {
        let status = scene.until_observing(weight).await;
        let candidate = status.candidate.unwrap();
        let counts = exactly(&scene.target().await, MEASURED).await.unwrap();
        let still = scene.status().await.attempt.unwrap().weight.to_string();
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
    let status = scene.until("the candidate is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.attempt.as_ref().unwrap().state, AttemptState::Promoted);
    scene.until("the old revision is gone", |it| it.revisions.len() == 1).await;
    let report = load.stop().await.unwrap();
    assert_eq!(report.total.failed(), 0, "{:?}", report.total);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_that_breaks_a_guardrail_is_back_at_zero_within_the_promised_time() {
    let scene = Scene::set().await;
    let load = scene.load(100).await;
    let stable = scene.status().await.stable.unwrap().revision;
    scene.deploy(&Wanted { version: "2", error_rate: "0.5", ..GOOD }).await;
    let failing =
        scene.until("the guardrail fails", |it| it.verdicts.iter().any(|it| it.verdict == VerdictKind::Fail)).await;
    let begun = failing.verdicts.iter().find(|it| it.verdict == VerdictKind::Fail).unwrap().time;
    let at_zero = loop {
        let weights = scene.weights().await;
        if weights.iter().all(|(name, weight)| name.contains(&stable) || *weight == 0) {
            break chrono::Utc::now();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    // (failureLimit + 1) intervals + 1 s, from the measurement that saw it.
    let took = (at_zero - begun).to_std().unwrap();
    assert!(took <= Duration::from_secs(2), "weight 0 after {took:?}");
    let status = scene.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::GuardrailBreached));
    assert_eq!(status.stable.unwrap().revision, stable);
    // From now on nobody sees an error any more.
    drop(load);
    let counts = exactly(&scene.target().await, MEASURED).await.unwrap();
    assert_eq!((counts.failed(), counts.share(&stable)), (0, 1.0), "{counts:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reverting_the_spec_mid_canary_takes_the_candidate_back_at_once() {
    let scene = Scene::set().await;
    let load = scene.load(50).await;
    scene.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    scene.until_observing("20%").await;
    scene.deploy(&Wanted { steps: "[{weight: 20%, for: 10m}]", ..GOOD }).await;
    let begin = Instant::now();
    let status = scene.until("the stable version has all traffic", |it| it.phase == Phase::Stable).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "took {:?}", begin.elapsed());
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::Reverted));
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_at_every_state_of_a_canary_ends_it_the_same() {
    let scene = Scene::set().await;
    let load = scene.load(50).await;
    scene.deploy(&Wanted { version: "2", ..GOOD }).await;
    let mut killed_in = Vec::new();
    let begin = Instant::now();
    loop {
        let status = scene.status().await;
        if status.phase == Phase::Stable && status.attempts == 2 {
            break;
        }
        let attempt = status.attempt.map(|it| (it.state, it.weight));
        if attempt.is_some() && killed_in.last() != Some(&attempt) && status.phase != Phase::Stable {
            killed_in.push(attempt);
            for pod in scene.operators().await {
                scene.kill_operator(&pod);
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(240),
            "killed in {killed_in:?}; it is {:?}",
            scene.status().await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(killed_in.len() >= 4, "{killed_in:?}");
    let status = scene.status().await;
    assert_eq!(status.attempt.unwrap().state, AttemptState::Promoted);
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_the_other_replica_within_thirty_seconds() {
    let scene = Scene::set().await;
    let first = scene.leader().await;
    scene.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 2s}]", ..GOOD }).await;
    let load = scene.load(50).await;
    scene.until_observing("20%").await;
    scene.kill_operator(&first);
    let begin = Instant::now();
    let status = scene.until("the canary goes on", |it| it.lease_epoch > 1).await;
    assert!(begin.elapsed() < Duration::from_secs(30), "took {:?}", begin.elapsed());
    assert!(status.lease_epoch > 1);
    scene.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prometheus_the_weight_holds_and_then_the_declared_action_is_taken() {
    let scene = Scene::set().await;
    let load = scene.load(50).await;
    let wanted =
        Wanted { version: "2", steps: "[{weight: 20%, for: 5s}]", on_outage: "{after: 8s, do: Rollback}", ..GOOD };
    scene.deploy(&wanted).await;
    scene.until_observing("20%").await;
    scene.workbench.prometheus().unwrap().stop().await;
    let silent = |kind| {
        move |it: &werkbank::api::model_deployment::ModelDeploymentStatus| {
            it.verdicts.iter().any(|it| it.verdict == kind)
        }
    };
    scene.until("the source is silent", silent(VerdictKind::ProviderError)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = scene.status().await;
    assert_eq!((held.phase, held.weight.map(|it| it.to_string())), (Phase::Observing, Some("20%".into())));
    let status = scene.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::MetricSourceOutage));
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_the_same_manifest_again_and_again_changes_nothing() {
    let scene = Scene::set().await;
    scene.until("it is at rest", |it| it.revisions.len() == 1).await;
    let before = scene.status().await;
    for _ in 0..20 {
        scene.deploy(&GOOD).await;
    }
    assert_eq!(scene.status().await, before);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_condition_that_says_what_to_do_and_the_stable_version_keeps_serving() {
    let scene = Scene::set().await;
    let load = scene.load(20).await;
    let wrong = "0".repeat(64);
    scene.register("tampered", Some(&wrong)).await;
    let falling = Wanted { version: "2", steps: "[{weight: 50%}, {weight: 20%}]", ..GOOD };
    let cases = [
        ("missing entry", manifest("nowhere", &GOOD), "EntryNotFound"),
        ("wrong digest", manifest("tampered", &GOOD), "ArtifactRefused"),
        ("falling weights", manifest("scores", &falling), "InvalidSpec"),
        (
            "unknown region",
            manifest("scores", &GOOD).replace("  replicas:", "  region: mars\n  replicas:"),
            "RegionUnknown",
        ),
        (
            "missing ConfigMap",
            manifest("scores", &GOOD)
                .replace("        env:", "        envFrom: [{configMapRef: {name: nowhere}}]\n        env:"),
            "ConfigMapNotFound",
        ),
        ("image nobody has", manifest("scores", &GOOD).replace("model-server:local", "nobody:1"), "PodsNotStarting"),
    ];
    for (what, yaml, reason) in cases {
        is_told(&scene, what, &yaml, reason).await;
    }
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    // Apart, because it takes requests away by itself: a route that names a listener which is not
    // there is served by none, whoever wrote it. What the operator owes is to say so.
    let nowhere = manifest("scores", &GOOD).replace("{name: internal}", "{name: internal, sectionName: nowhere}");
    is_told(&scene, "Gateway that refuses", &nowhere, "RouteRejected").await;
    scene.end().await;
}

/// What is wrong becomes the reason of `Ready`, with a sentence, and is over when it is corrected.
async fn is_told(scene: &Scene, what: &str, yaml: &str, reason: &str) {
    scene.apply("deployment", yaml).await;
    scene
        .until(&format!("{what} is told as {reason}"), |it| {
            it.conditions.iter().any(|it| it.type_ == "Ready" && it.reason == reason && it.message.len() > 20)
        })
        .await;
    scene.deploy(&GOOD).await;
    scene.until(&format!("{what} is forgotten"), |it| it.phase == Phase::Stable).await;
}
