//! What is played: who says that pods are ready, and what metrics say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use werkbank::api::labels;

use super::shared::Story;
use super::shared::plot::asked_about;
use super::sightings::Sightings;

/// What is bad of which entry, by namespace.
#[derive(Clone, Default)]
pub(super) struct Broken(Arc<Mutex<BTreeSet<(String, String)>>>);

impl Broken {
    pub(super) fn add(&self, namespace: &str, what: String) {
        self.0.lock().unwrap().insert((namespace.to_owned(), what));
    }

    fn has(&self, namespace: &str, what: String) -> bool {
        self.0.lock().unwrap().contains(&(namespace.to_owned(), what))
    }
}

/// Answers Prometheus' queries, until it is dropped.
pub(super) struct Metrics {
    url: String,
    _task: JoinSet<()>,
}

impl Metrics {
    pub(super) async fn start(sightings: Sightings, broken: Broken) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/api/v1/query", post(answer)).with_state((sightings, broken));
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, _task: task }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

/// As the simulation answers: one value for what is good, and one for what is bad.
async fn answer(State((sightings, broken)): State<(Sightings, Broken)>, form: String) -> String {
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let query = &form["query"];
    let label = |name: &str| query.split(&format!("{name}=\"")).nth(1).and_then(|it| it.split('"').next()).unwrap();
    let entry = sightings.entry_of(label("namespace"), label("revision")).unwrap_or_default();
    let value = if broken.has(label("namespace"), asked_about(query, &entry)) { "0.5" } else { "0.001" };
    let result = json!([{"metric": {}, "value": [0, value]}]);
    json!({"status": "success", "data": {"resultType": "vector", "result": result}}).to_string()
}

/// Says that pods are ready, until it is dropped.
pub(super) struct Kubelet(#[expect(dead_code, reason = "held")] JoinSet<()>);

impl Kubelet {
    pub(super) fn start(client: Client, sightings: Sightings, stories: &[Story]) -> Self {
        let never = stories.iter().flat_map(|it| it.never_ready.iter().map(|entry| (it.name.clone(), entry.clone())));
        let never: Arc<BTreeSet<(String, String)>> = Arc::new(never.collect());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let pods: Api<Pod> = Api::all(client.clone());
            let config = watcher::Config::default().labels(labels::REVISION);
            let seen = watcher(pods, config).default_backoff().applied_objects();
            let each = |pod: Result<Pod, _>| {
                let (client, sightings, never) = (client.clone(), sightings.clone(), never.clone());
                async move {
                    if let Ok(pod) = pod {
                        comes_up(&client, &sightings, &never, &pod).await;
                    }
                }
            };
            seen.for_each_concurrent(8, each).await;
        });
        Self(tasks)
    }
}

async fn comes_up(client: &Client, sightings: &Sightings, never: &BTreeSet<(String, String)>, pod: &Pod) {
    let conditions = pod.status.iter().filter_map(|it| it.conditions.as_ref()).flatten();
    let is_ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
    let is_ours = pod.spec.as_ref().is_some_and(|it| it.scheduler_name.as_deref() == Some("stories"));
    if is_ready || !is_ours || pod.metadata.deletion_timestamp.is_some() {
        return;
    }
    let (namespace, revision) = (pod.namespace().unwrap(), &pod.labels()[labels::REVISION]);
    // Its record was written before, and is told by another watch.
    let entry = loop {
        match sightings.entry_of(&namespace, revision) {
            Some(entry) => break entry,
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    if never.contains(&(namespace.clone(), entry)) {
        return;
    }
    let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-24T00:00:00Z"});
    let status = json!({"status": {"phase": "Running", "conditions": [ready]}});
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    // It may have gone in the meantime.
    drop(pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await);
}
