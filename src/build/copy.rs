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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_copy_has_the_very_content_and_cannot_be_changed() {
        let spec = json!({"modelRef": {"name": "e"}, "port": 1, "template": {}, "analysis": {"none": "x"}});
        let resource = ModelDeployment::new("churn", serde_json::from_value(spec).unwrap());
        let content = ConfigMapContent {
            data: BTreeMap::from([("rules.yaml".into(), "a: 1".into())]),
            binary_data: BTreeMap::from([("vocabulary".into(), "AAEC/w==".into())]),
        };
        let owner = Owner { name: "churn-r1".into(), uid: "1".into() };
        let Child::ConfigMap(copy) = write(&resource, "r1", &owner, "churn-rules-r1", &content) else { panic!() };
        let copy = serde_json::to_value(copy).unwrap();
        assert_eq!((&copy["data"], &copy["immutable"]), (&json!({"rules.yaml": "a: 1"}), &json!(true)));
        assert_eq!(copy["binaryData"], json!({"vocabulary": "AAEC/w=="}));
    }
}
