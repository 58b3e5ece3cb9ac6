//! Whether a live Deployment says something else than what was applied.
//!
//! Each edit is a new generation, one of a field or an annotation that the operator does not set, too. Only what is put back
//! can be fought over, so the two specs are compared: what is wanted has to be there, as it is. What the API server
//! completes, and what somebody else has set besides, is there in addition, except in lists, which are whole.

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

use crate::build::unknown::is_empty;

/// Whether the live spec has something otherwise than the wanted one: the number of pods, or something of their template.
#[must_use]
pub fn contradicts(live: &Deployment, wanted: &Deployment) -> bool {
    let spec = |it: &Deployment| serde_json::to_value(&it.spec).unwrap_or_default();
    !says(&spec(live), &spec(wanted))
}

fn says(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .filter(|(_, it)| !is_empty(it))
            .all(|(key, it)| live.get(key).is_some_and(|has| says(has, it))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(live, wanted)| says(live, wanted))
        }
        (Value::String(live), Value::String(wanted)) => live == wanted || is_same_quantity(live, wanted),
        _ => live == wanted,
    }
}

/// The API server writes `1000m` of a CPU as `1`, and `1024Mi` as `1Gi`.
fn is_same_quantity(live: &str, wanted: &str) -> bool {
    number(live).is_some_and(|it| Some(it) == number(wanted))
}

/// The suffixes of a Kubernetes quantity (`resource.Quantity` of apimachinery), and what they stand for.
const SUFFIXES: [(&str, f64); 15] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
];

fn number(text: &str) -> Option<f64> {
    let suffixed = SUFFIXES.iter().find_map(|(suffix, factor)| Some((text.strip_suffix(suffix)?, *factor)));
    let (digits, factor) = suffixed.unwrap_or((text, 1.0));
    digits.parse::<f64>().ok().map(|it| it * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(change: impl FnOnce(&mut Value)) -> Deployment {
        let container = json!({
            "name": "server", "image": "scorer:1.4", "env": [{"name": "A", "value": ""}],
            "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}
        });
        let mut spec = json!({
            "replicas": 4, "revisionHistoryLimit": 1, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
        });
        change(&mut spec);
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn is_contrary(edit: impl FnOnce(&mut Value)) -> bool {
        contradicts(&deployment(edit), &deployment(|_| ()))
    }

    #[test]
    fn what_the_api_server_completes_and_somebody_sets_besides_is_no_contradiction() {
        assert!(!is_contrary(|it| {
            it["minReadySeconds"] = json!(7);
            it["strategy"] = json!({"type": "RollingUpdate"});
            it["template"]["metadata"]["annotations"] = json!({"restarted": "today"});
            let container = &mut it["template"]["spec"]["containers"][0];
            container["imagePullPolicy"] = json!("Always");
            container["resources"] = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2"}});
        }));
    }

    #[test]
    fn what_was_changed_added_to_a_list_or_taken_away_is_one() {
        assert!(is_contrary(|it| it["replicas"] = json!(1)));
        assert!(is_contrary(|it| it["revisionHistoryLimit"] = json!(10)));
        assert!(is_contrary(|it| it["template"]["spec"]["containers"][0]["image"] = json!("scorer:1.5")));
        assert!(is_contrary(|it| it["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2")));
        assert!(is_contrary(|it| it["template"]["spec"]["containers"][0]["env"] = json!([])));
        let sidecar = json!({"name": "proxy", "image": "proxy:1"});
        assert!(is_contrary(|it| it["template"]["spec"]["containers"].as_array_mut().unwrap().push(sidecar)));
    }
}
