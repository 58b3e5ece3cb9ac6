//! `kubectl werkbank get`: reads deployments and hands them to [`tree`](super::tree), or prints them whole.

use std::fmt::Debug;

use chrono::Utc;
use clap::{Args, ValueEnum};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::CliError;
use super::cluster::{Cluster, ClusterOptions};
use super::tree;
use crate::api::ModelDeployment;

/// What to show, and how.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// The ModelDeployment; all of the namespace when left out.
    name: Option<String>,
    /// Those of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
    /// The whole objects instead of the tree.
    #[arg(long, short)]
    output: Option<Format>,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

pub(super) async fn run(options: &ClusterOptions, arguments: &GetArguments) -> Result<String, CliError> {
    let cluster = options.connect().await?;
    if let Some(name) = &arguments.name {
        let one: ModelDeployment = one(&cluster, name).await?;
        return match arguments.output {
            Some(format) => print(&one, format),
            None => Ok(tree::render(&one, Utc::now())),
        };
    }
    let api: Api<ModelDeployment> = if arguments.all_namespaces {
        Api::all(cluster.client.clone())
    } else {
        Api::namespaced(cluster.client.clone(), &cluster.namespace)
    };
    let all = api.list(&ListParams::default()).await?.items;
    if let Some(format) = arguments.output {
        return print(&json!({"apiVersion": "v1", "kind": "List", "items": all}), format);
    }
    if all.is_empty() {
        let place =
            if arguments.all_namespaces { "the cluster".into() } else { format!("namespace {}", cluster.namespace) };
        return Ok(format!("There are no ModelDeployments in {place}.\n"));
    }
    let now = Utc::now();
    let trees: Vec<String> = all
        .iter()
        .map(|it| match (arguments.all_namespaces, it.namespace()) {
            (true, Some(namespace)) => format!("{namespace}/{}", tree::render(it, now)),
            _ => tree::render(it, now),
        })
        .collect();
    Ok(trees.join("\n"))
}

/// The object of that name.
pub(super) async fn one<K>(cluster: &Cluster, name: &str) -> Result<K, CliError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    api.get(name).await.map_err(|error| match error {
        // Also what an API server without the CRDs says, in other words.
        kube::Error::Api(status)
            if status.is_not_found() && status.details.as_ref().is_some_and(|it| it.name == name) =>
        {
            let kind = K::kind(&()).into_owned();
            CliError::NotFound { kind, namespace: cluster.namespace.clone(), name: name.into() }
        }
        other => other.into(),
    })
}

fn print(value: &impl Serialize, format: Format) -> Result<String, CliError> {
    match format {
        Format::Json => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|error| CliError::Print(error.to_string())),
        Format::Yaml => serde_yaml::to_string(value).map_err(|error| CliError::Print(error.to_string())),
    }
}
