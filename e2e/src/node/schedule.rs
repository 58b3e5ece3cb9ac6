//! Does this pod fit this node?
//!
//! The part of the scheduler that a canary's region rests on: `nodeSelector`,
//! required node affinity, cordoned nodes and the number of pods. A pod that
//! fits nowhere is told so in the scheduler's own words, because operators and
//! people match on them. Resource requests, taints, spreading and preferred
//! affinity are not looked at: local processes share one machine.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodCondition, PodSpec},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

/// Why a pod does not fit a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Misfit {
    /// Its `nodeSelector` or required node affinity names other nodes.
    Affinity,
    /// The node is cordoned.
    Cordoned,
    /// The node runs as many pods as it may.
    Full,
}

impl Misfit {
    fn words(self) -> &'static str {
        match self {
            Self::Affinity => "node(s) didn't match Pod's node affinity/selector",
            Self::Cordoned => "node(s) were unschedulable",
            Self::Full => "Too many pods",
        }
    }
}

/// Whether a pod is the scheduler's business: not bound, not going, not gated,
/// not over, and not another scheduler's.
pub(super) fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let over = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    spec.node_name.is_none()
        && pod.metadata.deletion_timestamp.is_none()
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler")
        && !matches!(over, Some("Succeeded" | "Failed"))
}

/// Whether `pod` fits `node`, which runs `pods` pods now.
pub(super) fn fit(spec: &PodSpec, node: &Node, pods: usize) -> Result<(), Misfit> {
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        return Err(Misfit::Cordoned);
    }
    if !affine(spec, node) {
        return Err(Misfit::Affinity);
    }
    if capacity(node).is_some_and(|capacity| pods >= capacity) {
        return Err(Misfit::Full);
    }
    Ok(())
}

fn capacity(node: &Node) -> Option<usize> {
    node.status.as_ref()?.allocatable.as_ref()?.get("pods")?.0.parse().ok()
}

fn affine(spec: &PodSpec, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected = spec
        .node_selector
        .as_ref()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
    let required = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    selected
        && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches(term, labels, name)))
}

/// A term matches when all its requirements do; a term without any matches nothing.
fn matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let named = |field: &NodeSelectorRequirement| field.key == "metadata.name" && holds(field, Some(name));
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|wanted| holds(wanted, labels.get(&wanted.key).map(String::as_str)))
        && fields.iter().all(named)
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|v| v == value));
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(value).zip(bound).is_some_and(|(value, bound)| value > bound),
        "Lt" => number(value).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

/// What the scheduler says of a pod that fits none of the nodes.
pub(super) fn unschedulable(misfits: &[Misfit]) -> String {
    if misfits.is_empty() {
        return "no nodes available to schedule pods".to_owned();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for misfit in misfits {
        *counts.entry(misfit.words()).or_default() += 1;
    }
    let mut reasons: Vec<String> = counts.iter().map(|(words, count)| format!("{count} {words}")).collect();
    reasons.sort();
    let total = misfits.len();
    format!(
        "0/{total} nodes are available: {}. no new claims to deallocate, preemption: 0/{total} nodes are available: {total} Preemption is not helpful for scheduling.",
        reasons.join(", ")
    )
}

/// The condition that says so, or nothing if the pod already carries it.
pub(super) fn unschedulable_condition(pod: &Pod, message: &str, now: Timestamp) -> Option<PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == "PodScheduled"));
    if known.is_some_and(|known| known.status == "False" && known.message.as_deref() == Some(message)) {
        return None;
    }
    let since = known.filter(|known| known.status == "False").and_then(|known| known.last_transition_time.clone());
    Some(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
        ..PodCondition::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(labels: serde_json::Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": labels}, "status": {"allocatable": {"pods": "2"}},
        }))
        .unwrap()
    }

    fn spec(value: serde_json::Value) -> PodSpec {
        let mut spec = json!({"containers": []});
        spec.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn affinity(terms: serde_json::Value) -> PodSpec {
        spec(json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}))
    }

    fn requires(key: &str, operator: &str, values: &[&str]) -> PodSpec {
        affinity(json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]))
    }

    #[test]
    fn a_pod_without_wishes_fits_until_the_node_is_full() {
        assert_eq!(fit(&spec(json!({})), &node(json!({})), 1), Ok(()));
        assert_eq!(fit(&spec(json!({})), &node(json!({})), 2), Err(Misfit::Full));
    }

    #[test]
    fn a_cordoned_node_takes_nobody() {
        let mut cordoned = node(json!({}));
        cordoned.spec = serde_json::from_value(json!({"unschedulable": true})).unwrap();
        assert_eq!(fit(&spec(json!({})), &cordoned, 0), Err(Misfit::Cordoned));
    }

    #[test]
    fn a_node_selector_wants_every_label() {
        let eu = node(json!({"region": "eu", "zone": "a"}));
        assert_eq!(fit(&spec(json!({"nodeSelector": {"region": "eu", "zone": "a"}})), &eu, 0), Ok(()));
        assert_eq!(fit(&spec(json!({"nodeSelector": {"region": "eu", "zone": "b"}})), &eu, 0), Err(Misfit::Affinity));
    }

    #[test]
    fn each_operator_means_what_the_api_says() {
        let eu = node(json!({"region": "eu", "cores": "8"}));
        let fits = |spec: &PodSpec| fit(spec, &eu, 0).is_ok();
        for (key, operator, values, wanted) in [
            ("region", "In", &["eu", "us"][..], true),
            ("region", "In", &["us"], false),
            ("absent", "In", &["eu"], false),
            ("region", "NotIn", &["us"], true),
            ("region", "NotIn", &["eu"], false),
            ("absent", "NotIn", &["eu"], true),
            ("region", "Exists", &[], true),
            ("absent", "Exists", &[], false),
            ("absent", "DoesNotExist", &[], true),
            ("region", "DoesNotExist", &[], false),
            ("cores", "Gt", &["4"], true),
            ("cores", "Lt", &["8"], false),
            ("region", "Gt", &["4"], false),
            ("region", "Unheard", &["eu"], false),
        ] {
            assert_eq!(fits(&requires(key, operator, values)), wanted, "{key} {operator} {values:?}");
        }
    }

    #[test]
    fn terms_are_alternatives_and_requirements_of_a_term_are_not() {
        let eu = node(json!({"region": "eu"}));
        let exists = |key: &str| json!({"key": key, "operator": "Exists"});
        let either =
            affinity(json!([{"matchExpressions": [exists("absent")]}, {"matchExpressions": [exists("region")]}]));
        let both = affinity(json!([{"matchExpressions": [exists("absent"), exists("region")]}]));
        assert_eq!(fit(&either, &eu, 0), Ok(()));
        assert_eq!(fit(&both, &eu, 0), Err(Misfit::Affinity));
        assert_eq!(fit(&affinity(json!([{}])), &eu, 0), Err(Misfit::Affinity));
        let named = |name: &str| {
            affinity(json!([{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}]))
        };
        assert_eq!(fit(&named("n1"), &eu, 0), Ok(()));
        assert_eq!(fit(&named("n2"), &eu, 0), Err(Misfit::Affinity));
    }

    #[test]
    fn a_pod_that_fits_nowhere_is_told_in_the_schedulers_words() {
        assert_eq!(unschedulable(&[]), "no nodes available to schedule pods");
        let message = unschedulable(&[Misfit::Affinity, Misfit::Full, Misfit::Affinity]);
        assert!(
            message.starts_with(
                "0/3 nodes are available: 1 Too many pods, 2 node(s) didn't match Pod's node affinity/selector. "
            ),
            "{message}"
        );
    }

    #[test]
    fn the_condition_is_written_once_and_keeps_its_time_when_only_the_words_change() {
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let mut pod = Pod::default();
        let condition = unschedulable_condition(&pod, "a", first).unwrap();
        pod.status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
        assert_eq!(unschedulable_condition(&pod, "a", later), None);
        let changed = unschedulable_condition(&pod, "b", later).unwrap();
        assert_eq!(changed.last_transition_time, Some(Time(first)));
    }

    #[test]
    fn bound_gated_foreign_and_finished_pods_are_not_scheduled() {
        let pod = |spec: serde_json::Value| -> Pod {
            let mut all = json!({"containers": []});
            all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
            serde_json::from_value(json!({"spec": all})).unwrap()
        };
        assert!(is_pending(&pod(json!({"schedulerName": "default-scheduler"}))));
        assert!(!is_pending(&pod(json!({"nodeName": "n1"}))));
        assert!(!is_pending(&pod(json!({"schedulerName": "other"}))));
        assert!(!is_pending(&pod(json!({"schedulingGates": [{"name": "g"}]}))));
    }
}
