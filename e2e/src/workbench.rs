//! Everything together: the cluster, its metrics, and the tools to use it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Secret;
use tokio::sync::OnceCell;

use crate::controlplane::{self, AddressBlock, ControlPlane};
use crate::fault_proxy::FaultProxy;
use crate::gateway::{GatewayController, GatewayOptions, Ports};
use crate::helm::Helm;
use crate::node::{self, Image, NodeAgent, NodeOptions};
use crate::process::Supervisor;
use crate::prometheus::Prometheus;
use crate::tools::Tools;

/// What a workbench consists of.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the control plane is started.
    pub control_plane: controlplane::Options,
    /// Whether Prometheus runs beside it, and how often it scrapes. Never
    /// beside a cluster that was not started here: it could not reach the pods.
    pub prometheus: Option<Duration>,
    /// Whether pods run, and requests reach them through Envoy. Never on a
    /// cluster that was not started here: it has its own nodes and gateway.
    pub node: bool,
    /// Whether HTTPRoutes get to Envoy, beside a node of its own.
    pub gateway: bool,
    /// Whether pods reach the API server through a proxy that a test can break.
    pub fault_proxy: bool,
    /// How long the node waits before it starts a container again.
    pub restarts: node::Backoff,
}

impl Options {
    /// A whole workbench, or the cluster of `WERKBANK_KUBECONFIG`.
    pub fn from_env() -> Self {
        Self {
            control_plane: controlplane::Options::from_env(),
            prometheus: Some(Duration::from_secs(1)),
            node: true,
            gateway: true,
            fault_proxy: false,
            restarts: node::Backoff::default(),
        }
    }
}

/// The image of the operator on this node: the `werkbank` binary that was built with this one.
pub const OPERATOR_IMAGE: (&str, &str) = ("ghcr.io/werkbank-dev/werkbank", "local");
/// The same operator without an audit log, for the benchmark.
pub const WITHOUT_LOG_IMAGE: (&str, &str) = ("werkbank.dev/without-log", "local");
/// The image of the example's model server.
pub const MODEL_SERVER_IMAGE: &str = "werkbank.dev/model-server:local";
/// An image with a shell and this machine's tools: what stands for a program that judges.
pub const SHELL_IMAGE: &str = "werkbank.dev/shell:local";
/// `controllerName` of the GatewayClass that is served.
pub const GATEWAY_CONTROLLER: &str = "werkbank.dev/workbench";
/// What the operator's replicas keep the audit log in, and sign it with.
const AUDIT: &str = "audit.store=PersistentVolumeClaim,audit.persistentVolumeClaim.existingClaim=audit,\
                     audit.keySecret=werkbank-audit-key";
/// Where the operator is installed.
pub const OPERATOR_NAMESPACE: &str = "werkbank-system";
/// The region that the node is in, by the well-known label.
pub const REGION: &str = "eu-central-1";

/// A running workbench. [`Workbench::stop`] ends it; so does dropping it, and
/// so does the end of this process, however it comes.
// Fields are dropped in this order: what depends on others goes first.
pub struct Workbench {
    gateway: Option<GatewayController>,
    node: Option<NodeAgent>,
    fault_proxy: Option<FaultProxy>,
    prometheus: Option<Prometheus>,
    helm: Helm,
    control_plane: ControlPlane,
    tools: Tools,
    supervisor: Supervisor,
    audit_key: OnceCell<String>,
}

/// The operator's audit log, and the key it is verified with.
#[derive(Clone, Debug)]
pub struct AuditLog {
    /// Where its files are.
    pub folder: PathBuf,
    /// The public key, as `werkbank audit` takes it.
    pub key: String,
}

impl Workbench {
    /// Finds or builds the tools, starts the parts and waits until they are ready.
    ///
    /// # Errors
    ///
    /// When a tool is missing or a part does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let supervisor = Supervisor::new()?;
        let tools = Tools::new(supervisor.clone())?;
        // First, so that no process waits while something is built.
        let helm = tools.helm().await?;
        let prometheus = match options.prometheus {
            Some(interval) if options.control_plane.kubeconfig.is_none() => Some((tools.prometheus().await?, interval)),
            _ => None,
        };
        let control_plane =
            ControlPlane::start(options.control_plane, &tools).await.context("cannot start the control plane")?;
        let prometheus = match prometheus {
            Some((program, interval)) => Some(Prometheus::start(program, &control_plane, interval).await?),
            None => None,
        };
        let local = options.node && control_plane.is_local();
        let fault_proxy = match local && options.fault_proxy {
            true => Some(FaultProxy::start(control_plane.url(), control_plane.ca_pem()).await?),
            false => None,
        };
        let server = fault_proxy.as_ref().map_or_else(|| control_plane.url().to_owned(), FaultProxy::url);
        let node = if local { Some(start_node(&control_plane, &server, options.restarts).await?) } else { None };
        let gateway = if local && options.gateway { Some(start_gateway(&control_plane, &tools).await?) } else { None };
        Ok(Self {
            gateway,
            node,
            fault_proxy,
            prometheus,
            helm: Helm::new(helm, control_plane.kubeconfig(), control_plane.run_dir(), supervisor.clone()),
            control_plane,
            tools,
            supervisor,
            audit_key: OnceCell::new(),
        })
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The node, if pods run here.
    pub fn node(&self) -> Option<&NodeAgent> {
        self.node.as_ref()
    }

    /// The gateway, if requests reach pods here.
    pub fn gateway(&self) -> Option<&GatewayController> {
        self.gateway.as_ref()
    }

    /// What pods reach the API server through, if a test asked for it.
    pub fn fault_proxy(&self) -> Option<&FaultProxy> {
        self.fault_proxy.as_ref()
    }

    /// Prometheus, if it runs here.
    pub fn prometheus(&self) -> Option<&Prometheus> {
        self.prometheus.as_ref()
    }

    /// Prometheus, to restart it.
    pub fn prometheus_mut(&mut self) -> Option<&mut Prometheus> {
        self.prometheus.as_mut()
    }

    /// Helm for this cluster.
    pub fn helm(&self) -> &Helm {
        &self.helm
    }

    /// The tools it stands on.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// Starts further processes that end with the workbench.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// Installs the operator with its chart, as any cluster would: two replicas, the chart's ServiceAccount
    /// and rights. `values` are further `--set` arguments.
    ///
    /// # Errors
    ///
    /// When Helm refuses, or the operator's pods do not become ready.
    pub async fn install_operator(&self, values: &[&str]) -> Result<()> {
        let (image, tag) = OPERATOR_IMAGE;
        let region = format!("regions.eu.topology\\.kubernetes\\.io/region={REGION}");
        let mut own = vec![format!("image.repository={image},image.tag={tag}"), region];
        own.extend(self.prometheus.as_ref().map(|it| format!("prometheus.url={}", it.url())));
        if self.node.is_some() {
            self.audit_key.get_or_try_init(|| self.make_audit_key()).await?;
            own.push(AUDIT.into());
        }
        let sets = own.iter().map(String::as_str).chain(values.iter().copied());
        // Here, everything that a metric may name is on loopback.
        let env = ["--set-json", r#"env=[{"name": "ALLOW_LOOPBACK_URLS", "value": "true"}]"#];
        let args: Vec<&str> =
            sets.flat_map(|set| ["--set", set]).chain(env).chain(["--wait", "--timeout=120s"]).collect();
        self.helm.upgrade_install("werkbank", &repository().join("charts/werkbank"), OPERATOR_NAMESPACE, &args).await?;
        Ok(())
    }

    /// The log of the operator that is installed here, which its replicas share; none on a cluster that was not started here.
    #[must_use]
    pub fn audit_log(&self) -> Option<AuditLog> {
        let folder = self.node.as_ref()?.claim(OPERATOR_NAMESPACE, "audit").join("audit");
        self.audit_key.get().map(|key| AuditLog { folder, key: key.clone() })
    }

    /// As the docs say: a key that `werkbank audit key` makes, as a Secret in the operator's namespace. Gives the public one.
    async fn make_audit_key(&self) -> Result<String> {
        let arguments = ["audit", "key", "werkbank.dev/workbench"];
        let program = sibling("werkbank")?;
        let made = self.supervisor.output(&program.display().to_string(), |it| it.args(arguments)).await?;
        let secret: Secret = serde_yaml::from_slice(&made.stdout).context("`werkbank audit key` printed no Secret")?;
        let public = secret.metadata.annotations.and_then(|mut it| it.remove("werkbank.dev/audit-public-key"));
        let yaml = String::from_utf8_lossy(&made.stdout).replacen(
            "metadata:\n",
            &format!("metadata:\n  namespace: {OPERATOR_NAMESPACE}\n"),
            1,
        );
        let namespace = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {OPERATOR_NAMESPACE}}}}}");
        self.apply("operator-namespace", &namespace).await?;
        self.apply("audit-key", &yaml).await?;
        public.context("the Secret of `werkbank audit key` does not say its public key")
    }

    /// `kubectl apply` of a manifest, kept as `<name>.yaml` in the run directory.
    ///
    /// # Errors
    ///
    /// When the API server refuses it; with what it said.
    pub async fn apply(&self, name: &str, yaml: &str) -> Result<()> {
        let file = self.control_plane.run_dir().join(format!("{name}.yaml"));
        std::fs::write(&file, yaml)?;
        let output = self.control_plane.kubectl(["apply".into(), "-f".into(), file.into_os_string()]).await?;
        if !output.status.success() {
            bail!("kubectl apply of {name} was refused: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// The two lines that point kubectl at it, to be pasted into a shell. The plugin `kubectl werkbank` that
    /// was built with this is found, too.
    pub fn kubectl_lines(&self) -> String {
        let kubectl = self.control_plane.kubectl_path().display();
        let plugin = sibling("kubectl-werkbank").ok();
        let path = plugin.as_ref().and_then(|it| it.parent()).map(|it| format!("PATH=\"{}:$PATH\" ", it.display()));
        let kubeconfig = self.control_plane.kubeconfig().display();
        format!("export KUBECONFIG='{kubeconfig}'\nalias kubectl='{}\"{kubectl}\"'", path.unwrap_or_default())
    }

    /// Ends everything, and removes the directory if it is a temporary one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be removed.
    pub async fn stop(self) -> Result<()> {
        if let Some(gateway) = self.gateway {
            gateway.stop().await?;
        }
        if let Some(node) = self.node {
            node.stop().await;
        }
        if let Some(prometheus) = &self.prometheus {
            prometheus.stop().await;
        }
        let stopped = self.control_plane.stop().await;
        self.supervisor.stop_all();
        stopped
    }
}

/// A node whose images are the binaries built beside this one.
async fn start_node(control_plane: &ControlPlane, server: &str, restarts: node::Backoff) -> Result<NodeAgent> {
    let [.., block, _] = control_plane.addresses().ip(AddressBlock::CONTROL_PLANE).octets();
    let dir = control_plane.run_dir().join("node");
    let image = |(repository, tag): (&str, &str)| format!("{repository}:{tag}");
    let mut options =
        NodeOptions::new("workbench", node::AddressBlock::new(PODS, block), dir, server, control_plane.ca_pem())
            .label("topology.kubernetes.io/region", REGION)
            .image(&image(OPERATOR_IMAGE), Image::new(sibling("werkbank")?))
            .image(&image(WITHOUT_LOG_IMAGE), Image::new(sibling("workbench")?))
            .image(MODEL_SERVER_IMAGE, Image::new(sibling("model-server")?))
            .image(SHELL_IMAGE, Image::new("/bin/sh"));
    options.backoff = restarts;
    NodeAgent::start(control_plane.client(), options).await.context("cannot start the node")
}

/// Second octet of the pods' addresses; the third is the control plane's, whose lock covers both.
const PODS: u8 = 78;

async fn start_gateway(control_plane: &ControlPlane, tools: &Tools) -> Result<GatewayController> {
    let options = GatewayOptions {
        envoy: tools.envoy().await?,
        controller_name: GATEWAY_CONTROLLER.to_owned(),
        run_dir: control_plane.run_dir().join("gateway"),
        address: control_plane.addresses().ip(AddressBlock::GATEWAY).to_string(),
        ports: Ports::Free,
    };
    GatewayController::start(control_plane.client(), options).await.context("cannot start the gateway")
}

/// A binary of this workspace, beside the running one (tests run one folder below).
///
/// # Errors
///
/// When it is not built.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let found = own.ancestors().skip(1).take(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "the binary {name} is not built beside {}: run `cargo build -p werkbank -p werkbank-e2e --bins`",
            own.display()
        )
    })
}

/// The checkout this was built from: charts and examples are read from there.
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
