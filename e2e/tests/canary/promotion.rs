//! A promotion from beginning to end, and everything that people and tools see of it: traffic, pods, copies of
//! ConfigMaps, events, the record. Beside it, one in another watched namespace, and one without a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::json;
use werkbank::api::labels;
use werkbank::api::model_deployment::{AttemptState, ModelDeploymentStatus, Phase, VerdictKind};
use werkbank::audit::EntryKind;
use werkbank_e2e::load::Load;
use werkbank_e2e::workbench::{Options, REGION};

use crate::rights::without_gateway;
use crate::rollouts::measured;
use crate::scene::{GOOD, Model, NAMESPACE, Scene, Wanted, unharmed};

/// Another watched namespace.
const OTHER: &str = "ads";
/// Between namespaces of this list and no other.
const WATCHED: &str = "watchNamespaces={crm,ads}";
/// Both revisions serve the same model: the shares are equal.
const SHARED: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: shared, namespace: crm}
data:
  metrics.yaml: |
    - name: at-risk
      role: Objective
      prometheus:
        query: |
          sum(rate(predictions_total{class="at_risk",revision="{{ revision }}"}[10s]))
          / sum(rate(predictions_total{revision="{{ revision }}"}[10s]))
      compare: {to: Stable, maxIncrease: 5pp, maxDecrease: 5pp}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_good_candidate_climbs_its_steps_and_is_promoted_without_a_failed_request() {
    let scene = Scene::empty(Options::from_env()).await;
    // The operator's rights are bound in it.
    scene.apply("namespace-ads", &format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {OTHER}}}}}")).await;
    scene.install(&[WATCHED]).await;
    tokio::join!(climbs(&scene), climbs_elsewhere(&scene), switches(&scene));
    scene.end().await;
}

/// An edited ConfigMap is what is rolled out here: no pod sees it but the candidate's.
async fn climbs(scene: &Scene) {
    let model = scene.model("scores");
    scene.apply("shared", SHARED).await;
    limits(scene, "1").await;
    model.apply(&manifest(&model, "10m", "10m")).await;
    let stable = model.until("the first version serves", |it| it.phase == Phase::Stable).await.stable.unwrap();
    scene.kubectl(&["-n", NAMESPACE, "wait", "--for=condition=Ready", "modeldeployment/scores", "--timeout=60s"]).await;
    let load = model.load(50).await;
    let before = pods(&model, &stable.revision).await;
    assert_eq!(before.len(), 2, "{before:?}");

    limits(scene, "2").await;
    let candidate = model.until_observing("20%").await.candidate.unwrap();
    in_region(&model, &candidate).await;
    copies(&model, &stable.revision, &candidate).await;
    measured(&model, &candidate, "20%", 0.2).await;
    assert_eq!(pods(&model, &stable.revision).await, before, "pods that serve were left alone");
    // A live edit of the steps ends the one that was held.
    model.apply(&manifest(&model, "1s", "10m")).await;
    measured(&model, &candidate, "50%", 0.5).await;
    let compared = |it: &ModelDeploymentStatus| {
        let shared = it.verdicts.iter().find(|it| it.metric == "at-risk" && it.verdict == VerdictKind::Pass);
        shared.is_some_and(|it| it.value.is_some() && it.value == it.stable_value)
    };
    model.until("the shared metric compares it with the stable revision", compared).await;
    let climbing = pods(&model, &candidate).await;
    model.apply(&manifest(&model, "1s", "1s")).await;
    let status = model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    assert_eq!(status.attempt.unwrap().state, AttemptState::Promoted);
    model.until("the old revision is gone", |it| it.revisions.len() == 1).await;
    unharmed(&load.stop().await.unwrap());
    assert_eq!(model.weights().await, BTreeMap::from([(labels::name(&["scores", &candidate]), 10_000)]));

    let after = pods(&model, &candidate).await;
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(!climbing.is_empty() && climbing.is_subset(&after), "restarted: {climbing:?}, then {after:?}");
    assert!(after.iter().all(|(_, restarts)| *restarts == 0), "{after:?}");
    on_the_record(&model, &candidate).await;
    told(scene).await;
}

/// With a shared metric, a region, and a ConfigMap in the environment.
fn manifest(model: &Model<'_>, first: &str, second: &str) -> String {
    let steps = format!("[{{weight: 20%, for: {first}}}, {{weight: 50%, for: {second}}}]");
    model
        .manifest(&GOOD)
        .replace(GOOD.steps, &steps)
        .replace("  replicas:", "  region: eu\n  replicas:")
        .replace("        env:", "        envFrom: [{configMapRef: {name: limits}}]\n        env:")
        .replace("    failureLimit:", "    metricsFrom: [{configMapRef: {name: shared}}]\n    failureLimit:")
}

async fn limits(scene: &Scene, limit: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "limits", "namespace": NAMESPACE},
        "data": {"LIMIT": limit}});
    scene.apply("limits", &map.to_string()).await;
}

/// uid and restarts of a revision's pods that are not on their way out.
async fn pods(model: &Model<'_>, revision: &str) -> BTreeSet<(String, i32)> {
    let pods: Api<Pod> = Api::namespaced(model.scene.client(), model.namespace);
    let of = format!("{}={},{}={revision}", labels::DEPLOYMENT, model.name, labels::REVISION);
    let pods = pods.list(&ListParams::default().labels(&of)).await.unwrap();
    let restarts = |pod: &Pod| {
        let statuses = pod.status.iter().flat_map(|it| it.container_statuses.iter().flatten());
        statuses.map(|it| it.restart_count).sum()
    };
    let there = pods.iter().filter(|it| it.metadata.deletion_timestamp.is_none());
    there.map(|it| (it.uid().unwrap(), restarts(it))).collect()
}

/// The live Deployment requires a node of the region.
async fn in_region(model: &Model<'_>, revision: &str) {
    let deployments: Api<Deployment> = Api::namespaced(model.scene.client(), model.namespace);
    let live = deployments.get(&labels::name(&[model.name, revision])).await.unwrap();
    let affinity = serde_json::to_value(live.spec.unwrap().template.spec.unwrap().affinity).unwrap();
    let place = "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchExpressions/0";
    let expected = json!({"key": "topology.kubernetes.io/region", "operator": "In", "values": [REGION]});
    assert_eq!(affinity.pointer(place), Some(&expected), "{affinity}");
}

/// Each revision has a copy of its own of what the ConfigMap said, in the API and in its processes, and none can change.
async fn copies(model: &Model<'_>, stable: &str, candidate: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(model.scene.client(), model.namespace);
    for (revision, limit) in [(stable, "1"), (candidate, "2")] {
        let name = labels::name(&[model.name, "limits", revision]);
        let copy = maps.get(&name).await.unwrap();
        assert_eq!((copy.data.unwrap()["LIMIT"].as_str(), copy.immutable), (limit, Some(true)));
        let patch = ["-n", NAMESPACE, "patch", "configmap", &name, "-p", r#"{"data": {"LIMIT": "3"}}"#];
        let refused = model.scene.workbench.control_plane().kubectl(patch).await.unwrap();
        assert!(String::from_utf8_lossy(&refused.stderr).contains("immutable"), "{refused:?}");
        let of = format!("{}={},{}={revision}", labels::DEPLOYMENT, model.name, labels::REVISION);
        let pods: Api<Pod> = Api::namespaced(model.scene.client(), model.namespace);
        for pod in pods.list(&ListParams::default().labels(&of)).await.unwrap() {
            let pid = model.scene.workbench.node().unwrap().pid(model.namespace, &pod.name_any(), "server").unwrap();
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
            let expected = format!("LIMIT={limit}");
            let has = environment.split(|byte| *byte == 0).any(|it| it == expected.as_bytes());
            assert!(has, "{} has not {expected}", pod.name_any());
        }
    }
}

/// Of every transition exactly one intent and then its outcome, without a gap.
async fn on_the_record(model: &Model<'_>, candidate: &str) {
    let trail = model.scene.trail(model).await;
    let entries: Vec<(i64, EntryKind)> = trail.iter().map(|it| (it.sequence, it.kind)).collect();
    let last = model.status().await.sequence;
    let expected: Vec<(i64, EntryKind)> = (1..=last)
        .flat_map(|sequence| {
            let kinds = trail.iter().filter(|it| it.sequence == sequence);
            // Of a start nothing is observed: the shift that follows is what comes of it.
            let started = kinds.clone().any(|it| it.decision == "Start");
            let both = [(sequence, EntryKind::Intent), (sequence, EntryKind::Outcome)];
            both.into_iter().take(if started { 1 } else { 2 }).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(entries, expected, "{trail:#?}");
    let told = trail.iter().filter(|it| it.revision == candidate && it.kind == EntryKind::Intent);
    let told: Vec<(&str, &str)> = told.map(|it| (it.decision.as_str(), it.weight.as_str())).collect();
    assert_eq!(told, [("Start", "0%"), ("Shift", "20%"), ("Shift", "50%"), ("Promote", "100%")]);
}

/// The story as Events, for `kubectl describe`.
async fn told(scene: &Scene) {
    let events: Api<Event> = Api::namespaced(scene.client(), NAMESPACE);
    let events = events.list(&ListParams::default()).await.unwrap();
    let of_it = events.iter().filter(|it| it.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some("scores")));
    let reasons: BTreeSet<&str> = of_it.filter_map(|it| it.reason.as_deref()).collect();
    for reason in ["AttemptStarted", "Shift", "Promote", "Promoted"] {
        assert!(reasons.contains(reason), "no {reason} in {reasons:?}");
    }
}

/// Another watched namespace, with a gateway of its own.
async fn climbs_elsewhere(scene: &Scene) {
    let gateway = include_str!("../../../examples/churn/manifests/gateway.yaml");
    scene.apply("gateway-ads", &gateway.replace("namespace: crm", &format!("namespace: {OTHER}"))).await;
    let (uri, sha256) = scene.artifact();
    scene.register_in(OTHER, "scores", json!({"uri": uri, "sha256": sha256})).await;
    let model = Model { namespace: OTHER, ..scene.model("clicks") };
    model.deploy(&GOOD).await;
    model.until("the first version serves", |it| it.phase == Phase::Stable).await;
    let load = model.load(20).await;
    model.deploy(&Wanted { version: "2", steps: "[{weight: 50%, for: 1s}]", ..GOOD }).await;
    model.until("it is promoted", |it| it.phase == Phase::Stable && it.attempts == 2).await;
    unharmed(&load.stop().await.unwrap());
}

/// Without a gateway the deployment's Service selects the one revision or the other. Requests come through a
/// route that somebody made for that Service.
async fn switches(scene: &Scene) {
    let model = scene.model("switch");
    model.apply(&without_gateway("switch", "1", 1)).await;
    let first = model.until("the first version serves", |it| it.phase == Phase::Stable).await.stable.unwrap();
    assert_eq!(selected(scene).await.as_ref(), Some(&first.revision));
    let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "by-hand", "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "internal"}], "hostnames": ["switch.internal"],
            "rules": [{"backendRefs": [{"name": "switch", "port": 8080}]}]}});
    scene.apply("route-by-hand", &route.to_string()).await;
    let accepted = ["-n", NAMESPACE, "wait", "httproute/by-hand", "--timeout=60s"];
    let condition = "--for=jsonpath={.status.parents[0].conditions[?(@.type==\"Accepted\")].status}=True";
    scene.kubectl(&[&accepted[..], &[condition]].concat()).await;
    let load = Load::start(model.target().await, 50).unwrap();
    model.apply(&without_gateway("switch", "2", 1)).await;
    let done = |it: &ModelDeploymentStatus| it.phase == Phase::Stable && it.attempts == 2;
    let second = model.until("it has switched", done).await.stable.unwrap();
    assert_ne!(second.revision, first.revision);
    assert_eq!(selected(scene).await.as_ref(), Some(&second.revision));
    model.until("the old revision is gone", |it| it.revisions.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let seen = load.stop().await.unwrap();
    unharmed(&seen);
    let seen = seen.total;
    assert!(seen.share(&first.revision) > 0.0 && seen.share(&second.revision) > 0.0, "{seen:?}");
}

/// The revision that the Service `switch` selects.
async fn selected(scene: &Scene) -> Option<String> {
    let services: Api<Service> = Api::namespaced(scene.client(), NAMESPACE);
    services.get("switch").await.unwrap().spec?.selector?.get(labels::REVISION).cloned()
}
