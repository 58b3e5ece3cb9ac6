//! A real Helm, as a person would run it, against the workbench's cluster.
//!
//! It keeps its caches and settings in the run's directory: whatever
//! repositories and plugins this machine's user has, they play no part.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Result, bail};

use crate::process::{Command, Supervisor};

/// Helm with one cluster.
#[derive(Clone, Debug)]
pub struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
    supervisor: Supervisor,
}

impl Helm {
    /// Helm for the cluster of `kubeconfig`, with its own files below `run_dir`.
    pub fn new(program: PathBuf, kubeconfig: &Path, run_dir: &Path, supervisor: Supervisor) -> Self {
        Self { program, kubeconfig: kubeconfig.to_owned(), home: run_dir.join("helm"), supervisor }
    }

    /// Installs or upgrades a release and waits for it; `args` are further
    /// arguments (`--set`, `--values`, …).
    ///
    /// # Errors
    ///
    /// When Helm refuses; with what it said.
    pub async fn upgrade_install<S: AsRef<OsStr>>(
        &self,
        release: &str,
        chart: &Path,
        namespace: &str,
        args: &[S],
    ) -> Result<String> {
        let own = ["upgrade", "--install", release].map(OsString::from);
        let place = ["--create-namespace", "--namespace", namespace].map(OsString::from);
        self.succeed(own.into_iter().chain([chart.into()]).chain(place), args).await
    }

    /// Renders a chart; gives the manifests.
    ///
    /// # Errors
    ///
    /// When Helm refuses; with what it said.
    pub async fn template<S: AsRef<OsStr>>(
        &self,
        release: &str,
        chart: &Path,
        namespace: &str,
        args: &[S],
    ) -> Result<String> {
        let own = ["template", "--namespace", namespace, release].map(OsString::from);
        self.succeed(own.into_iter().chain([chart.into()]), args).await
    }

    /// Removes a release and waits until its objects are gone.
    ///
    /// # Errors
    ///
    /// When Helm refuses; with what it said.
    pub async fn uninstall(&self, release: &str, namespace: &str) -> Result<String> {
        let own = ["uninstall", "--wait", "--namespace", namespace, release].map(OsString::from);
        self.succeed::<&str>(own, &[]).await
    }

    /// Runs Helm with any arguments.
    ///
    /// # Errors
    ///
    /// When it cannot be run; its own failure is in the output's status.
    pub async fn run<I, S>(&self, args: I) -> Result<Output>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let run = |command: Command| {
            command
                .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
                .env("KUBECONFIG", &self.kubeconfig)
                .env("HELM_CACHE_HOME", self.home.join("cache"))
                .env("HELM_CONFIG_HOME", self.home.join("config"))
                .env("HELM_DATA_HOME", self.home.join("data"))
        };
        self.supervisor.output(&self.program, run).await
    }

    async fn succeed<S: AsRef<OsStr>>(&self, own: impl IntoIterator<Item = OsString>, args: &[S]) -> Result<String> {
        let args = args.iter().map(|arg| arg.as_ref().to_owned());
        let output = self.run(own.into_iter().chain(args)).await?;
        if !output.status.success() {
            bail!("helm: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
