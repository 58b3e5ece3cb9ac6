//! An entry is held while revisions of it are alive, says whose, and is let go with the last of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Oracles;
use crate::api::labels;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, MODELS};

/// Names of the entries of what serves, is on its way, is gone back to if need be, or has pods.
fn used_by(status: &Value) -> Vec<&str> {
    let over = ["Promoted", "RolledBack", "Failed"];
    let goes_on = !over.contains(&status["attempt"]["state"].as_str().unwrap_or("Failed"));
    let attempt = if goes_on { &status["attempt"]["entry"] } else { &Value::Null };
    let named = [&status["stable"], attempt, &status["probation"]["fallback"]];
    let alive = status["revisions"].as_array().into_iter().flatten().map(|it| &it["entry"]);
    named.into_iter().chain(alive).filter_map(|it| it["name"].as_str()).collect()
}

fn is_held(entry: &Value) -> bool {
    entry["metadata"]["finalizers"].as_array().is_some_and(|it| it.contains(&labels::IN_USE.into()))
}

impl Oracles {
    /// The operator has written an entry.
    pub(super) fn lets_go(&mut self, cluster: &Cluster, before: &Value, after: &Value) {
        // What was sent before something began to use it may arrive after that.
        if self.is_late || !is_held(before) || is_held(after) {
            return;
        }
        let (name, namespace) = (&before["metadata"]["name"], &before["metadata"]["namespace"]);
        let is_user = |it: &Value| {
            let used = used_by(&it["status"]);
            it["metadata"]["namespace"] == *namespace && used.iter().any(|it| name == it)
        };
        if let Some((user, _)) = cluster.all(MODELS).iter().find(|(_, it)| is_user(it)) {
            self.broken(format!("{name} is let go of, and {user} uses it"));
        }
    }

    /// Once nothing is left to do.
    pub(super) fn held_while_used(&mut self, cluster: &Cluster) {
        let uses = cluster.all(MODELS).into_iter().flat_map(|(_, it)| {
            let user = it["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let namespace = it["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let used = |entry: &str| (namespace.clone(), entry.to_owned(), user.clone());
            used_by(&it["status"]).into_iter().map(used).collect::<Vec<_>>()
        });
        let uses: BTreeSet<(String, String, String)> = uses.collect();
        for (path, entry) in cluster.all(ENTRIES) {
            let name = entry["metadata"]["name"].as_str().unwrap_or_default();
            let namespace = entry["metadata"]["namespace"].as_str().unwrap_or_default();
            let of_it = uses.iter().filter(|(within, entry, _)| within == namespace && entry == name);
            let users: Vec<&str> = of_it.map(|(.., user)| user.as_str()).collect();
            let said = entry["status"]["usedBy"].as_array().into_iter().flatten();
            let said: Vec<&str> = said.filter_map(|it| it["name"].as_str()).collect();
            if said != users {
                self.broken(format!("{path} says it is used by {said:?}, and is by {users:?}"));
            }
            let held = is_held(&entry);
            if held == users.is_empty() {
                self.broken(format!("{path} is held: {held}, used by {users:?}"));
            }
        }
    }
}
