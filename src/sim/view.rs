//! What anybody can see of the cluster: the deployment under test, its route, its pods.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::server::Cluster;
use crate::api::gateway::HttpRoute;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus};
use crate::build::route;
use crate::runtime::Clock;

/// The namespace everything is in.
pub(super) const NAMESPACE: &str = "crm";
/// The ModelDeployment of every scenario.
pub(super) const NAME: &str = "churn";
pub(super) const DEPLOYMENTS: &str = "/apis/apps/v1/deployments";
pub(super) const RECORDS: &str = "/apis/apps/v1/controllerrevisions";
pub(super) const CONFIG_MAPS: &str = "/api/v1/configmaps";
pub(super) const SERVICES: &str = "/api/v1/services";
pub(super) const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1/httproutes";
pub(super) const MODELS: &str = "/apis/werkbank.dev/v1alpha1/modeldeployments";
pub(super) const ENTRIES: &str = "/apis/werkbank.dev/v1alpha1/modelregistryentries";

/// Where an object of this collection is.
pub(super) fn path(collection: &str, name: &str) -> String {
    format!("{}/{name}", within(collection))
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
}

impl View {
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn deployment(&self) -> Value {
        self.cluster.get(&path(MODELS, NAME))
    }

    pub(super) fn status(&self) -> ModelDeploymentStatus {
        status_of(&self.deployment())
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

    // ── what scenarios wait for ──

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
        status => serde_json::from_value(status.clone()).unwrap(),
    }
}

/// Weights of a route by the backends' names; each rule has the same.
pub(super) fn weights(route: &Value) -> Vec<(String, i64)> {
    let Ok(route) = serde_json::from_value::<HttpRoute>(route.clone()) else { return Vec::new() };
    route::weights(&route).into_iter().next().unwrap_or_default()
}
