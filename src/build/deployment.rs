//! The Deployment of one revision: the user's pod template, plus what makes the artifact arrive.
//!
//! The template is kept as JSON until the last moment, and then compared with what Kubernetes' types made of it:
//! a field they do not know would be lost without a word, so [`write`] refuses it.

mod place;
mod template;
mod unknown;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::json;

use super::{APPLIED, GENERATION, Owner, metadata, selector};
use crate::api::ModelDeployment;
use crate::api::revision::RevisionRecord;

pub use template::{FETCH, MODEL_DIRECTORY};

/// The Deployment of a revision with `replicas` pods.
///
/// # Errors
/// With the field and the remedy, when the template is no pod template or uses a
/// name that is the operator's.
pub fn write(
    resource: &ModelDeployment,
    record: &RevisionRecord,
    owner: &Owner,
    replicas: i32,
) -> Result<Deployment, String> {
    let spec = spec(resource, record)?;
    let mut annotations = applied(&spec)?;
    // What it has once it is created; see `correction`.
    annotations.insert(GENERATION.into(), 1.to_string());
    let metadata = ObjectMeta {
        annotations: Some(annotations),
        ..metadata(resource, &owner.name, Some(&record.entry.revision), owner.reference())
    };
    Ok(Deployment { metadata, spec: Some(DeploymentSpec { replicas: Some(replicas), ..spec }), status: None })
}

/// What [`write`] will note on the Deployment of a revision, for the revision's own record.
///
/// # Errors
/// As those of [`write`].
pub fn note(resource: &ModelDeployment, record: &RevisionRecord) -> Result<BTreeMap<String, String>, String> {
    applied(&spec(resource, record)?)
}

/// Everything but the number of pods.
fn spec(resource: &ModelDeployment, record: &RevisionRecord) -> Result<DeploymentSpec, String> {
    let labels = selector(resource, Some(&record.entry.revision));
    let mut asked = record.template.clone();
    let whole =
        asked.as_object_mut().ok_or("spec.template is not an object; write a pod template as in a Deployment")?;
    let in_template = |error| format!("spec.template.{error}");
    template::complete(place::object(whole, "spec").map_err(in_template)?, record)?;
    let pod = place::object(whole, "metadata").map_err(in_template)?;
    let own = place::object(pod, "labels").map_err(|error| format!("spec.template.metadata.{error}"))?;
    own.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    let template = PodTemplateSpec::deserialize(&asked)
        .map_err(|error| format!("spec.template is not a pod template: {error}"))?;
    unknown::refuse(&asked, &serde_json::to_value(&template).unwrap_or_default())?;
    Ok(DeploymentSpec {
        // One template for ever: there is no other to go back to.
        revision_history_limit: Some(1),
        selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
        template,
        ..DeploymentSpec::default()
    })
}

/// The annotation that says what was applied.
fn applied(spec: &DeploymentSpec) -> Result<BTreeMap<String, String>, String> {
    let spec = serde_json::to_value(spec).map_err(|error| format!("spec.template cannot be written: {error}"))?;
    Ok(super::applied(&json!({ "spec": spec })))
}

/// Whether the live Deployment is as its revision's record says: nobody has edited it, and it has these pods.
///
/// Asked for in every pass, and so without building the Deployment. What the record notes was noted when the
/// revision was made: an operator that builds Deployments differently leaves the pods of an older one alone.
#[must_use]
pub fn is_as_recorded(live: &Deployment, record: &ControllerRevision, replicas: i32) -> bool {
    let recorded = record.metadata.annotations.as_ref().and_then(|it| it.get(APPLIED)).map(String::as_str);
    let seen = live.metadata.generation.unwrap_or_default();
    recorded.is_some()
        && annotation(live, APPLIED) == recorded
        && noted(live) == Some(seen)
        && live.spec.as_ref().and_then(|spec| spec.replicas) == Some(replicas)
}

/// What to apply over the live Deployment so that it becomes the wanted one; nothing if it is.
///
/// The API server completes a spec with its defaults, so the whole cannot be compared. It is known instead from
/// what the live one was applied, and whether it was edited since: each apply notes the generation that comes
/// of it, which is the next one, because of a Deployment the API server counts annotations in. What somebody
/// else has set and we do not stays; it costs one apply, after which its generation is the one that is noted.
#[must_use]
pub fn correction(live: &Deployment, mut wanted: Deployment) -> Option<Deployment> {
    let seen = live.metadata.generation.unwrap_or_default();
    let noted = noted(live);
    let is_applied = was_applied_from(live, &wanted);
    if is_applied && noted == Some(seen) {
        return None;
    }
    let next = seen.saturating_add(1);
    // A restored object, whose generations begin anew, may carry this very number: then the apply would change
    // nothing, and not be counted.
    let note = if is_applied && noted == Some(next) { seen } else { next };
    wanted.metadata.annotations.get_or_insert_default().insert(GENERATION.into(), note.to_string());
    Some(wanted)
}

fn was_applied_from(live: &Deployment, wanted: &Deployment) -> bool {
    let replicas = |it: &Deployment| it.spec.as_ref().and_then(|spec| spec.replicas);
    annotation(live, APPLIED) == annotation(wanted, APPLIED) && replicas(live) == replicas(wanted)
}

/// The generation that the last apply was to bring about.
fn noted(live: &Deployment) -> Option<i64> {
    annotation(live, GENERATION).and_then(|it| it.parse().ok())
}

fn annotation<'a>(it: &'a Deployment, key: &str) -> Option<&'a str> {
    it.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
