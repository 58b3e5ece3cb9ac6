//! The workbench's control plane, for tests that only need its API and read better without `await`.

use anyhow::{Result, bail};
use kube::client::Body;
use std::process::Output;
use tokio::runtime::Runtime;
use werkbank_e2e::controlplane::{ControlPlane, Options};
use werkbank_e2e::process::Supervisor;
use werkbank_e2e::tools::Tools;

/// A control plane of its own; it ends when this is dropped.
pub(crate) struct ApiServer {
    control_plane: ControlPlane,
    runtime: Runtime,
}

impl ApiServer {
    /// Starts it and waits until it answers.
    pub(crate) fn start() -> Result<Self> {
        let runtime = Runtime::new()?;
        let control_plane = runtime.block_on(async {
            let tools = Tools::new(Supervisor::new()?)?;
            ControlPlane::start(Options::default(), &tools).await
        })?;
        Ok(Self { control_plane, runtime })
    }

    /// Path of the administrator's kubeconfig.
    pub(crate) fn kubeconfig(&self) -> String {
        self.control_plane.kubeconfig().display().to_string()
    }

    /// Runs kubectl as the administrator.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        self.runtime.block_on(self.control_plane.kubectl(arguments.iter().copied()))
    }

    /// The `kubectl` that fits.
    pub(crate) fn kubectl_path(&self) -> &std::path::Path {
        self.control_plane.kubectl_path()
    }

    /// `kubectl apply` of a document.
    pub(crate) fn apply(&self, document: &str) -> Result<()> {
        let file = self.control_plane.run_dir().join("document.yaml");
        std::fs::write(&file, document)?;
        let output = self.kubectl(&["apply", "-f", &file.display().to_string()])?;
        if !output.status.success() {
            bail!("kubectl apply was refused: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Sends a request as the administrator; gives code and body, whatever they are.
    pub(crate) fn ask(&self, request: http::Request<Vec<u8>>) -> Result<(u16, String)> {
        self.runtime.block_on(async {
            let answer = self.control_plane.client().send(request.map(Body::from)).await?;
            let code = answer.status().as_u16();
            Ok((code, String::from_utf8(answer.into_body().collect_bytes().await?.to_vec())?))
        })
    }
}
