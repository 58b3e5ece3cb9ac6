//! What two runs of a scenario have to agree on when they have come to rest.
//!
//! The specs, labels, annotations and owners of all children, the route's weights among them, and of the status
//! what says where things stand. Left out is what tells the way instead of the place: times, uids, versions and
//! generations, the numbers of decisions and attempts, epochs, what people are told in a sentence, and the values that
//! were measured.

use serde_json::{Value, json};

use super::others::copies::is_copy;
use super::server::Cluster;
use super::view::{AUTOSCALERS, CONFIG_MAPS, DEPLOYMENTS, MODELS, RECORDS, ROUTES, SERVICES, path, status_of};
use crate::api::model_deployment::VerdictKind;
use crate::build::GENERATION;
use crate::build::fence::FENCE;

/// Lines that can be compared, one fact each.
pub(super) fn of(cluster: &Cluster) -> Vec<String> {
    let mut lines = status(&cluster.get(&path(MODELS, super::view::NAME)));
    for collection in [RECORDS, CONFIG_MAPS, DEPLOYMENTS, AUTOSCALERS, SERVICES, ROUTES] {
        for (path, object) in cluster.all(collection).into_iter().filter(|(_, it)| !is_copy(it)) {
            let mut essence = essence(&object);
            if collection == AUTOSCALERS && rests(cluster, &object) {
                essence["spec"]["minReplicas"] = Value::Null;
            }
            lines.push(format!("{path}: {essence}"));
        }
    }
    lines
}

fn status(deployment: &Value) -> Vec<String> {
    if deployment.is_null() {
        return vec!["gone".into()];
    }
    let status = status_of(deployment);
    let attempt = status.attempt.as_ref().map(|it| {
        let withdrawn = it.withdrawn_from.map(|it| it.to_string());
        let copied = it.copied.map(|it| it.to_string());
        let held = (it.paused_since.is_some(), it.suspended_since.is_some(), it.skip_steps);
        format!(
            "{} of {} {:?} at {} step {:?} {:?} {withdrawn:?}, copied {copied:?} {}, held {held:?}, returns {}, emergency {}",
            it.revision, it.entry.name, it.state, it.weight, it.step, it.cause, it.shadowed, it.fast_return, it.emergency
        )
    });
    let mut lines = vec![
        format!("phase {:?}", status.phase),
        format!("stable {:?}", status.stable.map(|it| (it.name, it.revision))),
        format!("candidate {:?} at {:?}", status.candidate, status.weight.map(|it| it.to_string())),
        format!("attempt {attempt:?}"),
        format!("{} pods ready", status.replicas),
    ];
    lines.extend(status.revisions.iter().map(|it| format!("revision {} {:?}", it.revision, it.role)));
    lines.extend(status.proven.iter().map(|it| format!("proven {}", it.revision)));
    lines.extend(status.probation.iter().map(|it| {
        let exposed: Vec<String> = it.exposed.iter().map(|it| it.weight.to_string()).collect();
        let verdicts: Vec<_> = it.verdicts.iter().map(|it| (&it.metric, it.verdict)).collect();
        let (recall, differ) = (it.recall.as_ref().map(|it| it.cause), it.images_differ.is_some());
        let (back, ran) = (&it.fallback.revision, &it.fallback_images);
        format!(
            "probation of {} back to {back} {recall:?}, {exposed:?}, {verdicts:?}, ran {ran:?}, differs {differ}",
            it.revision
        )
    }));
    lines.extend(status.route_contest.iter().filter(|it| it.resets >= 3).map(|_| "contested".into()));
    lines.extend(status.stable_down_since.iter().map(|_| "stable is down".into()));
    lines.extend(status.taken_back.iter().map(|it| format!("taken back {} {:?}", it.revision, it.cause)));
    // Whether a Pass came before the attempt ended, or a source was away just then, depends on when it was asked.
    let by_chance = [VerdictKind::Pass, VerdictKind::ProviderError];
    let told = status.verdicts.iter().filter(|it| !by_chance.contains(&it.verdict));
    lines.extend(told.map(|it| format!("verdict {} {:?}", it.metric, it.verdict)));
    lines.extend(status.conditions.iter().map(|it| format!("{} {:?} {}", it.type_, it.status, it.reason)));
    lines
}

/// An autoscaler leaves a Deployment alone that says 0: what it was told before that depends on when that was.
fn rests(cluster: &Cluster, autoscaler: &Value) -> bool {
    let target = autoscaler["spec"]["scaleTargetRef"]["name"].as_str().unwrap_or_default();
    cluster.get(&path(DEPLOYMENTS, target))["spec"]["replicas"] == 0
}

fn essence(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.retain(|key, _| key != GENERATION && key != FENCE && !key.starts_with("somebody/"));
    }
    if annotations.as_object().is_some_and(serde_json::Map::is_empty) {
        annotations = Value::Null;
    }
    let owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    let owners: Vec<Value> = owners.map(|it| json!([it["kind"], it["name"]])).collect();
    let mut essence = json!({"labels": metadata["labels"], "annotations": annotations, "owners": owners,
        "spec": object["spec"], "data": object["data"]});
    forget_uids(&mut essence);
    essence
}

fn forget_uids(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("uid");
            fields.values_mut().for_each(forget_uids);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_uids),
        _ => {}
    }
}
