//! Pods as local processes, against a real API server and its controllers.
//!
//! One control plane and one node serve all scenarios, each in a namespace of
//! its own: they run at once, as a node's pods do.
#![cfg(test)]

mod inside;
mod life;
mod place;
mod world;

use std::{path::Path, process::Command};

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, api::PostParams};
use serde_json::json;
use werkbank_e2e::{
    controlplane::{self, ControlPlane},
    node::{AddressBlock, Image, NodeAgent, NodeOptions},
    process::Supervisor,
    tools::Tools,
};

use crate::world::{World, shell, until};

/// Python itself: what is on `PATH` may be a script that needs the user's environment.
fn python() -> String {
    let output = Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_pods_as_a_cluster_would() {
    let tools = Tools::new(Supervisor::new().unwrap()).unwrap();
    let plane = ControlPlane::start(controlplane::Options::default(), &tools).await.unwrap();
    let [.., block, _] = plane.addresses().ip(1).octets();
    let options = NodeOptions::new(
        "node-eu",
        AddressBlock::new(78, block),
        plane.run_dir().join("node"),
        plane.url(),
        plane.ca_pem(),
    )
    .label("topology.kubernetes.io/region", "eu")
    .image("shell", Image::new("/bin/sh"))
    .image("python", Image::new(python()));
    let agent = NodeAgent::start(plane.client(), options).await.unwrap();
    let world = async |namespace: &'static str| {
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::<Namespace>::all(plane.client()).create(&PostParams::default(), &object).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), namespace);
        until("the default ServiceAccount", async || accounts.get("default").await.ok()).await;
        World { client: plane.client(), agent: &agent, namespace: namespace.into(), dir: plane.run_dir() }
    };
    tokio::join!(
        async { place::replicas_share_a_port_on_addresses_of_their_own(world("replicas").await).await },
        async { life::a_failing_init_container_shows_its_termination_message(world("init").await).await },
        async { life::a_crashing_container_backs_off(world("crash").await).await },
        async { life::readiness_follows_the_probe(world("readiness").await).await },
        async { life::deletion_is_graceful(world("deletion").await).await },
        async { life::a_force_deleted_pods_processes_end(world("vanished").await).await },
        async { place::an_unknown_image_is_named(world("image").await).await },
        async { place::a_region_without_a_node_is_unschedulable(world("region").await).await },
        async { inside::a_pods_kubeconfig_may_do_what_rbac_allows(world("rbac").await).await },
        async { inside::files_and_variables_reach_the_process(world("files").await).await },
        async { life::a_sidecar_does_not_keep_a_finished_pod_alive(world("sidecar").await).await },
        async { life::a_killed_process_is_started_again(world("killed").await).await },
    );
    let world = world("stop").await;
    world.create("sleeper", json!({"containers": [shell("main", "sleep 600")]})).await;
    world.until_ready("sleeper", "True").await;
    let pid = agent.pid("stop", "sleeper", "main").unwrap();
    agent.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "stopping the node ends its pods' processes");
    plane.stop().await.unwrap();
}
