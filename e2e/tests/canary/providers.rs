//! Numbers that are not in Prometheus: from an HTTP API and from a database, with credentials that a namespace grants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use werkbank::api::model_deployment::{Cause, ModelDeploymentStatus, Phase, VerdictKind};
use werkbank_e2e::postgres::Postgres;
use werkbank_e2e::workbench::{OPERATOR_NAMESPACE, Options};

use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// What the API wants to hear.
const TOKEN: &str = "Bearer of-the-complaints-api";

/// An API that knows how many complained, by revision. Of one that is not known nobody did.
#[derive(Clone, Default)]
struct Complaints(Arc<Mutex<BTreeMap<String, f64>>>);

impl Complaints {
    /// Serves it; gives where.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/revisions/{revision}", get(answer)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }
}

async fn answer(
    State(known): State<Complaints>,
    Path(revision): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    if headers.get(header::AUTHORIZATION).is_none_or(|it| it != TOKEN) {
        return (StatusCode::UNAUTHORIZED, Json(json!({})));
    }
    let complaints = known.0.lock().unwrap().get(&revision).copied().unwrap_or_default();
    (StatusCode::OK, Json(json!({"revisions": {revision: {"per thousand": complaints}}})))
}

/// The manifest of a version that these two judge as well.
fn judged(model: &Model<'_>, wanted: &Wanted, complaints: &str) -> String {
    let count = |condition: &str| {
        json!({"sql": {"connection": {"secretKeyRef": {"name": "warehouse", "key": "uri"}}, "query": format!(
            "SELECT count(*) FROM offers WHERE {condition} revision = {{{{ revision }}}} \
             AND at >= to_timestamp({{{{ windowStart }}}}) AND at < to_timestamp({{{{ windowEnd }}}})"
        )}})
    };
    let http = json!({
        "name": "complaints", "role": "Guardrail", "threshold": {"max": "0.5"},
        "http": {
            "url": format!("{complaints}/revisions/{{{{ revision }}}}"),
            "headers": [{"name": "Authorization", "secretKeyRef": {"name": "complaints", "key": "authorization"}}],
            "jsonPath": "$.revisions['{{ revision }}']['per thousand']",
        },
    });
    let sql = json!({
        "name": "accepted", "role": "Objective",
        "proportion": {"successes": count("accepted AND"), "trials": count("")},
        "test": {"direction": "HigherIsBetter", "nonInferiorityMargin": "10pp"},
    });
    format!("{}    - {http}\n    - {sql}\n", model.manifest(wanted))
}

/// The commands that the condition prints, run by somebody who may; returns when it has nothing more to print.
async fn grant(model: &Model<'_>) -> Vec<String> {
    let mut granted = Vec::new();
    let missing = |it: &ModelDeploymentStatus| {
        let stalled = it.conditions.iter().find(|it| it.type_ == "Stalled" && it.reason == "SecretNotReadable")?;
        Some(stalled.message.split_once("grant it with: ")?.1.to_owned())
    };
    while granted.len() < 2 {
        let status = model.until("a Secret is not granted", |it| missing(it).is_some_and(|it| !granted.contains(&it)));
        let commands = missing(&status.await).unwrap();
        for command in commands.split("; ") {
            let words: Vec<&str> = command.split_whitespace().collect();
            assert_eq!(words[0], "kubectl", "{command}");
            model.scene.kubectl(&words[1..]).await;
        }
        granted.push(commands);
    }
    granted
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_is_judged_by_an_api_and_a_database_whose_secrets_a_namespace_grants() {
    let scene = Scene::empty(Options::from_env()).await;
    scene.install(&[]).await;
    let complaints = Complaints::default();
    let wheel = scene.workbench.tools().postgres().await.unwrap();
    let postgres = Postgres::start(&wheel).await.unwrap();
    postgres.run("CREATE TABLE offers (revision text, at timestamptz, accepted boolean)").await.unwrap();
    let secrets = [("complaints", "authorization", TOKEN.to_owned()), ("warehouse", "uri", postgres.url())];
    for (name, key, value) in &secrets {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE}, "stringData": {*key: value},
        });
        scene.apply(&format!("secret-{name}"), &secret.to_string()).await;
    }
    let model = scene.model("scores");
    let url = complaints.serve().await;
    model.apply(&judged(&model, &GOOD, &url)).await;
    model.until("the first version serves", |it| it.phase == Phase::Stable).await;
    let load = model.load(50).await;

    model.apply(&judged(&model, &Wanted { version: "2", ..GOOD }, &url)).await;
    model.until_observing("20%").await;
    let granted = grant(&model).await;
    assert!(granted.iter().all(|it| it.contains("--resource-name=")), "{granted:?}");
    let of = |name: &'static str, kind| {
        move |it: &ModelDeploymentStatus| it.verdicts.iter().any(|it| it.metric == name && it.verdict == kind)
    };
    model.until("nobody complained", of("complaints", VerdictKind::Pass)).await;
    let waiting = model.until("too few were made an offer", of("accepted", VerdictKind::Inconclusive)).await;
    assert_eq!(waiting.weight.map(|it| it.to_string()), Some("20%".into()));
    let (stable, candidate) = (waiting.stable.unwrap().revision, waiting.attempt.unwrap().revision);
    offers(&postgres, &stable, 8_000).await;
    offers(&postgres, &candidate, 2_000).await;
    let promoted = move |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 2;
    let status = model.until("as many accept", promoted).await;
    assert_eq!(status.stable.unwrap().revision, candidate);

    model.apply(&judged(&model, &Wanted { version: "3", ..GOOD }, &url)).await;
    let third = model.until_observing("20%").await.attempt.unwrap().revision;
    complaints.0.lock().unwrap().insert(third.clone(), 9.0);
    let status = model.until("it is rolled back", |it| it.phase == Phase::RolledBack).await;
    let attempt = status.attempt.clone().unwrap();
    assert_eq!((attempt.revision.as_str(), attempt.cause), (third.as_str(), Some(Cause::GuardrailBreached)));
    assert!(of("complaints", VerdictKind::Fail)(&status), "{:#?}", status.verdicts);
    unharmed(&load.stop().await.unwrap());
    nothing_was_told(&scene, &model, &secrets.map(|(_, _, value)| value)).await;
    scene.end().await;
}

/// So many offers of a revision, half of them accepted.
async fn offers(postgres: &Postgres, revision: &str, number: usize) {
    let insert =
        format!("INSERT INTO offers SELECT '{revision}', now(), n % 2 = 0 FROM generate_series(1, {number}) AS n");
    postgres.run(&insert).await.unwrap();
}

/// No value of a Secret is in what people and machines read.
async fn nothing_was_told(scene: &Scene, model: &Model<'_>, secrets: &[String]) {
    let control_plane = scene.workbench.control_plane();
    let read = async |args: &[&str]| {
        let output = control_plane.kubectl(args).await.unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "kubectl {args:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let mut told = vec![
        read(&["-n", NAMESPACE, "get", "modeldeployment,controllerrevision,httproute", "-o", "yaml"]).await,
        read(&["-n", NAMESPACE, "get", "events.events.k8s.io", "-o", "yaml"]).await,
        format!("{:?}", scene.trail(model).await),
    ];
    for pod in scene.operators().await.into_keys() {
        told.push(scene.workbench.node().unwrap().logs(OPERATOR_NAMESPACE, &pod, "operator").unwrap());
    }
    for secret in secrets {
        assert!(told.iter().all(|it| !it.contains(secret.as_str())), "a Secret is told");
    }
}
