//! Where pods run, and what is said when they cannot.

use std::collections::BTreeMap;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::world::{World, condition, container, server, shell, until, waiting};

pub(crate) async fn replicas_share_a_port_on_addresses_of_their_own(world: World<'_>) {
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [server(world.dir)],
                    "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [
                            {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["eu"]}]}]}}},
                },
            },
        },
    }))
    .unwrap();
    let deployments: Api<Deployment> = Api::namespaced(world.client.clone(), &world.namespace);
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    until("three ready replicas", async || {
        let status = deployments.get("web").await.ok()?.status?;
        (status.ready_replicas == Some(3)).then_some(())
    })
    .await;
    let pods = world.pods().list(&ListParams::default()).await.unwrap().items;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut answers = BTreeMap::new();
    for pod in &pods {
        let ip = pod.status.as_ref().unwrap().pod_ip.clone().unwrap();
        let answer = http.get(format!("http://{ip}:8080/")).send().await.unwrap().text().await.unwrap();
        assert_eq!(answer, pod.name_any(), "each address is answered by its own pod");
        answers.insert(ip, answer);
        let id = container(pod, "server").unwrap().image_id;
        assert!(id.starts_with("python@sha256:") && id.len() > 70, "{id}");
    }
    assert_eq!(answers.len(), 3);
}

pub(crate) async fn an_unknown_image_is_named(world: World<'_>) {
    world.create("p", json!({"containers": [{"name": "main", "image": "registry/scorer:9"}]})).await;
    world.create("q", json!({"containers": [{"name": "main", "image": "shell", "command": ["curl"]}]})).await;
    let message = world
        .until_pod("p", "ImagePullBackOff", |pod| {
            waiting(pod, "main").filter(|(reason, _)| reason == "ImagePullBackOff").map(|(_, message)| message)
        })
        .await;
    assert!(message.contains("registry/scorer:9") && message.contains("node-eu"), "{message}");
    let refused = |pod: &Pod| waiting(pod, "main").filter(|(reason, _)| reason == "CreateContainerError");
    let (_, message) = world.until_pod("q", "CreateContainerError", refused).await;
    assert!(message.contains("\"sh\"") && message.contains("\"curl\""), "{message}");
}

pub(crate) async fn a_region_without_a_node_is_unschedulable(world: World<'_>) {
    let spec = json!({
        "nodeSelector": {"topology.kubernetes.io/region": "us"}, "containers": [shell("main", "sleep 600")]});
    world.create("p", spec).await;
    let (status, reason, message) = world.until_pod("p", "PodScheduled", |pod| condition(pod, "PodScheduled")).await;
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Unschedulable"));
    assert!(
        message.starts_with("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        "{message}"
    );
    world.pods().delete("p", &DeleteParams::default()).await.unwrap();
    until("the pod to be gone", async || world.pods().get_opt("p").await.unwrap().is_none().then_some(())).await;
}
