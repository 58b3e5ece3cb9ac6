//! Everything together: the cluster, its metrics, and the tools to use it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::controlplane::{self, ControlPlane};
use crate::helm::Helm;
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
}

impl Options {
    /// A whole workbench, or the cluster of `WERKBANK_KUBECONFIG`.
    pub fn from_env() -> Self {
        Self { control_plane: controlplane::Options::from_env(), prometheus: Some(Duration::from_secs(1)) }
    }
}

/// A running workbench. [`Workbench::stop`] ends it; so does dropping it, and
/// so does the end of this process, however it comes.
// Fields are dropped in this order: what depends on others goes first.
pub struct Workbench {
    prometheus: Option<Prometheus>,
    helm: Helm,
    control_plane: ControlPlane,
    tools: Tools,
    supervisor: Supervisor,
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
        // PLUG: the node (`crate::node`) starts here, with the pods' addresses
        // from `control_plane.addresses()`.
        // PLUG: the gateway (`crate::gateway`) starts here, after the node,
        // with `tools.envoy()`.
        Ok(Self {
            prometheus,
            helm: Helm::new(helm, control_plane.kubeconfig(), control_plane.run_dir()),
            control_plane,
            tools,
            supervisor,
        })
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
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

    /// Ends everything, and removes the directory if it is a temporary one.
    ///
    /// # Errors
    ///
    /// When the directory cannot be removed.
    pub async fn stop(self) -> Result<()> {
        if let Some(prometheus) = &self.prometheus {
            prometheus.stop().await;
        }
        let stopped = self.control_plane.stop().await;
        self.supervisor.stop_all();
        stopped
    }
}
