//! What the benchmark runs on: a control plane and the operator, installed with its chart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures::TryFutureExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::accept::Accepting;
use super::requests::{Requests, passes};
use super::usage::{self, Usage};
use super::{Acceptance, NAMESPACE};
use crate::controlplane;
use crate::gateway::GatewayController;
use crate::workbench::{OPERATOR_NAMESPACE, Options, Workbench};

/// A pod ends after the operator's grace at the latest.
const RESTARTED_WITHIN: Duration = Duration::from_secs(60);

/// One replica. There are no pods, so nobody could say of an artifact that it is there.
const VALUES: [&str; 3] =
    ["replicas=1,podDisruptionBudget.enabled=false,artifacts.verify=false", "kubeApi.qps=10000", "kubeApi.burst=20000"];

/// Everything that runs.
pub struct Stage {
    workbench: Workbench,
    http: reqwest::Client,
    pod: String,
    address: String,
    _accepting: Option<Accepting>,
}

/// What was used and sent up to an instant.
#[derive(Clone, Debug)]
pub struct Reading {
    /// By the operator.
    pub usage: Usage,
    /// CPU seconds of everything on this machine.
    pub machine: f64,
    /// CPU seconds of what the benchmark runs besides the operator, by its name.
    pub others: BTreeMap<&'static str, f64>,
    /// By the operator.
    pub operator: Requests,
    /// By everybody: the API server's own count.
    pub everybody: Requests,
    /// The operator's passes over deployments, by outcome.
    pub passes: BTreeMap<String, u64>,
    /// Events the operator had to say and did not write.
    pub events_dropped: u64,
}

impl Stage {
    /// Starts the cluster and installs one replica of the operator without a limit on its requests: with the
    /// chart's default it would be the limit that is measured.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn set(acceptance: Acceptance) -> Result<Self> {
        let mut options = Options::from_env();
        ensure!(
            options.control_plane.kubeconfig.is_none(),
            "the benchmark reads the operator's process and needs the cluster it starts itself: unset WERKBANK_KUBECONFIG"
        );
        options.control_plane = controlplane::Options::default();
        options.prometheus = None;
        // Without a gateway's class its routes are nobody's, and still read by it at each change of any.
        options.gateway = acceptance == Acceptance::Envoy;
        let workbench = Workbench::start(options).await?;
        workbench.install_operator(&VALUES).await?;
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}");
        workbench.apply("namespace", &namespace).await?;
        let client = workbench.control_plane().client();
        let accepting = match acceptance {
            Acceptance::Envoy => {
                let gateway = include_str!("../../../examples/churn/manifests/gateway.yaml");
                workbench.apply("gateway", gateway).await?;
                None
            }
            Acceptance::Writer => Some(Accepting::start(client.clone())),
        };
        let (pod, address) = operator(client).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { workbench, http, pod, address, _accepting: accepting })
    }

    /// Deletes the operator's pod, as an upgrade or a drained node does; does `meanwhile` while none runs, and returns when the
    /// next one's process has been started.
    ///
    /// # Errors
    /// When no other pod comes.
    pub async fn restart_operator(&mut self, meanwhile: impl Future<Output = Result<()>>) -> Result<Instant> {
        let pods: Api<Pod> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let node = self.workbench.node().context("the workbench has no node")?;
        pods.delete(&self.pod, &DeleteParams::default()).await?;
        meanwhile.await?;
        let began = Instant::now();
        loop {
            ensure!(began.elapsed() < RESTARTED_WITHIN, "no other pod of the operator has started");
            let next = pods.list_metadata(&ListParams::default()).await?.items.into_iter();
            let next = next.map(|it| it.name_any()).find(|it| *it != self.pod);
            if let Some(pod) = next
                && node.pid(OPERATOR_NAMESPACE, &pod, "operator").is_some()
            {
                let started = Instant::now();
                (self.pod, self.address) = operator(self.client()).await?;
                return Ok(started);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Installs the operator from another image's repository, and returns when it has looked at all deployments.
    ///
    /// # Errors
    /// When it does not start, or looks at none.
    pub async fn replace_operator(&mut self, repository: &str, deployments: usize) -> Result<()> {
        let image = format!("image.repository={repository}");
        let values: Vec<&str> = VALUES.into_iter().chain([image.as_str()]).collect();
        self.workbench.install_operator(&values).await?;
        let began = Instant::now();
        loop {
            ensure!(began.elapsed() < RESTARTED_WITHIN, "the operator of {repository} looks at nothing");
            (self.pod, self.address) = operator(self.client()).await?;
            let looked = self.read().await.map(|it| it.passes.values().sum::<u64>()).unwrap_or_default();
            if self.is_of(repository).await? && looked >= deployments.try_into()? {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether the operator's pod runs this image.
    async fn is_of(&self, repository: &str) -> Result<bool> {
        let pods: Api<Pod> = Api::namespaced(self.client(), OPERATOR_NAMESPACE);
        let spec = pods.get_opt(&self.pod).await?.and_then(|it| it.spec);
        let image = spec.and_then(|it| it.containers.into_iter().next()?.image).unwrap_or_default();
        Ok(image.split(':').next() == Some(repository))
    }

    /// Entries with artifacts that nobody fetches: there are no pods.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub async fn register(&self, entries: &[&str]) -> Result<()> {
        for (index, name) in entries.iter().enumerate() {
            let entry = json!({
                "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {
                    "model": {"name": "churn", "version": name, "kind": "Predictor"},
                    "artifact": {"uri": format!("s3://models/churn/{name}/"), "sha256": format!("{index:064x}")},
                },
            });
            self.workbench.apply(&format!("entry-{name}"), &entry.to_string()).await?;
        }
        Ok(())
    }

    /// The gateway, if Envoy accepts the routes.
    #[must_use]
    pub fn gateway(&self) -> Option<&GatewayController> {
        self.workbench.gateway()
    }

    /// The administrator's client.
    #[must_use]
    pub fn client(&self) -> Client {
        self.workbench.control_plane().client()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.workbench.control_plane().kubeconfig()
    }

    /// Where the tools' cache is: results go below it.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.workbench.tools().cache().root().to_owned()
    }

    /// Whether the operator says that it is ready.
    pub async fn is_ready(&self) -> bool {
        let url = format!("http://{}:8080/readyz", self.address);
        self.http.get(&url).send().await.is_ok_and(|it| it.status().is_success())
    }

    /// What was used and sent until now.
    ///
    /// # Errors
    /// When the operator does not run any more, or its metrics cannot be read.
    pub async fn read(&self) -> Result<Reading> {
        let url = format!("http://{}:8080/metrics", self.address);
        let text = self.http.get(&url).send().and_then(|it| it.text()).await.context("the operator has no metrics")?;
        let request = http::Request::get("/metrics").body(Vec::new())?;
        let of_api_server = self.client().request_text(request).await?;
        let dropped = text.lines().find_map(|line| line.strip_prefix("werkbank_events_dropped_total "));
        Ok(Reading {
            usage: Usage::of(self.pid()?)?,
            machine: usage::of_machine()?,
            others: self.others()?,
            operator: Requests::of_operator(&text)?,
            everybody: Requests::of_api_server(&of_api_server)?,
            passes: passes(&text)?,
            events_dropped: dropped.and_then(|it| it.trim().parse().ok()).unwrap_or(0),
        })
    }

    fn others(&self) -> Result<BTreeMap<&'static str, f64>> {
        let names = ["etcd", "kube-apiserver", "kube-controller-manager"];
        let servers = names.into_iter().zip(self.workbench.control_plane().pids());
        let all = servers.chain([("the benchmark", std::process::id())]);
        all.map(|(name, pid)| Ok((name, Usage::of(pid)?.cpu_seconds))).collect()
    }

    fn pid(&self) -> Result<u32> {
        let node = self.workbench.node().context("the workbench has no node")?;
        node.pid(OPERATOR_NAMESPACE, &self.pod, "operator").context("the operator's process has ended")
    }

    /// Removes the operator, so that nothing reacts to what is written.
    ///
    /// # Errors
    /// When Helm refuses.
    pub async fn remove_operator(&self) -> Result<()> {
        self.workbench.helm().uninstall("werkbank", OPERATOR_NAMESPACE).await.map(drop)
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When something cannot be ended.
    pub async fn end(self) -> Result<()> {
        self.workbench.stop().await
    }
}

/// Name and address of the operator's only pod, once it has one.
async fn operator(client: Client) -> Result<(String, String)> {
    let pods: Api<Pod> = Api::namespaced(client, OPERATOR_NAMESPACE);
    let began = Instant::now();
    while began.elapsed() < RESTARTED_WITHIN {
        let all = pods.list(&ListParams::default()).await?.items.into_iter();
        let mut alive = all.filter(|it| it.metadata.deletion_timestamp.is_none());
        if let Some(pod) = alive.next()
            && let Some(address) = pod.status.as_ref().and_then(|it| it.pod_ip.clone())
        {
            return Ok((pod.name_any(), address));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the operator has no pod with an address")
}
