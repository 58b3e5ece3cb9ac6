//! What a decision about a ModelDeployment rests on: caches of the children, the entry and
//! the ConfigMaps it refers to (by metadata; what is in them is asked for when it changed), and
//! the metric sources.
//!
//! Children are looked up by the names that status gives, and count only with the right
//! owner: what an earlier ModelDeployment of the same name left behind is not ours.

mod children;
mod contents;
mod credentials;
mod desk;
mod references;
mod sources;
mod watches;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::Client;
use kube::core::PartialObjectMeta;

use crate::api::gateway::HttpRoute;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::audit::{Entry, Trail, TrailError};
use crate::build::record::Recorded;
use crate::connect::http::HttpSource;
use crate::connect::prometheus::Answers;
use crate::connect::sql::SqlSource;
use crate::decide::Plan;
use crate::decide::model_deployment::observed::{Memory, Observed, Settings};
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::restored::{self, History};
use crate::decide::model_deployment::{self, settle};
use crate::runtime::{Cache, Clock, Machine, NamespaceMeta, ObserveError, PassMemory};

use super::approvals::Approvals;
use contents::Contents;
use desk::Desk;
pub use watches::register;

/// How long a trail that did not answer is left alone before it is asked again.
const TRAIL_REST: Duration = Duration::from_secs(10);

/// Where metrics come from.
#[derive(Debug, Clone)]
pub struct MetricSource {
    /// The operator's Prometheus, if one is configured.
    pub prometheus: Option<Arc<dyn Answers>>,
    /// Namespaces whose deployments may query it; empty: all.
    pub namespaces: Vec<String>,
    /// Whoever else a metric names.
    pub http: Arc<HttpSource>,
    /// Databases that a metric names.
    pub sql: Arc<SqlSource>,
}

/// The machine of ModelDeployments.
pub struct ModelDeployments {
    client: Client,
    entries: Cache<ModelRegistryEntry>,
    approvals: Approvals,
    config_maps: Cache<PartialObjectMeta<ConfigMap>>,
    contents: Contents,
    records: Cache<Recorded>,
    deployments: Cache<Deployment>,
    autoscalers: Cache<HorizontalPodAutoscaler>,
    services: Cache<Service>,
    routes: Cache<HttpRoute>,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    namespaces: Cache<NamespaceMeta>,
    desk: Desk,
    trail: Arc<dyn Trail>,
    /// Since when the record does not say who has approved, by the deployment's uid.
    approvers_unknown: Unknown,
    /// Since when it does not say who asks for something.
    asker_unknown: Unknown,
    /// Since when it does not say what was decided about a deployment of this name before.
    history_unknown: Unknown,
    settings: Settings,
    clock: Clock,
}

impl ModelDeployments {
    /// What the record knows that this resource's status may not.
    async fn history(&self, resource: &ModelDeployment, lost: &[Entry], now: DateTime<Utc>) -> History {
        if !restored::must_ask(resource.status.as_ref(), lost) {
            self.history_unknown.since(resource, None, "", now);
            return History::NotAsked;
        }
        let (namespace, name) = key(resource);
        let answer = self.trail.history(namespace, name).await;
        let unknown = self.history_unknown.since(resource, answer.as_ref().err(), "what was decided before", now);
        match (answer, unknown) {
            (Ok(entries), _) => History::Known(entries),
            (Err(_), since) => History::Unknown(since.unwrap_or(now)),
        }
    }
}

/// Since when the record does not say something, by the deployment's uid.
#[derive(Default)]
struct Unknown(Mutex<HashMap<String, DateTime<Utc>>>);

impl Unknown {
    /// Since when, if it does not now; said once in the operator's log.
    fn since(
        &self,
        resource: &ModelDeployment,
        error: Option<&TrailError>,
        what: &str,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let uid = resource.metadata.uid.as_deref().unwrap_or_default();
        let mut unknown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = error else {
            unknown.remove(uid);
            return None;
        };
        let since = unknown.entry(uid.to_owned()).or_insert_with(|| {
            let (namespace, name) = key(resource);
            tracing::warn!(namespace, name, %error, "the audit log does not say {what}");
            now
        });
        // Not of a time that a clock which was set back since has not reached.
        *since = now.min(*since);
        Some(*since)
    }
}

impl Machine for ModelDeployments {
    type Resource = ModelDeployment;
    type Status = ModelDeploymentStatus;
    type Observed = Observed;

    const KIND: &'static str = "ModelDeployment";

    async fn observe(&self, resource: Arc<ModelDeployment>, memory: &mut PassMemory) -> Result<Observed, ObserveError> {
        let config_maps = self.config_maps(&resource).await;
        let policy = Policy::read(&resource.spec, &config_maps.of_metrics);
        let (children, left_behind) = self.children(&resource);
        // Milliseconds are what status keeps.
        let now = self.clock.now().trunc_subsecs(3);
        let (answered, asked) = self.desk.ask(&resource, &policy, memory.got_through, now).await;
        let history = self.history(&resource, &memory.lost, now).await;
        let entry = self.entry(&resource);
        let (approvals, guard) = self.approvals(&resource, entry.as_deref()).await;
        let people = self.people(&resource, entry.as_deref(), &approvals).await;
        let approvers = people.said.as_ref().err();
        let people_unknown_since = self.approvers_unknown.since(&resource, approvers, "who has approved", now);
        let trail_unavailable_since =
            memory.trail_outage.filter(|outage| outage.last_tried.elapsed() < TRAIL_REST).map(|outage| outage.since);
        // While nothing can be recorded, nothing waits for that.
        let asker = people.asks.as_ref().err().filter(|_| trail_unavailable_since.is_none());
        let asker_unknown_since = self.asker_unknown.since(&resource, asker, "who asks for something", now);
        Ok(Observed {
            entry,
            approvals,
            guard,
            asked_by: people.asks.unwrap_or_default(),
            asker_unknown_since,
            said: people.said.unwrap_or_default(),
            people_unknown_since,
            revoked: self.revoked(&resource),
            config_maps: config_maps.of_template,
            unread_config_maps: config_maps.unread,
            namespace_suspend: self.namespace_suspend(&resource),
            policy,
            children,
            pods: self.pods_coming_up(&resource),
            running: self.pods_running(&resource),
            answered,
            asked,
            memory: Memory {
                lease_epoch: memory.lease_epoch,
                unconfirmed: memory.is_unconfirmed(),
                lost: memory.lost.clone(),
                trail_unavailable_since,
                foreign_children: [left_behind, self.foreign_children(&resource, memory).await].concat(),
                refused: memory.refusal.clone(),
                resets: memory.resets.clone(),
            },
            history,
            settings: self.settings.clone(),
        })
    }

    fn decide(resource: &ModelDeployment, observed: &Observed, now: DateTime<Utc>) -> Plan<ModelDeploymentStatus> {
        model_deployment::decide(resource, observed, now)
    }

    fn accounts_for(resource: &ModelDeployment, intent: &Entry) -> bool {
        resource.status.as_ref().is_some_and(|status| !settle::is_lost(status, intent))
    }

    fn forget(&self, namespace: &str, name: &str) {
        self.desk.forget(namespace, name);
    }

    fn stamp(status: &mut ModelDeploymentStatus, lease_epoch: i64) {
        status.lease_epoch = lease_epoch;
    }
}

/// Namespace and name, which a namespaced object from the API server always has.
fn key(resource: &ModelDeployment) -> (&str, &str) {
    let metadata = &resource.metadata;
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}
