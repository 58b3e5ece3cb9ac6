//! Copies that a person makes of the operator's objects, to look at something or to keep it: with all labels and
//! annotations, under another name, and owned by nobody. They are none of the operator's business.

use http::Method;
use serde_json::{Value, json};

use super::super::server::Cluster;
use super::super::view::{CONFIG_MAPS, DEPLOYMENTS, JOBS, RECORDS, ROUTES, SERVICES};

/// Who made it.
const COPIED: &str = "somebody/copied";

/// Everything that somebody could copy, by path.
pub(in crate::sim) fn originals(cluster: &Cluster) -> Vec<String> {
    let kinds = [JOBS, SERVICES, CONFIG_MAPS, RECORDS, DEPLOYMENTS, ROUTES];
    let all = kinds.iter().flat_map(|it| cluster.all(it));
    all.filter(|(_, it)| !is_copy(it)).map(|(path, _)| path).collect()
}

/// Copies it, unless it was copied before.
pub(in crate::sim) fn copy(cluster: &Cluster, path: &str) {
    let mut object = Value::clone(&cluster.get(path));
    let Some((collection, name)) = path.rsplit_once('/').filter(|_| !object.is_null()) else { return };
    let (labels, mut annotations) = (object["metadata"]["labels"].take(), object["metadata"]["annotations"].take());
    annotations[COPIED] = "yes".into();
    object["metadata"] = json!({"name": format!("{name}-copy"), "labels": labels, "annotations": annotations});
    cluster.ask(Method::POST, collection, object);
}

/// Whether it is a copy, or a pod that a copy's controller has made.
pub(in crate::sim) fn is_copy(object: &Value) -> bool {
    let owner = object["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
    !object["metadata"]["annotations"][COPIED].is_null() || owner.ends_with("-copy")
}
