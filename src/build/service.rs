//! Services: one per revision, and without a gateway one of the deployment's name that
//! selects the revision that serves.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Owner, metadata, owned_by, selector};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::api::revision::RevisionRecord;

/// The Service of one revision.
#[must_use]
pub fn of_revision(resource: &ModelDeployment, record: &RevisionRecord, owner: &Owner) -> Service {
    let revision = &record.entry.revision;
    service(resource, &owner.name, Some(revision), revision, record.port, owner.reference())
}

/// The deployment's own Service, selecting `revision`, whose pods listen on `port`.
#[must_use]
pub fn of_deployment(resource: &ModelDeployment, revision: &str, port: i32) -> Service {
    let name = resource.metadata.name.clone().unwrap_or_default();
    service(resource, &name, None, revision, port, owned_by(resource))
}

fn service(
    resource: &ModelDeployment,
    name: &str,
    label: Option<&str>,
    revision: &str,
    port: i32,
    owner: OwnerReference,
) -> Service {
    Service {
        metadata: metadata(resource, name, label, owner),
        spec: Some(ServiceSpec {
            selector: Some(selector(resource, Some(revision))),
            ports: Some(vec![ServicePort {
                name: Some("http".into()),
                port,
                target_port: Some(IntOrString::Int(port)),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The revision that a Service selects.
#[must_use]
pub fn selected(live: &Service) -> Option<&str> {
    live.spec.as_ref()?.selector.as_ref()?.get(labels::REVISION).map(String::as_str)
}

/// Whether the live Service selects what is wanted, on the wanted port and no other.
#[must_use]
pub fn same(live: &Service, wanted: &Service) -> bool {
    let selector = |it: &Service| it.spec.as_ref().and_then(|spec| spec.selector.clone());
    let ports = |it: &Service| it.spec.as_ref().and_then(|spec| spec.ports.clone()).unwrap_or_default();
    // The API server completes a port with its protocol, and with a node port where the type asks for one.
    let wanted_of = |it: ServicePort| (it.name, it.port, it.target_port);
    let ports = |it: &Service| ports(it).into_iter().map(wanted_of).collect::<Vec<_>>();
    selector(live) == selector(wanted) && ports(live) == ports(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(ports: serde_json::Value, revision: &str) -> Service {
        serde_json::from_value(json!({"spec": {"selector": {"revision": revision}, "ports": ports}})).unwrap()
    }

    #[test]
    fn what_was_edited_or_added_is_seen_and_the_api_servers_defaults_are_not() {
        let wanted = service(json!([{"name": "http", "port": 80, "targetPort": 8080}]), "a");
        let is_same = |ports, revision| same(&service(ports, revision), &wanted);
        assert!(is_same(json!([{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]), "a"));
        assert!(!is_same(json!([{"name": "http", "port": 80, "targetPort": 8080}]), "b"));
        assert!(!is_same(json!([{"name": "http", "port": 80, "targetPort": 9090}]), "a"));
        assert!(!is_same(json!([{"name": "http", "port": 81, "targetPort": 8080}]), "a"));
        assert!(!is_same(json!([]), "a"));
        let added = json!([{"name": "metrics", "port": 81}, {"name": "http", "port": 80, "targetPort": 8080}]);
        assert!(!is_same(added, "a"));
    }
}
