//! What fails around a canary, and not in it: the operator, the metric source.

use std::time::{Duration, Instant};

use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase, VerdictKind};
use werkbank_e2e::process::Signal;
use werkbank_e2e::workbench::Options;

use crate::scene::{GOOD, Model, Scene, Wanted, unharmed};

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_killed_at_every_state_of_a_canary_ends_it_the_same() {
    let mut options = Options::from_env();
    // They are killed more often than a node likes.
    options.restarts.cap = Duration::from_secs(1);
    let scene = Scene::set_with(options).await;
    let (killed, calm) = (scene.model("scores"), scene.model("calm"));
    calm.deploy(&GOOD).await;
    calm.until("the first version serves", |it| it.phase == Phase::Stable).await;
    let next = Wanted { version: "2", steps: "[{weight: 20%, for: 5s}, {weight: 50%, for: 5s}]", ..GOOD };
    let load = calm.load(50).await;
    calm.deploy(&next).await;
    let undisturbed = at_rest(&calm).await;
    unharmed(&load.stop().await.unwrap());

    let load = killed.load(50).await;
    let gateway = scene.workbench.gateway().unwrap();
    // Shifting and Promoting last until the gateway accepts: here, for as long as is looked.
    gateway.hold();
    killed.deploy(&next).await;
    let mut killed_in = Vec::new();
    for (state, weight) in [
        (AttemptState::Starting, "0%"),
        (AttemptState::Shifting, "20%"),
        (AttemptState::Observing, "20%"),
        (AttemptState::Shifting, "50%"),
        (AttemptState::Observing, "50%"),
        (AttemptState::Starting, "50%"),
        (AttemptState::Promoting, "100%"),
    ] {
        let is_there = |it: &ModelDeploymentStatus| place(it) == Some((state, weight.to_owned()));
        killed.until(&format!("it is {state:?} at {weight}"), is_there).await;
        if state == AttemptState::Observing {
            gateway.hold();
        }
        killed_in.push(kill_all(&scene, &killed).await);
        if matches!(state, AttemptState::Shifting | AttemptState::Promoting) {
            gateway.release();
        }
    }
    let states: Vec<String> = killed_in.iter().map(|(state, weight)| format!("{state:?} at {weight}")).collect();
    assert_eq!(
        states,
        [
            "Starting at 0%",
            "Shifting at 20%",
            "Observing at 20%",
            "Shifting at 50%",
            "Observing at 50%",
            "Starting at 50%",
            "Promoting at 100%"
        ]
    );
    assert_eq!(at_rest(&killed).await, undisturbed);
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}

fn place(status: &ModelDeploymentStatus) -> Option<(AttemptState, String)> {
    status.attempt.as_ref().map(|it| (it.state, it.weight.to_string()))
}

/// Kills every operator, and gives where the canary stood while none ran; returns when they run again.
async fn kill_all(scene: &Scene, model: &Model<'_>) -> (AttemptState, String) {
    let before = scene.operators().await;
    assert_eq!(before.len(), 2, "{before:?}");
    for pod in before.keys() {
        let begin = Instant::now();
        while !scene.signal_operator(pod, Signal::KILL) {
            assert!(begin.elapsed() < Duration::from_secs(30), "{pod} does not run");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    let place = place(&model.status().await).unwrap();
    let begin = Instant::now();
    loop {
        let now = scene.operators().await;
        if before.iter().all(|(pod, restarts)| now.get(pod).is_some_and(|it| it > restarts)) {
            return place;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{before:?}, now {now:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How a story ended, without names and times: what must be the same whoever told it.
async fn at_rest(model: &Model<'_>) -> Vec<String> {
    let done = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 2 && it.revisions.len() == 1;
    let mut status = model.until("it is promoted and the old revision is gone", done).await;
    // A deployment may be called as the entry it serves; the entry's uid says which that is.
    for entry in status.revisions.iter_mut().filter_map(|it| it.entry.as_mut()) {
        entry.name = String::new();
    }
    let attempt = status.attempt.unwrap();
    let mut end = vec![
        format!("stable {:?}, revisions {:?}", status.stable.map(|it| it.revision), status.revisions),
        format!("attempt {} of {}: {:?} at {}", status.attempts, attempt.revision, attempt.state, attempt.weight),
        format!("decided {} of {}, unrecorded {:?}", attempt.decided, status.sequence, status.unrecorded),
        format!("weights {:?}", model.weights().await),
    ];
    let reasons = status.conditions.iter().map(|it| format!("{} {:?} {}", it.type_, it.status, it.reason));
    end.extend(reasons);
    end.extend(children(model).await);
    let trail = model.scene.trail(model).await;
    end.extend(trail.iter().map(|it| format!("{} {:?} {} {}", it.sequence, it.kind, it.decision, it.weight)));
    end.into_iter().map(|it| it.replace(model.name, "<name>")).collect()
}

/// Kinds and names of what belongs to a deployment.
async fn children(model: &Model<'_>) -> Vec<String> {
    let selector = format!("--selector={}={}", labels::DEPLOYMENT, model.name);
    let kinds = "deployments,services,controllerrevisions,configmaps,httproutes";
    let args = ["-n", model.namespace, "get", kinds, &selector, "-o", "name"];
    let output = model.scene.workbench.control_plane().kubectl(args).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
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
    let begin = Instant::now();
    scene.workbench.prometheus().unwrap().stop().await;
    let silent = |kind| move |it: &ModelDeploymentStatus| it.verdicts.iter().any(|it| it.verdict == kind);
    model.until("the source is silent", silent(VerdictKind::ProviderError)).await;
    // The step would have ended after five seconds, and nothing is done before eight.
    let mut looks = 0;
    loop {
        let held = model.status().await;
        if begin.elapsed() > Duration::from_secs(7) {
            break;
        }
        assert_eq!((held.phase, held.weight.map(|it| it.to_string())), (Phase::Observing, Some("20%".into())));
        looks += 1;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert!(looks > 0, "nobody has seen that it holds");
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(30), "rolled back {took:?} after Prometheus was stopped");
    assert_eq!(status.attempt.unwrap().cause, Some(Cause::MetricSourceOutage));
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
