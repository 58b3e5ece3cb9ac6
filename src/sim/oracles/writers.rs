//! Who has written: never an older process after a newer one, and each says in the status which one it was.

use serde_json::Value;

use super::Oracles;

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
}
