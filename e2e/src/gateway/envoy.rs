//! The Envoy process: its bootstrap, its start, its end.
//!
//! Envoy leads a process group of its own, so that Ctrl-C in a terminal reaches
//! the workbench and not Envoy behind its back; dropping the handle kills it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::process::{Child, Command};

use super::envoy_config::bootstrap;

/// A running Envoy.
#[derive(Debug)]
pub(crate) struct Envoy {
    binary: PathBuf,
    dir: PathBuf,
    address: String,
    admin_port: u16,
    child: Option<Child>,
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
            child: None,
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
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.binary)
            .args(["--config-path", "bootstrap.json", "--disable-hot-restart", "--concurrency", "2"])
            .args(["--log-level", "info"])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}: is it Envoy for this machine?", self.binary.display()))?;
        self.child = Some(child);
        self.wait_until_live().await
    }

    async fn wait_until_live(&mut self) -> Result<()> {
        let url = format!("{}/ready", self.admin_url());
        for _ in 0..500 {
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("Envoy ended with {status} at its start; read {}", self.log().display());
            }
            if reqwest::get(&url).await.is_ok_and(|it| it.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("Envoy is not ready after 10 s; read {}", self.log().display())
    }

    /// Kills the process (SIGKILL) and waits for its end.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("kill Envoy")?;
        }
        Ok(())
    }
}

/// A port that nobody listens on at this address.
pub(crate) fn free_port(address: &str) -> Result<u16> {
    let socket = std::net::TcpListener::bind((address, 0))
        .with_context(|| format!("no free port on {address}: is it a loopback address?"))?;
    Ok(socket.local_addr()?.port())
}
