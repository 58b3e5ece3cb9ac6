//! Where the requests of a Service go: the ready pods that its selector finds.
//!
//! EndpointSlices would say the same, were it not that the API server refuses
//! loopback addresses in them, and every pod of the workbench lives on one.
//!
//! A pod that is being deleted or is not ready gets no new request from the
//! moment its object says so. The process behind it must outlive that moment
//! by the time the change needs to get here (milliseconds): the pod's
//! termination grace is what makes deletions invisible to callers.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Pod, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;
use serde_json::{Value, json};

/// Number of the Service's port under which the ports of its pods are found.
pub(crate) fn service_port(service: &Service, port: u16) -> Option<&ServicePort> {
    let ports = service.spec.as_ref()?.ports.as_deref()?;
    ports.iter().find(|it| it.port == i32::from(port))
}

/// Addresses of the pods that may get requests for this port of the Service, sorted.
pub(crate) fn addresses<'a>(
    service: &Service,
    port: &ServicePort,
    pods: impl IntoIterator<Item = &'a Pod>,
) -> Vec<(String, u16)> {
    let Some(selector) = service.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
        return Vec::new();
    };
    if selector.is_empty() {
        return Vec::new();
    }
    let mut found: Vec<_> = pods
        .into_iter()
        .filter(|pod| serves(pod) && has_labels(pod, selector))
        .filter_map(|pod| Some((address(pod)?, target_port(pod, port)?)))
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Envoy's `ClusterLoadAssignment` for these addresses.
pub(crate) fn load_assignment(cluster: &str, addresses: &[(String, u16)]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|(ip, port)| json!({"endpoint": {"address": {"socket_address": {"address": ip, "port_value": port}}}}))
        .collect();
    json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": endpoints}],
    })
}

fn serves(pod: &Pod) -> bool {
    let ready = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref())
        .is_some_and(|conditions| conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"));
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn has_labels(pod: &Pod, selector: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

fn address(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone().filter(|ip| !ip.is_empty())
}

fn target_port(pod: &Pod, port: &ServicePort) -> Option<u16> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref()?.containers.iter();
            let mut ports = containers.flat_map(|it| it.ports.iter().flatten());
            ports.find(|it| it.name.as_deref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(target: Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "churn"},
            "spec": {"selector": {"app": "churn"}, "ports": [{"port": 80, "targetPort": target}]}
        }))
        .unwrap()
    }

    fn pod(ip: &str, ready: &str, app: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": ip, "labels": {"app": app, "more": "labels"}},
            "spec": {"containers": [{"name": "model", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    fn found(service: &Service, pods: &[Pod]) -> Vec<(String, u16)> {
        addresses(service, service_port(service, 80).unwrap(), pods)
    }

    #[test]
    fn only_ready_pods_of_the_selector_get_requests() {
        let pods = [
            pod("127.0.1.2", "True", "churn"),
            pod("127.0.1.1", "True", "churn"),
            pod("127.0.1.3", "False", "churn"),
            pod("127.0.1.4", "True", "other"),
        ];
        let expected = vec![("127.0.1.1".to_owned(), 8080), ("127.0.1.2".to_owned(), 8080)];
        assert_eq!(found(&service(json!("http")), &pods), expected);
    }

    #[test]
    fn a_pod_that_is_being_deleted_gets_no_request() {
        let mut leaving = pod("127.0.1.1", "True", "churn");
        leaving.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        assert_eq!(found(&service(json!(8080)), &[leaving]), vec![]);
    }

    #[test]
    fn a_named_port_that_no_container_has_finds_nothing() {
        assert_eq!(found(&service(json!("grpc")), &[pod("127.0.1.1", "True", "churn")]), vec![]);
    }

    #[test]
    fn a_service_without_selector_finds_nothing() {
        let mut service = service(json!(8080));
        service.spec.as_mut().unwrap().selector = None;
        assert_eq!(found(&service, &[pod("127.0.1.1", "True", "churn")]), vec![]);
    }
}
