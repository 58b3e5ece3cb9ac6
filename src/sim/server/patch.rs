//! Patches, as far as the operator sends them, and the defaults that the API server fills in.

use serde_json::{Map, Value, json};

/// JSON merge patch (RFC 7386, section 2), and of a strategic one what differs from it: lists and maps that are
/// replaced because they say so, and owners, which are merged by uid.
pub(super) fn patch(target: &mut Value, patch: &Value, is_strategic: bool) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if is_strategic && patch.get("$patch") == Some(&json!("replace")) {
        let rest: Map<String, Value> =
            patch.iter().filter(|(key, _)| *key != "$patch").map(|(key, it)| (key.clone(), it.clone())).collect();
        *target = Value::Object(rest);
        return;
    }
    if !target.is_object() {
        *target = json!({});
    }
    let target = target.as_object_mut().unwrap();
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            Value::Array(items) if is_strategic => {
                let list = target.entry(key.clone()).or_insert_with(|| json!([]));
                *list = listed(key, list, items);
            }
            value => self::patch(target.entry(key.clone()).or_insert(Value::Null), value, is_strategic),
        }
    }
}

fn listed(key: &str, known: &Value, items: &[Value]) -> Value {
    if let Some((first, rest)) = items.split_first()
        && first == &json!({"$patch": "replace"})
    {
        return rest.into();
    }
    if key != "ownerReferences" {
        return items.into();
    }
    let others = known.as_array().into_iter().flatten().filter(|it| items.iter().all(|new| new["uid"] != it["uid"]));
    items.iter().chain(others).cloned().collect()
}

/// Fills in some of what the API server does: what the operator reads back is not what it wrote.
pub(super) fn complete(path: &str, object: &mut Value) {
    if path.contains("/deployments/") {
        default(&mut object["spec"], "replicas", json!(1));
        default(&mut object["spec"], "progressDeadlineSeconds", json!(600));
        default(&mut object["spec"], "strategy", json!({"type": "RollingUpdate"}));
    } else if path.contains("/services/") {
        default(&mut object["spec"], "clusterIP", json!("10.0.0.1"));
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten() {
            default(port, "protocol", json!("TCP"));
            let same = port["port"].clone();
            default(port, "targetPort", same);
        }
    } else if path.contains("/httproutes/") {
        for parent in object["spec"]["parentRefs"].as_array_mut().into_iter().flatten() {
            default(parent, "group", json!("gateway.networking.k8s.io"));
            default(parent, "kind", json!("Gateway"));
        }
        for rule in object["spec"]["rules"].as_array_mut().into_iter().flatten() {
            default(rule, "matches", json!([{"path": {"type": "PathPrefix", "value": "/"}}]));
            for backend in rule["backendRefs"].as_array_mut().into_iter().flatten() {
                default(backend, "group", json!(""));
                default(backend, "kind", json!("Service"));
            }
        }
    }
}

fn default(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.entry(field).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(mut target: Value, patch: Value) -> Value {
        super::patch(&mut target, &patch, false);
        target
    }

    fn patched(mut target: Value, patch: Value) -> Value {
        super::patch(&mut target, &patch, true);
        target
    }

    #[test]
    fn a_merge_patch_does_what_rfc_7386_says() {
        // Some of its appendix A.
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": ["c"]}), json!({"a": ["c"]})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
            (json!(["a"]), json!({"a": "b"}), json!({"a": "b"})),
        ] {
            assert_eq!(merged(target.clone(), patch.clone()), result, "{target} {patch}");
        }
    }

    #[test]
    fn what_says_so_is_replaced_as_a_whole() {
        let replaced = patched(json!({"spec": {"a": 1, "b": 2}}), json!({"spec": {"$patch": "replace", "b": 3}}));
        assert_eq!(replaced, json!({"spec": {"b": 3}}));
        let replaced = patched(json!({"ports": [{"a": 1}]}), json!({"ports": [{"$patch": "replace"}, {"b": 2}]}));
        assert_eq!(replaced, json!({"ports": [{"b": 2}]}));
    }
}
