//! The CRDs of the Gateway API.
//!
//! A cluster that has them keeps its own: whoever runs it has chosen a version
//! and a channel.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::TypeMeta;
use kube::discovery::ApiResource;
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use serde::Deserialize;

const ESTABLISHED_WITHIN: Duration = Duration::from_secs(60);

/// Applies the manifests in a directory and waits until every CRD of them is
/// established; does nothing if the cluster knows HTTPRoutes already.
pub(super) async fn ensure(client: &kube::Client, directory: &Path) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    if crds.get_opt("httproutes.gateway.networking.k8s.io").await?.is_some() {
        return Ok(());
    }
    let objects = read(directory)?;
    try_join_all(objects.iter().map(|object| apply(client, object)))
        .await
        .context("cannot apply the Gateway API's CRDs")?;
    let names = objects.iter().filter(|object| is_crd(object)).filter_map(|object| object.metadata.name.clone());
    try_join_all(names.map(|name| established(&crds, name))).await?;
    Ok(())
}

async fn established(crds: &Api<CustomResourceDefinition>, name: String) -> Result<()> {
    let established = await_condition(crds.clone(), &name, is_crd_established());
    tokio::time::timeout(ESTABLISHED_WITHIN, established)
        .await
        .with_context(|| format!("the CRD {name} is not established: look at its conditions"))??;
    Ok(())
}

fn read(directory: &Path) -> Result<Vec<DynamicObject>> {
    let mut objects = Vec::new();
    let files = std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value =
                serde_json::Value::deserialize(document).with_context(|| format!("cannot read {}", path.display()))?;
            if !value.is_null() {
                objects.push(serde_json::from_value(value)?);
            }
        }
    }
    if !objects.iter().any(is_crd) {
        bail!("there are no CRDs in {}: remove it, it is fetched again", directory.display());
    }
    Ok(objects)
}

fn is_crd(object: &DynamicObject) -> bool {
    object.types.as_ref().is_some_and(|types| types.kind == "CustomResourceDefinition")
}

async fn apply(client: &kube::Client, object: &DynamicObject) -> Result<()> {
    let TypeMeta { api_version, kind } = object.types.clone().context("a manifest has no kind")?;
    let name = object.metadata.name.clone().context("a manifest has no name")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, &kind));
    // All of them are cluster-scoped: CRDs and the policy that guards their channel.
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.patch(&name, &PatchParams::apply("werkbank-workbench").force(), &Patch::Apply(object))
        .await
        .with_context(|| format!("{kind} {name}"))?;
    Ok(())
}
