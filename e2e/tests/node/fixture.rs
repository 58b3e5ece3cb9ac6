//! A control plane for the node's tests: etcd, API server and controller
//! manager as child processes, ended with the fixture.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use kube::{Client, config::Kubeconfig};
use serde_json::json;
use tempfile::TempDir;

const TOKEN: &str = "node-tests";

/// Ends a process when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running control plane.
pub(crate) struct ControlPlane {
    pub(crate) server: String,
    pub(crate) ca_pem: String,
    pub(crate) dir: TempDir,
    pub(crate) client: Client,
    // Ended first to last: the controller manager before what it talks to.
    _processes: Vec<Ended>,
}

impl ControlPlane {
    /// Starts everything and waits until it is ready.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
        let (client_port, peer_port, api_port, manager_port) = (port(), port(), port(), port());
        let etcd_url = format!("http://127.0.0.1:{client_port}");
        let peer_url = format!("http://127.0.0.1:{peer_port}");
        let server = format!("https://127.0.0.1:{api_port}");
        std::fs::write(at("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).unwrap();
        let signer = rcgen::KeyPair::generate().unwrap();
        std::fs::write(at("sa.key"), signer.serialize_pem()).unwrap();
        std::fs::write(at("sa.pub"), signer.public_key_pem()).unwrap();

        let etcd = format!(
            "--data-dir={} --unsafe-no-fsync --listen-client-urls={etcd_url} --advertise-client-urls={etcd_url} \
             --listen-peer-urls={peer_url} --initial-advertise-peer-urls={peer_url} --initial-cluster=default={peer_url}",
            at("etcd-data")
        );
        let api = format!(
            "--etcd-servers={etcd_url} --bind-address=127.0.0.1 --secure-port={api_port} --cert-dir={} \
             --token-auth-file={} --authorization-mode=RBAC --service-account-issuer=https://workbench \
             --service-account-key-file={} --service-account-signing-key-file={} --service-cluster-ip-range=10.0.0.0/24",
            at("certs"),
            at("tokens.csv"),
            at("sa.pub"),
            at("sa.key")
        );
        let mut processes = vec![spawn(dir.path(), "etcd", &etcd), spawn(dir.path(), "kube-apiserver", &api)];
        let ca_pem = until("the API server's certificate", async || {
            std::fs::read_to_string(dir.path().join("certs/apiserver.crt")).ok()
        })
        .await;
        let kubeconfig = admin(&server, &dir.path().join("certs/apiserver.crt"));
        std::fs::write(at("admin.kubeconfig"), &kubeconfig).unwrap();
        let options = kube::config::KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(Kubeconfig::from_yaml(&kubeconfig).unwrap(), &options);
        let client = Client::try_from(config.await.unwrap()).unwrap();
        until("the API server", async || {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            client.request_text(request).await.ok()
        })
        .await;
        let manager = format!(
            "--kubeconfig={} --bind-address=127.0.0.1 --secure-port={manager_port} --cert-dir={} --leader-elect=false \
             --service-account-private-key-file={} --use-service-account-credentials=false \
             --controllers=deployment-controller,replicaset-controller,job-controller,serviceaccount-controller,garbage-collector-controller",
            at("admin.kubeconfig"),
            at("manager-certs"),
            at("sa.key")
        );
        processes.insert(0, spawn(dir.path(), "kube-controller-manager", &manager));
        Self { server, ca_pem, dir, client, _processes: processes }
    }
}

fn admin(server: &str, ca: &Path) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "admin",
        "clusters": [{"name": "c", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "admin", "context": {"cluster": "c", "user": "admin"}}],
    })
    .to_string()
}

fn spawn(dir: &Path, name: &str, args: &str) -> Ended {
    let binary = std::env::var_os("WERKBANK_CONTROLPLANE").map_or("/tmp/probe/controlplane".into(), PathBuf::from);
    let link = dir.join(name);
    std::os::unix::fs::symlink(binary, &link).unwrap();
    let log = std::fs::File::create(dir.join(format!("{name}.log"))).unwrap();
    let child = Command::new(&link)
        .args(args.split_whitespace())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Ended(child)
}

fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits, at most a minute, until there is an answer.
pub(crate) async fn until<T>(what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1200 {
        if let Some(found) = answer().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited a minute in vain for {what}");
}
