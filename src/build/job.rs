//! The Job that computes a metric's number: the user's pod template, plus what it is to look at.
//!
//! Nothing is filled into the template. What it is about comes in environment variables, so no value can become part
//! of a command. Its pods carry the deployment's label and no revision's: no Service selects them, and nobody counts
//! them as pods of a revision.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::place::{Object, list, object, objects};
use super::pod::{quantities_to_text, stay_in_region};
use super::{annotation, metadata, owned_by, unknown};
use crate::api::{ModelDeployment, PodTemplate, labels};
use crate::decide::model_deployment::inquiry::Subject;
use crate::text::hex::hex;

/// What a Job computes; see [`Purpose`].
pub const PURPOSE: &str = "werkbank.dev/measures";
/// Whom it is about: a variable of every container, beside those of queries.
pub const SUBJECT: &str = "WERKBANK_SUBJECT";
/// Labels and annotations of ours.
const OURS: &str = "werkbank.dev/";
/// For when nobody is there to delete it.
const KEPT_SECONDS: i32 = 3600;

/// What a Job is for, as its annotation says: all that is asked of it afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Purpose {
    /// The attempt that brought the revision which is judged.
    pub attempt: String,
    /// That is on probation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_probation: bool,
    /// The metric.
    pub metric: String,
    /// Of the metric as it was.
    pub digest: String,
    /// Which side it looks at.
    pub subject: Subject,
    /// The moment it is about: its window ends there, and its verdict has this time.
    pub moment: DateTime<Utc>,
    /// How long it may take.
    pub timeout_seconds: u64,
    /// The container that says the number.
    pub container: String,
}

/// A question as a Job is to answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its pods.
    pub template: PodTemplate,
    /// How long it may take.
    pub timeout: Duration,
    /// What every container is told.
    pub variables: Vec<(String, String)>,
}

impl Task {
    /// How long it may take, in whole seconds, as Kubernetes counts.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        u64::try_from(self.timeout.as_millis().div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// The name of the Job that looks at this side, due at this moment: the same however often it is written.
#[must_use]
pub fn name(resource: &ModelDeployment, purpose: &Purpose, due: DateTime<Utc>) -> String {
    let Purpose { attempt, on_probation, metric, digest, subject, .. } = purpose;
    let whole = json!([attempt, on_probation, metric, digest, subject, due.timestamp_millis()]);
    let digest = hex(&Sha256::digest(whole.to_string()), 5);
    let side = match subject {
        Subject::Candidate => "candidate",
        Subject::Stable => "stable",
    };
    labels::name(&[resource.metadata.name.as_deref().unwrap_or_default(), metric, side, &digest])
}

/// That Job, whose pods stay on nodes with these labels.
///
/// # Errors
/// With the place below `job` and the remedy, when the template is no pod template, or says what is not for it to say.
pub fn write(
    resource: &ModelDeployment,
    purpose: &Purpose,
    task: &Task,
    node_labels: &BTreeMap<String, Vec<String>>,
    due: DateTime<Utc>,
) -> Result<Job, String> {
    let mut template = pods(task, node_labels)?;
    let own = [(labels::DEPLOYMENT, resource.metadata.name.as_ref()), (labels::METRIC, Some(&purpose.metric))];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.clone())));
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(own);
    let mut metadata = metadata(resource, &name(resource, purpose, due), None, owned_by(resource));
    metadata.labels.get_or_insert_default().insert(labels::METRIC.into(), purpose.metric.clone());
    metadata.annotations = Some([(PURPOSE.to_owned(), json!(purpose).to_string())].into());
    Ok(Job { metadata, spec: Some(once(task.seconds(), template)), status: None })
}

/// One pod, tried once, within so many seconds.
pub(super) fn once(seconds: u64, template: PodTemplateSpec) -> JobSpec {
    JobSpec {
        active_deadline_seconds: i64::try_from(seconds).ok(),
        backoff_limit: Some(0),
        completions: Some(1),
        parallelism: Some(1),
        ttl_seconds_after_finished: Some(KEPT_SECONDS),
        template,
        ..JobSpec::default()
    }
}

/// What a live Job is for; `None`: it is none of ours.
#[must_use]
pub fn purpose(metadata: &ObjectMeta) -> Option<Purpose> {
    serde_json::from_str(annotation(metadata, PURPOSE)?).ok()
}

/// The container that says the number: the first.
#[must_use]
pub fn speaker(template: &PodTemplate) -> Option<String> {
    let template = template.value();
    Some(template.pointer("/spec/containers/0/name")?.as_str()?.to_owned())
}

/// Its pods.
///
/// # Errors
/// As those of [`write`].
pub fn pods(task: &Task, node_labels: &BTreeMap<String, Vec<String>>) -> Result<PodTemplateSpec, String> {
    let mut asked = task.template.value();
    let whole = asked.as_object_mut().ok_or("template is not an object; write a pod template as in a Job")?;
    let in_template = |error: String| format!("template.{error}");
    refuse_our_names(whole).map_err(in_template)?;
    complete(object(whole, "spec").map_err(in_template)?, task, node_labels)
        .map_err(|error| format!("template.spec.{error}"))?;
    let template =
        PodTemplateSpec::deserialize(&asked).map_err(|error| format!("template is not a pod template: {error}"))?;
    unknown::refuse("template", "a pod template", &asked, &serde_json::to_value(&template).unwrap_or_default())?;
    Ok(template)
}

fn complete(spec: &mut Object, task: &Task, node_labels: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    if objects(spec, "containers")?.first().is_none_or(|it| it.get("name").and_then(Value::as_str).is_none()) {
        return Err("containers is empty; name at least the container that says the number".into());
    }
    for key in ["initContainers", "containers"] {
        if spec.contains_key(key) {
            tell(spec, key, &task.variables)?;
        }
    }
    // It computes a number; who it may act as is for the template to say.
    spec.entry("automountServiceAccountToken").or_insert(false.into());
    match spec.entry("restartPolicy").or_insert("Never".into()).as_str() {
        Some("Never") => {}
        _ => {
            return Err(
                "restartPolicy is Never: a Job is tried once, and the next one at the next interval; leave it out"
                    .into(),
            );
        }
    }
    stay_in_region(spec, node_labels)?;
    quantities_to_text(spec);
    Ok(())
}

/// First, so that the user's own variables can refer to them as `$(NAME)`.
fn tell(spec: &mut Object, key: &str, variables: &[(String, String)]) -> Result<(), String> {
    for (index, container) in objects(spec, key)?.into_iter().enumerate() {
        let in_container = |error: String| format!("{key}[{index}].{error}");
        let env = list(container, "env").map_err(in_container)?;
        let taken = |it: &Value| {
            let name = it.get("name")?.as_str()?;
            variables.iter().any(|(ours, _)| ours == name).then(|| name.to_owned())
        };
        if let Some(name) = env.iter().find_map(taken) {
            return Err(in_container(format!(
                "env: {name} is the operator's, which says there what to look at; choose another name"
            )));
        }
        env.splice(0..0, variables.iter().map(|(name, value)| json!({"name": name, "value": value})));
    }
    Ok(())
}

/// A label of a revision would bring its Service's requests here.
fn refuse_our_names(template: &Object) -> Result<(), String> {
    for key in ["labels", "annotations"] {
        let given = template.get("metadata").and_then(|it| it.get(key)).and_then(Value::as_object);
        if let Some(name) = given.into_iter().flat_map(Object::keys).find(|it| it.starts_with(OURS)) {
            return Err(format!("metadata.{key}: {name} is the operator's; remove it"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
