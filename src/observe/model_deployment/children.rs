//! The operator's children, as the caches show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Resource, ResourceExt};

use super::watches::pods_key;
use super::{ModelDeployments, key};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::api::model_deployment::AttemptState;
use crate::build::record;
use crate::decide::ChildKind;
use crate::decide::model_deployment::observed::Children;
use crate::runtime::{ObserveError, PassMemory};

impl ModelDeployments {
    pub(super) fn children(&self, resource: &ModelDeployment) -> Children {
        let (namespace, name) = key(resource);
        let uid = resource.metadata.uid.as_deref().unwrap_or_default();
        let mut children = Children { gateway_api: self.routes.is_available(), ..Children::default() };
        children.route = self.routes.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), uid));
        if let Some(service) = self.services.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), uid)) {
            children.services.insert(name.to_owned(), service);
        }
        for revision in resource.status.iter().flat_map(|status| &status.revisions) {
            self.belongings(&mut children, namespace, &labels::name(&[name, &revision.revision]), uid);
        }
        children
    }

    /// The record of a revision, and what belongs to it.
    fn belongings(&self, children: &mut Children, namespace: &str, name: &str, uid: &str) {
        let Some(found) = self.records.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), uid)) else { return };
        let owner = found.metadata.uid.clone().unwrap_or_default();
        if let Some(it) = self.deployments.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), &owner)) {
            children.deployments.insert(name.to_owned(), it);
        }
        if let Some(it) = self.services.get(namespace, name).filter(|it| is_owned_by(it.as_ref(), &owner)) {
            children.services.insert(name.to_owned(), it);
        }
        let copies = record::read(&found).map(|record| record.config_maps).unwrap_or_default();
        for copy in copies.into_values() {
            if let Some(it) = self.config_maps.get(namespace, &copy).filter(|it| is_owned_by(it.as_ref(), &owner)) {
                // It is immutable: that it is there says what is in it.
                let copied = ConfigMap { metadata: it.metadata.clone(), ..ConfigMap::default() };
                children.copies.insert(copy, Arc::new(copied));
            }
        }
        children.records.insert(name.to_owned(), found);
    }

    /// The pods that are awaited; at any other time nobody asks for them.
    pub(super) fn pods_coming_up(&self, resource: &ModelDeployment) -> Vec<Arc<Pod>> {
        let attempt = resource.status.as_ref().and_then(|status| status.attempt.as_ref());
        let Some(attempt) = attempt.filter(|it| it.state == AttemptState::Starting) else { return Vec::new() };
        let (namespace, name) = key(resource);
        self.pods.find(namespace, &pods_key(name, &attempt.revision))
    }

    /// Of the names whose creation was refused as taken, those that somebody else has: one
    /// live look each, because the caches only show what carries our label.
    pub(super) async fn foreign_children(
        &self,
        resource: &ModelDeployment,
        memory: &PassMemory,
    ) -> Result<Vec<String>, ObserveError> {
        let (namespace, name) = key(resource);
        let mut foreign = Vec::new();
        for (kind, child) in &memory.already_exists {
            let Some(api_resource) = api_resource(kind) else { continue };
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &api_resource);
            let found = api.get_metadata_opt(child).await.map_err(|error| ObserveError {
                reason: "ChildUnreadable",
                message: format!("{kind} {child}: {error}"),
            })?;
            let ours =
                |labels: &BTreeMap<String, String>| labels.get(labels::DEPLOYMENT).map(String::as_str) == Some(name);
            if found.is_some_and(|it| !ours(it.labels())) {
                foreign.push(format!("{kind}/{child}"));
            }
        }
        Ok(foreign)
    }
}

fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

fn api_resource(kind: &str) -> Option<ApiResource> {
    let (group, version) = match kind {
        kind if kind == ChildKind::Revision.name() || kind == ChildKind::Deployment.name() => ("apps", "v1"),
        kind if kind == ChildKind::ConfigMap.name() || kind == ChildKind::Service.name() => ("", "v1"),
        kind if kind == ChildKind::HttpRoute.name() => ("gateway.networking.k8s.io", "v1"),
        _ => return None,
    };
    Some(ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}
