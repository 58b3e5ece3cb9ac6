//! What the live children say: are the pods ready, has the gateway taken the weights.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use serde_json::Value;

use crate::api::artifact_failure::ArtifactFailure;
use crate::api::gateway::{HttpRoute, RouteParentStatus};
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

/// What the gateways say of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteState {
    /// Every parent has accepted this generation and resolved its backends.
    Accepted,
    /// Some parent has not looked at this generation yet.
    Pending,
    /// A parent refuses this generation: its reason and message.
    Rejected(String),
}

/// Whether every Gateway the route names has accepted its present generation.
#[must_use]
pub fn route_state(route: &HttpRoute) -> RouteState {
    let generation = route.metadata.generation.unwrap_or_default();
    let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
    let answers = route.status.as_ref().map(|it| it.parents.as_slice()).unwrap_or_default();
    let mut pending = route.spec.parent_refs.is_empty();
    for parent in &route.spec.parent_refs {
        let Some(answer) = answers.iter().find(|it| same_parent(&it.parent_ref, parent, namespace)) else {
            pending = true;
            continue;
        };
        for type_ in ["Accepted", "ResolvedRefs"] {
            match verdict(answer, type_, generation) {
                Some((true, _)) => {}
                Some((false, why)) => return RouteState::Rejected(why),
                None => pending = true,
            }
        }
    }
    if pending { RouteState::Pending } else { RouteState::Accepted }
}

fn verdict(answer: &RouteParentStatus, type_: &str, generation: i64) -> Option<(bool, String)> {
    let condition = answer.conditions.iter().find(|it| it.type_ == type_)?;
    let current = condition.observed_generation.unwrap_or_default() >= generation;
    current.then(|| (condition.status == "True", format!("{}: {}", condition.reason, condition.message)))
}

/// Parent references are equal when they name the same Gateway and section;
/// the namespace defaults to the route's own.
fn same_parent(answer: &Value, parent: &Value, namespace: &str) -> bool {
    let field = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let home = |value: &Value| field(value, "namespace").unwrap_or_else(|| namespace.to_owned());
    field(answer, "name") == field(parent, "name")
        && home(answer) == home(parent)
        && field(answer, "sectionName") == field(parent, "sectionName")
        && answer.get("port") == parent.get("port")
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

/// The first problem among the pods of a revision; the artifact's come first.
#[must_use]
pub fn pod_problem<'a>(pods: impl Iterator<Item = &'a Pod>, revision: &str) -> Option<PodProblem> {
    let mut problems: Vec<PodProblem> =
        pods.filter(|pod| revision_of(pod) == Some(revision)).filter_map(problem).collect();
    problems.sort_by_key(|it| !it.is_final);
    problems.into_iter().next()
}

fn revision_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(labels::REVISION).map(String::as_str)
}

fn problem(pod: &Pod) -> Option<PodProblem> {
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
    let fetch = status.init_container_statuses.iter().flatten().find_map(fetch_problem);
    fetch.or_else(|| {
        status.init_container_statuses.iter().chain(&status.container_statuses).flatten().find_map(container_problem)
    })
}

/// What `werkbank fetch` said last.
fn fetch_problem(container: &ContainerStatus) -> Option<PodProblem> {
    let said = [&container.state, &container.last_state]
        .into_iter()
        .find_map(|it| it.as_ref()?.terminated.as_ref()?.message.as_deref());
    let failure = ArtifactFailure::parse(said?)?;
    Some(PodProblem {
        reason: failure.reason.as_str().into(),
        is_final: !failure.reason.is_transient(),
        message: failure.message,
    })
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
    use serde_json::json;

    use super::*;

    fn route(parents: Value, status: Value) -> HttpRoute {
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "churn", "namespace": "crm", "generation": 3},
            "spec": {"parentRefs": parents}, "status": {"parents": status},
        }))
        .unwrap()
    }

    fn says(parent: Value, generation: i64, accepted: &str, resolved: &str) -> Value {
        let condition = |type_: &str, status: &str| {
            json!({"type": type_, "status": status, "reason": "Why", "message": "because",
                "observedGeneration": generation, "lastTransitionTime": "2026-11-24T00:00:00Z"})
        };
        json!({"parentRef": parent, "controllerName": "x", "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)]})
    }

    #[test]
    fn a_route_is_accepted_when_every_parent_has_accepted_this_generation() {
        let (one, two) = (json!({"name": "one"}), json!({"name": "two", "namespace": "infra"}));
        let both = json!([one, two]);
        let state = |answers: Value| route_state(&route(both.clone(), answers));
        let yes = |parent: &Value| says(parent.clone(), 3, "True", "True");
        assert_eq!(state(json!([yes(&one), yes(&two)])), RouteState::Accepted);
        assert_eq!(state(json!([yes(&one)])), RouteState::Pending);
        assert_eq!(state(json!([yes(&one), says(two.clone(), 2, "True", "True")])), RouteState::Pending);
        assert_eq!(
            state(json!([yes(&one), says(two.clone(), 2, "False", "True")])),
            RouteState::Pending,
            "it may be better now"
        );
        assert_eq!(
            state(json!([yes(&one), says(two, 3, "True", "False")])),
            RouteState::Rejected("Why: because".into())
        );
        assert_eq!(route_state(&route(json!([]), json!([]))), RouteState::Pending);
    }

    #[test]
    fn parents_are_told_apart_by_namespace_section_and_port() {
        let wanted = json!({"name": "one", "sectionName": "https"});
        let state = |answer: Value| route_state(&route(json!([wanted]), json!([says(answer, 3, "True", "True")])));
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "namespace": "crm"})), RouteState::Accepted);
        assert_eq!(state(json!({"name": "one"})), RouteState::Pending);
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "namespace": "infra"})), RouteState::Pending);
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "port": 443})), RouteState::Pending);
    }

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
        let problem = |pods: &[Pod]| pod_problem(pods.iter(), "r").map(|it| (it.reason, it.is_final));
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
