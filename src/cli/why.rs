//! `kubectl werkbank why`: reads a deployment, or an entry, and what people have said of it, and hands them to
//! [`explanation`](super::explanation).

use clap::Args;
use kube::Api;
use kube::api::ListParams;

use super::cluster::{Cluster, ClusterOptions};
use super::recorded::{self, Record};
use super::subject::Subject;
use super::{CliError, explanation, get};
use crate::api::approval::SubjectKind;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry};

/// Of what.
#[derive(Debug, Args)]
pub struct WhyArguments {
    /// The ModelDeployment; or `modelregistryentry/NAME`, whether or not anything serves it.
    #[arg(value_name = "NAME")]
    explained: Subject,
    #[command(flatten)]
    record: Record,
}

pub(super) async fn run(options: &ClusterOptions, arguments: &WhyArguments) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    let name = arguments.explained.name.as_str();
    if arguments.explained.kind_or(SubjectKind::ModelDeployment) == SubjectKind::ModelRegistryEntry {
        let entry: ModelRegistryEntry = get::one(&cluster, name).await?;
        let approvals = said_of(&cluster, std::slice::from_ref(&entry)).await?;
        return Ok(explanation::explain_entry(&entry, &approvals));
    }
    let deployment: ModelDeployment = get::one(&cluster, name).await?;
    let mut entries = Vec::new();
    for name in explanation::entries_of(&deployment) {
        entries.extend(entry(&cluster, &name).await?);
    }
    let approvals = said_of(&cluster, &entries).await?;
    let explained = explanation::explain(&deployment, &entries, &approvals);
    Ok(explained + &recorded::lines(&arguments.record, &deployment).await?)
}

/// Perhaps it was deleted since.
async fn entry(cluster: &Cluster, name: &str) -> Result<Option<ModelRegistryEntry>, CliError> {
    match get::one(cluster, name).await {
        Ok(entry) => Ok(Some(entry)),
        Err(CliError::NotFound { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Approvals, if these ask for any.
async fn said_of(cluster: &Cluster, entries: &[ModelRegistryEntry]) -> Result<Vec<Approval>, CliError> {
    let ask = entries.iter().any(|it| it.status.as_ref().is_some_and(|it| !it.approvals.is_empty()));
    if !ask {
        return Ok(Vec::new());
    }
    let api: Api<Approval> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}
