use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

use super::template::VOLUME;
use super::*;
use crate::api::gateway::HttpRoute;
use crate::api::model_deployment::Gateway;
use crate::api::{Weight, labels};
use crate::build::record::{self, Recorded};
use crate::build::{route, service};
use crate::decide::Child;

fn resource() -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm", "uid": "u1"},
        "spec": {"modelRef": {"name": "churn-1"}, "port": 8080, "template": {}, "analysis": {"none": "x"}},
    }))
    .unwrap()
}

fn revision(template: Value) -> RevisionRecord {
    serde_json::from_value(json!({
        "entry": {"revision": "aaaaaaaaaa", "name": "churn-1", "uid": "e1"},
        "artifactUri": "s3://models/churn/model.onnx", "artifactSha256": "ab".repeat(32),
        "template": template, "port": 8080, "fetchImage": "werkbank:0.1.0",
    }))
    .unwrap()
}

fn owner() -> Owner {
    Owner { name: "churn-aaaaaaaaaa".into(), uid: "r1".into() }
}

fn written(record: &RevisionRecord) -> Result<Value, String> {
    write(&resource(), record, &owner(), 3).map(|it| serde_json::to_value(it).unwrap())
}

fn template(container: Value, rest: Value) -> Value {
    let mut spec = json!({"containers": [{"name": "server", "image": "scorer:1.4"}]});
    spec["containers"][0].as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    json!({"spec": spec})
}

fn plain() -> Value {
    template(json!({}), json!({}))
}

#[test]
fn the_artifact_is_fetched_first_by_a_container_that_can_do_nothing_else() {
    let mut record = revision(template(json!({}), json!({"initContainers": [{"name": "mine", "image": "x"}]})));
    record.secret_ref = Some(serde_json::from_value(json!({"name": "store"})).unwrap());
    let deployment = written(&record).unwrap();
    let containers = &deployment["spec"]["template"]["spec"]["initContainers"];
    assert_eq!([&containers[0]["name"], &containers[1]["name"]], ["werkbank-fetch", "mine"]);
    let fetch = &containers[0];
    let args =
        json!(["fetch", "--uri", "s3://models/churn/model.onnx", "--sha256", "ab".repeat(32), "--to", MODEL_DIRECTORY]);
    assert_eq!((&fetch["args"], &fetch["image"]), (&args, &json!("werkbank:0.1.0")));
    assert_eq!(fetch["envFrom"], json!([{"secretRef": {"name": "store"}}]));
    assert_eq!(fetch["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(fetch["volumeMounts"], json!([{"name": VOLUME, "mountPath": MODEL_DIRECTORY}]));
}

#[test]
fn a_file_artifact_is_fetched_from_the_servers_own_volumes_read_only() {
    let mut record = revision(template(
        json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]}),
        json!({"volumes": [{"name": "data", "emptyDir": {}}]}),
    ));
    record.artifact_uri = "file:///data/model.onnx".into();
    let deployment = written(&record).unwrap();
    let mounts = &deployment["spec"]["template"]["spec"]["initContainers"][0]["volumeMounts"];
    assert_eq!(mounts[1], json!({"name": "data", "mountPath": "/data", "readOnly": true}));
    assert_eq!(mounts.as_array().unwrap().len(), 2);
}

#[test]
fn the_server_is_told_what_it_serves_and_cannot_be_told_otherwise() {
    let env =
        json!([{"name": "A", "value": "$(WERKBANK_MODEL_PATH)"}, {"name": "WERKBANK_REVISION", "value": "forged"}]);
    let deployment = written(&revision(template(json!({"env": env}), json!({})))).unwrap();
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let names: Vec<&Value> = container["env"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["WERKBANK_MODEL_PATH", "WERKBANK_MODEL_DIGEST", "WERKBANK_REVISION", "A"]);
    assert_eq!(container["env"][0]["value"], format!("{MODEL_DIRECTORY}/model.onnx"));
    assert_eq!(container["env"][1]["value"], format!("sha256:{}", "ab".repeat(32)));
    assert_eq!(container["env"][2]["value"], "aaaaaaaaaa");
    assert_eq!(container["volumeMounts"], json!([{"name": VOLUME, "mountPath": MODEL_DIRECTORY, "readOnly": true}]));
}

#[test]
fn every_reference_to_a_config_map_goes_to_the_copy() {
    let reference = json!({"name": "rules", "optional": true});
    let container = json!({
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "rules", "key": "a"}}}],
        "envFrom": [{"configMapRef": reference}, {"secretRef": {"name": "rules"}}],
    });
    let rest = json!({
        "volumes": [{"name": "v", "configMap": reference}, {"name": "p", "projected": {"sources": [{"configMap": reference}]}}],
        "initContainers": [{"name": "i", "image": "x", "envFrom": [{"configMapRef": reference}]}],
    });
    let mut record = revision(template(container, rest));
    record.config_maps = [("rules".to_owned(), "copy".to_owned())].into();
    let deployment = written(&record).unwrap();
    let text = deployment.to_string();
    assert_eq!(text.matches(r#""name":"copy""#).count(), 5, "{text}");
    assert_eq!(text.matches(r#""name":"rules""#).count(), 1, "the Secret of that name stays: {text}");
}

#[test]
fn the_region_is_added_to_each_alternative_the_user_allows() {
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}, {"matchFields": []},
    ]}}});
    for (affinity, alternatives) in [(json!({}), 1), (affinity, 2)] {
        let mut record = revision(template(json!({}), json!({"affinity": affinity})));
        record.node_labels = [("topology.kubernetes.io/region".to_owned(), vec!["eu-1".to_owned()])].into();
        let deployment = written(&record).unwrap();
        let required = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
        let terms = deployment.pointer(required).unwrap().as_array().unwrap();
        assert_eq!(terms.len(), alternatives);
        for term in terms {
            let wanted = json!({"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu-1"]});
            assert!(term["matchExpressions"].as_array().unwrap().contains(&wanted), "{term}");
        }
    }
    assert_eq!(written(&revision(plain())).unwrap()["spec"]["template"]["spec"].get("affinity"), None);
}

#[test]
fn names_of_the_operator_are_refused_in_the_template() {
    for (key, name) in [("volumes", VOLUME), ("initContainers", FETCH), ("containers", FETCH)] {
        let mut template = plain();
        template["spec"][key] = json!([{"name": name, "image": "x"}]);
        let error = written(&revision(template)).unwrap_err();
        assert!(error.contains(key) && error.contains("choose another"), "{error}");
    }
}

#[test]
fn what_is_no_pod_template_is_refused_not_guessed() {
    for template in [
        json!({"spec": {"containers": [{"name": "s", "image": 7}]}}),
        json!({"spec": []}),
        json!(7),
        json!({"metadata": [], "spec": {"containers": []}}),
    ] {
        let error = written(&revision(template)).unwrap_err();
        assert!(error.contains("spec.template"), "{error}");
    }
}

#[test]
fn a_field_that_is_misspelt_or_newer_than_the_operator_is_refused_not_dropped() {
    let error = written(&revision(template(json!({"securitContext": {"runAsUser": 7}}), json!({})))).unwrap_err();
    assert!(error.starts_with("spec.template.spec.containers[0].securitContext: "), "{error}");
}

#[test]
fn pods_are_selected_also_when_their_labels_are_left_open() {
    for metadata in [json!(null), json!({"labels": null}), json!({"labels": {}})] {
        let mut template = plain();
        template["metadata"] = metadata;
        let deployment = written(&revision(template)).unwrap();
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels, &deployment["spec"]["selector"]["matchLabels"]);
    }
}

#[test]
fn numbers_are_allowed_for_resources_as_in_yaml() {
    let resources = json!({"resources": {"requests": {"cpu": 1, "memory": "1Gi"}, "limits": {"cpu": 0.5}}});
    let deployment = written(&revision(template(resources, json!({})))).unwrap();
    let resources = &deployment["spec"]["template"]["spec"]["containers"][0]["resources"];
    assert_eq!(resources, &json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "0.5"}}));
}

#[test]
fn pods_carry_the_labels_that_select_them_beside_the_users_own() {
    let mut template = plain();
    template["metadata"] = json!({"labels": {"team": "crm", labels::REVISION: "forged"}});
    let deployment = written(&revision(template)).unwrap();
    let wanted = json!({labels::DEPLOYMENT: "churn", labels::REVISION: "aaaaaaaaaa"});
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], wanted);
    let pod = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(pod, &json!({"team": "crm", labels::DEPLOYMENT: "churn", labels::REVISION: "aaaaaaaaaa"}));
    assert_eq!(deployment["metadata"]["ownerReferences"][0]["uid"], "r1");
}

#[test]
fn replicas_and_template_make_a_difference_and_the_api_servers_defaults_do_not() {
    let wanted = write(&resource(), &revision(plain()), &owner(), 3).unwrap();
    let mut live = wanted.clone();
    live.metadata.generation = Some(1);
    live.spec.as_mut().unwrap().progress_deadline_seconds = Some(600);
    assert_eq!(correction(&live, wanted.clone()), None);
    live.spec.as_mut().unwrap().replicas = Some(2);
    assert!(correction(&live, wanted.clone()).is_some());
    let other =
        write(&resource(), &revision(template(json!({"image": "scorer:1.5"}), json!({}))), &owner(), 3).unwrap();
    live.spec.as_mut().unwrap().replicas = Some(3);
    assert!(correction(&live, other).is_some());
}

/// The record that is made of a revision.
fn recorded(revision: &RevisionRecord) -> Recorded {
    let Child::Revision(record) = record::write(&resource(), revision, 1) else { panic!("no record") };
    (*record).into()
}

#[test]
fn a_deployment_is_as_recorded_until_somebody_edits_it() {
    let recorded = recorded(&revision(plain()));
    let live = created();
    assert!(is_as_recorded(&live, &recorded));
    assert!(!is_as_recorded(&live, &ControllerRevision::default().into()), "a record without a note");
    let other = revision(template(json!({"image": "scorer:1.5"}), json!({})));
    assert!(!is_as_recorded(&live, &self::recorded(&other)), "another revision's record");
    let edits: [fn(&mut Deployment); 4] = [
        |it| write_over(it, |it| it.spec.as_mut().unwrap().paused = Some(true)),
        |it| write_over(it, |it| it.spec.as_mut().unwrap().replicas = Some(7)),
        |it| annotate(it, "team.example/seen"),
        |it| write_over(it, |it| drop(it.metadata.annotations.as_mut().unwrap().remove(APPLIED))),
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut live = live.clone();
        edit(&mut live);
        assert!(!is_as_recorded(&live, &recorded), "edit {number}");
    }
}

#[test]
fn an_operator_that_builds_otherwise_changes_how_many_pods_there_are_and_not_what_they_run() {
    let mut recorded = recorded(&revision(plain()));
    let mut live = created();
    // As another version has made both.
    for annotations in [&mut recorded.metadata.annotations, &mut live.metadata.annotations] {
        annotations.as_mut().unwrap().insert(APPLIED.into(), "otherwise".into());
    }
    assert!(is_as_recorded(&live, &recorded) && scaled(&live, 3).is_none());
    let correction = scaled(&live, 5).unwrap();
    assert!(only_scales(&correction) && !only_scales(&created()));
    write_over(&mut live, |it| {
        it.spec.as_mut().unwrap().replicas = Some(5);
        it.metadata.annotations.get_or_insert_default().extend(correction.metadata.annotations.unwrap());
    });
    assert!(is_as_recorded(&live, &recorded) && scaled(&live, 5).is_none(), "one apply is enough");
}

#[test]
fn a_template_that_is_none_still_gets_its_record() {
    let Child::Revision(child) = record::write(&resource(), &revision(json!({"spec": 1})), 1) else { panic!("none") };
    assert_eq!(child.metadata.annotations, None);
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let record = revision(plain());
    let Child::Revision(child) = record::write(&resource(), &record, 4) else { panic!("no ControllerRevision") };
    let recorded = Recorded::from(*child);
    assert_eq!((recorded.metadata.name.as_deref(), recorded.attempt), (Some("churn-aaaaaaaaaa"), 4));
    assert_eq!(recorded.record, Ok(record));
}

#[test]
fn the_longest_name_leaves_room_for_the_revision() {
    let name = labels::name(&[&"n".repeat(52), "aaaaaaaaaa"]);
    assert_eq!((name.len(), name.ends_with("-aaaaaaaaaa")), (63, true));
}

fn routed(rules: Value) -> HttpRoute {
    let gateway: Gateway = serde_json::from_value(json!({"parentRefs": [{"name": "g"}], "rules": rules})).unwrap();
    let quarter = Weight::from_hundredths(2500);
    let backend = |revision: &str, weight| route::Backend { revision: revision.into(), weight, port: 8080 };
    route::write(&resource(), &gateway, &[backend("aaaaaaaaaa", quarter.rest()), backend("bbbbbbbbbb", quarter)], None)
}

#[test]
fn every_rule_of_a_route_has_the_same_weights() {
    let route = routed(json!([{"matches": [{"path": {"value": "/a"}}]}, {"timeouts": {"request": "2s"}}]));
    let weights = vec![("churn-aaaaaaaaaa".to_owned(), 7500), ("churn-bbbbbbbbbb".to_owned(), 2500)];
    assert_eq!(route::weights(&route), [weights.clone(), weights]);
    assert_eq!(route.spec.rules.list()[0]["matches"][0]["path"]["value"], "/a");
    assert_eq!(routed(json!([])).spec.rules.list().len(), 1);
}

fn edit_rule(route: &mut HttpRoute, edit: impl FnOnce(&mut Value)) {
    let mut rules = route.spec.rules.list();
    edit(&mut rules[0]);
    route.spec.rules = rules.into();
}

#[test]
fn a_route_edited_by_somebody_else_is_not_the_same() {
    let wanted = routed(json!([]));
    for edit in [
        |it: &mut HttpRoute| edit_rule(it, |rule| rule["backendRefs"][1]["weight"] = json!(10_000)),
        |it: &mut HttpRoute| edit_rule(it, |rule| rule["backendRefs"][0]["port"] = json!(8081)),
        |it: &mut HttpRoute| it.spec.hostnames = vec!["other".into()],
        |it: &mut HttpRoute| it.spec.parent_refs = vec![json!({"name": "other"})].into(),
        |it: &mut HttpRoute| it.metadata.annotations = None,
    ] {
        let mut live = wanted.clone();
        edit(&mut live);
        assert!(!route::same(&live, &wanted));
    }
    let mut live = wanted.clone();
    edit_rule(&mut live, |rule| rule["matches"] = json!([{"path": {"type": "PathPrefix", "value": "/"}}]));
    assert!(route::same(&live, &wanted), "the API server's defaults");
}

#[test]
fn the_deployments_service_selects_one_revision() {
    let (one, two) = (
        service::of_deployment(&resource(), "aaaaaaaaaa", 8080),
        service::of_deployment(&resource(), "bbbbbbbbbb", 8080),
    );
    assert!(service::same(&one, &one) && !service::same(&one, &two));
    assert_eq!(one.metadata.owner_references.unwrap()[0].kind, "ModelDeployment");
}

/// Writes as the API server does: a change of the spec or of an annotation is a new generation.
fn write_over(live: &mut Deployment, change: impl FnOnce(&mut Deployment)) {
    let before = live.clone();
    change(live);
    let changed = live.spec != before.spec || live.metadata.annotations != before.metadata.annotations;
    live.metadata.generation = before.metadata.generation.map(|it| it + i64::from(changed));
}

/// Applies what is ours; what is somebody else's stays.
fn apply(live: &mut Deployment, correction: Deployment) {
    write_over(live, |it| {
        it.spec.as_mut().unwrap().replicas = correction.spec.unwrap().replicas;
        it.metadata.annotations.get_or_insert_default().extend(correction.metadata.annotations.unwrap());
    });
}

fn created() -> Deployment {
    let mut live = write(&resource(), &revision(plain()), &owner(), 3).unwrap();
    live.metadata.generation = Some(1);
    live
}

fn annotate(live: &mut Deployment, key: &str) {
    write_over(live, |it| drop(it.metadata.annotations.get_or_insert_default().insert(key.into(), "1".into())));
}

#[test]
fn what_the_deployment_controller_notes_with_the_status_is_no_edit() {
    let mut live = created();
    live.metadata.annotations.as_mut().unwrap().insert("deployment.kubernetes.io/revision".into(), "1".into());
    assert_eq!(correction(&live, created()), None);
}

#[test]
fn a_restored_object_that_notes_the_next_generation_is_applied_until_its_note_is_true() {
    let mut live = created();
    annotate(&mut live, "team.example/seen");
    let first = correction(&live, created()).unwrap();
    apply(&mut live, first);
    // As a backup restores it: annotations and all, and counted from 1.
    live.metadata.annotations.as_mut().unwrap().insert(GENERATION.into(), "2".into());
    live.metadata.generation = Some(1);
    let mut applies = 0;
    while let Some(correction) = correction(&live, created()) {
        apply(&mut live, correction);
        applies += 1;
        assert!(applies <= 2);
    }
    assert_eq!(applies, 2);
}

#[test]
fn whatever_is_edited_one_apply_is_enough_and_no_later_edit_is_missed() {
    let edits: [fn(&mut Deployment); 4] = [
        |it| write_over(it, |it| it.spec.as_mut().unwrap().replicas = Some(1)),
        |it| write_over(it, |it| it.spec.as_mut().unwrap().paused = Some(true)),
        |it| annotate(it, "team.example/seen"),
        // A restored object begins to count anew.
        |it| it.metadata.generation = Some(1),
    ];
    let mut live = created();
    for (number, edit) in edits.into_iter().enumerate() {
        edit(&mut live);
        let first = correction(&live, created()).unwrap_or_else(|| panic!("edit {number} was missed"));
        apply(&mut live, first);
        assert_eq!(correction(&live, created()), None, "edit {number}");
        assert_eq!(live.spec.as_ref().unwrap().replicas, Some(3));
    }
}

#[test]
fn a_deployment_without_the_note_is_applied_once() {
    let wanted = || write(&resource(), &revision(plain()), &owner(), 3).unwrap();
    let mut live = wanted();
    live.metadata.generation = Some(4);
    live.metadata.annotations.as_mut().unwrap().remove(GENERATION);
    let first = correction(&live, wanted()).unwrap();
    apply(&mut live, first);
    assert_eq!(correction(&live, wanted()), None);
}
