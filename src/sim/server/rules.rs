//! What a write has to fulfil, and what it does to a generation.

use http::Method;
use serde_json::Value;

use super::{Asked, PatchType};

/// All of an entry's spec but its lifecycle.
const FINAL_OF_ENTRIES: [&str; 9] = [
    "/spec/model",
    "/spec/artifact",
    "/spec/vendor",
    "/spec/lineage",
    "/spec/evaluations",
    "/spec/submittedBy",
    "/spec/deliveredBy",
    "/spec/governance",
    "/spec/dataSources",
];

/// Custom resources know less than built-in kinds: no strategic patch, and no replacement of whatever version there is.
fn is_custom(path: &str) -> bool {
    path.contains("/werkbank.dev/") || path.contains("/gateway.networking.k8s.io/")
}

/// The code that a write is refused with before anything is looked at but what it is meant for.
pub(super) fn refused(asked: &Asked, known: &Value) -> Option<u16> {
    let is_custom = is_custom(&asked.path);
    let pins = if asked.method == Method::DELETE { &asked.body["preconditions"] } else { &asked.body["metadata"] };
    let differs = |field: &str| !pins[field].is_null() && pins[field] != known["metadata"][field];
    let is_patch = asked.method == Method::PATCH;
    match () {
        () if is_patch && (asked.patch == PatchType::Other || asked.patch == PatchType::Strategic && is_custom) => {
            Some(415)
        }
        () if differs("resourceVersion") => Some(409),
        // A uid is a precondition of the other two, but a field that cannot be changed of a patch.
        () if differs("uid") => Some(if is_patch { 422 } else { 409 }),
        () if asked.method == Method::PUT && is_custom && pins["resourceVersion"].is_null() => Some(422),
        () => None,
    }
}

/// Whether a finalizer is added to what is to go.
pub(super) fn is_held_up_anew(object: &Value, known: &Value) -> bool {
    let all = |it: &Value| it["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let held = all(known);
    !known["metadata"]["deletionTimestamp"].is_null() && all(object).iter().any(|it| !held.contains(it))
}

/// Whether something is changed that can only be made anew.
pub(super) fn changes_what_stays(path: &str, object: &Value, known: &Value) -> bool {
    let differs = |place: &str| object.pointer(place) != known.pointer(place);
    let is_of = |plural: &str| path.contains(&format!("/{plural}/"));
    is_of("configmaps") && known["immutable"] == true && ["/data", "/binaryData", "/immutable"].into_iter().any(differs)
        || is_of("controllerrevisions") && differs("/data")
        || is_of("deployments") && differs("/spec/selector")
        || is_of("approvals") && differs("/spec")
        || is_of("modelregistryentries") && FINAL_OF_ENTRIES.into_iter().any(differs)
        || is_of("modelregistryentries") && known["spec"]["lifecycle"] == "Revoked" && differs("/spec/lifecycle")
}

/// What nobody changes through the object itself.
pub(super) fn keep_what_is_the_servers(object: &mut Value, known: &Value) {
    let fields = ["uid", "resourceVersion", "creationTimestamp", "generation", "deletionTimestamp", "namespace"];
    for field in fields.into_iter().chain(["deletionGracePeriodSeconds"]) {
        match &known["metadata"][field] {
            Value::Null => drop(object["metadata"].as_object_mut().unwrap().remove(field)),
            value => object["metadata"][field] = value.clone(),
        }
    }
    match &known["status"] {
        Value::Null => drop(object.as_object_mut().unwrap().remove("status")),
        status => object["status"] = status.clone(),
    }
}

/// Core kinds, records and autoscalers have no generation.
pub(super) fn counts_generations(path: &str) -> bool {
    let without = ["/controllerrevisions/", "/leases/", "/horizontalpodautoscalers/"];
    !path.starts_with("/api/v1/") && without.iter().all(|it| !path.contains(it))
}

/// Of a Deployment annotations count, too (`pkg/registry/apps/deployment/strategy.go`); of a custom resource
/// everything but metadata and status.
pub(super) fn is_new_generation(path: &str, object: &Value, known: &Value) -> bool {
    let annotated =
        path.contains("/deployments/") && object["metadata"]["annotations"] != known["metadata"]["annotations"];
    annotated || object["spec"] != known["spec"]
}
