//! People hold a rollout and hasten it, on a real gateway and past the chart's own admission policy.

use std::time::Duration;

use werkbank::api::model_deployment::{ModelDeploymentStatus, Phase, RequestOutcome};

use crate::scene::{GOOD, NAMESPACE, Scene, Wanted, unharmed};

fn weight(status: &ModelDeploymentStatus) -> String {
    status.weight.map(|it| it.to_string()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_canary_keeps_its_weight_and_a_promoted_one_goes_past_its_steps() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    let steps = "[{weight: 20%, for: 2s}, {weight: 50%, for: 1h}, {weight: 80%, for: 1h}]";
    let wanted = Wanted { version: "2", steps, ..GOOD };
    model.deploy(&wanted).await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    model.ask("pause", "p1").await;
    model.until("it is paused", |it| it.phase == Phase::Paused).await;
    let before = model.weights().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = model.status().await;
    assert_eq!((held.phase, weight(&held).as_str()), (Phase::Paused, "20%"));
    assert_eq!(model.weights().await, before);
    model.ask("promote", "n1").await;
    let refused = |it: &ModelDeploymentStatus| {
        it.handled_request.as_ref().is_some_and(|it| it.nonce == "n1" && it.outcome == RequestOutcome::Refused)
    };
    model.until("a promotion of what is paused is refused", refused).await;

    model.ask("resume", "r1").await;
    model.until_observing("50%").await;
    model.ask("pause", "p2").await;
    model.until("the second pause counts", |it| it.phase == Phase::Paused && weight(it) == "50%").await;
    model.ask("resume", "r2").await;
    model.until_observing("50%").await;
    let proven = |it: &ModelDeploymentStatus| {
        let since = it.attempt.as_ref().and_then(|it| it.observing_since);
        it.verdicts.iter().all(|it| Some(it.time) >= since && it.failures == 0 && it.value.is_some())
    };
    model.until("it is measured at 50%", proven).await;
    model.ask("promote", "n2").await;
    let status = model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.stable.unwrap().revision, candidate);
    assert_eq!(status.handled_request.unwrap().outcome, RequestOutcome::Done);
    unharmed(&load.stop().await.unwrap());
    let said: Vec<String> = scene.trail(&model).await.into_iter().map(|it| it.decision).collect();
    assert!(["Pause", "Resume", "Promote"].iter().all(|decision| said.iter().any(|it| it == decision)), "{said:?}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_annotation_of_the_namespace_holds_what_is_in_it_until_it_is_taken_away() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 20%, for: 5s}]", ..GOOD }).await;
    model.until_observing("20%").await;
    scene.kubectl(&["annotate", "namespace", NAMESPACE, "werkbank.dev/suspend=yes"]).await;
    let said = |it: &ModelDeploymentStatus, what: &str| it.conditions.iter().any(|it| it.message.contains(what));
    model
        .until("it is suspended, by a word that is none", |it| {
            it.phase == Phase::Suspended && said(it, "neither \"true\" nor \"false\"")
        })
        .await;
    scene.kubectl(&["annotate", "namespace", NAMESPACE, "--overwrite", "werkbank.dev/suspend=true"]).await;
    model.until("the word is corrected", |it| said(it, "is true: it goes on when that is taken away")).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let held = model.status().await;
    assert_eq!((held.phase, weight(&held).as_str()), (Phase::Suspended, "20%"));
    scene.kubectl(&["annotate", "namespace", NAMESPACE, "werkbank.dev/suspend-"]).await;
    model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
