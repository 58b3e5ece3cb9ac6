//! A real Kubernetes control plane as three local processes.
//!
//! etcd, kube-apiserver and kube-controller-manager run below the
//! [`Supervisor`](crate::process::Supervisor), on the addresses of a loopback block that belongs to this
//! run alone ([`AddressBlock`]), in a directory of their own ([`RunDir`]). No
//! root, no container, no scheduler and no kubelet: the workbench's node
//! binds pods and runs them.
//!
//! Every run has its own certificate authority and random tokens ([`pki`]).
//! That is what makes sure that the server that answers is the one that was
//! started: every client trusts this run's authority only, and a server of
//! another run would refuse its token.
//!
//! Authorization is RBAC and admission is stock (with
//! ValidatingAdmissionPolicy), because permissions that are missing must fail
//! here and not on a customer's cluster. With `WERKBANK_KUBECONFIG` set, all
//! of this stands aside for the cluster that it points to.

mod addresses;
mod audit;
mod crds;
mod pki;
mod run_dir;
mod servers;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};

pub use addresses::AddressBlock;
pub use audit::Request;
pub use run_dir::RunDir;

use crate::process::{Command, Supervisor};
use crate::tools::Tools;
use servers::Servers;

/// How a control plane is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where it keeps its files. A directory given here is kept at the end,
    /// and the cluster's state in it is found again by the next start; without
    /// one, a temporary directory is made and removed.
    pub dir: Option<PathBuf>,
    /// Use the cluster this kubeconfig points to and start nothing.
    pub kubeconfig: Option<PathBuf>,
    /// Record what ServiceAccounts ask of the API server, for [`ControlPlane::requests`].
    pub audit: bool,
}

impl Options {
    /// The options with `WERKBANK_KUBECONFIG` applied.
    pub fn from_env() -> Self {
        let kubeconfig = std::env::var_os("WERKBANK_KUBECONFIG").filter(|path| !path.is_empty());
        Self { kubeconfig: kubeconfig.map(PathBuf::from), ..Self::default() }
    }
}

/// A running control plane, or a connection to one that runs elsewhere.
/// Dropping it ends it, too.
pub struct ControlPlane {
    kubeconfig: PathBuf,
    client: kube::Client,
    url: String,
    ca_pem: String,
    kubectl: PathBuf,
    servers: Option<Servers>,
    addresses: AddressBlock,
    supervisor: Supervisor,
    // Last, so that it is removed after everything that writes to it has ended.
    run_dir: RunDir,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready: the API server
    /// answers, namespaces get their service accounts, and the CRDs of the
    /// Gateway API are established.
    ///
    /// # Errors
    ///
    /// When a tool is missing or a process ends early; the end of its log is
    /// part of the error.
    pub async fn start(options: Options, tools: &Tools) -> Result<Self> {
        let run_dir = RunDir::create(options.dir.as_deref())?;
        let addresses = AddressBlock::acquire(tools.cache())?;
        let (kubeconfig, kubectl, servers) = match options.kubeconfig {
            Some(kubeconfig) => (std::path::absolute(kubeconfig)?, tools.kubectl().await?, None),
            None => {
                let programs = tools.control_plane().await?;
                let servers = Servers::start(&programs, run_dir.path(), &addresses, options.audit).await?;
                (servers.kubeconfig().to_owned(), programs.kubectl, Some(servers))
            }
        };
        let (client, url, ca_pem) = connect(&kubeconfig).await?;
        let supervisor = tools.supervisor().clone();
        let this = Self { kubeconfig, client, url, ca_pem, kubectl, servers, addresses, supervisor, run_dir };
        crds::ensure(&this.client, &tools.gateway_api_crds().await?).await?;
        if let Some(servers) = &this.servers {
            servers.wait_for_controllers(&this.client).await?;
        }
        Ok(this)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client with the administrator's rights.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// The API server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate authority that signed the API server's certificate, in
    /// PEM; empty if the cluster's kubeconfig names none.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The file that holds the administrator's token; none for a cluster that
    /// was not started here.
    pub fn token_file(&self) -> Option<PathBuf> {
        self.servers.as_ref().map(Servers::token_file)
    }

    /// The file that holds [`ControlPlane::ca_pem`]; none for a cluster that
    /// was not started here.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.servers.as_ref().map(Servers::ca_file)
    }

    /// Whether this control plane was started here, and does not belong to a
    /// cluster that runs elsewhere.
    pub fn is_local(&self) -> bool {
        self.servers.is_some()
    }

    /// The pids of etcd, API server and controller manager.
    pub fn pids(&self) -> Vec<u32> {
        self.servers.as_ref().map(Servers::pids).unwrap_or_default()
    }

    /// The loopback addresses that belong to this run.
    pub fn addresses(&self) -> &AddressBlock {
        &self.addresses
    }

    /// The directory of this run: logs, state, certificates.
    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    /// The `kubectl` that fits the control plane.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    /// Runs `kubectl` as administrator.
    ///
    /// # Errors
    ///
    /// When it cannot be run; its own failure is in the output's status.
    pub async fn kubectl<I, S>(&self, args: I) -> Result<Output>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let run = |command: Command| {
            command
                .args(args.into_iter().map(|arg| arg.as_ref().to_owned()))
                .env("KUBECONFIG", &self.kubeconfig)
                // Its cache of the API's discovery must not outlive the run.
                .env("KUBECACHEDIR", self.run_dir.path().join("kubectl-cache"))
        };
        self.supervisor.output(&self.kubectl, run).await
    }

    /// What ServiceAccounts have asked of the API server so far, in order; nothing
    /// unless [`Options::audit`] was set.
    ///
    /// # Errors
    ///
    /// When the audit log cannot be read.
    pub fn requests(&self) -> Result<Vec<Request>> {
        audit::read(&servers::audit_log(self.run_dir.path()))
    }

    /// Ends the processes, and removes the directory if it is a temporary one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be removed.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(servers) = self.servers.take() {
            servers.stop().await;
        }
        self.run_dir.remove()
    }
}

/// The client, address and certificate authority that a kubeconfig describes.
async fn connect(kubeconfig: &Path) -> Result<(kube::Client, String, String)> {
    let read = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read the kubeconfig {}", kubeconfig.display()))?;
    let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
        .await
        .with_context(|| format!("cannot use the kubeconfig {}", kubeconfig.display()))?;
    let url = config.cluster_url.to_string();
    let ca_pem = config.root_cert.as_deref().map(pki::to_pem).unwrap_or_default();
    Ok((kube::Client::try_from(config)?, url, ca_pem))
}
