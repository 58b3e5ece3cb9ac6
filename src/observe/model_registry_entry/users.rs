//! Which deployments run revisions of an entry.
//!
//! The caches say so, and that is enough to hold an entry, and to show it. To let go of one that somebody deletes it is not: a process begins
//! with lists of which one can be older than another, so that a deployment is not seen to use what it uses. What cannot be undone is
//! asked once more then, of the API server's newest state.

use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::{ANSWER, ModelRegistryEntries};
use crate::api::{ModelDeployment, ModelRegistryEntry, labels};
use crate::decide::model_registry_entry::{Users, usage};
use crate::runtime::{Queue, Watch};

/// How many deployments are asked for at a time.
const PAGE: u32 = 100;

impl ModelRegistryEntries {
    /// Who uses it, for all that can be read.
    pub(super) async fn users(&self, entry: &ModelRegistryEntry) -> Users {
        let seen = self.users_seen(entry);
        let is_held = entry.finalizers().iter().any(|it| it == labels::IN_USE);
        if entry.metadata.deletion_timestamp.is_none() || !is_held || !seen.are_none() {
            return seen;
        }
        let asked = tokio::time::timeout(ANSWER, self.users_now(entry)).await;
        match asked.map_err(|_| "the API server does not answer".to_owned()) {
            Ok(Ok(names)) => Users { names, ..seen },
            Ok(Err(error)) => Users { unknown: Some(error.to_string()), ..seen },
            Err(silent) => Users { unknown: Some(silent), ..seen },
        }
    }

    fn users_seen(&self, entry: &ModelRegistryEntry) -> Users {
        let (namespace, name) = (entry.namespace().unwrap_or_default(), entry.name_any());
        let known = entry.status.as_ref().map(|it| it.used_by.as_slice()).unwrap_or_default();
        let known: Vec<&str> = known.iter().map(|it| it.name.as_str()).collect();
        // One that becomes readable, or is so no more, meanwhile: it is seen as the one or as the other, if this is asked on both sides.
        let unreadable = self.deployments.unreadable(&namespace);
        let names = self.deployments.some_names(&namespace, &user_key(&name), &known, MOST);
        Users { names, unreadable: unreadable.or_else(|| self.deployments.unreadable(&namespace)), unknown: None }
    }

    async fn users_now(&self, entry: &ModelRegistryEntry) -> kube::Result<Vec<String>> {
        let api: Api<ModelDeployment> = Api::namespaced(self.client.clone(), &entry.namespace().unwrap_or_default());
        let mut users = Vec::new();
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let found = api.list(&page).await?;
            users.extend(found.items.iter().filter(|it| uses(it, entry)).map(ResourceExt::name_any));
            match found.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(next) if users.len() < MOST => page = page.continue_token(&next),
                _ => return Ok(users),
            }
        }
    }
}

/// As many names as status has room for, and one more.
const MOST: usize = usage::MOST.saturating_add(1);

fn uses(deployment: &ModelDeployment, entry: &ModelRegistryEntry) -> bool {
    deployment.status.as_ref().is_some_and(|it| usage::used_by(it).any(|name| name == entry.name_any()))
}

/// What a deployment that runs revisions of an entry is found by.
pub(in crate::observe) fn user_key(entry: &str) -> String {
    format!("{USES}{entry}")
}

/// What keys of users begin with.
const USES: &str = "uses/";

/// The watch of deployments wakes an entry when one begins to use it, and when one does no more.
pub fn woken_by_users(watch: Watch<ModelDeployment>, queue: &Queue<ModelRegistryEntry>) -> Watch<ModelDeployment> {
    watch.wakes_by_key(queue, |key| key.strip_prefix(USES))
}
