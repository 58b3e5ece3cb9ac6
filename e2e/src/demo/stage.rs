//! The stage: a cluster with the operator, three trained models and a gateway.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kube::Api;
use sha2::{Digest, Sha256};
use werkbank::api::ModelDeployment;

use super::replay::{Options as ReplayOptions, Replay};
use crate::process::Command;
use crate::workbench::{Options, Workbench, repository};

const NAMESPACE: &str = "crm";
const HOST: &str = "churn.internal";

/// Everything the story plays on.
pub(super) struct Stage {
    workbench: Workbench,
    models: PathBuf,
}

impl Stage {
    /// Starts the cluster, trains the models, installs the operator with its chart.
    pub(super) async fn set() -> Result<Self> {
        let workbench = Workbench::start(Options::from_env()).await?;
        let models = workbench.control_plane().run_dir().join("models");
        let stage = Self { workbench, models };
        super::say("- training three versions from the CDNOW purchases (takes about 10 s)");
        stage.train().await?;
        super::say("- installing the operator with its Helm chart, two replicas");
        stage.workbench.install_operator(&[]).await?;
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {NAMESPACE}}}\n");
        stage.workbench.apply("namespace", &namespace).await?;
        stage.workbench.apply("gateway", &manifest("gateway.yaml")?).await?;
        for version in ["v1", "v2", "v3"] {
            stage.workbench.apply(&format!("entry-{version}"), &stage.entry(version)?).await?;
        }
        Ok(stage)
    }

    async fn train(&self) -> Result<()> {
        let script = repository().join("examples/churn/train.py");
        let train = |python: Command| python.arg(script).arg("--out").arg(&self.models);
        let output = self.workbench.supervisor().output("python3", train).await?;
        if !output.status.success() {
            bail!("examples/churn/train.py failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::write(self.models.join("training.log"), output.stdout)?;
        Ok(())
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
             artifact: {{uri: \"file://{}\", sha256: {digest}, format: json}}\n",
            path.display()
        ))
    }

    /// Points the deployment at an entry, as a commit in Git would.
    pub(super) async fn deploy(&self, entry: &str) -> Result<()> {
        let text =
            manifest("deployment.yaml")?.replace("modelRef: {name: churn-v1}", &format!("modelRef: {{name: {entry}}}"));
        self.workbench.apply("deployment", &text).await
    }

    /// Sends the later months' customers through the gateway, and lets Prometheus see their outcomes.
    pub(super) async fn replay(&self, rate: f64) -> Result<Replay> {
        let url = self.gateway()?.url(NAMESPACE, "internal").await?;
        let replay = Replay::start(ReplayOptions::new(url, HOST, self.models.join("requests.jsonl"), rate)).await?;
        let prometheus = self.workbench.prometheus().context("the demo needs the workbench's Prometheus")?;
        prometheus.scrape("replay", replay.metrics_addr())?;
        Ok(replay)
    }

    pub(super) async fn deployment(&self) -> Result<ModelDeployment> {
        let api: Api<ModelDeployment> = Api::namespaced(self.workbench.control_plane().client(), NAMESPACE);
        Ok(api.get("churn").await?)
    }

    fn gateway(&self) -> Result<&crate::gateway::GatewayController> {
        self.workbench.gateway().context("the demo needs the workbench's gateway: run it without WERKBANK_KUBECONFIG")
    }

    /// The candidate's weight that Envoy works with now, in percent; `None` before there is a route.
    pub(super) async fn weight_in_envoy(&self, revision: &str) -> Result<Option<f64>> {
        // Before the first deployment is ready there is no route to ask for.
        let Ok(weights) = self.gateway()?.weights(NAMESPACE, "churn").await else { return Ok(None) };
        let total: u32 = weights.values().sum();
        let own: u32 = weights.iter().filter(|(name, _)| name.contains(revision)).map(|(_, weight)| weight).sum();
        Ok((total > 0).then(|| f64::from(own) * 100.0 / f64::from(total)))
    }

    /// Ends everything; with `KEEP` set only when told to.
    pub(super) async fn end(self) -> Result<()> {
        if std::env::var_os("KEEP").is_some_and(|it| it != "0") {
            let control_plane = self.workbench.control_plane();
            println!("\nIt is left running; Ctrl-C ends it. For kubectl, in another terminal:");
            println!("export KUBECONFIG='{}'", control_plane.kubeconfig().display());
            println!("alias kubectl='{}'", control_plane.kubectl_path().display());
            tokio::signal::ctrl_c().await?;
        }
        self.workbench.stop().await
    }
}

fn manifest(name: &str) -> Result<String> {
    let path = repository().join("examples/churn/manifests").join(name);
    std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}
