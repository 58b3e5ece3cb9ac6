//! An entry is held while revisions of it are alive, says whose, and is let go with the last of them.

use std::collections::BTreeSet;

use super::Oracles;
use crate::api::labels;
use crate::decide::model_registry_entry::usage::used_by;
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, MODELS, status_of};

impl Oracles {
    /// Once nothing is left to do.
    pub(super) fn held_while_used(&mut self, cluster: &Cluster) {
        let uses = cluster.all(MODELS).into_iter().flat_map(|(_, it)| {
            let user = it["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let namespace = it["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            let used = |entry: &str| (namespace.clone(), entry.to_owned(), user.clone());
            used_by(&status_of(&it)).map(used).collect::<Vec<_>>()
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
            let held = entry["metadata"]["finalizers"].as_array().is_some_and(|it| it.contains(&labels::IN_USE.into()));
            if held == users.is_empty() {
                self.broken(format!("{path} is held: {held}, used by {users:?}"));
            }
        }
    }
}
