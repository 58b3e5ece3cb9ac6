//! Which cluster this is.
//!
//! Kubernetes has no name for itself. What everybody takes for one (OpenTelemetry's `k8s.cluster.uid`, for example) is the uid of
//! the namespace `kube-system`, which is there as long as the cluster is.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};

use crate::audit::Trail;

const EVERYBODYS: &str = "kube-system";
/// How long to wait before it is asked again: a right may be granted late, and an API server that has just started has no such namespace yet.
const REST: Duration = Duration::from_secs(10);

/// Tells the record which cluster it keeps decisions of, as soon as the API server says so.
pub(super) async fn tell(client: Client, trail: Arc<dyn Trail>) {
    let namespaces: Api<Namespace> = Api::all(client);
    let mut said = None;
    loop {
        let why = match namespaces.get_metadata(EVERYBODYS).await {
            Ok(namespace) => match namespace.uid() {
                Some(uid) => return trail.keeps_for(&uid),
                None => format!("namespace {EVERYBODYS} has no uid"),
            },
            Err(error) => error.to_string(),
        };
        if said.as_ref() != Some(&why) {
            tracing::warn!(
                "which cluster this is is not known yet, and so not whether the audit log is another one's: {why}; it is asked again"
            );
            said = Some(why);
        }
        tokio::time::sleep(REST).await;
    }
}
