//! The children the operator owns, built from a revision's record. Pure.
//!
//! Every child of a revision belongs to the revision's ControllerRevision, which belongs to the
//! ModelDeployment: deleting the one record takes pods, Service and ConfigMap copies with it,
//! and deleting the ModelDeployment takes everything.

pub mod approval_guard;
pub mod autoscaler;
pub mod copy;
pub mod deployment;
pub mod fence;
pub mod job;
mod place;
mod pod;
pub mod record;
pub mod route;
pub mod service;
mod unknown;
pub mod verification;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::ModelDeployment;
use crate::api::labels;
use crate::text::hex::hex;

/// Digest of what was applied, on children whose live form the API server completes with its defaults.
pub const APPLIED: &str = "werkbank.dev/applied";

/// The generation a child has after it was applied: a greater one means that somebody has edited it.
pub const GENERATION: &str = "werkbank.dev/generation";

/// The annotation that says what was applied.
fn applied(content: &Value) -> BTreeMap<String, String> {
    [(APPLIED.to_owned(), hex(&Sha256::digest(content.to_string()), 8))].into()
}

/// What an annotation says.
fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A text that a container gets as it is: what the kubelet would put in the place of `$(NAME)`, from the container's own environment,
/// is not asked for, and might be a secret.
fn verbatim(text: &str) -> String {
    text.replace('$', "$$")
}

/// The ControllerRevision that a revision's children belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Owner {
    fn reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".into(),
            kind: "ControllerRevision".into(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(false),
        }
    }
}

/// What goes with a resource of ours.
fn owned_by<K: Resource<DynamicType = ()>>(resource: &K) -> OwnerReference {
    let ObjectMeta { name, uid, .. } = resource.meta();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: name.clone().unwrap_or_default(),
        uid: uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

fn labels_of(resource: &ModelDeployment, revision: Option<&str>) -> BTreeMap<String, String> {
    let mut labels = selector(resource, revision);
    labels.insert(labels::MANAGED_BY.into(), labels::MANAGER.into());
    labels
}

/// What selects the pods of one revision, or of the whole deployment.
fn selector(resource: &ModelDeployment, revision: Option<&str>) -> BTreeMap<String, String> {
    let mut labels =
        BTreeMap::from([(labels::DEPLOYMENT.to_owned(), resource.metadata.name.clone().unwrap_or_default())]);
    if let Some(revision) = revision {
        labels.insert(labels::REVISION.into(), revision.into());
    }
    labels
}

fn metadata(resource: &ModelDeployment, name: &str, revision: Option<&str>, owner: OwnerReference) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: resource.metadata.namespace.clone(),
        labels: Some(labels_of(resource, revision)),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    }
}
