use serde_json::from_value;

use super::*;

fn resource() -> ModelDeployment {
    from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm", "uid": "u"},
        "spec": {"modelRef": {"name": "churn-1"}, "port": 8080, "template": {}, "analysis": {"none": "x"}},
    }))
    .unwrap()
}

fn asked(metrics: Value) -> Autoscaling {
    from_value(json!({"min": 2, "max": 8, "metrics": metrics})).unwrap()
}

fn cpu(target: i32) -> Value {
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}])
}

fn written(asked: &Autoscaling, min: i32) -> Result<HorizontalPodAutoscaler, String> {
    let owner = Owner { name: "churn-r1".into(), uid: "o".into() };
    write(&resource(), asked, "r1", &owner, min)
}

#[test]
fn it_scales_the_revisions_deployment_and_belongs_to_its_record() {
    let it = json!(written(&asked(cpu(70)), 3).unwrap());
    assert_eq!(
        it["spec"]["scaleTargetRef"],
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn-r1"})
    );
    assert_eq!((&it["spec"]["minReplicas"], &it["spec"]["maxReplicas"]), (&json!(3), &json!(8)));
    assert_eq!(it["metadata"]["ownerReferences"][0]["kind"], "ControllerRevision");
    assert_eq!(it["metadata"]["labels"]["werkbank.dev/revision"], "r1");
}

#[test]
fn what_a_weight_takes_is_had_even_above_the_maximum() {
    let it = written(&asked(cpu(70)), 11).unwrap().spec.unwrap();
    assert_eq!((it.min_replicas, it.max_replicas), (Some(11), 11), "the API server takes no minimum above the maximum");
}

#[test]
fn what_is_no_metric_is_refused_with_the_field() {
    for metrics in
        [json!([{"type": 7}]), json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"kind": "x"}}}])]
    {
        let error = written(&asked(metrics), 1).unwrap_err();
        assert!(error.starts_with("spec.autoscaling"), "{error}");
    }
    let misspelt = json!([{"type": "Resource", "resorce": {"name": "cpu"}}]);
    let error = written(&asked(misspelt), 1).unwrap_err();
    assert!(error.starts_with("spec.autoscaling.metrics[0].resorce: "), "{error}");
}

#[test]
fn an_edit_of_the_spec_or_of_the_live_one_is_seen_and_the_api_servers_own_spelling_is_not() {
    let behavior = json!({"scaleDown": {"stabilizationWindowSeconds": 60}});
    let mut with_behavior = asked(json!([{"type": "Pods", "pods": {"metric": {"name": "rps"},
        "target": {"type": "AverageValue", "averageValue": "0.5"}}}]));
    with_behavior.behavior = Some(behavior);
    let wanted = written(&with_behavior, 2).unwrap();
    let mut live = json!(wanted);
    live["spec"]["metrics"][0]["pods"]["target"]["averageValue"] = json!("500m");
    live["spec"]["behavior"]["scaleDown"]["selectPolicy"] = json!("Max");
    let is_same = |live: &Value| same(&from_value(live.clone()).unwrap(), &wanted);
    assert!(is_same(&live));
    for (place, edit) in [
        ("/spec/minReplicas", json!(1)),
        ("/spec/maxReplicas", json!(9)),
        ("/spec/scaleTargetRef/name", json!("other")),
        ("/spec/metrics/0/type", json!("Resource")),
        ("/spec/metrics", json!([])),
        ("/metadata/annotations", json!({})),
    ] {
        let mut edited = live.clone();
        *edited.pointer_mut(place).unwrap() = edit;
        assert!(!is_same(&edited), "{place}");
    }
    assert!(!same(&wanted, &written(&asked(cpu(70)), 2).unwrap()), "other metrics are asked for");
}
