//! What the spec refers to: the entry, ConfigMaps of the template, shared metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ModelDeployments, key};
use crate::api::revision::ConfigMapContent;
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::decide::model_deployment::target;
use crate::runtime::ObserveError;

/// Key of shared metrics in their ConfigMap.
const METRICS_KEY: &str = "metrics.yaml";

impl ModelDeployments {
    pub(super) fn entry(&self, resource: &ModelDeployment) -> Option<Arc<ModelRegistryEntry>> {
        self.entries.get(key(resource).0, &resource.spec.model_ref.name)
    }

    pub(super) async fn referenced_config_maps(
        &self,
        resource: &ModelDeployment,
    ) -> Result<BTreeMap<String, Option<ConfigMapContent>>, ObserveError> {
        // A template that is none refers to nothing; `decide` says what is wrong with it.
        let names = target::config_map_references(&resource.spec.template).unwrap_or_default();
        let mut found = BTreeMap::new();
        for name in names.into_keys() {
            let content = self.config_map(key(resource).0, &name).await?;
            found.insert(name, content.map(|it| ConfigMapContent::clone(&it)));
        }
        Ok(found)
    }

    pub(super) async fn metrics_from(
        &self,
        resource: &ModelDeployment,
    ) -> Result<BTreeMap<String, Result<String, String>>, ObserveError> {
        let mut found = BTreeMap::new();
        for source in &resource.spec.analysis.metrics_from {
            let name = &source.config_map_ref.name;
            let content = self.config_map(key(resource).0, name).await?;
            found.insert(name.clone(), shared_metrics(name, content.as_deref()));
        }
        Ok(found)
    }

    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMapContent>>, ObserveError> {
        let Some(seen) = self.config_maps.get(namespace, name) else { return Ok(None) };
        self.contents.of(&self.client, &seen).await
    }
}

fn shared_metrics(name: &str, content: Option<&ConfigMapContent>) -> Result<String, String> {
    let content = content.ok_or_else(|| {
        format!(
            "spec.analysis.metricsFrom: there is no ConfigMap {name} in this namespace; create it, or correct the name"
        )
    })?;
    content.data.get(METRICS_KEY).cloned().ok_or_else(|| {
        format!("spec.analysis.metricsFrom: ConfigMap {name} has no key {METRICS_KEY}; put the list of metrics there")
    })
}
