use proptest::prelude::*;

use super::*;

fn resource() -> ModelDeployment {
    let spec = serde_json::from_value(json!({
        "modelRef": {"name": "churn-1"}, "port": 8080, "template": {"spec": {"containers": []}}, "analysis": {"none": "x"},
    }))
    .unwrap();
    let mut resource = ModelDeployment::new("churn", spec);
    (resource.metadata.namespace, resource.metadata.uid) = (Some("crm".into()), Some("1111-2222".into()));
    resource
}

fn asked(parents: Value, rules: Value) -> Gateway {
    serde_json::from_value(json!({"parentRefs": parents, "hostnames": ["a.example"], "rules": rules})).unwrap()
}

fn backend() -> Backend {
    Backend { revision: "aaaaaaaaaa".into(), weight: Weight::FULL, port: 8080 }
}

/// Rules as users write them: without matches, with empty ones, with headers of their own.
fn rules() -> impl Strategy<Value = Value> {
    let one = prop_oneof![
        Just(json!({})),
        Just(json!({"headers": []})),
        Just(json!({"path": {"value": "/a"}})),
        Just(json!({"path": {"value": "/a"}, "headers": [{"name": "x-team", "value": "crm"}]})),
    ];
    let rule = prop_oneof![
        Just(json!({})),
        Just(json!({"matches": null})),
        Just(json!({"timeouts": {"request": "2s"}})),
        prop::collection::vec(one, 0..4).prop_map(|matches| json!({"matches": matches})),
    ];
    prop::collection::vec(rule, 0..4).prop_map(|rules| json!(rules))
}

proptest! {
    #[test]
    fn no_request_takes_a_proposal(rules in rules()) {
        let route = propose(&resource(), &asked(json!([{"name": "g"}]), rules), &backend(), None);
        prop_assert!(!route.spec.rules.list().is_empty());
        for rule in &route.spec.rules.list() {
            let matches = rule["matches"].as_array().unwrap();
            prop_assert!(!matches.is_empty(), "no match means every request: {rule}");
            for it in matches {
                let headers = it["headers"].as_array().unwrap();
                prop_assert!(headers.contains(&json!({"name": "x-werkbank-proposed", "value": "1111-2222"})), "{it}");
            }
        }
    }

    #[test]
    fn what_a_route_was_written_from_is_read_back(rules in rules()) {
        let gateway_ = asked(json!([{"name": "g", "sectionName": "http"}]), rules);
        for route in [write(&resource(), &gateway_, &[backend()], None), propose(&resource(), &gateway_, &backend(), None)] {
            prop_assert_eq!(gateway(&route), Some(gateway_.clone()));
        }
    }
}

#[test]
fn a_proposal_asks_the_same_gateways_for_the_same_hosts_and_rules_under_another_name() {
    let asked = asked(json!([{"name": "g"}]), json!([{"filters": [{"type": "URLRewrite"}]}]));
    let (true_one, proposal) =
        (write(&resource(), &asked, &[backend()], None), propose(&resource(), &asked, &backend(), None));
    assert_eq!(proposal.metadata.name.as_deref(), Some("churn.proposed"));
    assert_eq!(proposal.metadata.owner_references, true_one.metadata.owner_references);
    assert_eq!(proposal.spec.parent_refs, true_one.spec.parent_refs);
    assert_eq!(proposal.spec.hostnames, true_one.spec.hostnames);
    assert_eq!(proposal.spec.rules.list()[0]["filters"], true_one.spec.rules.list()[0]["filters"]);
    assert_eq!(weights(&proposal), weights(&true_one));
}

#[test]
fn a_section_or_namespace_that_somebody_edits_is_seen_and_the_api_servers_defaults_are_not() {
    let wanted = write(&resource(), &asked(json!([{"name": "g"}]), json!([])), &[backend()], None);
    let live = |parent: Value| {
        let mut live = wanted.clone();
        live.spec.parent_refs = vec![parent].into();
        same(&live, &wanted)
    };
    assert!(live(json!({"name": "g", "group": "gateway.networking.k8s.io", "kind": "Gateway"})));
    assert!(!live(json!({"name": "g", "sectionName": "nowhere"})));
    assert!(!live(json!({"name": "g", "namespace": "infra"})));
    assert!(!live(json!({"name": "g", "port": 81})));
}
