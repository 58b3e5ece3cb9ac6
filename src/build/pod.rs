//! What is done to any pod spec that a user has written.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::place::{Object, list, object, objects};

/// What is in the list at `key` so far.
pub(super) fn existing<'a>(spec: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Value> {
    spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The region as required node affinity, in addition to what the user requires.
pub(super) fn stay_in_region(spec: &mut Object, node_labels: &BTreeMap<String, Vec<String>>) -> Result<(), String> {
    if node_labels.is_empty() {
        return Ok(());
    }
    let (mut place, mut path) = (spec, String::new());
    for key in ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"] {
        place = object(place, key).map_err(|error| format!("{path}{error}"))?;
        path += key;
        path.push('.');
    }
    let in_place = |error| format!("{path}{error}");
    let terms = list(place, "nodeSelectorTerms").map_err(in_place)?;
    if terms.is_empty() {
        terms.push(json!({}));
    }
    let wanted = node_labels.iter();
    let wanted: Vec<Value> =
        wanted.map(|(key, values)| json!({"key": key, "operator": "In", "values": values})).collect();
    // Terms are alternatives: the region belongs into each.
    for (index, term) in objects(place, "nodeSelectorTerms").map_err(in_place)?.into_iter().enumerate() {
        let expressions = list(term, "matchExpressions");
        expressions
            .map_err(|error| in_place(format!("nodeSelectorTerms[{index}].{error}")))?
            .extend(wanted.iter().cloned());
    }
    Ok(())
}

/// `cpu: 1` is valid in YAML, but Kubernetes' types spell quantities as text.
pub(super) fn quantities_to_text(spec: &mut Object) {
    for key in ["initContainers", "containers"] {
        for container in existing(spec, key) {
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
