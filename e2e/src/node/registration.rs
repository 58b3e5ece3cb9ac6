//! The Node object and its lease.
//!
//! Server-side apply, so that labels and taints that others put on the Node stay
//! theirs. The heartbeat is the lease; the Node itself is only written when it
//! differs (an apply that changes nothing is no write).

use std::{convert::Infallible, time::Duration};

use anyhow::Context as _;
use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::NodeOptions;

/// How often the lease is renewed.
const HEARTBEAT: Duration = Duration::from_secs(10);
const MANAGER: &str = "werkbank-node";

/// Makes the Node known, for the first time.
pub(super) async fn register(client: &Client, options: &NodeOptions, since: Timestamp) -> anyhow::Result<()> {
    let nodes: Api<v1::Node> = Api::all(client.clone());
    let apply = PatchParams::apply(MANAGER).force();
    let failed = || format!("node {} cannot be registered: may this client write nodes?", options.name);
    nodes.patch(&options.name, &apply, &Patch::Apply(node(options))).await.with_context(failed)?;
    // Admission taints a new Node as not ready, and the controller that would
    // take the taint away is not part of the workbench.
    let untaint = json!({"spec": {"taints": null}});
    nodes.patch(&options.name, &PatchParams::default(), &Patch::Merge(untaint)).await.with_context(failed)?;
    nodes.patch_status(&options.name, &apply, &Patch::Apply(status(options, since))).await.with_context(failed)?;
    Ok(())
}

/// Renews the lease, and the Node if someone deleted it, for as long as polled.
pub(super) async fn keep(client: Client, options: &NodeOptions, since: Timestamp) -> Infallible {
    let nodes: Api<v1::Node> = Api::all(client.clone());
    let leases: Api<Lease> = Api::namespaced(client.clone(), "kube-node-lease");
    let apply = PatchParams::apply(MANAGER).force();
    loop {
        let beat = leases.patch(&options.name, &apply, &Patch::Apply(lease(options, Timestamp::now()))).await;
        if let Err(error) = beat {
            tracing::debug!(node = options.name, %error, "lease not renewed");
        }
        if let Ok(None) = nodes.get_metadata_opt(&options.name).await
            && let Err(error) = register(&client, options, since).await
        {
            tracing::warn!(node = options.name, error = format!("{error:#}"), "node not registered again");
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

fn node(options: &NodeOptions) -> Value {
    let mut labels = options.labels.clone();
    labels.insert("kubernetes.io/hostname".to_owned(), options.name.clone());
    labels.insert("kubernetes.io/os".to_owned(), "linux".to_owned());
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": options.name, "labels": labels}})
}

fn status(options: &NodeOptions, since: Timestamp) -> Value {
    let room = json!({"pods": options.max_pods.to_string(), "cpu": "64", "memory": "64Gi"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": options.name},
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [
                {"type": "InternalIP", "address": options.block.node().to_string()},
                {"type": "Hostname", "address": options.name},
            ],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "NodeReady",
                "message": "the workbench's node runs pods as local processes",
                "lastHeartbeatTime": since, "lastTransitionTime": since,
            }],
        },
    })
}

fn lease(options: &NodeOptions, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": options.name},
        "spec": {"holderIdentity": options.name, "leaseDurationSeconds": 40, "renewTime": MicroTime(now)},
    })
}
