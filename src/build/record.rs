//! The record of a revision: a ControllerRevision, as StatefulSets and DaemonSets keep theirs.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{deployment, metadata, owned_by};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::api::revision::RevisionRecord;
use crate::decide::Child;

/// The ControllerRevision that keeps `record`.
#[must_use]
pub fn write(resource: &ModelDeployment, record: &RevisionRecord, ordinal: i64) -> Child {
    let name = labels::name(&[resource.metadata.name.as_deref().unwrap_or_default(), &record.entry.revision]);
    let metadata = metadata(resource, &name, Some(&record.entry.revision), owned_by(resource));
    // A template that is none is told of when the Deployment is to be made.
    let annotations = deployment::note(resource, record).ok();
    Child::Revision(Box::new(ControllerRevision {
        metadata: ObjectMeta { annotations, ..metadata },
        data: serde_json::to_value(record).ok().map(RawExtension),
        revision: ordinal,
    }))
}

/// Keeps the content as text, which takes a fraction of the memory: a cache holds one of each revision there is.
pub fn pack(revision: &mut ControllerRevision) {
    if let Some(RawExtension(data)) = &mut revision.data
        && !data.is_string()
    {
        *data = Value::String(data.to_string().into_boxed_str().into_string());
    }
}

/// The record in a ControllerRevision, packed or not.
///
/// # Errors
/// When its data is missing or was not written by this or an older version.
pub fn read(revision: &ControllerRevision) -> Result<RevisionRecord, String> {
    content(revision)
}

/// The port in a record. Asked for in every pass, and so without reading the template.
#[must_use]
pub fn port(revision: &ControllerRevision) -> Option<i32> {
    content::<Port>(revision).ok().map(|it| it.port)
}

/// The names of a revision's ConfigMap copies, by that of their originals; as [`port`].
#[must_use]
pub fn config_maps(revision: &ControllerRevision) -> BTreeMap<String, String> {
    content::<Copies>(revision).map(|it| it.config_maps).unwrap_or_default()
}

#[derive(Deserialize)]
struct Port {
    port: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Copies {
    #[serde(default)]
    config_maps: BTreeMap<String, String>,
}

fn content<T: DeserializeOwned>(revision: &ControllerRevision) -> Result<T, String> {
    let content = match &revision.data.as_ref().ok_or("it has no data")?.0 {
        Value::String(packed) => serde_json::from_str(packed),
        data => T::deserialize(data),
    };
    content.map_err(|error| format!("its data cannot be read ({error})"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_field_is_read_as_it_is_in_the_whole() {
        let text = json!({
            "entry": {"revision": "r1", "name": "churn-1", "uid": "u"}, "template": {}, "port": 8080,
            "artifactUri": "file:///m", "artifactSha256": "0", "fetchImage": "i", "configMaps": {"a": "a-r1"},
        });
        let mut revision = ControllerRevision { data: Some(RawExtension(text)), ..ControllerRevision::default() };
        let whole = read(&revision).unwrap();
        for _ in ["as it came", "packed", "packed once more"] {
            assert_eq!((port(&revision), config_maps(&revision)), (Some(whole.port), whole.config_maps.clone()));
            assert_eq!(read(&revision).as_ref(), Ok(&whole));
            pack(&mut revision);
        }
        assert_eq!(
            (port(&ControllerRevision::default()), config_maps(&ControllerRevision::default())),
            (None, BTreeMap::new())
        );
    }
}
