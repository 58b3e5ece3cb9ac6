//! Which cluster this is.
//!
//! Kubernetes has no name for itself. What everybody takes for one (OpenTelemetry's `k8s.cluster.uid`, for example) is the uid of
//! the namespace `kube-system`, which is there as long as the cluster is.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Error, ResourceExt};

const EVERYBODYS: &str = "kube-system";
/// How long to wait before an API server that does not answer is asked again: nothing else can be done without it.
const REST: Duration = Duration::from_secs(2);

/// Its uid; `None` if the API server does not tell this account.
pub(super) async fn uid(client: &Client) -> Option<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    loop {
        match namespaces.get_metadata(EVERYBODYS).await {
            Ok(namespace) => return namespace.uid(),
            Err(Error::Api(status)) if status.is_forbidden() || status.is_not_found() => {
                tracing::warn!(
                    "which cluster this is cannot be told, so nobody will notice if another one writes to the same audit log: {}",
                    status.message
                );
                return None;
            }
            Err(error) => {
                tracing::warn!(%error, "the API server does not tell which cluster this is; it is asked again")
            }
        }
        tokio::time::sleep(REST).await;
    }
}
