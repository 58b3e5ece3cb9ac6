//! A control plane, shared by the tests that run at the same time.

use std::sync::{Arc, Weak};

use anyhow::Result;
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use tokio::sync::Mutex;
use werkbank_e2e::{
    controlplane::{ControlPlane, Options},
    tools::Tools,
};

/// The control plane. Ends with the last test that holds it: a static would
/// outlive the tests, and so would its processes.
pub(crate) async fn plane(tools: &Tools) -> Result<Arc<ControlPlane>> {
    static SHARED: Mutex<Weak<ControlPlane>> = Mutex::const_new(Weak::new());
    let mut shared = SHARED.lock().await;
    if let Some(plane) = shared.upgrade() {
        return Ok(plane);
    }
    let plane = Arc::new(ControlPlane::start(Options::default(), tools).await?);
    *shared = Arc::downgrade(&plane);
    Ok(plane)
}

/// A client for the runtime of this test; the control plane's own ends with the test that started it.
pub(crate) async fn client(plane: &ControlPlane) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(plane.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
