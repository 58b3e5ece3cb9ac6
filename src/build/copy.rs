//! Immutable copies of ConfigMaps: an edited ConfigMap reaches pods only as a new
//! revision, through a canary, and leaves with a rollback.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;

use super::{Owner, metadata};
use crate::api::ModelDeployment;
use crate::api::revision::ConfigMapContent;
use crate::decide::Child;

/// The copy `name` of a ConfigMap with this content.
#[must_use]
pub fn write(
    resource: &ModelDeployment,
    revision: &str,
    owner: &Owner,
    name: &str,
    content: &ConfigMapContent,
) -> Child {
    let bytes = |text: &String| serde_json::from_value::<ByteString>(text.clone().into()).ok();
    Child::ConfigMap(Box::new(ConfigMap {
        metadata: metadata(resource, name, Some(revision), owner.reference()),
        data: (!content.data.is_empty()).then(|| content.data.clone()),
        binary_data: (!content.binary_data.is_empty())
            .then(|| content.binary_data.iter().filter_map(|(key, text)| Some((key.clone(), bytes(text)?))).collect()),
        immutable: Some(true),
    }))
}
