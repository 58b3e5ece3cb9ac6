//! The Deployment of one revision: the user's pod template, plus what makes the artifact arrive.
//!
//! The template is kept as JSON until the last moment, so that a field newer than
//! this operator's Kubernetes types in a place it does not touch is not lost before
//! it has been looked at: [`write`] refuses what it cannot carry over.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde_json::{Map, Value, json};

use super::{APPLIED, GENERATION, Owner, applied, metadata, selector};
use crate::api::ModelDeployment;
use crate::api::artifact::{self, ArtifactUri};
use crate::api::revision::RevisionRecord;

/// Where the artifact is in every container.
pub const MODEL_DIRECTORY: &str = "/werkbank/model";
/// Name of the volume it is on.
const VOLUME: &str = "werkbank-model";
/// Name of the init container that fetches it.
pub const FETCH: &str = "werkbank-fetch";

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
    let mut template = record.template.clone();
    let uri: ArtifactUri = record.artifact_uri.parse().map_err(|error| format!("artifact.uri: {error}"))?;
    let spec = object(&mut template, "spec")?;
    claim_names(spec)?;
    point_to_copies(spec, record);
    hand_over(spec, record, artifact::model_path(&uri, MODEL_DIRECTORY));
    fetch_first(spec, record);
    stay_in_region(spec, record);
    quantities_to_text(spec);
    let own =
        object(object(&mut template, "metadata").map_err(|_| "spec.template.metadata is not an object")?, "labels")?;
    own.extend(labels.iter().map(|(key, value)| (key.clone(), value.clone().into())));
    let template: PodTemplateSpec =
        serde_json::from_value(template).map_err(|error| format!("spec.template is not a pod template: {error}"))?;
    let spec = DeploymentSpec {
        replicas: Some(replicas),
        // One template for ever: there is no other to go back to.
        revision_history_limit: Some(1),
        selector: LabelSelector { match_labels: Some(labels), match_expressions: None },
        template,
        ..DeploymentSpec::default()
    };
    let template_only = json!({"spec": DeploymentSpec { replicas: None, ..spec.clone() }});
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

type Object = Map<String, Value>;

/// The object at `key`, made if there is none.
fn object<'a>(value: &'a mut (impl AsObject + ?Sized), key: &str) -> Result<&'a mut Object, String> {
    value
        .as_object_mut_or_none()
        .and_then(|map| map.entry(key).or_insert_with(|| json!({})).as_object_mut())
        .ok_or_else(|| format!("spec.template: {key} is not an object"))
}

/// Values and maps alike.
trait AsObject {
    fn as_object_mut_or_none(&mut self) -> Option<&mut Object>;
}

impl AsObject for Value {
    fn as_object_mut_or_none(&mut self) -> Option<&mut Object> {
        self.as_object_mut()
    }
}

impl AsObject for Object {
    fn as_object_mut_or_none(&mut self) -> Option<&mut Object> {
        Some(self)
    }
}

/// The list at `key`, made if there is none.
fn list<'a>(map: &'a mut Object, key: &str) -> Option<&'a mut Vec<Value>> {
    map.entry(key).or_insert_with(|| json!([])).as_array_mut()
}

fn has_name(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
}

fn claim_names(spec: &mut Object) -> Result<(), String> {
    for (key, name) in [("volumes", VOLUME), ("initContainers", FETCH), ("containers", FETCH)] {
        if spec.get(key).and_then(Value::as_array).is_some_and(|all| all.iter().any(|it| has_name(it, name))) {
            return Err(format!("spec.template.spec.{key}: the name {name} is the operator's; choose another"));
        }
    }
    Ok(())
}

/// Every reference to a ConfigMap goes to the revision's immutable copy.
fn point_to_copies(spec: &mut Object, record: &RevisionRecord) {
    let rename = |reference: Option<&mut Value>| {
        let Some(name) = reference.and_then(|it| it.get_mut("name")) else { return };
        if let Some(copy) = name.as_str().and_then(|it| record.config_maps.get(it)) {
            *name = copy.clone().into();
        }
    };
    for volume in list(spec, "volumes").into_iter().flatten() {
        rename(volume.get_mut("configMap"));
        let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
        sources.into_iter().flatten().for_each(|source| rename(source.get_mut("configMap")));
    }
    for key in ["initContainers", "containers"] {
        for container in list(spec, key).into_iter().flatten() {
            let variables = container.get_mut("env").and_then(Value::as_array_mut);
            variables.into_iter().flatten().for_each(|it| rename(it.pointer_mut("/valueFrom/configMapKeyRef")));
            let sources = container.get_mut("envFrom").and_then(Value::as_array_mut);
            sources.into_iter().flatten().for_each(|it| rename(it.get_mut("configMapRef")));
        }
    }
}

/// Every container sees the verified artifact, read-only, and is told what it is.
fn hand_over(spec: &mut Object, record: &RevisionRecord, model_path: String) {
    let variables = [
        ("WERKBANK_MODEL_PATH", model_path),
        ("WERKBANK_MODEL_DIGEST", format!("sha256:{}", record.artifact_sha256)),
        ("WERKBANK_REVISION", record.entry.revision.clone()),
    ];
    for container in list(spec, "containers").into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(env) = list(container, "env") {
            env.retain(|it| !variables.iter().any(|(name, _)| has_name(it, name)));
            // First, so that the user's own variables can refer to them as $(NAME).
            let ours = variables.iter().map(|(name, value)| json!({"name": name, "value": value}));
            env.splice(0..0, ours);
        }
        if let Some(mounts) = list(container, "volumeMounts") {
            mounts.push(json!({"name": VOLUME, "mountPath": MODEL_DIRECTORY, "readOnly": true}));
        }
    }
    if let Some(volumes) = list(spec, "volumes") {
        volumes.push(json!({"name": VOLUME, "emptyDir": {}}));
    }
}

/// The init container that fetches and verifies. A `file://` artifact lies on a volume
/// of the user's, so it gets the first container's mounts, read-only.
fn fetch_first(spec: &mut Object, record: &RevisionRecord) {
    let mut mounts = vec![json!({"name": VOLUME, "mountPath": MODEL_DIRECTORY})];
    if record.artifact_uri.starts_with("file://") {
        let first = spec.get("containers").and_then(|it| it.pointer("/0/volumeMounts")).and_then(Value::as_array);
        for mount in first.into_iter().flatten().filter(|it| !has_name(it, VOLUME)) {
            let mut mount = mount.clone();
            if let Some(mount) = mount.as_object_mut() {
                mount.insert("readOnly".into(), true.into());
            }
            mounts.push(mount);
        }
    }
    let mut container = json!({
        "name": FETCH,
        "image": record.fetch_image,
        "args": ["fetch", "--uri", record.artifact_uri, "--sha256", record.artifact_sha256, "--to", MODEL_DIRECTORY],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    if let (Some(secret), Some(container)) = (&record.secret_ref, container.as_object_mut()) {
        container.insert("envFrom".into(), json!([{"secretRef": {"name": secret.name}}]));
    }
    if let Some(containers) = list(spec, "initContainers") {
        containers.insert(0, container);
    }
}

/// The region as required node affinity, in addition to what the user requires.
fn stay_in_region(spec: &mut Object, record: &RevisionRecord) {
    if record.node_labels.is_empty() {
        return;
    }
    let wanted: Vec<Value> = record
        .node_labels
        .iter()
        .map(|(key, values)| json!({"key": key, "operator": "In", "values": values}))
        .collect();
    let path = ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let mut place = Some(spec);
    for key in path {
        place = place.and_then(|map| map.entry(key).or_insert_with(|| json!({})).as_object_mut());
    }
    let Some(terms) = place.and_then(|map| list(map, "nodeSelectorTerms")) else { return };
    if terms.is_empty() {
        terms.push(json!({}));
    }
    // Terms are alternatives: the region belongs into each.
    for expressions in
        terms.iter_mut().filter_map(Value::as_object_mut).filter_map(|term| list(term, "matchExpressions"))
    {
        expressions.extend(wanted.iter().cloned());
    }
}

/// `cpu: 1` is valid in YAML, but Kubernetes' types spell quantities as text.
fn quantities_to_text(spec: &mut Object) {
    for key in ["initContainers", "containers"] {
        for container in list(spec, key).into_iter().flatten() {
            for kind in ["requests", "limits"] {
                let amounts =
                    container.get_mut("resources").and_then(|it| it.get_mut(kind)).and_then(Value::as_object_mut);
                for amount in amounts.into_iter().flat_map(|it| it.values_mut()).filter(|it| it.is_number()) {
                    *amount = amount.to_string().into();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
