//! The stage: a cluster with the operator, three trained models and a gateway.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use sha2::{Digest, Sha256};
use werkbank::api::model_deployment::ModelDeploymentStatus;
use werkbank::api::{ModelDeployment, ModelRegistryEntry, Weight};

use super::act::Sent;
use super::approvals::{self, Said};
use super::manifest::{self, Manifest};
use super::replay::{Options as ReplayOptions, Replay};
use crate::breach::{Breach, all_at};
use crate::gateway::GatewayController;
use crate::process::Command;
use crate::prometheus::Prometheus;
use crate::workbench::{AuditLog, Options, Workbench, repository, sibling};

const NAMESPACE: &str = "crm";
/// What every version was made of, and what it may be used for.
const DATA: &str = "  dataSources:
  - {name: cdnow-purchases, personalData: true, legalBasis: LegitimateInterests, purposes: [retention-email], residency: [eu], retention: 730d, ropaId: R-17}
  governance: {purposes: [retention-email], regions: [eu]}
";
const DEPLOYMENT: &str = "churn";
const HOST: &str = "churn.internal";
const GATEWAY: &str = "internal";

/// Everything the story plays on.
pub(super) struct Stage {
    workbench: Workbench,
    models: PathBuf,
}

impl Stage {
    /// Starts the cluster.
    pub(super) async fn start() -> Result<Self> {
        let workbench = Workbench::start(Options::from_env()).await?;
        let models = workbench.control_plane().run_dir().join("models");
        Ok(Self { workbench, models })
    }

    /// Trains the three versions.
    pub(super) async fn train(&self) -> Result<()> {
        let script = repository().join("examples/churn/train.py");
        let train = |python: Command| python.arg(script).arg("--out").arg(&self.models);
        let output = self.workbench.supervisor().output("python3", train).await?;
        if !output.status.success() {
            bail!("examples/churn/train.py failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::write(self.models.join("training.log"), output.stdout)?;
        Ok(())
    }

    /// Installs the operator with its chart, and what the story needs of the cluster.
    pub(super) async fn furnish(&self) -> Result<()> {
        self.workbench.install_operator(&[]).await?;
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
        self.workbench.apply("namespace", &namespace).await?;
        self.workbench.apply("gateway", &manifest::text("gateway.yaml")?).await?;
        self.workbench.apply("people", &manifest::text("people.yaml")?).await?;
        for version in ["v1", "v2"] {
            self.workbench.apply(&format!("entry-{version}"), &self.entry(version)?).await?;
        }
        self.register_for_approval().await
    }

    /// The third version asks for approvals, and so is registered by its author, in her own name.
    async fn register_for_approval(&self) -> Result<()> {
        let control_plane = self.workbench.control_plane();
        let file = control_plane.run_dir().join("entry-v3.yaml");
        let asking = "submittedBy: anna@example.com\n  governance: {approvals: [technical, business], ";
        std::fs::write(&file, self.entry("v3")?.replacen("governance: {", asking, 1))?;
        let begin = Instant::now();
        loop {
            let file = file.display().to_string();
            let output = control_plane.kubectl(["create", "--as", "anna@example.com", "-f", &file]).await?;
            if output.status.success() {
                return Ok(());
            }
            // A role that was bound just now takes a moment to be known.
            if begin.elapsed() > Duration::from_secs(30) {
                bail!("anna cannot register churn-v3: {}", String::from_utf8_lossy(&output.stderr));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Somebody approves an entry with the plugin.
    pub(super) async fn approve(&self, who: &str, entry: &str, role: &str) -> Result<Said> {
        self.plugin(who, &["approve", entry, "--role", role]).await
    }

    /// What `kubectl werkbank why` tells somebody of the deployment.
    pub(super) async fn why(&self, who: &str) -> Result<Said> {
        self.plugin(who, &["why", DEPLOYMENT]).await
    }

    /// `kubectl werkbank`, as somebody.
    async fn plugin(&self, who: &str, words: &[&str]) -> Result<Said> {
        let kubeconfig = self.workbench.control_plane().kubeconfig();
        let plugin = sibling("kubectl-werkbank")?;
        let arguments = |command: Command| {
            let connected = command.arg("--kubeconfig").arg(kubeconfig).args(["--as", who, "-n", NAMESPACE]);
            connected.args(words.iter().copied())
        };
        let output = self.workbench.supervisor().output(&plugin, arguments).await?;
        Ok(approvals::said(output.status.success(), &output.stdout, &output.stderr))
    }

    /// What a program says.
    pub(super) async fn run(&self, program: &str, words: &[&str]) -> Result<std::process::Output> {
        self.workbench.supervisor().output(program, |it| it.args(words.iter().copied())).await
    }

    /// The log of the operator.
    pub(super) fn audit_log(&self) -> Result<AuditLog> {
        self.workbench.audit_log().context("the demo needs the workbench's node: run it without WERKBANK_KUBECONFIG")
    }

    /// A folder that ends with the story.
    pub(super) fn folder(&self, name: &str) -> PathBuf {
        self.workbench.control_plane().run_dir().join(name)
    }

    /// The entry of a version: its artifact where training left it, and its digest.
    fn entry(&self, version: &str) -> Result<String> {
        let path = self.models.join(version).join("model.json");
        let bytes = std::fs::read(&path).with_context(|| format!("training left no {}", path.display()))?;
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!(
            "apiVersion: werkbank.dev/v1alpha1\nkind: ModelRegistryEntry\n\
             metadata: {{name: churn-{version}, namespace: {NAMESPACE}}}\n\
             spec:\n  model: {{name: churn, version: {version}, kind: Predictor}}\n  \
             artifact: {{uri: \"file://{}\", sha256: {digest}, format: json}}\n{DATA}",
            path.display()
        ))
    }

    /// Points the deployment at an entry, as a commit in Git would.
    pub(super) async fn deploy(&self, manifest: &Manifest, entry: &str) -> Result<()> {
        self.workbench.apply("deployment", &manifest.of(entry)).await
    }

    /// Revokes an entry, as a commit in Git would.
    pub(super) async fn revoke(&self, entry: &str) -> Result<()> {
        let api: Api<ModelRegistryEntry> = Api::namespaced(self.workbench.control_plane().client(), NAMESPACE);
        let revoked = Patch::Merge(json!({"spec": {"lifecycle": "Revoked"}}));
        api.patch_metadata(entry, &PatchParams::default(), &revoked).await?;
        Ok(())
    }

    /// When Envoy was seen to send everything to this revision, if that was in time.
    pub(super) async fn until_all_at(&self, revision: &str, patience: Duration) -> Result<Option<Instant>> {
        let begin = Instant::now();
        while begin.elapsed() < patience {
            if all_at(&self.gateway()?.weights(NAMESPACE, DEPLOYMENT).await?, revision) {
                return Ok(Some(Instant::now()));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(None)
    }

    /// Sends the later months' customers through the gateway, and lets Prometheus see their outcomes.
    pub(super) async fn replay(&self, rate: f64) -> Result<Replay> {
        let url = self.gateway()?.url(NAMESPACE, GATEWAY).await?;
        let replay = Replay::start(ReplayOptions::new(url, HOST, self.models.join("requests.jsonl"), rate)).await?;
        self.prometheus()?.scrape("replay", replay.metrics_addr())?;
        Ok(replay)
    }

    pub(super) async fn deployment(&self) -> Result<ModelDeployment> {
        let api: Api<ModelDeployment> = Api::namespaced(self.workbench.control_plane().client(), NAMESPACE);
        Ok(api.get(DEPLOYMENT).await?)
    }

    /// Its status. One of an older generation says nothing about what was just applied.
    pub(super) async fn status(&self) -> Result<ModelDeploymentStatus> {
        let deployment = self.deployment().await?;
        let generation = deployment.metadata.generation;
        Ok(deployment.status.filter(|it| Some(it.observed_generation) == generation).unwrap_or_default())
    }

    /// The candidate's weight that Envoy works with now; `None` before there is a route.
    pub(super) async fn weight_in_envoy(&self, revision: &str) -> Result<Option<Weight>> {
        // Before the first deployment is ready there is no route to ask for.
        let Ok(weights) = self.gateway()?.weights(NAMESPACE, DEPLOYMENT).await else { return Ok(None) };
        let total: u32 = weights.values().sum();
        let own: u32 = weights.iter().filter(|(name, _)| name.contains(revision)).map(|(_, weight)| weight).sum();
        let hundredths = (own * Weight::TOTAL.unsigned_abs()).checked_div(total);
        Ok(hundredths.map(u16::try_from).transpose()?.map(Weight::from_hundredths))
    }

    /// What Envoy has sent to the deployment's Services.
    pub(super) async fn sent(&self) -> Result<Sent> {
        let prefix = format!("{NAMESPACE}/{DEPLOYMENT}-");
        let counters = self.gateway()?.counters().await?;
        Ok(counters.into_iter().filter(|(it, _)| it.starts_with(&prefix)).map(|(it, of)| (it, of.requests)).collect())
    }

    /// The breach that this PromQL shows.
    pub(super) fn breach(&self, query: String, stable: &str) -> Result<Breach<'_>> {
        let (prometheus, gateway) = (self.prometheus()?, self.gateway()?);
        Ok(Breach { prometheus, gateway, query, route: (NAMESPACE, DEPLOYMENT), stable: stable.to_owned() })
    }

    /// How people get at it, to be pasted into a shell: at the gateway as soon as it is open, and with kubectl.
    pub(super) async fn lines(&self) -> String {
        let kubectl = self.workbench.kubectl_lines();
        let Ok(gateway) = self.gateway() else { return kubectl };
        // A story that failed early has none.
        match tokio::time::timeout(Duration::from_secs(1), gateway.url(NAMESPACE, GATEWAY)).await {
            Ok(Ok(url)) => format!("export GATEWAY='{url}'\n{kubectl}"),
            _ => kubectl,
        }
    }

    /// Ends everything.
    pub(super) async fn end(self) -> Result<()> {
        self.workbench.stop().await
    }

    fn gateway(&self) -> Result<&GatewayController> {
        self.workbench.gateway().context("the demo needs the workbench's gateway: run it without WERKBANK_KUBECONFIG")
    }

    fn prometheus(&self) -> Result<&Prometheus> {
        self.workbench
            .prometheus()
            .context("the demo needs the workbench's Prometheus: run it without WERKBANK_KUBECONFIG")
    }
}
