//! What of a custom resource the API server stores: fields that its schema does not know are left out.
//!
//! Rules and types are not looked at. Kinds of others are taken as they are.

use std::sync::OnceLock;

use kube::CustomResourceExt;
use serde_json::Value;

use crate::api::{Approval, ModelDeployment, ModelRegistryEntry};

/// By plural.
fn schemas() -> &'static [(&'static str, Value)] {
    static SCHEMAS: OnceLock<Vec<(&'static str, Value)>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let crds = [
            ("modeldeployments", ModelDeployment::crd()),
            ("modelregistryentries", ModelRegistryEntry::crd()),
            ("approvals", Approval::crd()),
        ];
        let of = |crd| serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].take();
        crds.into_iter().map(|(plural, crd)| (plural, of(crd))).collect()
    })
}

/// Leaves out what nobody knows.
pub(super) fn prune(path: &str, object: &mut Value) {
    let Some((_, schema)) = schemas().iter().find(|(plural, _)| path.contains(&format!("/{plural}/"))) else { return };
    for part in ["spec", "status"] {
        if let Some(value) = object.get_mut(part) {
            known(value, &schema["properties"][part]);
        }
    }
}

fn known(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let (properties, others) = (&schema["properties"], &schema["additionalProperties"]);
            if properties.is_object() && schema["x-kubernetes-preserve-unknown-fields"] != true {
                fields.retain(|key, _| !properties[key].is_null());
            }
            fields.iter_mut().for_each(|(key, it)| {
                let schema = if properties[key].is_null() { others } else { &properties[key] };
                known(it, schema);
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|it| known(it, &schema["items"])),
        _ => {}
    }
}
