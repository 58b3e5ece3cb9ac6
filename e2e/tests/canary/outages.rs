//! What fails around a canary, and not in it: the operator, its leader, the metric source.

use std::time::{Duration, Instant};

use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase, VerdictKind};

use crate::scene::{GOOD, Scene, Wanted};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_at_every_state_of_a_canary_ends_it_the_same() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    model.deploy(&Wanted { version: "2", ..GOOD }).await;
    let mut killed_in = Vec::new();
    let begin = Instant::now();
    loop {
        let status = model.status().await;
        if status.phase == Phase::Stable && status.attempts == 2 {
            break;
        }
        let attempt = status.attempt.map(|it| (it.state, it.weight));
        if attempt.is_some() && killed_in.last() != Some(&attempt) && status.phase != Phase::Stable {
            killed_in.push(attempt);
            for pod in scene.operators().await.keys() {
                scene.kill_operator(pod);
            }
        }
        assert!(
            begin.elapsed() < Duration::from_secs(240),
            "killed in {killed_in:?}; it is {:?}",
            model.status().await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(killed_in.len() >= 4, "{killed_in:?}");
    let status = model.status().await;
    assert_eq!(status.attempt.unwrap().state, AttemptState::Promoted);
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_is_followed_by_the_other_replica_within_thirty_seconds() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let first = scene.leader().await;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 2s}]", ..GOOD }).await;
    let load = model.load(50).await;
    model.until_observing("20%").await;
    scene.kill_operator(&first);
    let begin = Instant::now();
    let status = model.until("the canary goes on", |it| it.lease_epoch > 1).await;
    assert!(begin.elapsed() < Duration::from_secs(30), "took {:?}", begin.elapsed());
    assert!(status.lease_epoch > 1);
    model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_prometheus_the_weight_holds_and_then_the_declared_action_is_taken() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    let wanted =
        Wanted { version: "2", steps: "[{weight: 20%, for: 5s}]", on_outage: "{after: 8s, do: Rollback}", ..GOOD };
    model.deploy(&wanted).await;
    model.until_observing("20%").await;
    scene.workbench.prometheus().unwrap().stop().await;
    let silent = |kind| move |it: &ModelDeploymentStatus| it.verdicts.iter().any(|it| it.verdict == kind);
    model.until("the source is silent", silent(VerdictKind::ProviderError)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let held = model.status().await;
    assert_eq!((held.phase, held.weight.map(|it| it.to_string())), (Phase::Observing, Some("20%".into())));
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::MetricSourceOutage));
    assert_eq!(load.stop().await.unwrap().total.failed(), 0);
    scene.end().await;
}
