//! The record of a revision: a ControllerRevision, as StatefulSets and DaemonSets keep theirs.
//!
//! It is read once, when the watch brings it, and not in each of the passes that look at it: [`Recorded`] is what the cache holds. Its
//! template is kept as text there, a tenth of the memory that a tree of JSON takes.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::Resource;
use serde::Deserialize;

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

/// The record of a revision, as it was read.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "ControllerRevision")]
pub struct Recorded {
    /// Metadata of the ControllerRevision.
    pub metadata: ObjectMeta,
    /// Which attempt it was made for.
    pub attempt: i64,
    /// The port, known even if the rest cannot be read: the pods of this revision serve there, wherever the spec points by now.
    pub port: Option<i32>,
    /// What it keeps; or why it cannot be read: its data is missing, or was not written by this or an older version.
    pub record: Result<RevisionRecord, String>,
}

impl From<ControllerRevision> for Recorded {
    fn from(it: ControllerRevision) -> Self {
        let data = it.data.map(|RawExtension(data)| data);
        let port = data.as_ref().and_then(|data| data.get("port")?.as_i64()?.try_into().ok());
        let record = data.ok_or_else(|| "it has no data".to_owned()).and_then(|data| {
            RevisionRecord::deserialize(data).map_err(|error| format!("its data cannot be read ({error})"))
        });
        Self { metadata: it.metadata, attempt: it.revision, port, record }
    }
}

impl Resource for Recorded {
    type DynamicType = ();
    type Scope = <ControllerRevision as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        ControllerRevision::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        ControllerRevision::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        ControllerRevision::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        ControllerRevision::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn recorded(data: &Value) -> Recorded {
        let metadata = json!({"name": "churn-r1", "uid": "u1"});
        let object = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 3, "data": data});
        let recorded: Recorded = serde_json::from_value(object).unwrap();
        assert_eq!((recorded.meta().uid.as_deref(), recorded.attempt), (Some("u1"), 3));
        recorded
    }

    #[test]
    fn a_record_that_cannot_be_read_is_still_there_and_says_why_and_where_its_pods_listen() {
        let data = json!({
            "entry": {"revision": "r1", "name": "churn-1", "uid": "u"}, "template": {}, "port": 8080,
            "artifactUri": "file:///m", "artifactSha256": "0", "fetchImage": "i", "configMaps": {"a": "a-r1"},
        });
        let Recorded { port, record, .. } = recorded(&data);
        let record = record.unwrap();
        assert_eq!((port, record.port, record.config_maps["a"].as_str()), (Some(8080), 8080, "a-r1"));
        let nothing = recorded(&Value::Null);
        assert_eq!((nothing.port, nothing.record.unwrap_err().as_str()), (None, "it has no data"));
        let damaged = recorded(&json!({"port": 8080, "template": {}}));
        let why = damaged.record.unwrap_err();
        assert!(damaged.port == Some(8080) && why.starts_with("its data cannot be read ("), "{why}");
    }

    #[test]
    fn it_is_watched_as_what_it_is() {
        assert_eq!(Recorded::url_path(&(), Some("crm")), ControllerRevision::url_path(&(), Some("crm")));
        assert_eq!(Recorded::kind(&()), "ControllerRevision");
    }
}
