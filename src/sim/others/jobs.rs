//! The Job controller and a kubelet: a pod for each Job, its end, and what the Job's status says of it.

use http::Method;
use serde_json::{Value, json};

use super::super::server::Cluster;
use super::super::view::{ENTRIES, JOBS, PODS, path, within};
use super::copies::is_copy;
use super::set_status;
use crate::api::labels;

/// How a Job's container ends.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sim) enum JobEnd {
    /// With exit code 0, and this termination message.
    Says(&'static str),
    /// With this exit code, and this termination message.
    Fails(i64, &'static str),
    /// Not yet.
    Runs,
}

/// How each Job ends.
pub(in crate::sim) type Jobs<'a> = &'a dyn Fn(&Value) -> JobEnd;

/// Whether there is something to do about this Job.
pub(super) fn is_waiting(cluster: &Cluster, job: &Value, jobs: Jobs<'_>) -> bool {
    if !job["status"]["conditions"].is_null() {
        return false;
    }
    pod(cluster, job).is_none_or(|(_, pod)| ended(&pod).is_some() || end_of(cluster, job, jobs) != JobEnd::Runs)
}

/// What a copy says is wrong: nobody may go by it.
fn end_of(cluster: &Cluster, job: &Value, jobs: Jobs<'_>) -> JobEnd {
    match (is_copy(job), looks_at(job)) {
        (true, _) => JobEnd::Says(r#"{"value": -1}"#),
        (false, Some(entry)) => end_of_look(cluster, &entry),
        (false, None) => jobs(job),
    }
}

/// On an entry: what its artifact is like, if it is not what is registered: `wrong`, `crashes` whoever reads it, or is `slow`.
pub(in crate::sim) const ARTIFACT: &str = "sim/artifact";

fn end_of_look(cluster: &Cluster, entry: &str) -> JobEnd {
    let entry = cluster.get(&path(ENTRIES, entry));
    match entry["metadata"]["annotations"][ARTIFACT].as_str() {
        None => JobEnd::Says(
            r#"{"verified": {"bytes": 42, "files": 1, "fingerprint": "f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1", "read": true}}"#,
        ),
        Some("wrong") => JobEnd::Fails(12, r#"{"reason": "ArtifactDigestMismatch", "message": "other bytes"}"#),
        Some("crashes") => JobEnd::Fails(137, ""),
        Some("slow") => JobEnd::Runs,
        Some(other) => panic!("an artifact that is {other}"),
    }
}

/// The entry whose artifact the Job looks at.
pub(in crate::sim) fn looks_at(job: &Value) -> Option<String> {
    job["metadata"]["labels"][labels::ENTRY].as_str().map(str::to_owned)
}

/// One thing at a time: the pod is created, it ends, its end is told.
pub(super) fn act(cluster: &Cluster, place: &str, jobs: Jobs<'_>) {
    let job = cluster.get(place);
    let Some((its_place, pod)) = pod(cluster, &job) else { return create(cluster, &job) };
    if let Some(exit) = ended(&pod) {
        let (type_, reason) =
            if exit == 0 { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        let condition =
            json!({"type": type_, "status": "True", "reason": reason, "lastTransitionTime": "2026-11-18T12:00:00Z"});
        return set_status(cluster, place, &json!({"conditions": [condition]}));
    }
    let (exit, message) = match end_of(cluster, &job, jobs) {
        JobEnd::Says(message) => (0, message),
        JobEnd::Fails(exit, message) => (exit, message),
        JobEnd::Runs => return,
    };
    let container = &job["spec"]["template"]["spec"]["containers"][0]["name"];
    let state = json!({"terminated": {"exitCode": exit, "message": message}});
    let status =
        json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    set_status(cluster, &its_place, &json!({"phase": "Succeeded", "containerStatuses": [status]}));
}

/// As long as the Job is there: nobody else removes pods.
fn create(cluster: &Cluster, job: &Value) {
    let metadata = &job["metadata"];
    if metadata.is_null() {
        return;
    }
    let owner = json!({"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": true});
    let name = format!("{}-{}", metadata["name"].as_str().unwrap(), metadata["uid"].as_str().unwrap());
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    let pod = json!({"metadata": {"namespace": metadata["namespace"], "name": name, "labels": labels, "ownerReferences": [owner]},
        "spec": job["spec"]["template"]["spec"]});
    cluster.ask(Method::POST, &within(PODS), pod);
}

fn pod(cluster: &Cluster, job: &Value) -> Option<(String, Value)> {
    let is_its = |it: &Value| it["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"];
    let found = cluster.all(PODS).into_iter().find(|(_, it)| is_its(it))?;
    Some((found.0, Value::clone(&found.1)))
}

fn ended(pod: &Value) -> Option<i64> {
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
}

/// Whether a Job has ended.
pub(in crate::sim) fn is_over(job: &Value) -> bool {
    !job["status"]["conditions"].is_null()
}

/// All Jobs of the deployment; nobody's copies.
pub(in crate::sim) fn all(cluster: &Cluster) -> Vec<(String, Value)> {
    originals(cluster, |it| looks_at(it).is_none())
}

/// All Jobs that look at artifacts; nobody's copies.
pub(in crate::sim) fn looks(cluster: &Cluster) -> Vec<(String, Value)> {
    originals(cluster, |it| looks_at(it).is_some())
}

fn originals(cluster: &Cluster, wanted: impl Fn(&Value) -> bool) -> Vec<(String, Value)> {
    let all = cluster.all(JOBS).into_iter().filter(|(_, it)| !is_copy(it) && wanted(it));
    all.map(|(path, it)| (path, Value::clone(&it))).collect()
}
