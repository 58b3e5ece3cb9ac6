//! The Envoy process: its bootstrap, its start, its end.
//!
//! Envoy runs below a guard (see [`crate::process`]): Ctrl-C in a terminal
//! reaches the workbench and not Envoy behind its back, and Envoy ends when the
//! handle is dropped or the workbench is gone, however that ended.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::envoy_config::bootstrap;
use crate::process::{Command, Process, Supervisor};
use anyhow::{Context, Result, bail};

/// Nothing of Envoy is worth a slow end: who wants connections drained has done so.
const GRACE: Duration = Duration::from_secs(1);

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    binary: PathBuf,
    dir: PathBuf,
    address: String,
    admin_port: u16,
    process: Option<Process>,
    supervisor: Supervisor,
}

impl Envoy {
    /// Prepares a directory for Envoy and picks the port of its admin interface.
    pub(crate) fn new(binary: &Path, dir: &Path, address: &str) -> Result<Self> {
        for part in ["endpoints", "routes"] {
            let path = dir.join(part);
            std::fs::create_dir_all(&path)
                .with_context(|| format!("create {}: check the run directory", path.display()))?;
        }
        let admin_port = free_port(address)?;
        Ok(Self {
            binary: binary.to_owned(),
            dir: dir.to_owned(),
            address: address.to_owned(),
            admin_port,
            process: None,
            supervisor: Supervisor::new()?,
        })
    }

    /// Base URL of the admin interface.
    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}:{}", self.address, self.admin_port)
    }

    /// Where Envoy writes what it has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("envoy.log")
    }

    /// Starts the process; it reads the configuration files that are there.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let config = self.dir.join("bootstrap.json");
        let bootstrap = serde_json::to_vec_pretty(&bootstrap(&self.address, self.admin_port))?;
        std::fs::write(&config, bootstrap).with_context(|| format!("write {}", config.display()))?;
        let command = Command::new(&self.binary, self.log())
            .args(["--config-path", "bootstrap.json", "--disable-hot-restart", "--concurrency", "2"])
            .args(["--log-level", "info"])
            .cwd(&self.dir)
            .grace(GRACE);
        let process = self
            .supervisor
            .spawn(command)
            .with_context(|| format!("start {}: is it Envoy for this machine?", self.binary.display()))?;
        self.process = Some(process.clone());
        self.wait_until_live(&process).await
    }

    async fn wait_until_live(&self, process: &Process) -> Result<()> {
        let url = format!("{}/ready", self.admin_url());
        for _ in 0..500 {
            if !process.is_running() {
                return Err(process.ended_early());
            }
            if reqwest::get(&url).await.is_ok_and(|it| it.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("Envoy is not ready after 10 s; read {}", self.log().display())
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub(crate) async fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
    }
}

/// A port that nobody listens on at this address.
pub(crate) fn free_port(address: &str) -> Result<u16> {
    let socket = std::net::TcpListener::bind((address, 0))
        .with_context(|| format!("no free port on {address}: is it a loopback address?"))?;
    Ok(socket.local_addr()?.port())
}
