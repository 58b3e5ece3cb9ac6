//! Which cluster, which namespace, as whom: the flags every kubectl user knows.

use std::path::PathBuf;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use super::CliError;

/// kubectl's own connection flags.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterOptions {
    /// The kubeconfig file; otherwise KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,
    /// The context to use; otherwise the current one.
    #[arg(long, global = true)]
    context: Option<String>,
    /// The namespace; otherwise the context's.
    #[arg(long, short, global = true)]
    namespace: Option<String>,
    /// Act as this user; needs the right to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    impersonate: Option<String>,
    /// Act as a member of this group, too; repeatable.
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "impersonate")]
    groups: Vec<String>,
}

/// A cluster and the namespace commands are about.
pub struct Cluster {
    /// Talks to the API server.
    pub client: Client,
    /// From `--namespace` or the context.
    pub namespace: String,
}

impl ClusterOptions {
    /// Connects.
    ///
    /// # Errors
    /// When there is no kubeconfig, or what it names cannot be used.
    pub async fn connect(&self) -> Result<Cluster, CliError> {
        let mut config = self.config().await?;
        if let Some(user) = &self.impersonate {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = (!self.groups.is_empty()).then(|| self.groups.clone());
        }
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Ok(Cluster { client: Client::try_from(config)?, namespace })
    }

    async fn config(&self) -> Result<Config, KubeconfigError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        match &self.kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await,
            None => Config::from_kubeconfig(&options).await,
        }
    }
}
