//! What a pod may know of itself: the downward API's field paths.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::facts::Facts;

/// The value of a `fieldRef`, or a sentence that says why there is none.
pub(super) fn resolve(path: &str, pod: &Pod, facts: &Facts) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: Option<&String>| Ok(value.cloned().unwrap_or_default());
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(unknown(path)),
        };
        return text(map.as_ref().and_then(|map| map.get(key)));
    }
    match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => Ok(lines(meta.labels.as_ref())),
        "metadata.annotations" => Ok(lines(meta.annotations.as_ref())),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => Ok(facts.address.to_string()),
        "status.hostIP" | "status.hostIPs" => Ok(facts.node_address.to_string()),
        _ => Err(unknown(path)),
    }
}

fn unknown(path: &str) -> String {
    format!(
        "fieldPath {path:?} is not known to this node: use metadata.*, spec.nodeName, spec.serviceAccountName, status.podIP or status.hostIP"
    )
}

/// `metadata.labels['app']` as (`metadata.labels`, `app`).
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    let quoted = |quote: char| key.strip_prefix(quote)?.strip_suffix(quote);
    Some((map, quoted('\'').or_else(|| quoted('"'))?))
}

/// A whole map, as the downward API's volumes show it: `key="value"` lines.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn resolved(path: &str) -> Result<String, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "ns", "uid": "u",
                "labels": {"app.kubernetes.io/name": "churn", "x": "a\"b"}, "annotations": {"a": "1"},
            },
            "spec": {"containers": [], "nodeName": "n1", "serviceAccountName": "reader"},
        }))
        .unwrap();
        let facts = Facts::new(&pod, Ipv4Addr::new(127, 0, 1, 5), Ipv4Addr::new(127, 0, 1, 1), Timestamp::UNIX_EPOCH);
        resolve(path, &pod, &facts)
    }

    #[test]
    fn a_pod_knows_its_names_its_place_and_its_address() {
        for (path, wanted) in [
            ("metadata.name", "p"),
            ("metadata.namespace", "ns"),
            ("metadata.uid", "u"),
            ("metadata.labels['app.kubernetes.io/name']", "churn"),
            ("metadata.annotations[\"a\"]", "1"),
            ("metadata.labels['absent']", ""),
            ("spec.nodeName", "n1"),
            ("spec.serviceAccountName", "reader"),
            ("status.podIP", "127.0.1.5"),
            ("status.hostIP", "127.0.1.1"),
        ] {
            assert_eq!(resolved(path).as_deref(), Ok(wanted), "{path}");
        }
    }

    #[test]
    fn whole_maps_are_quoted_lines() {
        assert_eq!(resolved("metadata.labels").unwrap(), "app.kubernetes.io/name=\"churn\"\nx=\"a\\\"b\"");
    }

    #[test]
    fn an_unknown_field_is_refused_by_name() {
        assert!(resolved("status.phase").unwrap_err().contains("status.phase"));
        assert!(resolved("spec.volumes['x']").is_err());
    }
}
