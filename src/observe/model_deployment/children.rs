//! The operator's children, as the caches show them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};

use super::watches::{pods_key, pods_of_job_key};
use super::{ModelDeployments, key};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::api::model_deployment::AttemptState;
use crate::build;
use crate::decide::ChildKind;
use crate::decide::live_job::LiveJob;
use crate::decide::model_deployment::live;
use crate::decide::model_deployment::observed::Children;
use crate::runtime::PassMemory;

impl ModelDeployments {
    /// Our children, and of the names they should have those that somebody else's objects have, as `Kind/name`.
    pub(super) fn children(&self, resource: &ModelDeployment) -> (Children, Vec<String>) {
        let (namespace, name) = key(resource);
        let uid = resource.metadata.uid.as_deref().unwrap_or_default();
        let mut found = Found::default();
        found.children.gateway_api = self.routes.is_available(namespace);
        let route = |name: &str| self.routes.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), uid));
        found.children.route = route(name);
        found.children.proposed = route(&build::route::proposed_name(name));
        if found.children.route.is_none() && resource.spec.traffic.is_some() {
            found.note(self.routes.get(namespace, name).as_deref(), ChildKind::HttpRoute);
        }
        let own = self.services.get(namespace, name);
        if let Some(service) = own.clone().filter(|it| is_owned_by(it.as_ref(), uid)) {
            found.children.services.insert(name.to_owned(), service);
        } else if resource.spec.traffic.is_none() {
            // Behind a gateway a Service of this name is nobody's business but its owner's.
            found.note(own.as_deref(), ChildKind::Service);
        }
        for revision in resource.status.iter().flat_map(|status| &status.revisions) {
            self.belongings(&mut found, namespace, &labels::name(&[name, &revision.revision]), uid);
        }
        found.children.jobs_hidden = self.jobs.is_forbidden(namespace);
        if !found.children.jobs_hidden {
            found.children.jobs = self.live_jobs(namespace, name, uid);
        }
        (found.children, found.foreign)
    }

    /// The Jobs of this deployment's metrics, by name.
    fn live_jobs(&self, namespace: &str, name: &str, uid: &str) -> BTreeMap<String, LiveJob> {
        let ours = owned_jobs(self.jobs.find(namespace, name), uid);
        let with_pods = ours.map(|job| {
            let key = pods_of_job_key(job.metadata.uid.as_deref().unwrap_or_default());
            (job.name_any(), LiveJob { pods: self.pods.find(namespace, &key), job })
        });
        with_pods.collect()
    }

    /// The record of a revision, and what belongs to it.
    fn belongings(&self, found: &mut Found, namespace: &str, name: &str, uid: &str) {
        let Some(recorded) = found.owned(self.records.get(namespace, name), uid, ChildKind::Revision) else { return };
        let owner = recorded.metadata.uid.clone().unwrap_or_default();
        if let Some(it) = found.owned(self.deployments.get(namespace, name), &owner, ChildKind::Deployment) {
            found.children.deployments.insert(name.to_owned(), it);
        }
        if let Some(it) = found.owned(self.autoscalers.get(namespace, name), &owner, ChildKind::Autoscaler) {
            found.children.autoscalers.insert(name.to_owned(), it);
        }
        if let Some(it) = found.owned(self.services.get(namespace, name), &owner, ChildKind::Service) {
            found.children.services.insert(name.to_owned(), it);
        }
        for copy in recorded.record.iter().flat_map(|it| it.config_maps.values()) {
            if let Some(it) = found.owned(self.config_maps.get(namespace, copy), &owner, ChildKind::ConfigMap) {
                // It is immutable: that it is there says what is in it.
                let copied = ConfigMap { metadata: it.metadata.clone(), ..ConfigMap::default() };
                found.children.copies.insert(copy.clone(), Arc::new(copied));
            }
        }
        found.children.records.insert(name.to_owned(), recorded);
    }

    /// The candidate's pods, only while some are awaited or missing: nobody asks for them at any other time.
    pub(super) fn pods_coming_up(&self, resource: &ModelDeployment) -> Vec<Arc<Pod>> {
        let attempt = resource.status.as_ref().and_then(|status| status.attempt.as_ref());
        let Some(attempt) = attempt.filter(|it| it.state.goes_up()) else {
            return Vec::new();
        };
        let (namespace, name) = key(resource);
        let deployment = self.deployments.get(namespace, &labels::name(&[name, &attempt.revision]));
        if attempt.state != AttemptState::Starting && deployment.is_some_and(|it| live::is_complete(&it)) {
            return Vec::new();
        }
        self.pods.find(namespace, &pods_key(name, &attempt.revision))
    }

    /// All pods of the candidate, of the stable revision, and of what is kept to go back to.
    pub(super) fn pods_running(&self, resource: &ModelDeployment) -> Vec<Arc<Pod>> {
        let Some(status) = &resource.status else { return Vec::new() };
        let candidate = status.attempt.as_ref().filter(|it| it.state.is_active()).map(|it| &it.revision);
        let stable = status.stable.as_ref().map(|it| &it.revision);
        let fallback = status.probation.as_ref().map(|it| &it.fallback.revision);
        // Each once.
        let revisions: BTreeSet<&String> = [candidate, stable, fallback].into_iter().flatten().collect();
        let (namespace, name) = key(resource);
        revisions.into_iter().flat_map(|it| self.pods.find(namespace, &pods_key(name, it))).collect()
    }

    /// Of the names whose creation was refused as taken, those of objects that the caches do not show, because
    /// they do not carry our label: one live look each. What is gone is forgotten: if it is still wanted, it is created.
    pub(super) async fn foreign_children(&self, resource: &ModelDeployment, memory: &mut PassMemory) -> Vec<String> {
        let (namespace, name) = key(resource);
        let mut foreign = Vec::new();
        for (kind, child) in memory.already_exists.clone() {
            let (kind, child) = (kind.as_str(), child.as_str());
            let Some(api_resource) = api_resource(kind) else { continue };
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &api_resource);
            let ours =
                |labels: &BTreeMap<String, String>| labels.get(labels::DEPLOYMENT).map(String::as_str) == Some(name);
            match api.get_metadata_opt(child).await {
                Ok(Some(found)) if ours(found.labels()) => {}
                Ok(Some(_)) => foreign.push(format!("{kind}/{child}")),
                Ok(None) => drop(memory.already_exists.remove(&(kind.to_owned(), child.to_owned()))),
                Err(error) => {
                    tracing::warn!(namespace, kind, name = child, %error, "a child's owner cannot be looked up");
                }
            }
        }
        foreign
    }
}

/// What the caches hold under our names.
#[derive(Default)]
struct Found {
    children: Children,
    foreign: Vec<String>,
}

impl Found {
    /// The object if it has the right owner. One of another owner, such as an earlier ModelDeployment of the
    /// same name, is never adopted; it stands in the way until garbage collection or a person removes it.
    fn owned<K: Resource<DynamicType = ()>>(
        &mut self,
        found: Option<Arc<K>>,
        uid: &str,
        kind: ChildKind,
    ) -> Option<Arc<K>> {
        let ours = found.clone().filter(|it| is_owned_by(it.as_ref(), uid));
        if ours.is_none() {
            self.note(found.as_deref(), kind);
        }
        ours
    }

    fn note<K: Resource<DynamicType = ()>>(&mut self, foreign: Option<&K>, kind: ChildKind) {
        let name = foreign.and_then(|it| it.meta().name.as_deref());
        self.foreign.extend(name.map(|name| format!("{}/{name}", kind.name())));
    }
}

/// A copy that somebody made of one has its label and says what it measures, and is not ours.
fn owned_jobs(found: Vec<Arc<Job>>, uid: &str) -> impl Iterator<Item = Arc<Job>> {
    found.into_iter().filter(move |it| is_owned_by(it.as_ref(), uid))
}

fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

fn api_resource(kind: &str) -> Option<ApiResource> {
    let (group, version) = match kind {
        kind if kind == ChildKind::Revision.name() || kind == ChildKind::Deployment.name() => ("apps", "v1"),
        // Not ConfigMaps: their cache holds all of them, and shows soon whose it is. Nor Jobs, whose names nobody guesses.
        kind if kind == ChildKind::Service.name() => ("", "v1"),
        kind if kind == ChildKind::Autoscaler.name() => ("autoscaling", "v2"),
        kind if kind == ChildKind::HttpRoute.name() => ("gateway.networking.k8s.io", "v1"),
        _ => return None,
    };
    Some(ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;
    use serde_json::json;

    use super::*;

    fn deployment(owner: &str) -> Option<Arc<Deployment>> {
        let object = json!({"metadata": {"name": "churn-a", "labels": {labels::DEPLOYMENT: "churn"}, "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "ControllerRevision", "name": "churn-a", "uid": owner}]}});
        Some(Arc::new(serde_json::from_value(object).unwrap()))
    }

    #[test]
    fn a_copy_of_a_job_is_neither_believed_nor_deleted() {
        let job = |name: &str, owner: Option<&str>| -> Arc<Job> {
            let owners = owner.map(|uid| json!([{"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "name": "churn", "uid": uid}]));
            let metadata = json!({"name": name, "labels": {labels::DEPLOYMENT: "churn"}, "ownerReferences": owners,
                "annotations": {"werkbank.dev/measures": "{}"}});
            Arc::new(serde_json::from_value(json!({"metadata": metadata})).unwrap())
        };
        let found = vec![job("ours", Some("now")), job("copied", None), job("of-before", Some("before"))];
        let names: Vec<String> = owned_jobs(found, "now").map(|it| it.name_any()).collect();
        assert_eq!(names, ["ours"]);
    }

    #[test]
    fn what_an_earlier_owner_left_behind_is_not_ours_but_in_the_way() {
        let mut found = Found::default();
        assert!(found.owned(deployment("now"), "now", ChildKind::Deployment).is_some());
        assert!(found.owned(None::<Arc<Deployment>>, "now", ChildKind::Deployment).is_none());
        assert_eq!(found.foreign, Vec::<String>::new());
        assert!(found.owned(deployment("before"), "now", ChildKind::Deployment).is_none());
        assert_eq!(found.foreign, ["Deployment/churn-a"]);
    }
}
