//! Numbers that Jobs compute, with the real Job controller: what becomes of a candidate on their word, and while they crash.

use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase, Verdict, VerdictKind};
use werkbank_e2e::workbench::SHELL_IMAGE;

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// What a judge says of whom it was told to look at.
pub(crate) const GOOD_NUMBER: &str = r#"test -n "$WERKBANK_REVISION" && echo '{"value": 0.93}' > /dev/termination-log"#;
const BAD_NUMBER: &str = r#"echo '{"value": 0.5, "worst": "jane@example.com"}' > /dev/termination-log"#;
const CRASH: &str = r#"echo '{"value": 0.1, "worst": "jane@example.com"}' > /dev/termination-log; exit 3"#;

/// The manifest, with a metric that runs this script.
pub(crate) fn judged(manifest: &str, script: &str) -> String {
    let container = json!({"name": "judge", "image": SHELL_IMAGE, "command": ["sh", "-c", script]});
    let metric = json!({
        "name": "holdout-auc", "role": "Guardrail", "threshold": {"min": "80%"},
        "job": {"template": {"spec": {"containers": [container]}}, "timeout": "1m"},
    });
    format!("{manifest}    - {metric}\n")
}

fn of_the_job(status: &ModelDeploymentStatus) -> Option<&Verdict> {
    status.verdicts.iter().find(|it| it.metric == "holdout-auc")
}

fn is_told(status: &ModelDeploymentStatus, kind: VerdictKind) -> bool {
    of_the_job(status).is_some_and(|it| it.verdict == kind)
}

/// No Job is left, and no pod of one.
async fn nothing_is_left(scene: &Scene) {
    let jobs: Api<Job> = Api::namespaced(scene.client(), NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(scene.client(), NAMESPACE);
    let of_metrics = ListParams::default().labels(labels::METRIC);
    let began = Instant::now();
    loop {
        let jobs: Vec<_> = jobs.list(&of_metrics).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
        let pods: Vec<_> = pods.list(&of_metrics).await.unwrap().items.iter().map(ResourceExt::name_any).collect();
        if jobs.is_empty() && pods.is_empty() {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{jobs:?} and {pods:?} are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// At no time more than one Job that has not ended.
async fn watch_jobs(scene: &Scene) -> usize {
    let jobs: Api<Job> = Api::namespaced(scene.client(), NAMESPACE);
    let of_metrics = ListParams::default().labels(labels::METRIC);
    loop {
        let all = jobs.list(&of_metrics).await.unwrap().items;
        let under_way = |it: &&Job| {
            let ended =
                |it: &Job| it.status.iter().flat_map(|it| it.conditions.iter().flatten()).any(|it| it.status == "True");
            it.metadata.deletion_timestamp.is_none() && !ended(it)
        };
        let count = all.iter().filter(under_way).count();
        if count > 1 {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn story(scene: &Scene, model: &Model<'_>) {
    let version = |version| model.manifest(&Wanted { version, ..GOOD });
    model.apply(&judged(&version("2"), GOOD_NUMBER)).await;
    let watched = model.until("a Job says yes", |it| is_told(it, VerdictKind::Pass)).await;
    assert_eq!(of_the_job(&watched).unwrap().value.as_deref(), Some("0.93"));
    let promoted = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 2;
    model.until("it is promoted", promoted).await;
    nothing_is_left(scene).await;

    model.apply(&judged(&version("3"), BAD_NUMBER)).await;
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    assert_eq!(status.attempt.as_ref().unwrap().cause, Some(Cause::GuardrailBreached));
    assert_eq!(of_the_job(&status).unwrap().value.as_deref(), Some("0.5"));
    assert!(!serde_json::to_string(&status).unwrap().contains("jane"), "what a Job says is nobody else's business");
    nothing_is_left(scene).await;

    model.apply(&judged(&version("4"), CRASH)).await;
    let status = model.until("a Job crashes", |it| is_told(it, VerdictKind::ProviderError)).await;
    let (id, first) = (status.attempt.clone().unwrap().id, of_the_job(&status).unwrap().clone());
    assert!(first.message.contains("container judge ended with exit code 3, Error"), "{}", first.message);
    let again = model.until("another one does", |it| of_the_job(it).is_some_and(|it| it.time > first.time)).await;
    assert!(!serde_json::to_string(&again).unwrap().contains("jane"), "nor of one that crashed");
    let attempt = again.attempt.clone().unwrap();
    assert_eq!((attempt.id.as_str(), attempt.weight.to_string().as_str()), (id.as_str(), "20%"));
    assert_ne!(attempt.state, AttemptState::RollingBack, "a crash is no breach");
    model.apply(&judged(&version("4"), GOOD_NUMBER)).await;
    let promoted = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 4;
    let status = model.until("the judge is corrected, and the same attempt goes on", promoted).await;
    assert_eq!(status.attempt.unwrap().id, id);
    nothing_is_left(scene).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_promoted_rolled_back_or_held_on_the_word_of_its_jobs() {
    let scene = Scene::set().await;
    let model = scene.model("scores");
    let load = model.load(50).await;
    tokio::select! {
        () = story(&scene, &model) => {}
        count = watch_jobs(&scene) => panic!("{count} Jobs at a time"),
    }
    unharmed(&load.stop().await.unwrap());
    scene.end().await;
}
