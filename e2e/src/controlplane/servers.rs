//! etcd, kube-apiserver and kube-controller-manager: flags, order, readiness.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;

use super::addresses::AddressBlock;
use super::audit;
use super::pki::Pki;
use crate::process::{Command, Process, Supervisor};
use crate::tools::ControlPlaneTools;

/// A cold start takes some two seconds; a machine busy with a build may need
/// many times that.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Nothing of a run is worth a slow end: the state is temporary, or etcd has
/// written it already.
const GRACE: Duration = Duration::from_secs(3);

/// How much these servers' heaps grow before they are collected, in per cent. Small heaps with much garbage, on
/// machines with two cores and memory to spare: Go's default of 100 spends a fifth of the API server on collecting.
const GOGC: &str = "400";
/// Beyond this they are collected as often as it takes. Enough for a thousand rollouts at once; a test needs a tenth.
const GOMEMLIMIT: &str = "4GiB";

/// What the operator and its children need, and what makes RBAC, service
/// accounts and namespaces work; no controller that needs real nodes.
const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "deployment-controller",
    "disruption-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
];

/// Where the API server of the run in `dir` records requests.
pub(super) fn audit_log(dir: &Path) -> PathBuf {
    dir.join("logs").join("audit.log")
}

/// The three processes of a control plane.
#[derive(Debug)]
pub(super) struct Servers {
    etcd: Process,
    apiserver: Process,
    controller_manager: Process,
    pki: Pki,
    kubeconfig: PathBuf,
    // Owns the three: dropping the servers, or a start that is given up
    // half-way, ends them before the run's directory is removed.
    _supervisor: Supervisor,
}

/// What starting one server needs to know.
struct Site<'a> {
    tools: &'a ControlPlaneTools,
    supervisor: &'a Supervisor,
    dir: &'a Path,
    pki: &'a Pki,
    etcd: SocketAddr,
    apiserver: SocketAddr,
    audit: bool,
}

impl Servers {
    /// Starts the three and waits for the API server, which records requests if `audit`.
    pub(super) async fn start(
        tools: &ControlPlaneTools,
        dir: &Path,
        addresses: &AddressBlock,
        audit: bool,
    ) -> Result<Self> {
        let supervisor = Supervisor::new()?;
        let ip = AddressBlock::CONTROL_PLANE;
        let pki = Pki::create(&dir.join("pki"), addresses.ip(ip).into())?;
        let site = Site {
            tools,
            supervisor: &supervisor,
            dir,
            pki: &pki,
            etcd: addresses.free_port(ip)?,
            apiserver: addresses.free_port(ip)?,
            audit,
        };
        let url = format!("https://{}", site.apiserver);
        let kubeconfig = dir.join("kubeconfig");
        pki.write_kubeconfig(&kubeconfig, &url, &pki.admin_token)?;
        pki.write_kubeconfig(&dir.join("controller-manager.kubeconfig"), &url, &pki.controller_manager_token)?;
        // All at once: each retries until the one before it answers.
        let etcd = site.start_etcd(addresses.free_port(ip)?)?;
        let apiserver = site.start_apiserver()?;
        let (client, _, _) = super::connect(&kubeconfig).await?;
        wait_until_ready(&client, &[&etcd, &apiserver]).await?;
        let controller_manager = site.start_controller_manager()?;
        Ok(Self { etcd, apiserver, controller_manager, pki, kubeconfig, _supervisor: supervisor })
    }

    /// Waits until the controller manager works: the namespace `default` has
    /// its service account, without which no pod is admitted.
    pub(super) async fn wait_for_controllers(&self, client: &kube::Client) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        while accounts.get_opt("default").await?.is_none() {
            if !self.controller_manager.is_running() || tokio::time::Instant::now() > deadline {
                return Err(self.controller_manager.ended_early())
                    .context("the controller manager makes no service accounts");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Ends the three, those who depend on others first.
    pub(super) async fn stop(self) {
        for process in [&self.controller_manager, &self.apiserver, &self.etcd] {
            process.stop().await;
        }
    }

    fn all(&self) -> [&Process; 3] {
        [&self.etcd, &self.apiserver, &self.controller_manager]
    }

    pub(super) fn pids(&self) -> Vec<u32> {
        self.all().map(Process::pid).to_vec()
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.pki.path("admin.token")
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.pki.path("ca.crt")
    }
}

impl Site<'_> {
    fn start_etcd(&self, peer: SocketAddr) -> Result<Process> {
        let client = format!("https://{}", self.etcd);
        let peer = format!("https://{peer}");
        let mut flags = vec![
            "--name=werkbank".to_owned(),
            format!("--data-dir={}", self.dir.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=werkbank={peer}"),
            // A run's state need not survive a power cut.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
            "--quota-backend-bytes=4294967296".to_owned(),
        ];
        for prefix in ["", "peer-"] {
            flags.push(format!("--{prefix}client-cert-auth"));
            flags.push(self.file_flag(&format!("{prefix}trusted-ca-file"), "ca.crt"));
            flags.push(self.file_flag(&format!("{prefix}cert-file"), "server.crt"));
            flags.push(self.file_flag(&format!("{prefix}key-file"), "server.key"));
        }
        self.start(&self.tools.etcd, "etcd", flags)
    }

    fn start_apiserver(&self) -> Result<Process> {
        let ip = self.apiserver.ip();
        let mut flags = vec![
            format!("--etcd-servers=https://{}", self.etcd),
            format!("--bind-address={ip}"),
            format!("--advertise-address={ip}"),
            format!("--secure-port={}", self.apiserver.port()),
            // Endpoints may not hold loopback addresses.
            "--endpoint-reconciler-type=none".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            // Controllers and the operator are few and known; the limits that
            // protect a shared API server would only blur what is measured.
            "--max-requests-inflight=800".to_owned(),
            "--max-mutating-requests-inflight=400".to_owned(),
        ];
        for (flag, file) in [
            ("etcd-cafile", "ca.crt"),
            ("etcd-certfile", "server.crt"),
            ("etcd-keyfile", "server.key"),
            ("tls-cert-file", "server.crt"),
            ("tls-private-key-file", "server.key"),
            ("token-auth-file", "tokens.csv"),
            ("service-account-key-file", "service-accounts.pub"),
            ("service-account-signing-key-file", "service-accounts.key"),
        ] {
            flags.push(self.file_flag(flag, file));
        }
        if self.audit {
            let policy = self.dir.join("audit-policy.yaml");
            std::fs::write(&policy, audit::POLICY)?;
            flags.push(format!("--audit-policy-file={}", policy.display()));
            flags.push(format!("--audit-log-path={}", audit_log(self.dir).display()));
        }
        self.start(&self.tools.apiserver, "kube-apiserver", flags)
    }

    fn start_controller_manager(&self) -> Result<Process> {
        let kubeconfig = self.dir.join("controller-manager.kubeconfig");
        let flags = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--controllers={}", CONTROLLERS.join(",")),
            self.file_flag("root-ca-file", "ca.crt"),
            self.file_flag("service-account-private-key-file", "service-accounts.key"),
            // As on a real cluster: each controller with the rights of its role.
            "--use-service-account-credentials=true".to_owned(),
            "--leader-elect=false".to_owned(),
            // Instead of 15 s: a test need not wait that long for more pods.
            "--horizontal-pod-autoscaler-sync-period=1s".to_owned(),
            // No server of its own: nobody asks it anything.
            "--secure-port=0".to_owned(),
            "--profiling=false".to_owned(),
            "--kube-api-qps=300".to_owned(),
            "--kube-api-burst=600".to_owned(),
        ];
        self.start(&self.tools.controller_manager, "kube-controller-manager", flags)
    }

    fn file_flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.pki.path(file).display())
    }

    fn start(&self, program: &Path, name: &str, flags: Vec<String>) -> Result<Process> {
        let log = self.dir.join("logs").join(format!("{name}.log"));
        let command = Command::new(program, log)
            .args(flags)
            .cwd(self.dir)
            .grace(GRACE)
            .env("GOGC", GOGC)
            .env("GOMEMLIMIT", GOMEMLIMIT);
        self.supervisor.spawn(command)
    }
}

/// Asks the API server whether it is ready, until it is or one of the
/// processes has ended.
async fn wait_until_ready(client: &kube::Client, processes: &[&Process]) -> Result<()> {
    let deadline = tokio::time::Instant::now() + READY_WITHIN;
    loop {
        if let Some(ended) = processes.iter().find(|process| !process.is_running()) {
            return Err(ended.ended_early()).context("the control plane does not start");
        }
        let request = http::Request::get("/readyz").body(Vec::new())?;
        let answer = client.request_text(request).await;
        if answer.is_ok_and(|text| text == "ok") {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            let logs: Vec<String> = processes.iter().map(|process| crate::process::log_tail(process.log())).collect();
            bail!("the API server is not ready after {} s; {}", READY_WITHIN.as_secs(), logs.join("; "));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
