//! An API server with the Gateway API, shared by the tests that run at the same time.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use anyhow::{Context as _, Result, ensure};
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};

use crate::apiserver::ApiServer;

const GATEWAY_API: &str = "sigs.k8s.io/gateway-api@v1.6.3";

/// The API server with the CRDs. Ends with the last test that holds it: a
/// static would outlive the tests, and so would its processes.
pub(crate) fn plane() -> Result<Arc<ApiServer>> {
    static SHARED: Mutex<Weak<ApiServer>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plane) = shared.upgrade() {
        return Ok(plane);
    }
    let plane = Arc::new(ApiServer::start()?);
    let crds = gateway_api_crds()?;
    for kind in ["gatewayclasses", "gateways", "httproutes"] {
        let file = crds.join(format!("gateway.networking.k8s.io_{kind}.yaml"));
        plane.apply(&std::fs::read_to_string(&file)?)?;
    }
    let wait = "wait --for=condition=Established crd --all --timeout=30s";
    let waited = plane.kubectl(&wait.split(' ').collect::<Vec<_>>())?;
    ensure!(waited.status.success(), "{}", String::from_utf8_lossy(&waited.stderr));
    *shared = Arc::downgrade(&plane);
    Ok(plane)
}

/// A client of the API server for the runtime of this test.
pub(crate) async fn client(plane: &ApiServer) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The folder of the CRDs in Go's module cache.
fn gateway_api_crds() -> Result<PathBuf> {
    let output = Command::new("go")
        .args(["mod", "download", "-json", GATEWAY_API])
        .current_dir(std::env::temp_dir())
        .output()
        .context("go is not on PATH: the CRDs of the Gateway API come from its Go module")?;
    let module: serde_json::Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("go mod download {GATEWAY_API}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let dir = module.get("Dir").and_then(|it| it.as_str()).context("go mod download names no folder")?;
    Ok(Path::new(dir).join("config/crd/standard"))
}
