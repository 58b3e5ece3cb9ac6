//! What anybody can see of the cluster: the deployment under test, its route, its pods.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::others;
use super::others::copies::is_copy;
use super::server::Cluster;
use crate::api::Condition;
use crate::api::condition::ConditionStatus;
use crate::api::gateway::HttpRoute;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, RevisionRole, Verdict, VerdictKind};
use crate::build::route;
use crate::runtime::Clock;

/// The namespace everything is in.
pub(super) const NAMESPACE: &str = "crm";
/// The ModelDeployment of every scenario.
pub(super) const NAME: &str = "churn";
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
pub(super) const AUTOSCALERS: &str = "/apis/autoscaling/v2/horizontalpodautoscalers";
pub(super) const RECORDS: &str = "/apis/apps/v1/controllerrevisions";
pub(super) const CONFIG_MAPS: &str = "/api/v1/configmaps";
pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";
pub(super) const MODELS: &str = "/apis/werkbank.dev/v1alpha1/modeldeployments";
pub(super) const ENTRIES: &str = "/apis/werkbank.dev/v1alpha1/modelregistryentries";

pub(super) const APPROVALS: &str = "/apis/werkbank.dev/v1alpha1/approvals";
/// In no namespace, as their bindings.
pub(super) const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
pub(super) const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
pub(super) const JOBS: &str = "/apis/batch/v1/jobs";
pub(super) const PODS: &str = "/api/v1/pods";
/// What scenarios remember; the operator does not look there.
const FLAGS: &str = "/apis/sim/v1/namespaces/crm/flags";

/// Where an object of this collection is.
pub(super) fn path(collection: &str, name: &str) -> String {
    place(collection, NAMESPACE, name)
}

/// Path of an object in any namespace.
pub(super) fn place(collection: &str, namespace: &str, name: &str) -> String {
    let (root, plural) = collection.rsplit_once('/').unwrap();
    format!("{root}/namespaces/{namespace}/{plural}/{name}")
}

/// A collection in the namespace.
pub(super) fn within(collection: &str) -> String {
    let (root, plural) = collection.rsplit_once('/').unwrap();
    format!("{root}/namespaces/{NAMESPACE}/{plural}")
}

/// See the module.
#[derive(Clone)]
pub(super) struct View {
    pub(super) cluster: Cluster,
    /// What time it is, whatever the operator thinks.
    pub(super) clock: Clock,
    /// The deployment that was last looked at, and its status.
    seen: Seen,
}

type Seen = Arc<Mutex<(Arc<Value>, ModelDeploymentStatus)>>;

impl View {
    pub(super) fn of(cluster: Cluster, clock: Clock) -> Self {
        Self { cluster, clock, seen: Seen::default() }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn deployment(&self) -> Arc<Value> {
        self.cluster.get(&path(MODELS, NAME))
    }

    pub(super) fn status(&self) -> ModelDeploymentStatus {
        let (deployment, mut seen) = (self.deployment(), self.seen.lock().unwrap());
        // Everybody looks after every step, and few steps change it.
        if !Arc::ptr_eq(&deployment, &seen.0) {
            *seen = (deployment.clone(), status_of(&deployment));
        }
        seen.1.clone()
    }

    /// The entry that a revision serves, by its record.
    pub(super) fn entry_of(&self, revision: &str) -> String {
        let record = self.cluster.get(&path(RECORDS, &labels::name(&[NAME, revision])));
        record["data"]["entry"]["name"].as_str().unwrap_or_default().to_owned()
    }

    /// What the route gives each entry, in percent.
    pub(super) fn weight_of(&self, entry: &str) -> f64 {
        let route = self.cluster.get(&path(ROUTES, NAME));
        let weights = weights(&route);
        let of = |name: &str| self.entry_of(name.strip_prefix("churn-").unwrap_or_default());
        weights.into_iter().filter(|(name, _)| of(name) == entry).map(|(_, it)| it as f64 / 100.0).sum()
    }

    // ── what scenarios remember ──

    /// Notes something that pods and metrics of a scenario go by.
    pub(super) fn set(&self, flag: &str) {
        self.cluster.ask(Method::POST, FLAGS, json!({"metadata": {"name": flag}}));
    }

    pub(super) fn unset(&self, flag: &str) {
        self.cluster.ask(Method::DELETE, &format!("{FLAGS}/{flag}"), Value::Null);
    }

    pub(super) fn has(&self, flag: &str) -> bool {
        !self.cluster.get(&format!("{FLAGS}/{flag}")).is_null()
    }

    /// Creates the deployment once more, as it was created first.
    pub(super) fn again(&self) {
        let first = self.cluster.get(&format!("{FLAGS}/first"));
        self.cluster.ask(Method::POST, &within(MODELS), first["deployment"].clone());
    }

    /// The same, from a backup that names another entry.
    pub(super) fn again_with(&self, entry: &str) {
        let mut first = self.cluster.get(&format!("{FLAGS}/first"))["deployment"].clone();
        first["spec"]["modelRef"]["name"] = entry.into();
        self.cluster.ask(Method::POST, &within(MODELS), first);
    }

    /// Backs up the status.
    pub(super) fn back_up(&self) {
        let status = self.deployment()["status"].clone();
        self.cluster.ask(Method::POST, FLAGS, json!({"metadata": {"name": "backup"}, "kept": status}));
    }

    /// Brings back the status that was backed up, as a restored etcd has it.
    pub(super) fn restore(&self) {
        let mut deployment = Value::clone(&self.deployment());
        deployment["status"] = self.cluster.get(&format!("{FLAGS}/backup"))["kept"].clone();
        let (code, answer) = self.cluster.ask(Method::PUT, &format!("{}/status", path(MODELS, NAME)), deployment);
        assert_eq!(code, 200, "{answer}");
    }

    // ── pods ──

    /// A pod of this entry's Deployment runs an image.
    pub(super) fn runs(&self, pod: &str, revision: &str, image: &str) {
        let labels = json!({labels::DEPLOYMENT: NAME, labels::REVISION: revision});
        let owner = self.cluster.get(&path(DEPLOYMENTS, &labels::name(&[NAME, revision])));
        let owner = json!({"kind": "Deployment", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]});
        let metadata = json!({"namespace": NAMESPACE, "name": pod, "labels": labels, "ownerReferences": [owner]});
        let container = json!({"name": "server", "image": "", "imageID": format!("registry/scorer@sha256:{}", image.repeat(32)),
            "ready": true, "restartCount": 0});
        // With its status: it is not seen without.
        let pod_ = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": []},
            "status": {"phase": "Running", "containerStatuses": [container]}});
        self.cluster.put(&path(PODS, pod), pod_);
    }

    /// What a condition says.
    pub(super) fn says(&self, type_: &str) -> String {
        let all = self.status().conditions;
        all.into_iter().find(|it| it.type_ == type_).map(|it| it.message).unwrap_or_default()
    }

    /// Whether the operator has seen that an entry is what this reason says.
    pub(super) fn entry_is(&self, entry: &str, reason: &str) -> bool {
        let status = self.cluster.get(&path(ENTRIES, entry))["status"]["conditions"].clone();
        status.as_array().is_some_and(|all| all.iter().any(|it| it["reason"] == reason))
    }

    /// Whether an entry is held by a finalizer.
    pub(super) fn is_kept(&self, entry: &str) -> bool {
        self.cluster.get(&path(ENTRIES, entry))["metadata"]["finalizers"].as_array().is_some_and(|it| !it.is_empty())
    }

    /// Whether a step ahead has to be approved.
    pub(super) fn asks_for_a_step(&self) -> bool {
        self.status().attempt.is_some_and(|it| !it.approvals.is_empty())
    }

    /// Whether this entry is the stable one.
    pub(super) fn serves_of(&self, entry: &str) -> bool {
        self.status().stable.is_some_and(|it| it.name == entry)
    }

    /// The Deployments of an entry; nobody's copies.
    fn deployments_of(&self, entry: &str) -> impl Iterator<Item = Arc<Value>> {
        let all = self.cluster.all(DEPLOYMENTS).into_iter().map(|(_, it)| it).filter(|it| !is_copy(it));
        all.filter(move |it| self.entry_of(others::revision(it)) == entry)
    }

    /// Whether the Deployment of an entry has all the pods that it asks for.
    pub(super) fn has_pods_of(&self, entry: &str) -> bool {
        self.deployments_of(entry).any(|it| {
            it["spec"]["replicas"].as_i64() > Some(0) && it["status"]["readyReplicas"] == it["spec"]["replicas"]
        })
    }

    /// Whether the spec asks for what does not serve, and nothing is under way, because somebody holds it.
    pub(super) fn is_pending(&self) -> bool {
        let generation = self.deployment()["metadata"]["generation"].as_i64();
        let ready = |it: &Condition| it.type_ == "Ready" && it.reason == "Suspended";
        let status = self.status();
        Some(status.observed_generation) == generation && status.conditions.iter().any(ready)
    }

    /// Whether the stable revision is on probation, and not called back.
    pub(super) fn is_on_probation(&self) -> bool {
        self.status().probation.is_some_and(|it| it.recall.is_none())
    }

    /// Whether what is gone back to has no pods any more.
    pub(super) fn fallback_sleeps(&self) -> bool {
        self.status().probation.is_some_and(|it| self.pods_of(&it.fallback.name) == 0)
    }

    // ── what scenarios wait for ──

    /// Whether some condition has this reason.
    pub(super) fn is_told(&self, reason: &str) -> bool {
        self.status().conditions.iter().any(|it| it.reason == reason)
    }

    /// Whether it cannot go on without a person.
    pub(super) fn is_stalled(&self) -> bool {
        self.status().conditions.iter().any(|it| it.type_ == "Stalled" && it.status == ConditionStatus::True)
    }

    pub(super) fn is_stalled_by(&self, reason: &str) -> bool {
        self.is_stalled() && self.is_told(reason)
    }

    pub(super) fn is_gated_by(&self, reason: &str) -> bool {
        self.status().phase == Phase::Gating && self.is_told(reason)
    }

    /// Whether it is ready, and nothing is on its way out.
    pub(super) fn is_at_peace(&self) -> bool {
        let status = self.status();
        let generation = self.deployment()["metadata"]["generation"].as_i64().unwrap_or(0);
        let is_ready = |it: &Condition| it.type_ == "Ready" && it.status == ConditionStatus::True;
        status.observed_generation == generation
            && status.revisions.len() == 1
            && status.conditions.iter().any(is_ready)
    }

    /// Whether a person holds the attempt.
    pub(super) fn is_held(&self) -> bool {
        self.status().attempt.is_some_and(|it| it.paused_since.or(it.suspended_since).is_some())
    }

    /// How many pods the Deployment of an entry asks for.
    pub(super) fn pods_of(&self, entry: &str) -> i64 {
        self.deployments_of(entry).filter_map(|it| it["spec"]["replicas"].as_i64()).sum()
    }

    /// Whether the newest verdict of each metric is Pass, and about the weight that is watched.
    pub(super) fn is_proven(&self) -> bool {
        let ModelDeploymentStatus { attempt, verdicts, .. } = self.status();
        let since = attempt.and_then(|it| it.observing_since);
        let passes = |it: &Verdict| it.verdict == VerdictKind::Pass && Some(it.time) >= since;
        since.is_some() && !verdicts.is_empty() && verdicts.iter().all(passes)
    }

    /// Whether a revision that served before keeps its pods.
    pub(super) fn keeps_another(&self) -> bool {
        self.status().revisions.iter().any(|it| it.role == RevisionRole::Kept)
    }

    pub(super) fn has_host(&self, host: &str) -> bool {
        self.cluster.get(&path(ROUTES, NAME))["spec"]["hostnames"][0] == host
    }

    pub(super) fn has_deployment_of_candidate(&self) -> bool {
        let revision = self.status().attempt.map(|it| it.revision).unwrap_or_default();
        !self.cluster.get(&path(DEPLOYMENTS, &labels::name(&[NAME, &revision]))).is_null()
    }

    pub(super) fn has_route(&self) -> bool {
        !self.cluster.get(&path(ROUTES, NAME)).is_null()
    }

    pub(super) fn has_proposal(&self) -> bool {
        !self.cluster.get(&path(ROUTES, &format!("{NAME}.proposed"))).is_null()
    }

    /// Whether this entry serves, and nothing is under way.
    pub(super) fn serves(&self, entry: &str) -> bool {
        let status = self.status();
        let idle = status.attempt.as_ref().is_none_or(|it| !it.state.is_active());
        idle && status.stable.is_some_and(|it| it.name == entry)
    }

    /// Whether the attempt is in this state.
    pub(super) fn is_in(&self, state: AttemptState) -> bool {
        self.status().attempt.is_some_and(|it| it.state == state)
    }

    /// Whether the attempt is in this state at this weight.
    pub(super) fn is_at(&self, state: AttemptState, weight: &str) -> bool {
        self.status().attempt.is_some_and(|it| it.state == state && it.weight.to_string() == weight)
    }
}

pub(super) fn status_of(deployment: &Value) -> ModelDeploymentStatus {
    match &deployment["status"] {
        Value::Null => ModelDeploymentStatus::default(),
        status => ModelDeploymentStatus::deserialize(status).unwrap(),
    }
}

/// Weights of a route by the backends' names; each rule has the same.
pub(super) fn weights(route: &Value) -> Vec<(String, i64)> {
    let Ok(route) = HttpRoute::deserialize(route) else { return Vec::new() };
    route::weights(&route).into_iter().next().unwrap_or_default()
}
