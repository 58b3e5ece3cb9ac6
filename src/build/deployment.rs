//! The Deployment of one revision: the user's pod template, plus what makes the artifact arrive.
//!
//! The template is kept as JSON until the last moment, and then compared with what Kubernetes' types made of it:
//! a field they do not know would be lost without a word, so [`write`] refuses it.

mod contradiction;
mod template;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::json;

use super::record::Recorded;
use super::{APPLIED, GENERATION, Owner, annotation, metadata, place, selector, unknown};
use crate::api::ModelDeployment;
use crate::api::revision::RevisionRecord;

pub use contradiction::contradicts;
pub use template::{FETCH, MODEL_DIRECTORY};

/// Where the Deployment controller counts pod templates.
const TEMPLATES_COUNTED: &str = "deployment.kubernetes.io/revision";
/// Its count after the template was last put back.
const TEMPLATES: &str = "werkbank.dev/templates";

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
    let mut asked = record.template.value();
    let whole =
        asked.as_object_mut().ok_or("spec.template is not an object; write a pod template as in a Deployment")?;
    let in_template = |error| format!("spec.template.{error}");
    template::complete(place::object(whole, "spec").map_err(in_template)?, record)?;
    let pod = place::object(whole, "metadata").map_err(in_template)?;
    let own = place::object(pod, "labels").map_err(|error| format!("spec.template.metadata.{error}"))?;
    own.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    let template = PodTemplateSpec::deserialize(&asked)
        .map_err(|error| format!("spec.template is not a pod template: {error}"))?;
    unknown::refuse("spec.template", "a pod template", &asked, &serde_json::to_value(&template).unwrap_or_default())?;
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

/// Whether nobody has edited the live Deployment since it was made as its revision's record notes.
///
/// Asked for in every pass, and so without building the Deployment. What the record notes was noted when the
/// revision was made: an operator that builds Deployments differently leaves the pods of an older one alone.
#[must_use]
pub fn is_as_recorded(live: &Deployment, record: &Recorded) -> bool {
    is_of(live, record) && noted(live) == Some(live.metadata.generation.unwrap_or_default())
}

/// Whether nobody has edited the pod template of a Deployment that an autoscaler scales.
///
/// Each scaling is a new generation, so this is known from the number that the Deployment controller counts pod
/// templates with: a revision has one. A number that is not there yet tells nothing.
#[must_use]
pub fn has_its_template(live: &Deployment, record: &Recorded) -> bool {
    is_of(live, record) && has_one_template(live)
}

/// As [`has_its_template`], for one that is as this operator builds it, and not as its revision's record notes: it was put back.
#[must_use]
pub fn has_template_of(live: &Deployment, wanted: &Deployment) -> bool {
    annotation(&live.metadata, APPLIED) == annotation(&wanted.metadata, APPLIED) && has_one_template(live)
}

fn has_one_template(live: &Deployment) -> bool {
    templates(live) <= noted_templates(live)
}

/// Whether it was last applied as its revision's record notes.
fn is_of(live: &Deployment, record: &Recorded) -> bool {
    let recorded = annotation(&record.metadata, APPLIED);
    recorded.is_some() && annotation(&live.metadata, APPLIED) == recorded
}

/// How many pod templates it has had.
fn templates(live: &Deployment) -> i64 {
    annotation(&live.metadata, TEMPLATES_COUNTED).and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// How many of them are accounted for: the first, and what was put back.
fn noted_templates(live: &Deployment) -> i64 {
    annotation(&live.metadata, TEMPLATES).and_then(|it| it.parse().ok()).unwrap_or(1)
}

/// What to apply over such a Deployment so that it has this many pods; nothing if it has.
///
/// It has no template, and so leaves the one that is there: more pods are more of the same.
#[must_use]
pub fn scaled(live: &Deployment, replicas: i32) -> Option<Deployment> {
    (replicas_of(live) != Some(replicas)).then(|| of_so_many(live, replicas))
}

/// As [`scaled`], for one that an autoscaler has scaled until now: from here on its generations are counted.
#[must_use]
pub fn taken_over(live: &Deployment, replicas: i32) -> Option<Deployment> {
    let is_counted = noted(live) == live.metadata.generation;
    (!is_counted || replicas_of(live) != Some(replicas)).then(|| of_so_many(live, replicas))
}

fn of_so_many(live: &Deployment, replicas: i32) -> Deployment {
    let next = live.metadata.generation.unwrap_or_default().saturating_add(1);
    let metadata = ObjectMeta {
        name: live.metadata.name.clone(),
        namespace: live.metadata.namespace.clone(),
        annotations: Some([(GENERATION.to_owned(), next.to_string())].into()),
        ..ObjectMeta::default()
    };
    let spec = DeploymentSpec { replicas: Some(replicas), ..DeploymentSpec::default() };
    Deployment { metadata, spec: Some(spec), status: None }
}

/// Whether a Deployment that is to be applied says how many pods there are to be, and nothing else.
#[must_use]
pub fn only_scales(wanted: &Deployment) -> bool {
    wanted.spec.as_ref().is_some_and(|it| it.template.spec.is_none())
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
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    annotations.insert(GENERATION.into(), note.to_string());
    if !has_one_template(live) {
        annotations.insert(TEMPLATES.into(), templates(live).saturating_add(1).to_string());
    }
    Some(wanted)
}

fn was_applied_from(live: &Deployment, wanted: &Deployment) -> bool {
    annotation(&live.metadata, APPLIED) == annotation(&wanted.metadata, APPLIED)
        && replicas_of(live) == replicas_of(wanted)
}

fn replicas_of(it: &Deployment) -> Option<i32> {
    it.spec.as_ref().and_then(|spec| spec.replicas)
}

/// Whether somebody else has written it since the last apply.
#[must_use]
pub fn was_edited(live: &Deployment) -> bool {
    noted(live) != live.metadata.generation
}

/// The generation that the last apply was to bring about.
fn noted(live: &Deployment) -> Option<i64> {
    annotation(&live.metadata, GENERATION).and_then(|it| it.parse().ok())
}

#[cfg(test)]
mod tests;
