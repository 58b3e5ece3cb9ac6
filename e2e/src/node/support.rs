//! What this node does not do, said before anything runs.
//!
//! A manifest that needs one of these would silently behave otherwise than on a
//! cluster. So the pod does not start, and its containers wait with the sentence.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod, Probe, Volume};

/// The first thing a pod asks for that this node cannot give.
pub(super) fn refusal(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    spec.volumes.iter().flatten().find_map(of_volume).or_else(|| containers.into_iter().find_map(of_container))
}

fn of_volume(volume: &Volume) -> Option<String> {
    let known = volume.empty_dir.is_some()
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.host_path.is_some();
    (!known).then(|| {
        format!(
            "volume {:?} is of a type this node does not have: use emptyDir, persistentVolumeClaim, configMap, secret, projected, downwardAPI or hostPath",
            volume.name
        )
    })
}

fn of_container(container: &Container) -> Option<String> {
    let probes = [
        ("startupProbe", &container.startup_probe),
        ("livenessProbe", &container.liveness_probe),
        ("readinessProbe", &container.readiness_probe),
    ];
    let of_probe = |(what, probe): (&str, &Option<Probe>)| {
        let probe = probe.as_ref()?;
        let known = probe.http_get.is_some() || probe.tcp_socket.is_some();
        (!known).then(|| {
            format!(
                "{what} of container {:?} is neither httpGet nor tcpSocket: this node probes only those",
                container.name
            )
        })
    };
    let lifecycle = container.lifecycle.as_ref();
    let of_handler = |handler: &LifecycleHandler| {
        let known = handler.http_get.is_some() || handler.sleep.is_some();
        (!known).then(|| {
            format!("preStop of container {:?} is neither httpGet nor sleep: this node does only those", container.name)
        })
    };
    let post_start = lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()).map(|_| {
        format!("postStart of container {:?} is not supported by this node: use an init container", container.name)
    });
    let expression =
        container.volume_mounts.iter().flatten().any(|mount| mount.sub_path_expr.is_some()).then(|| {
            format!("subPathExpr of container {:?} is not supported by this node: use subPath", container.name)
        });
    probes
        .into_iter()
        .find_map(of_probe)
        .or_else(|| lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()).and_then(of_handler))
        .or(post_start)
        .or(expression)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(container: serde_json::Value, volumes: serde_json::Value) -> Option<String> {
        let mut full = json!({"name": "server"});
        full.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        refusal(&serde_json::from_value(json!({"spec": {"containers": [full], "volumes": volumes}})).unwrap())
    }

    #[test]
    fn what_local_processes_can_do_is_accepted() {
        let container = json!({
            "readinessProbe": {"httpGet": {"port": 80}}, "livenessProbe": {"tcpSocket": {"port": 80}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
        });
        assert_eq!(refused(container, json!([{"name": "v", "emptyDir": {}}])), None);
    }

    #[test]
    fn what_they_cannot_do_is_refused_by_name() {
        for (container, volumes, named) in [
            (json!({"readinessProbe": {"exec": {"command": ["true"]}}}), json!([]), "readinessProbe"),
            (json!({"startupProbe": {"grpc": {"port": 1}}}), json!([]), "startupProbe"),
            (json!({"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}}), json!([]), "preStop"),
            (json!({"lifecycle": {"postStart": {"sleep": {"seconds": 1}}}}), json!([]), "postStart"),
            (json!({}), json!([{"name": "data", "nfs": {"server": "s", "path": "/"}}]), "\"data\""),
        ] {
            let message = refused(container, volumes).unwrap();
            assert!(message.contains(named), "{message}");
        }
    }
}
