//! A gateway that accepts every route and routes nothing.
//!
//! The workbench's Envoy takes a new version of *all* routes for any change, which at a thousand routes
//! and two cores would be most of what is measured. What a rollout waits for is the gateway's word on the
//! route, and this gives it: one status write per generation, as any gateway does.

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use werkbank::api::gateway::HttpRoute;

use super::{NAMESPACE, PARALLEL};

/// As much of a route as there is to look at.
#[derive(kube::Resource, Clone, Debug, Deserialize)]
#[resource(inherit = HttpRoute)]
struct Route {
    metadata: ObjectMeta,
}

/// Accepts until it is dropped.
pub(super) struct Accepting {
    _tasks: JoinSet<()>,
}

impl Accepting {
    pub(super) fn start(client: Client) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(run(client));
        Self { _tasks: tasks }
    }
}

async fn run(client: Client) {
    let routes: Api<Route> = Api::namespaced(client.clone(), NAMESPACE);
    let api: Api<HttpRoute> = Api::namespaced(client, NAMESPACE);
    let seen = watcher(routes, watcher::Config::default()).default_backoff().applied_objects();
    let mut accepted = std::collections::HashMap::<String, i64>::new();
    let news = seen.filter_map(move |route| {
        // A status of ours that comes back is no news.
        let news = route.ok().and_then(|route| {
            let (name, generation) = (route.metadata.name?, route.metadata.generation?);
            (accepted.insert(name.clone(), generation) != Some(generation)).then_some((name, generation))
        });
        std::future::ready(news)
    });
    news.for_each_concurrent(PARALLEL, |(name, generation)| {
        let api = &api;
        async move {
            while let Err(error) = accept(api, &name, generation).await {
                tracing::warn!(route = name, error = format!("{error:#}"), "not accepted; tried again");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    })
    .await;
}

async fn accept(api: &Api<HttpRoute>, name: &str, generation: i64) -> Result<()> {
    let condition = |type_: &str, reason: &str| -> Value {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": "", "observedGeneration": generation,
            "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        })
    };
    let status = json!({"status": {"parents": [{
        "parentRef": {"name": "internal"},
        "controllerName": "werkbank.dev/benchmark",
        "conditions": [condition("Accepted", "Accepted"), condition("ResolvedRefs", "ResolvedRefs")],
    }]}});
    match api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await {
        Err(kube::Error::Api(refused)) if refused.code == 404 => Ok(()),
        answer => Ok(answer.map(drop)?),
    }
}
