//! A real Prometheus that finds pods the way it does on every cluster.
//!
//! It watches the API server for pods and scrapes those annotated
//! `prometheus.io/scrape: "true"` at their own address, port and path. The
//! labels the operator's queries rely on come from pod labels:
//! `werkbank.dev/revision` becomes `revision`, `werkbank.dev/deployment`
//! becomes `deployment`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::controlplane::{AddressBlock, ControlPlane};
use crate::process::{Command, Process, Supervisor};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// A Prometheus that scrapes the pods of one control plane.
#[derive(Debug)]
pub struct Prometheus {
    program: PathBuf,
    dir: PathBuf,
    address: SocketAddr,
    supervisor: Supervisor,
    process: Process,
    http: reqwest::Client,
}

impl Prometheus {
    /// Starts Prometheus and waits until it is ready; it scrapes every
    /// `interval`.
    ///
    /// # Errors
    ///
    /// When the control plane was not started here, or Prometheus does not start.
    pub async fn start(program: PathBuf, control_plane: &ControlPlane, interval: Duration) -> Result<Self> {
        let dir = control_plane.run_dir().join("prometheus");
        std::fs::create_dir_all(&dir)?;
        let config = serde_yaml::to_string(&configuration(control_plane, interval)?)?;
        std::fs::write(dir.join("prometheus.yaml"), config)?;
        let address = control_plane.addresses().free_port(AddressBlock::PROMETHEUS)?;
        let supervisor = Supervisor::new()?;
        let process = spawn(&program, &dir, address, &supervisor)?;
        let this = Self {
            program,
            dir,
            address,
            supervisor,
            process,
            http: reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?,
        };
        this.wait_until_ready().await?;
        Ok(this)
    }

    /// Its address; the same after [`Prometheus::restart`].
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks an instant query; gives the result's `data` as Prometheus sent it.
    ///
    /// # Errors
    ///
    /// When Prometheus does not answer or refuses the query.
    pub async fn query(&self, promql: &str) -> Result<serde_json::Value> {
        let answer = self
            .http
            .get(format!("{}/api/v1/query", self.url()))
            .query(&[("query", promql)])
            .send()
            .await
            .context("Prometheus does not answer")?;
        let mut body: serde_json::Value = answer.json().await?;
        match body.get("status").and_then(|status| status.as_str()) {
            Some("success") => Ok(body.get_mut("data").map(serde_json::Value::take).unwrap_or_default()),
            _ => bail!("Prometheus refuses the query `{promql}`: {body}"),
        }
    }

    /// Ends Prometheus; its data stays for [`Prometheus::restart`].
    pub async fn stop(&self) {
        self.process.stop().await;
    }

    /// Ends Prometheus if it runs, and starts it again at the same address
    /// with the same data.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        self.process = spawn(&self.program, &self.dir, self.address, &self.supervisor)?;
        self.wait_until_ready().await
    }

    /// Scrapes an address that is no pod's, from now on.
    ///
    /// # Errors
    ///
    /// When the list of targets cannot be written.
    pub fn scrape(&self, name: &str, address: SocketAddr) -> Result<()> {
        let dir = self.dir.join("targets");
        std::fs::create_dir_all(&dir)?;
        let (file, part) = (dir.join(format!("{name}.json")), self.dir.join(format!("{name}.part")));
        std::fs::write(&part, json!([{"targets": [address.to_string()], "labels": {"job": name}}]).to_string())?;
        Ok(std::fs::rename(part, file)?)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        let url = format!("{}/-/ready", self.url());
        loop {
            if !self.process.is_running() || tokio::time::Instant::now() > deadline {
                return Err(self.process.ended_early()).context("Prometheus is not ready");
            }
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn spawn(program: &Path, dir: &Path, address: SocketAddr, supervisor: &Supervisor) -> Result<Process> {
    let command = Command::new(program, dir.join("prometheus.log"))
        .arg(format!("--config.file={}", dir.join("prometheus.yaml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg("--storage.tsdb.retention.time=1d")
        .arg(format!("--web.listen-address={address}"))
        // A new pod is scraped at once and not after five seconds.
        .arg("--scrape.discovery-reload-interval=1s")
        .arg("--log.level=warn")
        .cwd(dir)
        .grace(Duration::from_secs(3));
    supervisor.spawn(command)
}

fn configuration(control_plane: &ControlPlane, interval: Duration) -> Result<serde_json::Value> {
    let (Some(token), Some(ca)) = (control_plane.token_file(), control_plane.ca_file()) else {
        bail!("Prometheus is only started beside a local control plane: use the cluster's own");
    };
    let interval = format!("{}ms", interval.as_millis());
    Ok(json!({
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [{
            "job_name": "pods",
            "kubernetes_sd_configs": [{
                "role": "pod",
                "api_server": control_plane.url().trim_end_matches('/'),
                "authorization": {"credentials_file": token},
                "tls_config": {"ca_file": ca},
            }],
            "relabel_configs": relabelling(),
        }, {
            // What is no pod, such as a client that counts outcomes; it labels revisions itself.
            "job_name": "targets",
            "honor_labels": true,
            "file_sd_configs": [{"files": ["targets/*.json"], "refresh_interval": "1s"}],
        }],
    }))
}

fn relabelling() -> serde_json::Value {
    let annotation = "__meta_kubernetes_pod_annotation_prometheus_io_";
    let label = "__meta_kubernetes_pod_label_werkbank_dev_";
    let copy = |from: String, to: &str| json!({"source_labels": [from], "target_label": to});
    json!([
        {"source_labels": [format!("{annotation}scrape")], "regex": "true", "action": "keep"},
        // Pods that have ended keep their address in the API for a while.
        {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
        // One target per pod, not one for each of its containers and ports.
        {"source_labels": ["__meta_kubernetes_pod_ip", format!("{annotation}port")],
         "separator": ":", "regex": "(.+):(\\d+)", "replacement": "$1:$2", "target_label": "__address__"},
        {"source_labels": [format!("{annotation}path")], "regex": "(.+)", "target_label": "__metrics_path__"},
        copy(format!("{label}revision"), "revision"),
        copy(format!("{label}deployment"), "deployment"),
        copy("__meta_kubernetes_namespace".to_owned(), "namespace"),
        copy("__meta_kubernetes_pod_name".to_owned(), "pod"),
    ])
}
