//! An etcd and an API server, nothing else: enough for admission and RBAC.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// Ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running API server; ends when dropped.
pub(crate) struct ApiServer {
    directory: TempDir,
    // Dropped in this order: the server before its store.
    _server: Process,
    _etcd: Process,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn start(program: &str, arguments: &[String], directory: &Path) -> Result<Process> {
    let log = std::fs::File::create(directory.join(format!("{program}.log")))?;
    let child = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("{program} is not on PATH: `make test` builds it and puts it there"))?;
    Ok(Process(child))
}

impl ApiServer {
    pub(crate) fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let (client, peer, secure) = (free_port()?, free_port()?, free_port()?);
        write_credentials(directory.path(), secure)?;
        let etcd = start(
            "etcd",
            &[
                "--data-dir=etcd".into(),
                format!("--listen-client-urls=http://127.0.0.1:{client}"),
                format!("--advertise-client-urls=http://127.0.0.1:{client}"),
                format!("--listen-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
                format!("--initial-cluster=default=http://127.0.0.1:{peer}"),
                "--unsafe-no-fsync".into(),
            ],
            directory.path(),
        )?;
        let server = start(
            "kube-apiserver",
            &[
                format!("--etcd-servers=http://127.0.0.1:{client}"),
                "--bind-address=127.0.0.1".into(),
                "--advertise-address=127.0.0.1".into(),
                "--endpoint-reconciler-type=none".into(),
                format!("--secure-port={secure}"),
                "--cert-dir=certificates".into(),
                "--token-auth-file=tokens.csv".into(),
                "--authorization-mode=RBAC".into(),
                "--service-account-issuer=https://werkbank.test".into(),
                "--service-account-key-file=serviceaccount.pub".into(),
                "--service-account-signing-key-file=serviceaccount.key".into(),
                "--service-cluster-ip-range=10.0.0.0/24".into(),
            ],
            directory.path(),
        )?;
        let cluster = Self { directory, _server: server, _etcd: etcd };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Ready when the roles RBAC starts with are there, not when it first answers.
    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let ready = self.kubectl(&["get", "--raw", "/readyz"])?;
            if ready.status.success() {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the API server did not become ready: {}\n{}",
                String::from_utf8_lossy(&ready.stderr),
                std::fs::read_to_string(self.directory.path().join("kube-apiserver.log"))?
            );
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn kubeconfig(&self) -> String {
        self.directory.path().join("kubeconfig").display().to_string()
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig()])
            .args(arguments)
            .output()
            .context("kubectl is not on PATH: `make test` builds it and puts it there")
    }

    /// Server-side apply of one document.
    pub(crate) fn apply(&self, document: &str) -> Result<()> {
        let file = self.directory.path().join("document.yaml");
        std::fs::write(&file, document)?;
        let output = self.kubectl(&["apply", "--server-side", "-f", &file.display().to_string()])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// The keys of service account tokens, one administrator, and a kubeconfig for it.
fn write_credentials(directory: &Path, port: u16) -> Result<()> {
    let key = rcgen::KeyPair::generate()?;
    std::fs::write(directory.join("serviceaccount.key"), key.serialize_pem())?;
    std::fs::write(directory.join("serviceaccount.pub"), key.public_key_pem())?;
    // As hard to guess as a fresh private key.
    let token: String = Sha256::digest(key.serialized_der()).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(directory.join("tokens.csv"), format!("{token},admin,admin,system:masters\n"))?;
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true,
        }}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    });
    std::fs::write(directory.join("kubeconfig"), kubeconfig.to_string())?;
    Ok(())
}
