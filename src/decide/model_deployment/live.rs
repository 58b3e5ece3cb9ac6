//! What the live pods say: are they ready, and if not, why.

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::artifact_failure::ArtifactFailure;
use crate::api::labels;

/// Ready pods of a Deployment, counted only when its controller has seen the
/// present spec.
#[must_use]
pub fn ready_pods(deployment: &Deployment) -> i32 {
    let status = deployment.status.as_ref();
    let seen = status.and_then(|it| it.observed_generation) >= deployment.metadata.generation;
    status.filter(|_| seen).and_then(|it| it.ready_replicas).unwrap_or(0)
}

/// Ready pods of a Deployment, whatever spec they were made from: what serves at this moment.
#[must_use]
pub fn serving_pods(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|it| it.ready_replicas).unwrap_or(0)
}

/// Whether every pod that a Deployment asks for is ready.
#[must_use]
pub fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|it| it.replicas).unwrap_or(1);
    serving_pods(deployment) >= wanted
}

/// Why a revision's pods do not come up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodProblem {
    /// CamelCase, from the documented list.
    pub reason: String,
    /// What is wrong and what to do.
    pub message: String,
    /// Waiting will not help: the artifact itself is refused.
    pub is_final: bool,
}

/// The first problem among the pods of a revision; the artifact's come first. What ended before `since` is
/// an earlier attempt's.
#[must_use]
pub fn pod_problem<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    revision: &str,
    since: DateTime<Utc>,
) -> Option<PodProblem> {
    let mut problems: Vec<PodProblem> =
        pods.filter(|pod| revision_of(pod) == Some(revision)).filter_map(|pod| problem(pod, since)).collect();
    problems.sort_by_key(|it| !it.is_final);
    problems.into_iter().next()
}

fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(labels::REVISION).map(String::as_str)
}

fn problem(pod: &Pod, since: DateTime<Utc>) -> Option<PodProblem> {
    let status = pod.status.as_ref()?;
    let unschedulable =
        status.conditions.iter().flatten().find(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unschedulable {
        let said = condition.message.clone().unwrap_or_default();
        return Some(PodProblem {
            reason: "Unschedulable".into(),
            message: format!(
                "no node takes the pods: {said}; add nodes in the region, or change spec.region or the template's requests"
            ),
            is_final: false,
        });
    }
    let fetch = status.init_container_statuses.iter().flatten().find_map(|it| fetch_problem(it, since));
    fetch.or_else(|| {
        status.init_container_statuses.iter().chain(&status.container_statuses).flatten().find_map(container_problem)
    })
}

/// What `werkbank fetch` said last, unless it has succeeded since, or said it before `since`.
fn fetch_problem(container: &ContainerStatus, since: DateTime<Utc>) -> Option<PodProblem> {
    let states = [&container.state, &container.last_state].into_iter().flatten();
    let ended = states.filter_map(|it| it.terminated.as_ref()).next()?;
    let failure = ArtifactFailure::parse(ended.message.as_deref()?)?;
    if ended.exit_code == 0 || is_before(ended, since) {
        return None;
    }
    Some(PodProblem {
        reason: failure.reason.as_str().into(),
        is_final: !failure.reason.is_transient(),
        message: failure.message,
    })
}

/// What Kubernetes tells of time: whole seconds.
pub(in crate::decide) fn moment(told: Option<&Time>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(told?.0.as_second(), 0)
}

/// Of the same second nobody knows.
fn is_before(ended: &ContainerStateTerminated, since: DateTime<Utc>) -> bool {
    moment(ended.finished_at.as_ref()).is_some_and(|it| it.timestamp() < since.timestamp())
}

fn container_problem(container: &ContainerStatus) -> Option<PodProblem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().filter(|it| !matches!(*it, "ContainerCreating" | "PodInitializing"))?;
    let exit = container
        .last_state
        .as_ref()
        .and_then(|it| it.terminated.as_ref())
        .map(|it| format!(", last exit code {}", it.exit_code));
    let said = waiting.message.as_deref().unwrap_or_default();
    Some(PodProblem {
        reason: "PodsNotStarting".into(),
        message: format!(
            "container {} is in {reason}{}: {said}; see its logs (kubectl logs -l {}=…)",
            container.name,
            exit.unwrap_or_default(),
            labels::REVISION
        ),
        is_final: false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn ready_pods_count_for_weight_only_when_the_controller_has_seen_the_spec() {
        let deployment = |observed: Value| -> Deployment {
            serde_json::from_value(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 2},
                "status": {"observedGeneration": observed, "readyReplicas": 3},
            }))
            .unwrap()
        };
        assert_eq!(ready_pods(&deployment(json!(2))), 3);
        assert_eq!(ready_pods(&deployment(json!(1))), 0);
        assert_eq!(ready_pods(&deployment(Value::Null)), 0);
        assert_eq!(serving_pods(&deployment(json!(1))), 3);
        assert_eq!(ready_pods(&Deployment::default()), 0);
    }

    fn pod(revision: &str, status: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"labels": {"werkbank.dev/revision": revision}}, "status": status}))
            .unwrap()
    }

    #[test]
    fn the_artifacts_problem_comes_first_and_other_revisions_problems_not_at_all() {
        let fetch = |reason: &str| {
            json!({"initContainerStatuses": [{"name": "werkbank-fetch", "image": "", "imageID": "", "ready": false, "restartCount": 1,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 12, "message": json!({"reason": reason, "message": "look"}).to_string()}}}]})
        };
        let waiting = |reason: &str| {
            json!({"containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}}}]})
        };
        let problem =
            |pods: &[Pod]| pod_problem(pods.iter(), "r", DateTime::UNIX_EPOCH).map(|it| (it.reason, it.is_final));
        assert_eq!(problem(&[pod("r", waiting("ContainerCreating"))]), None);
        assert_eq!(problem(&[pod("other", fetch("ArtifactDigestMismatch"))]), None);
        assert_eq!(problem(&[pod("r", waiting("ImagePullBackOff"))]), Some(("PodsNotStarting".into(), false)));
        assert_eq!(
            problem(&[pod("r", waiting("ImagePullBackOff")), pod("r", fetch("ArtifactDigestMismatch"))]),
            Some(("ArtifactDigestMismatch".into(), true))
        );
        assert_eq!(problem(&[pod("r", fetch("ArtifactUnreachable"))]), Some(("ArtifactUnreachable".into(), false)));
    }
}
