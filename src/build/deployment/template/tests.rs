use proptest::prelude::*;

use super::*;

const REGION: &str = "topology.kubernetes.io/region";

fn record() -> RevisionRecord {
    serde_json::from_value(json!({
        "entry": {"revision": "aaaaaaaaaa", "name": "churn-1", "uid": "e1"},
        "artifactUri": "s3://models/churn/model.onnx", "artifactSha256": "ab".repeat(32),
        "template": {}, "port": 8080, "fetchImage": "werkbank:0.1.0", "nodeLabels": {REGION: ["eu-1"]},
    }))
    .unwrap()
}

fn completed(mut spec: Value) -> Result<Value, String> {
    complete(spec.as_object_mut().unwrap(), &record()).map(|()| spec)
}

/// How a place is left open: not there, `null` (as Helm renders `affinity:` with nothing behind it), or empty.
#[derive(Debug, Clone, Copy)]
enum Open {
    Absent,
    Null,
    Empty,
}

fn open() -> impl Strategy<Value = Open> {
    prop_oneof![Just(Open::Absent), Just(Open::Null), Just(Open::Empty)]
}

/// `parent` with that place left open.
fn leave(mut parent: Value, key: &str, open: Open, empty: Value) -> Value {
    match open {
        Open::Absent => {}
        Open::Null => parent[key] = Value::Null,
        Open::Empty => parent[key] = empty,
    }
    parent
}

/// An affinity that is left open at one depth, from nothing at all to a term without expressions.
fn affinity(depth: usize, it: Open) -> Value {
    let path = ["affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
    let mut value = match depth {
        4 => json!([leave(json!({"matchFields": []}), "matchExpressions", it, json!([]))]),
        3 => leave(json!({}), path[3], it, json!([])),
        depth => leave(json!({}), path[depth], it, json!({})),
    };
    for key in path.iter().take(depth).rev() {
        value = json!({*key: value});
    }
    value
}

proptest! {
    #[test]
    fn a_place_left_open_in_any_way_gets_what_belongs_there(
        [env, mounts, volumes, first] in [open(), open(), open(), open()], depth in 0..5_usize, deep in open(),
    ) {
        let server = leave(json!({"name": "server", "image": "x"}), "env", env, json!([]));
        let server = leave(server, "volumeMounts", mounts, json!([]));
        let mut spec = affinity(depth, deep);
        spec["containers"] = json!([server]);
        let spec = leave(leave(spec, "volumes", volumes, json!([])), "initContainers", first, json!([]));
        let spec = completed(spec).unwrap();
        prop_assert_eq!(&spec["initContainers"][0]["name"], FETCH);
        prop_assert_eq!(&spec["volumes"], &json!([{"name": VOLUME, "emptyDir": {}}]));
        let mount = json!([{"name": VOLUME, "mountPath": MODEL_DIRECTORY, "readOnly": true}]);
        prop_assert_eq!(&spec["containers"][0]["volumeMounts"], &mount);
        let env: Vec<&Value> = spec["containers"][0]["env"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
        prop_assert_eq!(env, ["WERKBANK_MODEL_PATH", "WERKBANK_MODEL_DIGEST", "WERKBANK_REVISION"]);
        let terms = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let region = json!([{"key": REGION, "operator": "In", "values": ["eu-1"]}]);
        prop_assert_eq!(terms["nodeSelectorTerms"].as_array().map(Vec::len), Some(1));
        prop_assert_eq!(&terms["nodeSelectorTerms"][0]["matchExpressions"], &region);
    }
}

#[test]
fn what_cannot_be_added_is_refused_by_name_never_left_out() {
    let affinity = |inner: Value| json!({"affinity": {"nodeAffinity": inner}, "containers": []});
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    for (spec, named) in [
        (json!({"containers": [], "initContainers": {}}), "spec.template.spec.initContainers is not a list"),
        (json!({"containers": [], "volumes": "none"}), "spec.template.spec.volumes is not a list"),
        (json!({"containers": [7]}), "spec.template.spec.containers[0] is not an object"),
        (json!({"containers": [null]}), "spec.template.spec.containers[0] is not an object"),
        (json!({"containers": [{"env": {}}]}), "spec.template.spec.containers[0].env is not a list"),
        (json!({"containers": [{}, {"volumeMounts": 1}]}), "spec.template.spec.containers[1].volumeMounts"),
        (json!({"containers": [], "affinity": []}), "spec.template.spec.affinity is not an object"),
        (affinity(json!(false)), "spec.template.spec.affinity.nodeAffinity is not an object"),
        (affinity(json!({required: {"nodeSelectorTerms": {}}})), "nodeSelectorTerms is not a list"),
        (affinity(json!({required: {"nodeSelectorTerms": [null]}})), "nodeSelectorTerms[0] is not an object"),
        (
            affinity(json!({required: {"nodeSelectorTerms": [{"matchExpressions": {}}]}})),
            "nodeSelectorTerms[0].matchExpressions is not a list",
        ),
    ] {
        let error = completed(spec).unwrap_err();
        assert!(error.starts_with("spec.template.spec.") && error.contains(named), "{error}");
    }
}

#[test]
fn no_container_of_the_users_can_write_where_the_verified_artifact_is() {
    for key in ["initContainers", "containers"] {
        let with = |mount: Value| {
            let mut spec = json!({"containers": [{"name": "server"}]});
            spec[key] = json!([{"name": "mine", "volumeMounts": [mount]}]);
            completed(spec)
        };
        for writable in [json!({"name": VOLUME, "mountPath": "/m"}), json!({"name": VOLUME, "readOnly": false})] {
            let error = with(writable).unwrap_err();
            assert!(error.contains(key) && error.contains("readOnly: true"), "{error}");
        }
        assert!(with(json!({"name": VOLUME, "mountPath": "/m", "readOnly": true})).is_ok());
    }
}

#[test]
fn the_kubelet_puts_nothing_in_the_place_of_what_is_in_an_address() {
    let mut record = record();
    record.artifact_uri = "s3://models/$(AWS_SECRET_ACCESS_KEY)/$(PATH)".into();
    let mut spec = json!({"containers": [{"name": "server", "image": "scorer:1"}]});
    complete(spec.as_object_mut().unwrap(), &record).unwrap();
    assert_eq!(spec["initContainers"][0]["args"][2], "s3://models/$$(AWS_SECRET_ACCESS_KEY)/$$(PATH)");
    assert_eq!(spec["containers"][0]["env"][0]["value"], "/werkbank/model/$$(PATH)");
}
