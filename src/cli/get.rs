//! `kubectl werkbank get`: reads deployments and hands them to [`tree`](super::tree), or prints them whole.

use std::fmt::Debug;

use chrono::Utc;
use clap::{Args, ValueEnum};
use k8s_openapi::NamespaceResourceScope;
use kube::api::ListParams;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::CliError;
use super::cluster::{Cluster, ClusterOptions};
use super::{gates, tree, watch};
use crate::api::{ModelDeployment, ModelRegistryEntry};

/// What to show, and how.
#[derive(Debug, Args)]
pub struct GetArguments {
    #[command(flatten)]
    selection: Selection,
    /// The whole objects instead of the tree.
    #[arg(long, short)]
    output: Option<Format>,
    /// Again whenever something changes, until you interrupt it.
    #[arg(long, short, conflicts_with = "output")]
    watch: bool,
}

/// Of which deployments.
#[derive(Debug, Args)]
pub struct Selection {
    /// The ModelDeployment; all of the namespace when left out.
    name: Option<String>,
    /// Those of all namespaces.
    #[arg(long, short = 'A', conflicts_with = "name")]
    all_namespaces: bool,
}

/// How objects are printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Yaml,
}

pub(super) async fn run(options: &ClusterOptions, arguments: &GetArguments) -> Result<String, CliError> {
    let (cluster, selection) = (options.connect().await?, &arguments.selection);
    if arguments.watch {
        watch::run(&cluster, selection).await?;
        return Ok(String::new());
    }
    let Some(format) = arguments.output else { return selection.trees(&cluster).await };
    match &selection.name {
        Some(name) => print(&one::<ModelDeployment>(&cluster, name).await?, format),
        None => {
            let all = selection.deployments(&cluster).await?;
            print(&json!({"apiVersion": "v1", "kind": "List", "items": all}), format)
        }
    }
}

impl Selection {
    /// Where they are.
    pub(super) fn api(&self, cluster: &Cluster) -> Api<ModelDeployment> {
        if self.all_namespaces {
            Api::all(cluster.client.clone())
        } else {
            Api::namespaced(cluster.client.clone(), &cluster.namespace)
        }
    }

    /// What to watch of these.
    pub(super) fn config(&self) -> watcher::Config {
        let all = watcher::Config::default();
        self.name.as_ref().map_or(all.clone(), |name| all.fields(&format!("metadata.name={name}")))
    }

    async fn deployments(&self, cluster: &Cluster) -> Result<Vec<ModelDeployment>, CliError> {
        match &self.name {
            Some(name) => Ok(vec![one(cluster, name).await?]),
            None => Ok(self.api(cluster).list(&ListParams::default()).await?.items),
        }
    }

    /// The trees, one below the other.
    pub(super) async fn trees(&self, cluster: &Cluster) -> Result<String, CliError> {
        let all = self.deployments(cluster).await?;
        if all.is_empty() {
            let place =
                if self.all_namespaces { "the cluster".into() } else { format!("namespace {}", cluster.namespace) };
            return Ok(format!("There are no ModelDeployments in {place}.\n"));
        }
        let now = Utc::now();
        let mut trees = Vec::with_capacity(all.len());
        for it in &all {
            let tree = tree::render(it, gatekeeper(cluster, it).await?.as_ref(), now);
            trees.push(match (self.all_namespaces, it.namespace()) {
                (true, Some(namespace)) => format!("{namespace}/{tree}"),
                _ => tree,
            });
        }
        Ok(trees.join("\n"))
    }
}

/// The entry whose gates stand before a deployment, if there are any and whoever looks may see it.
pub(super) async fn gatekeeper(
    cluster: &Cluster,
    deployment: &ModelDeployment,
) -> Result<Option<ModelRegistryEntry>, CliError> {
    let Some(name) = gates::entry_of(deployment) else { return Ok(None) };
    let namespace = deployment.namespace().unwrap_or_else(|| cluster.namespace.clone());
    let api: Api<ModelRegistryEntry> = Api::namespaced(cluster.client.clone(), &namespace);
    match api.get_opt(name).await {
        Err(kube::Error::Api(status)) if status.is_forbidden() => Ok(None),
        // Not those of another one that was registered under its name since.
        found => Ok(found?.filter(|it| is_of_attempt(deployment, it))),
    }
}

fn is_of_attempt(deployment: &ModelDeployment, entry: &ModelRegistryEntry) -> bool {
    let attempt = deployment.status.as_ref().and_then(tree::active);
    attempt.is_none_or(|it| entry.metadata.uid.as_ref().is_none_or(|uid| *uid == it.entry.uid))
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
