//! The Deployment of one revision: the user's pod template, plus what makes the artifact arrive.
//!
//! The template is kept as JSON until the last moment, and then compared with what Kubernetes' types made of it:
//! a field they do not know would be lost without a word, so [`write`] refuses it.

mod place;
mod template;
mod unknown;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{APPLIED, GENERATION, Owner, applied, metadata, selector};
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
    let revision = &record.entry.revision;
    let labels = selector(resource, Some(revision));
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
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        // One template for ever: there is no other to go back to.
        revision_history_limit: Some(1),
        selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
        template,
        ..DeploymentSpec::default()
    };
    let template_only = json!({"spec": DeploymentSpec { replicas: None, ..spec.clone() }});
    unknown::refuse(&asked, template_only.pointer("/spec/template").unwrap_or(&Value::Null))?;
    let mut annotations = applied(&template_only);
    // What it has once it is created; see `correction`.
    annotations.insert(GENERATION.into(), 1.to_string());
    let metadata = ObjectMeta {
        annotations: Some(annotations),
        ..metadata(resource, &owner.name, Some(revision), owner.reference())
    };
    Ok(Deployment { metadata, spec: Some(spec), status: None })
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
    let noted = annotation(live, GENERATION).and_then(|it| it.parse::<i64>().ok());
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

fn annotation<'a>(it: &'a Deployment, key: &str) -> Option<&'a str> {
    it.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

#[cfg(test)]
mod tests;
