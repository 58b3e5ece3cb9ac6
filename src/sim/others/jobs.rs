//! The Job controller and a kubelet: a pod for each Job, its end, and what the Job's status says of it.

use http::Method;
use serde_json::{Value, json};

use super::super::server::Cluster;
use super::super::view::{JOBS, PODS, within};
use super::copies::is_copy;
use super::set_status;

/// How a Job's container ends.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sim) enum JobEnd {
    /// With exit code 0, and this termination message.
    Says(&'static str),
    /// With this exit code.
    Fails(i64),
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
    pod(cluster, job).is_none_or(|(_, pod)| ended(&pod).is_some() || end_of(job, jobs) != JobEnd::Runs)
}

/// What a copy says is wrong: nobody may go by it.
fn end_of(job: &Value, jobs: Jobs<'_>) -> JobEnd {
    if is_copy(job) { JobEnd::Says(r#"{"value": -1}"#) } else { jobs(job) }
}

/// One thing at a time: the pod is created, it ends, its end is told.
pub(super) fn act(cluster: &Cluster, path: &str, jobs: Jobs<'_>) {
    let job = cluster.get(path);
    let Some((place, pod)) = pod(cluster, &job) else { return create(cluster, &job) };
    if let Some(exit) = ended(&pod) {
        let (type_, reason) =
            if exit == 0 { ("Complete", "CompletionsReached") } else { ("Failed", "BackoffLimitExceeded") };
        let condition =
            json!({"type": type_, "status": "True", "reason": reason, "lastTransitionTime": "2026-11-18T12:00:00Z"});
        return set_status(cluster, path, &json!({"conditions": [condition]}));
    }
    let (exit, message) = match end_of(&job, jobs) {
        JobEnd::Says(message) => (0, message),
        JobEnd::Fails(exit) => (exit, ""),
        JobEnd::Runs => return,
    };
    let container = &job["spec"]["template"]["spec"]["containers"][0]["name"];
    let state = json!({"terminated": {"exitCode": exit, "message": message}});
    let status =
        json!({"name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    set_status(cluster, &place, &json!({"phase": "Succeeded", "containerStatuses": [status]}));
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
    let all = cluster.all(JOBS).into_iter().filter(|(_, it)| !is_copy(it));
    all.map(|(path, it)| (path, Value::clone(&it))).collect()
}
