//! Which revision the spec asks for, or what is missing to know it.

use std::collections::BTreeMap;

use super::observed::Observed;
use crate::api::labels;
use crate::api::model_deployment::EntryRef;
use crate::api::model_deployment::ModelDeploymentSpec;
use crate::api::model_registry_entry::Lifecycle;
use crate::api::revision::{RevisionInput, RevisionRecord};

/// Reason: the API server does not hand out a ConfigMap.
pub(super) const UNREAD: &str = "ConfigMapUnreadable";

/// Reason: the entry that the spec names is revoked.
pub(super) const REVOKED: &str = "EntryRevoked";

/// Something the spec refers to, or says, that keeps it from being a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// CamelCase, from the documented list.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

impl Blocked {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The revision the spec asks for.
///
/// # Errors
/// With a reason and a remedy when a reference is missing or the template is no template.
pub fn resolve(deployment: &str, spec: &ModelDeploymentSpec, observed: &Observed) -> Result<RevisionRecord, Blocked> {
    let entry_name = &spec.model_ref.name;
    let entry = observed.entry.as_ref().ok_or_else(|| {
        Blocked::new("EntryNotFound", format!("spec.modelRef: there is no ModelRegistryEntry {entry_name} in this namespace; register it, or correct the name"))
    })?;
    if entry.spec.lifecycle() == Lifecycle::Revoked {
        return Err(Blocked::new(
            REVOKED,
            format!(
                "spec.modelRef: entry {entry_name} is revoked, for good: nothing of it gets traffic; point spec.modelRef at another entry"
            ),
        ));
    }
    let references =
        spec.template.config_maps().map_err(|message| Blocked::new("InvalidTemplate", message.as_str()))?;
    if let Some(unread) = unread(observed, |name| references.contains_key(name)) {
        return Err(unread);
    }
    for (name, optional) in references {
        if !optional && observed.config_maps.get(name).is_none_or(Option::is_none) {
            return Err(Blocked::new(
                "ConfigMapNotFound",
                format!(
                    "spec.template refers to ConfigMap {name}, which is not in this namespace; create it, or mark the reference optional"
                ),
            ));
        }
    }
    let artifact = entry.spec.artifact.as_ref().filter(|_| entry.spec.vendor.is_none()).ok_or_else(|| {
        let whose = entry.spec.vendor.as_ref().map_or_else(|| "has no artifact".to_owned(), |it| format!("is {}'s model {}, which {} runs", it.name, it.model, it.name));
        Blocked::new("EntryWithoutArtifact", format!("spec.modelRef: entry {entry_name} {whose}: there is nothing that pods could serve; point spec.modelRef at an entry with an artifact"))
    })?;
    let revision = RevisionInput {
        template: &spec.template,
        artifact_uri: &artifact.uri,
        artifact_sha256: &artifact.sha256,
        config_maps: &observed.config_maps,
        region: spec.region.as_deref(),
        port: spec.port,
    }
    .revision()
    .map_err(|error| Blocked::new("InvalidTemplate", format!("spec.template: {error}")))?;
    let referenced = &observed.config_maps;
    let missing = referenced.iter().filter(|(_, content)| content.is_none());
    Ok(RevisionRecord {
        config_maps: referenced.keys().map(|it| (it.clone(), labels::name(&[deployment, it, &revision]))).collect(),
        missing_config_maps: missing.map(|(name, _)| name.clone()).collect(),
        entry: EntryRef { revision, name: entry_name.clone(), uid: entry.metadata.uid.clone().unwrap_or_default() },
        artifact_uri: artifact.uri.clone(),
        artifact_sha256: artifact.sha256.clone(),
        secret_ref: artifact.secret_ref.clone(),
        template: spec.template.clone(),
        port: spec.port,
        node_labels: node_labels(spec, observed)?,
        fetch_image: observed.settings.fetch_image.clone(),
    })
}

/// What is unknown because a ConfigMap is there and cannot be read. Nobody has to correct the spec for it.
pub(super) fn unread(observed: &Observed, concerns: impl Fn(&str) -> bool) -> Option<Blocked> {
    let (name, why) = observed.unread_config_maps.iter().find(|(name, _)| concerns(name))?;
    Some(Blocked::new(
        UNREAD,
        format!(
            "ConfigMap {name} cannot be read: {why}; it is asked for again until it can: check the API server and the operator's rights"
        ),
    ))
}

fn node_labels(spec: &ModelDeploymentSpec, observed: &Observed) -> Result<BTreeMap<String, Vec<String>>, Blocked> {
    let Some(region) = &spec.region else { return Ok(BTreeMap::new()) };
    let known = &observed.settings.regions;
    known.get(region).cloned().ok_or_else(|| {
        let names = if known.is_empty() { "none".into() } else { known.keys().cloned().collect::<Vec<_>>().join(", ") };
        Blocked::new("RegionUnknown", format!("spec.region: the operator knows no region {region} (known: {names}); add it to the chart's value regions, or correct the name"))
    })
}
