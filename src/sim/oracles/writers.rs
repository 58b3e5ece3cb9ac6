//! Who has written: never an older process after a newer one, each says in the status which one it was, and no child before that.

use serde_json::Value;

use super::Oracles;
use crate::api::labels;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, MODELS, place};

impl Oracles {
    /// The process of this epoch has changed an object.
    pub(super) fn writes_in_turn(&mut self, path: &str, epoch: i64, before: &Value, after: &Value) {
        let last = self.writers.insert(path.to_owned(), epoch);
        // What is made in the place of what is gone is another object.
        if let Some(last) = last.filter(|it| epoch < *it && !before.is_null()) {
            self.broken(format!("process {epoch} has written {path} after process {last}"));
        }
        let said = after["status"]["leaseEpoch"].as_i64();
        if path.contains("/modeldeployments/") && before["status"] != after["status"] && said != Some(epoch) {
            self.broken(format!("process {epoch} has written a status that says {said:?}"));
        }
    }

    /// The process of this epoch has changed a child, or deleted it. What it knows of the resource may be from before the process before it
    /// decided something: its status write has shown that it is not. (What arrives late was sent by one that had shown it, too.)
    pub(super) fn has_taken_over(&mut self, cluster: &Cluster, child: &str, epoch: i64, before: &Value, after: &Value) {
        let its = if after.is_null() { &before["metadata"] } else { &after["metadata"] };
        let (labels, namespace) = (&its["labels"], its["namespace"].as_str().unwrap_or_default());
        let resource = match (labels[labels::DEPLOYMENT].as_str(), labels[labels::ENTRY].as_str()) {
            (Some(name), _) => cluster.get(&place(MODELS, namespace, name)),
            (None, Some(name)) => cluster.get(&place(ENTRIES, namespace, name)),
            (None, None) => return,
        };
        let said = resource["status"]["leaseEpoch"].as_i64();
        if !self.is_late && !resource.is_null() && said != Some(epoch) {
            self.broken(format!("process {epoch} has written {child}, and the status is of {said:?}"));
        }
    }
}
