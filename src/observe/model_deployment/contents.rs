//! What is in the ConfigMaps that some deployment refers to.
//!
//! The watch tells only their metadata. The content is asked for once for each resourceVersion the watch
//! shows, and kept as long as a deployment refers to it: a rollout on unchanged ConfigMaps reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, Client};

use super::watches::config_map_key;
use crate::api::ModelDeployment;
use crate::api::revision::ConfigMapContent;
use crate::runtime::{Cache, ObserveError};

type Place = (String, String);

/// Contents by namespace and name.
pub(super) struct Contents {
    known: Mutex<HashMap<Place, Known>>,
    deployments: Cache<ModelDeployment>,
}

struct Known {
    uid: Option<String>,
    resource_version: Option<String>,
    content: Arc<ConfigMapContent>,
}

impl Known {
    fn is_of(&self, metadata: &ObjectMeta) -> bool {
        self.uid == metadata.uid && self.resource_version == metadata.resource_version
    }
}

impl Contents {
    /// None yet. What none of `deployments` refers to is forgotten.
    pub(super) fn new(deployments: Cache<ModelDeployment>) -> Self {
        Self { known: Mutex::default(), deployments }
    }

    /// The content of what the watch showed; `None` if it has gone since.
    pub(super) async fn of(
        &self,
        client: &Client,
        seen: &PartialObjectMeta<ConfigMap>,
    ) -> Result<Option<Arc<ConfigMapContent>>, ObserveError> {
        let place = place(&seen.metadata);
        let known = self.lock().get(&place).filter(|it| it.is_of(&seen.metadata)).map(|it| it.content.clone());
        if known.is_some() {
            return Ok(known);
        }
        let (namespace, name) = &place;
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(|error| ObserveError {
            reason: "ConfigMapUnreadable",
            message: format!("ConfigMap {name}: {error}"),
        })?;
        Ok(found.map(|found| self.keep(place, found)))
    }

    fn keep(&self, place: Place, found: ConfigMap) -> Arc<ConfigMapContent> {
        let ObjectMeta { uid, resource_version, .. } = found.metadata.clone();
        let content = Arc::new(content(found));
        let mut known = self.lock();
        known.insert(place, Known { uid, resource_version, content: content.clone() });
        known.retain(|(namespace, name), _| !self.deployments.find(namespace, &config_map_key(name)).is_empty());
        content
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(metadata: &ObjectMeta) -> Place {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn content(config_map: ConfigMap) -> ConfigMapContent {
    let bytes = config_map.binary_data.into_iter().flatten();
    ConfigMapContent {
        data: config_map.data.unwrap_or_default(),
        binary_data: bytes
            .filter_map(|(key, bytes)| {
                let text = serde_json::to_value(bytes).ok()?;
                Some((key, text.as_str()?.to_owned()))
            })
            .collect(),
    }
}
