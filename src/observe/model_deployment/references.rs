//! What the spec refers to: the entry, ConfigMaps of the template, shared metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;

use super::{ModelDeployments, key};
use crate::api::revision::ConfigMapContent;
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::decide::model_deployment::target;

/// Key of shared metrics in their ConfigMap.
const METRICS_KEY: &str = "metrics.yaml";

impl ModelDeployments {
    pub(super) fn entry(&self, resource: &ModelDeployment) -> Option<Arc<ModelRegistryEntry>> {
        self.entries.get(key(resource).0, &resource.spec.model_ref.name)
    }

    pub(super) fn referenced_config_maps(
        &self,
        resource: &ModelDeployment,
    ) -> BTreeMap<String, Option<ConfigMapContent>> {
        // A template that is none refers to nothing; `decide` says what is wrong with it.
        let names = target::config_map_references(&resource.spec.template).unwrap_or_default();
        let namespace = key(resource).0;
        names
            .into_keys()
            .map(|name| (name.clone(), self.config_maps.get(namespace, &name).map(|it| content(&it))))
            .collect()
    }

    pub(super) fn metrics_from(&self, resource: &ModelDeployment) -> BTreeMap<String, Result<String, String>> {
        let namespace = key(resource).0;
        let names = resource.spec.analysis.metrics_from.iter().map(|source| source.config_map_ref.name.clone());
        names.map(|name| (name.clone(), self.shared_metrics(namespace, &name))).collect()
    }

    fn shared_metrics(&self, namespace: &str, name: &str) -> Result<String, String> {
        let found = self.config_maps.get(namespace, name).ok_or_else(|| {
            format!("spec.analysis.metricsFrom: there is no ConfigMap {name} in this namespace; create it, or correct the name")
        })?;
        let text = found.data.as_ref().and_then(|data| data.get(METRICS_KEY)).cloned();
        text.ok_or_else(|| {
            format!(
                "spec.analysis.metricsFrom: ConfigMap {name} has no key {METRICS_KEY}; put the list of metrics there"
            )
        })
    }
}

fn content(config_map: &ConfigMap) -> ConfigMapContent {
    let bytes = config_map.binary_data.iter().flatten();
    ConfigMapContent {
        data: config_map.data.clone().unwrap_or_default(),
        binary_data: bytes
            .filter_map(|(key, bytes)| {
                let text = serde_json::to_value(bytes).ok()?;
                Some((key.clone(), text.as_str()?.to_owned()))
            })
            .collect(),
    }
}
