//! Services: one per revision, and without a gateway one of the deployment's name that
//! selects the revision that serves.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Owner, metadata, owned_by_deployment, selector};
use crate::api::ModelDeployment;
use crate::api::revision::RevisionRecord;
use crate::decide::Child;

/// The Service of one revision.
#[must_use]
pub fn of_revision(resource: &ModelDeployment, record: &RevisionRecord, owner: &Owner) -> Child {
    let revision = &record.entry.revision;
    Child::Service(Box::new(service(resource, &owner.name, Some(revision), revision, record.port, owner.reference())))
}

/// The deployment's own Service, selecting `revision`, whose pods listen on `port`.
#[must_use]
pub fn of_deployment(resource: &ModelDeployment, revision: &str, port: i32) -> Service {
    let name = resource.metadata.name.clone().unwrap_or_default();
    service(resource, &name, None, revision, port, owned_by_deployment(resource))
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

/// Whether the live Service selects what is wanted, on the wanted port.
#[must_use]
pub fn same(live: &Service, wanted: &Service) -> bool {
    let selector = |it: &Service| it.spec.as_ref().and_then(|spec| spec.selector.clone());
    let ports = |it: &Service| {
        it.spec
            .as_ref()
            .and_then(|spec| spec.ports.as_ref().map(|ports| ports.iter().map(|port| port.port).collect::<Vec<_>>()))
    };
    selector(live) == selector(wanted) && ports(live) == ports(wanted)
}
