//! The CRDs as files: generated from the Rust types, small enough for plain
//! `kubectl apply`, without defaults.
//!
//! Defaults in a schema make Argo CD show a permanent difference between Git
//! and the cluster, so there are none: what is left out is defaulted in
//! [`crate::decide::model_deployment::policy`]. Number formats that the API server does not
//! know only make it warn, and are left out, too.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::Value;

use super::{Approval, ModelDeployment, ModelRegistryEntry};

/// The CRDs of all kinds as (file name, YAML).
///
/// # Errors
/// When a schema cannot be written as YAML: a mistake in the types.
pub fn files() -> Result<Vec<(&'static str, String)>, serde_yaml::Error> {
    Ok(vec![
        ("approvals.werkbank.dev.yaml", yaml(&Approval::crd())?),
        ("modeldeployments.werkbank.dev.yaml", yaml(&ModelDeployment::crd())?),
        ("modelregistryentries.werkbank.dev.yaml", yaml(&ModelRegistryEntry::crd())?),
    ])
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, serde_yaml::Error> {
    let mut value = serde_yaml::to_value(crd).and_then(serde_yaml::from_value::<Value>)?;
    tidy(&mut value);
    serde_yaml::to_string(&value)
}

/// Removes `default`, `nullable` and number formats wherever they are schema
/// keywords (not names of properties).
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("type") || map.contains_key("x-kubernetes-int-or-string") {
                map.remove("default");
                map.remove("nullable");
                if map.get("format").and_then(Value::as_str).is_some_and(|format| format != "date-time") {
                    map.remove("format");
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kubectl apply` keeps the whole object in an annotation of at most 262,144 bytes.
    const APPLY_LIMIT: usize = 262_144;

    #[test]
    fn crds_on_disk_are_the_ones_the_types_generate() {
        for (name, yaml) in files().unwrap() {
            let path = format!("{}/crds/{name}", env!("CARGO_MANIFEST_DIR"));
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &yaml).unwrap();
            }
            let stored = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(stored == yaml, "{path} is not what the types say: run `make crds` and review the difference");
        }
    }

    #[test]
    fn crds_fit_into_a_plain_kubectl_apply() {
        for (name, yaml) in files().unwrap() {
            let json = serde_json::to_string(&serde_yaml::from_str::<Value>(&yaml).unwrap()).unwrap();
            // Half of it is for what is still to come.
            assert!(json.len() < APPLY_LIMIT / 2, "{name} has {} bytes", json.len());
        }
    }

    #[test]
    fn no_schema_has_a_default_and_every_field_has_a_description() {
        fn walk(path: &str, schema: &Value) {
            let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
            for (name, property) in properties {
                let path = format!("{path}.{name}");
                assert!(property.get("default").is_none(), "{path} has a default");
                let opaque = name == "backendRefs" || ["kind", "apiVersion", "metadata"].contains(&name.as_str());
                assert!(opaque || property.get("description").is_some(), "{path} has no description");
                walk(&path, property);
                if let Some(items) = property.get("items") {
                    walk(&format!("{path}[]"), items);
                }
            }
        }
        for (name, yaml) in files().unwrap() {
            let crd: Value = serde_yaml::from_str(&yaml).unwrap();
            walk(name, &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
        }
    }
}
