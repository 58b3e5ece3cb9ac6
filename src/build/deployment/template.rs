//! What is added to the user's pod template, so that the verified artifact is there and the pods stay in their region.

use serde_json::{Value, json};

use crate::api::artifact::{self, ArtifactUri};
use crate::api::revision::RevisionRecord;
use crate::build::place::{Object, list, objects};
use crate::build::pod::{existing, quantities_to_text, stay_in_region};
use crate::build::verbatim;

/// Where the artifact is in every container.
pub const MODEL_DIRECTORY: &str = "/werkbank/model";
/// Name of the volume it is on.
pub(super) const VOLUME: &str = "werkbank-model";
/// Name of the init container that fetches it.
pub const FETCH: &str = "werkbank-fetch";

/// Puts everything that is the operator's into the pod spec.
///
/// # Errors
/// With the field and the remedy.
pub(super) fn complete(spec: &mut Object, record: &RevisionRecord) -> Result<(), String> {
    let uri: ArtifactUri = record.artifact_uri.parse().map_err(|error| format!("artifact.uri: {error}"))?;
    claim_names(spec)?;
    point_to_copies(spec, record);
    let in_template = |error| format!("spec.template.spec.{error}");
    hand_over(spec, record, &artifact::model_path(&uri, MODEL_DIRECTORY)).map_err(in_template)?;
    fetch_first(spec, record).map_err(in_template)?;
    stay_in_region(spec, &record.node_labels).map_err(in_template)?;
    quantities_to_text(spec);
    Ok(())
}

fn has_name(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
}

fn claim_names(spec: &mut Object) -> Result<(), String> {
    for (key, name) in [("volumes", VOLUME), ("initContainers", FETCH), ("containers", FETCH)] {
        if existing(spec, key).any(|it| has_name(it, name)) {
            return Err(format!("spec.template.spec.{key}: the name {name} is the operator's; choose another"));
        }
    }
    for key in ["initContainers", "containers"] {
        let mounts = existing(spec, key).filter_map(|it| it.get("volumeMounts")?.as_array()).flatten();
        let writes = |it: &Value| has_name(it, VOLUME) && it.get("readOnly").and_then(Value::as_bool) != Some(true);
        if mounts.into_iter().any(writes) {
            return Err(format!(
                "spec.template.spec.{key}: what is on volume {VOLUME} is verified and must stay as it is; mount it with readOnly: true"
            ));
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
    for volume in existing(spec, "volumes") {
        rename(volume.get_mut("configMap"));
        let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
        sources.into_iter().flatten().for_each(|source| rename(source.get_mut("configMap")));
    }
    for key in ["initContainers", "containers"] {
        for container in existing(spec, key) {
            let variables = container.get_mut("env").and_then(Value::as_array_mut);
            variables.into_iter().flatten().for_each(|it| rename(it.pointer_mut("/valueFrom/configMapKeyRef")));
            let sources = container.get_mut("envFrom").and_then(Value::as_array_mut);
            sources.into_iter().flatten().for_each(|it| rename(it.get_mut("configMapRef")));
        }
    }
}

/// Every container sees the verified artifact, read-only, and is told what it is.
fn hand_over(spec: &mut Object, record: &RevisionRecord, model_path: &str) -> Result<(), String> {
    let variables = [
        ("WERKBANK_MODEL_PATH", verbatim(model_path)),
        ("WERKBANK_MODEL_DIGEST", format!("sha256:{}", record.artifact_sha256)),
        ("WERKBANK_REVISION", record.entry.revision.clone()),
    ];
    for (index, container) in objects(spec, "containers")?.into_iter().enumerate() {
        let in_container = |error| format!("containers[{index}].{error}");
        let env = list(container, "env").map_err(in_container)?;
        env.retain(|it| !variables.iter().any(|(name, _)| has_name(it, name)));
        // First, so that the user's own variables can refer to them as $(NAME).
        let ours = variables.iter().map(|(name, value)| json!({"name": name, "value": value}));
        env.splice(0..0, ours);
        let mount = json!({"name": VOLUME, "mountPath": MODEL_DIRECTORY, "readOnly": true});
        list(container, "volumeMounts").map_err(in_container)?.push(mount);
    }
    list(spec, "volumes")?.push(json!({"name": VOLUME, "emptyDir": {}}));
    Ok(())
}

/// The init container that fetches and verifies. A `file://` artifact lies on a volume
/// of the user's, so it gets the first container's mounts, read-only.
fn fetch_first(spec: &mut Object, record: &RevisionRecord) -> Result<(), String> {
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
        "args": ["fetch", "--uri", verbatim(&record.artifact_uri), "--sha256", record.artifact_sha256, "--to", MODEL_DIRECTORY],
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
    list(spec, "initContainers")?.insert(0, container);
    Ok(())
}

#[cfg(test)]
mod tests;
