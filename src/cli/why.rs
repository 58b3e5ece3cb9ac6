//! `kubectl werkbank why`: reads a deployment, its entries and what people have said of them, and hands them to
//! [`explanation`](super::explanation).

use clap::Args;
use kube::Api;
use kube::api::ListParams;

use super::cluster::{Cluster, ClusterOptions};
use super::{CliError, explanation, get};
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry};

/// Of what.
#[derive(Debug, Args)]
pub struct WhyArguments {
    /// The ModelDeployment.
    name: String,
}

pub(super) async fn run(options: &ClusterOptions, arguments: &WhyArguments) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    let deployment: ModelDeployment = get::one(&cluster, &arguments.name).await?;
    let mut entries = Vec::new();
    for name in explanation::entries_of(&deployment) {
        entries.extend(entry(&cluster, &name).await?);
    }
    let asked = entries.iter().any(|it| it.status.as_ref().is_some_and(|it| !it.approvals.is_empty()));
    let approvals = if asked { approvals(&cluster).await? } else { Vec::new() };
    Ok(explanation::explain(&deployment, &entries, &approvals))
}

/// Perhaps it was deleted since.
async fn entry(cluster: &Cluster, name: &str) -> Result<Option<ModelRegistryEntry>, CliError> {
    match get::one(cluster, name).await {
        Ok(entry) => Ok(Some(entry)),
        Err(CliError::NotFound { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

async fn approvals(cluster: &Cluster) -> Result<Vec<Approval>, CliError> {
    let api: Api<Approval> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}
