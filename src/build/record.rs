//! The record of a revision: a ControllerRevision, as StatefulSets and DaemonSets keep theirs.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde::Deserialize;

use super::{metadata, owned_by_deployment};
use crate::api::ModelDeployment;
use crate::api::labels;
use crate::api::revision::RevisionRecord;
use crate::decide::Child;

/// The ControllerRevision that keeps `record`.
#[must_use]
pub fn write(resource: &ModelDeployment, record: &RevisionRecord, ordinal: i64) -> Child {
    let name = labels::name(&[resource.metadata.name.as_deref().unwrap_or_default(), &record.entry.revision]);
    Child::Revision(Box::new(ControllerRevision {
        metadata: metadata(resource, &name, Some(&record.entry.revision), owned_by_deployment(resource)),
        data: serde_json::to_value(record).ok().map(RawExtension),
        revision: ordinal,
    }))
}

/// The record in a ControllerRevision.
///
/// # Errors
/// When its data is missing or was not written by this or an older version.
pub fn read(revision: &ControllerRevision) -> Result<RevisionRecord, String> {
    let data = revision.data.as_ref().ok_or("it has no data")?;
    RevisionRecord::deserialize(&data.0).map_err(|error| format!("its data cannot be read ({error})"))
}
