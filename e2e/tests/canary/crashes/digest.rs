//! What a story leaves behind, as far as it has to be the same each time.

use std::collections::{BTreeMap, BTreeSet};

use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use werkbank::api::labels;
use werkbank::api::model_deployment::ModelDeploymentStatus;
use werkbank::audit::{Entry, EntryKind};
use werkbank::build::APPLIED;
use werkbank::build::fence::FENCE;

use super::{Story, verified};
use crate::scene::Model;

/// By what it is about.
pub(super) type Digest = BTreeMap<String, Value>;

/// Everything that a story leaves behind, without what differs between any two: names, uids, versions, times.
pub(super) async fn digest(story: Story, model: &Model<'_>) -> Digest {
    let mut found = children(model).await;
    let status = model.status().await;
    found.insert("status".into(), summary(&status));
    let entries = model.scene.trail(model).await;
    found.insert("trail".into(), json!(decisions(&entries)));
    if matches!(story, Story::Verified | Story::Revoked) {
        found.insert("entry".into(), verified::summary(model).await);
    }
    let text = serde_json::to_string(&found).unwrap().replace(model.name, "model");
    serde_json::from_str(&text).unwrap()
}

fn summary(status: &ModelDeploymentStatus) -> Value {
    let attempt = status.attempt.as_ref().unwrap();
    let conditions = status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason]));
    json!({
        "phase": status.phase, "stable": status.stable.as_ref().map(|it| &it.revision),
        "attempt": [json!(attempt.revision), json!(attempt.state), json!(attempt.weight), json!(attempt.cause)],
        "revisions": status.revisions.iter().map(|it| json!([it.revision, it.role])).collect::<Vec<_>>(),
        "takenBack": status.taken_back,
        "proven": status.proven.iter().map(|it| &it.revision).collect::<Vec<_>>(), "attempts": status.attempts,
        "ways": [attempt.shadowed, attempt.fast_return, attempt.emergency, attempt.skip_steps],
        "takenFrom": attempt.taken_from, "contested": status.route_contest.is_some(),
        "handled": status.handled_request.as_ref().map(|it| json!([it.verb, it.outcome])),
        "conditions": conditions.collect::<Vec<_>>(),
    })
}

/// What was decided and came into effect, in order; a number that was given up was never anything.
fn decisions(entries: &[Entry]) -> Vec<String> {
    let void = |it: &Entry| entries.iter().any(|void| void.kind == EntryKind::Void && void.sequence == it.sequence);
    let told = entries.iter().filter(|it| it.kind != EntryKind::Void && !void(it));
    told.map(|it| format!("{:?} {} {} {}", it.kind, it.decision, it.revision, it.weight)).collect()
}

async fn children(model: &Model<'_>) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let own = ListParams::default().labels(&format!("{}={}", labels::DEPLOYMENT, model.name));
    for (group, version, kind) in [
        ("apps", "v1", "ControllerRevision"),
        ("apps", "v1", "Deployment"),
        ("autoscaling", "v2", "HorizontalPodAutoscaler"),
        ("", "v1", "Service"),
        ("", "v1", "ConfigMap"),
        ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
    ] {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api: Api<DynamicObject> = Api::namespaced_with(model.scene.client(), model.namespace, &resource);
        for object in api.list(&own).await.unwrap() {
            let name = object.metadata.name.clone().unwrap();
            let mut content = object.data;
            for changing in ["/status", "/spec/clusterIP", "/spec/clusterIPs", "/data/entry/uid"] {
                if let Some(value) = content.pointer_mut(changing) {
                    *value = Value::Null;
                }
            }
            let mut annotations = object.metadata.annotations.unwrap_or_default();
            // A digest of all there is, names included.
            annotations.remove(APPLIED);
            // The number of a decision, of which some are given up.
            annotations.remove(FENCE);
            let meta = json!({"labels": object.metadata.labels, "annotations": annotations});
            found.insert(format!("{kind} {name}"), json!([meta, content]));
        }
    }
    found
}

/// The places that differ, a line each.
pub(super) fn difference(expected: &Digest, found: &Digest) -> String {
    let mut lines = Vec::new();
    compare("", &json!(expected), &json!(found), &mut lines);
    lines.join("\n")
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            keys.into_iter().for_each(|key| compare(&format!("{path}/{key}"), &expected[key], &found[key], lines));
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let pairs = one.iter().zip(other).enumerate();
            pairs.for_each(|(index, (one, other))| compare(&format!("{path}/{index}"), one, other, lines));
        }
        _ if expected == found => {}
        _ => lines.push(format!("  {path}: {found} instead of {expected}")),
    }
}
