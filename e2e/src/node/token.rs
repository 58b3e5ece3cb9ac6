//! ServiceAccount tokens: requested, bound to the pod, renewed before they end.
//!
//! A pod speaks to the API server as its ServiceAccount and as nobody else, so
//! that RBAC is tested by use. The token stands in a file next to a kubeconfig
//! that names it (`tokenFile`, which clients read again), because the in-cluster
//! paths below /var/run are the machine's, not the pod's.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Pod, ServiceAccount},
    },
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::time::Instant;

/// How long a token lives if the manifest does not say.
const LIFETIME: i64 = 3600;
/// How long after a failed renewal it is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// A file that shall always hold a valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenFile {
    pub(super) path: PathBuf,
    /// The API server's own audience if none.
    pub(super) audience: Option<String>,
    pub(super) seconds: Option<i64>,
}

/// Issues tokens for one pod.
pub(super) struct Tokens {
    accounts: Api<ServiceAccount>,
    account: String,
    pod: BoundObjectReference,
}

impl Tokens {
    /// For this pod; none if the API server gave it no ServiceAccount.
    pub(super) fn of(client: Client, pod: &Pod) -> Option<Self> {
        let account = pod.spec.as_ref()?.service_account_name.clone().filter(|name| !name.is_empty())?;
        let pod_ref = BoundObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        Some(Self { accounts: Api::namespaced(client, namespace), account, pod: pod_ref })
    }

    /// Whether the pod is to have a token without asking for one by a volume:
    /// the pod's word counts before the ServiceAccount's.
    pub(super) async fn automounts(&self, pod: &Pod) -> anyhow::Result<bool> {
        if let Some(automount) = pod.spec.as_ref().and_then(|spec| spec.automount_service_account_token) {
            return Ok(automount);
        }
        let account = self.accounts.get(&self.account).await;
        let account = account.with_context(|| format!("serviceaccount {:?} cannot be read", self.account))?;
        Ok(account.automount_service_account_token != Some(false))
    }

    /// Writes a fresh token and returns when it has to be renewed.
    pub(super) async fn issue(&self, file: &TokenFile) -> anyhow::Result<Instant> {
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: file.audience.clone().into_iter().collect(),
                bound_object_ref: Some(self.pod.clone()),
                expiration_seconds: Some(file.seconds.unwrap_or(LIFETIME)),
            },
            ..TokenRequest::default()
        };
        let answer = self.accounts.create_token_request(&self.account, &PostParams::default(), &request).await;
        let status = answer
            .with_context(|| format!("no token for serviceaccount {:?}: does it exist?", self.account))?
            .status
            .context("the API server answered a token request without a token")?;
        replace(&file.path, status.token.as_bytes()).await?;
        Ok(Instant::now() + renewal(Timestamp::now(), status.expiration_timestamp.0))
    }

    /// Renews every file in time, for as long as it is polled.
    pub(super) async fn keep(self, mut files: Vec<(TokenFile, Instant)>) {
        while let Some((file, due)) = files.iter_mut().min_by_key(|(_, due)| *due) {
            tokio::time::sleep_until(*due).await;
            *due = match self.issue(file).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(account = self.account, error = format!("{error:#}"), "token not renewed yet");
                    Instant::now() + RETRY
                }
            };
        }
    }
}

/// How long to wait before a token that ends at `end` is renewed: four fifths
/// of what is left, as the kubelet does.
fn renewal(now: Timestamp, end: Timestamp) -> Duration {
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    (left * 4 / 5).max(Duration::from_secs(1))
}

/// A kubeconfig that reads its token from a file.
pub(super) fn kubeconfig(server: &str, ca_pem: &str, namespace: &str, token: &Path) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "workbench", "cluster": {
            "server": server, "certificate-authority-data": BASE64_STANDARD.encode(ca_pem)}}],
        "users": [{"name": "pod", "user": {"tokenFile": token}}],
        "contexts": [{"name": "pod", "context": {"cluster": "workbench", "user": "pod", "namespace": namespace}}],
        "current-context": "pod",
    })
    .to_string()
}

/// Replaces a file at once, so that no reader sees half of it.
pub(super) async fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let unwritten = || format!("{} cannot be written", path.display());
    if let Some(parent) = path.parent() {
        tokio::fs::create_dir_all(parent).await.with_context(unwritten)?;
    }
    let fresh = path.with_extension("new");
    tokio::fs::write(&fresh, bytes).await.with_context(unwritten)?;
    tokio::fs::rename(&fresh, path).await.with_context(unwritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_when_a_fifth_of_its_life_is_left() {
        let now = Timestamp::UNIX_EPOCH;
        let after = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(renewal(now, after(3600)), Duration::from_secs(2880));
        assert_eq!(renewal(after(10), now), Duration::from_secs(1), "an ended token is renewed soon, not in a storm");
    }

    #[test]
    fn a_client_can_read_the_kubeconfig() {
        let text = kubeconfig("https://127.0.0.1:6443", "PEM", "ns", Path::new("/run/pod/token"));
        let config = kube::config::Kubeconfig::from_yaml(&text).unwrap();
        assert_eq!(config.auth_infos[0].auth_info.as_ref().unwrap().token_file.as_deref(), Some("/run/pod/token"));
        assert_eq!(config.contexts[0].context.as_ref().unwrap().namespace.as_deref(), Some("ns"));
    }
}
