//! Whoever else works in a cluster, each as far as a rollout notices: the Deployment controller (pods come up), the
//! autoscaler's (its bounds are kept), the gateway (routes are accepted), the Job controller, the garbage collector. One thing at a time, when the scheduler says so.

pub(super) mod copies;
pub(super) mod jobs;

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::server::Cluster;
use super::view::{AUTOSCALERS, DEPLOYMENTS, JOBS, ROUTES, path};
use crate::api::labels;
use jobs::Jobs;

/// Something that somebody else can do now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// The Deployment controller looks at this Deployment.
    Pods(String),
    /// The HorizontalPodAutoscaler's controller gives a Deployment so many pods.
    Scale(String, i64),
    /// The gateway looks at this route.
    Gateway(String),
    /// The Job controller or a kubelet looks at this Job.
    Job(String),
    /// The garbage collector takes this object.
    Collect(String),
}

/// How many of the pods that were asked for come up; of which revision is in the Deployment.
pub(super) type Pods<'a> = &'a dyn Fn(&Value, i64) -> i64;

/// Everything that others can do now.
pub(super) fn deeds(cluster: &Cluster, pods: Pods<'_>, jobs: Jobs<'_>) -> Vec<Deed> {
    let deployments = cluster.all(DEPLOYMENTS).into_iter();
    let deployments = deployments.filter(|(_, it)| pods_status(it, pods) != it["status"]);
    let routes = cluster.all(ROUTES).into_iter();
    let routes = routes.filter(|(_, it)| route_status(it).is_some_and(|status| status != it["status"]));
    let all = cluster.everything();
    let uids: BTreeSet<&str> = all.iter().filter_map(|(_, it)| it["metadata"]["uid"].as_str()).collect();
    let is_orphan = |it: &Value| {
        let mut owners = it["metadata"]["ownerReferences"].as_array().into_iter().flatten().peekable();
        owners.peek().is_some() && owners.all(|it| !uids.contains(it["uid"].as_str().unwrap_or_default()))
    };
    let orphans = all.iter().filter(|(_, it)| is_orphan(it)).map(|(path, _)| Deed::Collect(path.clone()));
    let deeds = deployments.map(|(path, _)| Deed::Pods(path)).chain(routes.map(|(path, _)| Deed::Gateway(path)));
    let scales = cluster.all(AUTOSCALERS).into_iter().filter_map(|(_, it)| scale(cluster, &it));
    let waiting = cluster.all(JOBS).into_iter().filter(|(_, it)| jobs::is_waiting(cluster, it, jobs));
    let waiting = waiting.map(|(path, _)| Deed::Job(path));
    deeds.chain(scales).chain(waiting).chain(orphans).collect()
}

/// Load never changes by itself: an autoscaler keeps its bounds, and leaves a Deployment alone that says 0.
fn scale(cluster: &Cluster, autoscaler: &Value) -> Option<Deed> {
    let spec = &autoscaler["spec"];
    let place = path(DEPLOYMENTS, spec["scaleTargetRef"]["name"].as_str()?);
    let has = cluster.get(&place)["spec"]["replicas"].as_i64().filter(|it| *it > 0)?;
    let wanted = has.clamp(spec["minReplicas"].as_i64().unwrap_or(1), spec["maxReplicas"].as_i64()?);
    (wanted != has).then_some(Deed::Scale(place, wanted))
}

/// Does it.
pub(super) fn act(cluster: &Cluster, deed: &Deed, pods: Pods<'_>, jobs: Jobs<'_>) {
    match deed {
        Deed::Pods(path) => {
            let status = pods_status(&cluster.get(path), pods);
            set_status(cluster, path, &status);
        }
        Deed::Scale(path, pods) => {
            cluster.ask(Method::PATCH, path, json!({"spec": {"replicas": pods}}));
        }
        Deed::Gateway(path) => {
            if let Some(status) = route_status(&cluster.get(path)) {
                set_status(cluster, path, &status);
            }
        }
        Deed::Job(path) => jobs::act(cluster, path, jobs),
        Deed::Collect(path) => drop(cluster.ask(Method::DELETE, path, Value::Null)),
    }
}

fn set_status(cluster: &Cluster, path: &str, status: &Value) {
    let (code, _) = cluster.ask(Method::PATCH, &format!("{path}/status"), json!({"status": status}));
    assert!(code < 300, "{path}: {code}");
}

/// First it is seen, then pods come up, half of those that are missing at a time; ones too many go at once.
fn pods_status(deployment: &Value, pods: Pods<'_>) -> Value {
    let wanted = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let ready = deployment["status"]["readyReplicas"].as_i64().unwrap_or(0);
    let generation = &deployment["metadata"]["generation"];
    let can = pods(deployment, wanted).min(wanted);
    let ready = match deployment["status"]["observedGeneration"] == *generation {
        true if ready < can => ready + (can - ready + 1) / 2,
        _ => ready.min(can),
    };
    json!({"observedGeneration": generation, "replicas": wanted, "readyReplicas": ready})
}

/// What the Gateway `infra/internal` says: yes, unless it does not have what is asked for (a section `nowhere`, a
/// filter `Unheard`, at a section `plain` a mirror). Of other Gateways nobody says anything.
fn route_status(route: &Value) -> Option<Value> {
    let asked = route["spec"]["rules"].to_string();
    let unheard = |parent: &Value| {
        asked.contains("Unheard") || parent["sectionName"] == "plain" && asked.contains("RequestMirror")
    };
    let parents = route["spec"]["parentRefs"].as_array()?.iter().filter(|it| it["name"] == "internal").map(|parent| {
        let (status, reason, message) = match (parent["sectionName"] == "nowhere", unheard(parent)) {
            (true, _) => ("False", "NoMatchingParent", "no listener nowhere"),
            (false, true) => ("False", "UnsupportedValue", "no filter Unheard"),
            _ => ("True", "Accepted", ""),
        };
        let condition = |type_: &str| {
            json!({"type": type_, "status": status, "reason": reason, "message": message,
                "observedGeneration": route["metadata"]["generation"], "lastTransitionTime": "2026-11-24T00:00:00Z"})
        };
        json!({"parentRef": parent, "controllerName": "sim", "conditions": [condition("Accepted"), condition("ResolvedRefs")]})
    });
    let parents: Vec<Value> = parents.collect();
    (!parents.is_empty()).then(|| json!({"parents": parents}))
}

/// Somebody else writes this object, or another one in its place: a version more, and nothing that matters.
pub(super) fn touch(cluster: &Cluster, path: &str) {
    let path = path.trim_end_matches("/status");
    let known = cluster.get(path);
    if !known.is_null() {
        let times = known["metadata"]["annotations"]["somebody/was-here"].as_str().map_or(0, |it| it.len());
        let patch = json!({"metadata": {"annotations": {"somebody/was-here": "x".repeat(times + 1)}}});
        cluster.ask(Method::PATCH, path, patch);
    }
}

/// The revision that a Deployment is of.
pub(super) fn revision(deployment: &Value) -> &str {
    deployment["metadata"]["labels"][labels::REVISION].as_str().unwrap_or_default()
}
