//! Who has written: never an older process after a newer one, each says in the status which one it was, and no child before that.

use serde_json::Value;

use super::Oracles;
use crate::api::labels;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, MODELS, path};

impl Oracles {
    /// The process of this epoch has changed an object.
    pub(super) fn writes_in_turn(&mut self, path: &str, epoch: i64, before: &Value, after: &Value) {
        let last = self.writers.insert(path.to_owned(), epoch).unwrap_or(epoch);
        if epoch < last {
            self.broken(format!("process {epoch} has written {path} after process {last}"));
        }
        if after.is_null() {
            // What is made in its place is another object.
            self.writers.remove(path);
            return;
        }
        let said = after["status"]["leaseEpoch"].as_i64();
        if path.contains("/modeldeployments/") && before["status"] != after["status"] && said != Some(epoch) {
            self.broken(format!("process {epoch} has written a status that says {said:?}"));
        }
    }

    /// The process of this epoch has changed a child, or deleted it. What it knows of the resource may be from before the process before it
    /// decided something: its status write has shown that it is not. (What arrives late was sent by one that had shown it, too.)
    pub(super) fn has_taken_over(&mut self, cluster: &Cluster, child: &str, epoch: i64, before: &Value, after: &Value) {
        let its = if after.is_null() { before } else { after };
        let its = &its["metadata"]["labels"];
        let resource = match (its[labels::DEPLOYMENT].as_str(), its[labels::ENTRY].as_str()) {
            (Some(name), _) => cluster.get(&path(MODELS, name)),
            (None, Some(name)) => cluster.get(&path(ENTRIES, name)),
            (None, None) => return,
        };
        let said = resource["status"]["leaseEpoch"].as_i64();
        if !self.is_late && !resource.is_null() && said != Some(epoch) {
            self.broken(format!("process {epoch} has written {child}, and the status is of {said:?}"));
        }
    }
}
