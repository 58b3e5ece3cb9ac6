//! The same writes once more, decided by nobody.
//!
//! Bare writes of small objects are what an API server can do at best. A rollout's writes are dearer: a status
//! is validated against its schema and its rules, a Deployment makes controllers write, a deleted record makes
//! them delete. Here every deployment gets the writes of its rollout again: the same verbs on the same
//! kinds, in the same order, with the same gateway and the same controllers who answer them. What a rollout
//! takes longer than this is the operator's own doing.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::stream::{StreamExt, TryStreamExt};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use super::NAMESPACE;

/// Writes of the rollout's own, per deployment.
const EACH: u64 = 21;
/// Weights of a canary of four steps, and all of it.
const WEIGHTS: [u16; 5] = [500, 2500, 5000, 7500, 10_000];

const DEPLOYMENTS: &str = "/apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments";
const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/namespaces/crm/httproutes";
const RECORDS: &str = "/apis/apps/v1/namespaces/crm/controllerrevisions";
const PODS: &str = "/apis/apps/v1/namespaces/crm/deployments";
const SERVICES: &str = "/api/v1/namespaces/crm/services";

/// How many writes were sent, and how long they took.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// Those that were the operator's.
    pub writes: u64,
    /// All of them.
    pub seconds: f64,
}

/// Sends them, for every deployment there is, `parallel` rollouts at a time: the operator's number of passes.
pub(super) async fn measure(client: &Client, parallel: usize) -> Result<Replay> {
    let members = members(client).await?;
    let writes = EACH * u64::try_from(members.len())?;
    let begin = Instant::now();
    let all = futures::stream::iter(members).map(|member| member.replay(client));
    all.buffer_unordered(parallel.max(1)).try_collect::<()>().await.context("a write could not be repeated")?;
    Ok(Replay { writes, seconds: begin.elapsed().as_secs_f64() })
}

/// A deployment and what belongs to it, as the canary left them.
struct Member {
    deployment: Value,
    route: Value,
    record: Value,
    pods: Value,
    service: Value,
}

async fn members(client: &Client) -> Result<Vec<Member>> {
    let deployments = list(client, DEPLOYMENTS).await?;
    let mut routes = list(client, ROUTES).await?;
    let (mut records, mut pods) = (list(client, RECORDS).await?, list(client, PODS).await?);
    let mut services = list(client, SERVICES).await?;
    let members = deployments.into_iter().map(|(name, deployment)| {
        let revision = text(&deployment, "/status/stable/revision")?;
        let belonging = format!("{name}-{revision}");
        let again = |of: &mut BTreeMap<String, Value>| -> Result<Value> {
            let it = of.remove(&belonging).with_context(|| format!("something of {belonging} is missing"))?;
            renamed(&it, &revision)
        };
        let (record, pods, service) = (again(&mut records)?, again(&mut pods)?, again(&mut services)?);
        let route = routes.remove(&name).with_context(|| format!("route {name} is missing"))?;
        Ok(Member { deployment, route, record, pods, service })
    });
    members.collect()
}

/// The same object for a revision that there is not.
fn renamed(object: &Value, revision: &str) -> Result<Value> {
    let mut again: Value = serde_json::from_str(&object.to_string().replace(revision, "replayed00"))?;
    let parts =
        [("/metadata", ["uid", "resourceVersion", "managedFields"]), ("/spec", ["clusterIP", "clusterIPs", ""])];
    for (place, names) in parts {
        let Some(Value::Object(part)) = again.pointer_mut(place) else { continue };
        names.into_iter().for_each(|name| drop(part.remove(name)));
    }
    Ok(again)
}

impl Member {
    async fn replay(mut self, client: &Client) -> Result<()> {
        let name = text(&self.deployment, "/metadata/name")?;
        let change = json!({"spec": {"rollout": {"drain": "2s"}}});
        let changed = patch(client, &format!("{DEPLOYMENTS}/{name}"), &change).await?;
        self.follow(&changed);
        self.status(client, &name).await?;
        let record = send(client, Method::POST, RECORDS, &self.record).await?;
        let owner = record.pointer("/metadata/uid").cloned().context("a record without a uid")?;
        for (collection, child) in [(PODS, &mut self.pods), (SERVICES, &mut self.service)] {
            if let Some(uid) = child.pointer_mut("/metadata/ownerReferences/0/uid") {
                *uid = owner.clone();
            }
            send(client, Method::POST, collection, child).await?;
        }
        for weight in WEIGHTS {
            self.status(client, &name).await?;
            let route = self.weighted(weight);
            patch(client, &format!("{ROUTES}/{name}"), &route).await?;
            self.status(client, &name).await?;
        }
        self.status(client, &name).await?;
        let record = text(&record, "/metadata/name")?;
        send(client, Method::DELETE, &format!("{RECORDS}/{record}"), &json!({"propagationPolicy": "Background"}))
            .await?;
        Ok(())
    }

    /// Writes the status, changed as little as a status ever is.
    async fn status(&mut self, client: &Client, name: &str) -> Result<()> {
        if let Some(sequence) = self.deployment.pointer_mut("/status/sequence") {
            *sequence = json!(sequence.as_i64().unwrap_or_default() + 1);
        }
        let part = |place: &str| self.deployment.pointer(place).cloned().unwrap_or_default();
        let body = json!({
            "apiVersion": part("/apiVersion"), "kind": part("/kind"),
            "metadata": {
                "name": name, "namespace": NAMESPACE,
                "uid": part("/metadata/uid"), "resourceVersion": part("/metadata/resourceVersion"),
            },
            "status": part("/status"),
        });
        let written = send(client, Method::PUT, &format!("{DEPLOYMENTS}/{name}/status"), &body).await?;
        self.follow(&written);
        Ok(())
    }

    fn follow(&mut self, written: &Value) {
        let version = written.pointer("/metadata/resourceVersion").cloned().unwrap_or_default();
        if let Some(known) = self.deployment.pointer_mut("/metadata/resourceVersion") {
            *known = version;
        }
    }

    /// The route's patch with this much for the second of two backends.
    fn weighted(&self, weight: u16) -> Value {
        let mut spec = self.route.pointer("/spec").cloned().unwrap_or_default();
        if let Some(Value::Array(backends)) = spec.pointer_mut("/rules/0/backendRefs") {
            let Some(mut stable) = backends.first().cloned() else { return json!({"spec": spec}) };
            let mut candidate = stable.clone();
            set(&mut stable, "weight", json!(10_000 - weight));
            set(&mut candidate, "weight", json!(weight));
            set(&mut candidate, "name", json!("replayed00"));
            *backends = vec![stable, candidate];
        }
        json!({"metadata": {"uid": self.route.pointer("/metadata/uid")}, "spec": spec})
    }
}

fn text(object: &Value, place: &str) -> Result<String> {
    object.pointer(place).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("there is no {place}"))
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(fields) = object {
        fields.insert(key.to_owned(), value);
    }
}

async fn list(client: &Client, collection: &str) -> Result<BTreeMap<String, Value>> {
    let list: Value = client.request(Request::get(collection).body(Vec::new())?).await?;
    let (kind, version) = (text(&list, "/kind")?, text(&list, "/apiVersion")?);
    let items = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    let named = items.into_iter().map(|mut item| {
        // What a list leaves out of its items.
        set(&mut item, "kind", json!(kind.trim_end_matches("List")));
        set(&mut item, "apiVersion", json!(version));
        Ok((text(&item, "/metadata/name")?, item))
    });
    named.collect()
}

async fn patch(client: &Client, path: &str, body: &Value) -> Result<Value> {
    let request = Request::patch(path).header(http::header::CONTENT_TYPE, "application/merge-patch+json");
    answer(client, request.body(serde_json::to_vec(body)?)?).await
}

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Result<Value> {
    let request = Request::builder().method(method).uri(path).header(http::header::CONTENT_TYPE, "application/json");
    answer(client, request.body(serde_json::to_vec(body)?)?).await
}

async fn answer(client: &Client, request: Request<Vec<u8>>) -> Result<Value> {
    let about = format!("{} {}", request.method(), request.uri());
    client.request(request).await.context(about)
}
