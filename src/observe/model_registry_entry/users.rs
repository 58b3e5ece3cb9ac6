//! Which deployments run revisions of an entry.
//!
//! The caches say so, and that is enough to hold an entry, and to show it. To let go of one it is not: a process begins
//! with lists of which one can be older than another, so that a deployment is not seen to use what it uses. What cannot be undone is
//! asked once more then, of the API server's newest state.

use std::time::Duration;

use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::{ANSWER, ModelRegistryEntries};
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::decide::model_registry_entry::{Asked, Users, usage};
use crate::runtime::{Queue, Watch};

/// How many deployments are asked for at a time.
const PAGE: u32 = 100;
/// How long all pages may take, of which each may take [`ANSWER`].
const ALL_ANSWERS: Duration = Duration::from_secs(30);

impl ModelRegistryEntries {
    /// Who uses it, for all that can be read.
    pub(super) async fn users(&self, entry: &ModelRegistryEntry) -> Users {
        let seen = self.users_seen(entry);
        if !usage::is_held(entry) || !seen.are_none() {
            return seen;
        }
        let answer = tokio::time::timeout(ALL_ANSWERS, users_now(&self.client, entry)).await;
        match answer.unwrap_or_else(|_| Err("the API server is too slow".to_owned())) {
            Ok(names) => Users { names, asked: Asked::Answered, ..seen },
            Err(error) => {
                let (namespace, name) = (entry.namespace(), entry.name_any());
                tracing::warn!(namespace, name, %error, "what uses an entry cannot be asked");
                Users { asked: Asked::Unanswered, ..seen }
            }
        }
    }

    fn users_seen(&self, entry: &ModelRegistryEntry) -> Users {
        let (namespace, name) = (entry.namespace().unwrap_or_default(), entry.name_any());
        let known = entry.status.as_ref().map(|it| it.used_by.as_slice()).unwrap_or_default();
        let known: Vec<&str> = known.iter().map(|it| it.name.as_str()).collect();
        // One that becomes readable, or is so no more, meanwhile: it is seen as the one or as the other, if this is asked on both sides.
        let unreadable = self.deployments.unreadable(&namespace);
        let names = self.deployments.some_names(&namespace, &user_key(&name), &known, ENOUGH);
        let unreadable = unreadable.or_else(|| self.deployments.unreadable(&namespace));
        Users { names, unreadable, asked: Asked::Not }
    }
}

/// The same by the API server's newest state. One that cannot be read is an error: the caches will know it, too.
async fn users_now(client: &Client, entry: &ModelRegistryEntry) -> Result<Vec<String>, String> {
    let api: Api<ModelDeployment> = Api::namespaced(client.clone(), &entry.namespace().unwrap_or_default());
    let mut users = Vec::new();
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let found = tokio::time::timeout(ANSWER, api.list(&page)).await;
        let found = found.map_err(|_| "the API server does not answer".to_owned())?.map_err(|it| it.to_string())?;
        users.extend(found.items.iter().filter(|it| uses(it, entry)).map(ResourceExt::name_any));
        match found.metadata.continue_.filter(|it| !it.is_empty()) {
            Some(next) if users.len() < ENOUGH => page = page.continue_token(&next),
            _ => return Ok(users),
        }
    }
}

/// As many names as status has room for, and one more.
const ENOUGH: usize = usage::MOST.saturating_add(1);

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::Metrics;
    use crate::sim::Cluster;

    const DEPLOYMENTS: &str = "/apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments";

    /// So many deployments, of which the last runs a revision of this entry.
    fn cluster(deployments: usize, entry: &str) -> Cluster {
        let cluster = Cluster::default();
        for number in 0..deployments {
            let mut deployment: Value =
                serde_yaml::from_str(include_str!("../../../examples/modeldeployment/minimal.yaml")).unwrap();
            deployment["metadata"]["name"] = format!("churn-{number:04}").into();
            cluster.ask(Method::POST, DEPLOYMENTS, deployment);
        }
        let stable = json!({"stable": {"name": entry, "uid": "1", "revision": "a"}});
        let last = format!("{DEPLOYMENTS}/churn-{:04}/status", deployments - 1);
        let (code, answer) = cluster.ask(Method::PATCH, &last, json!({"status": stable}));
        assert_eq!(code, 200, "{answer}");
        cluster
    }

    fn entry() -> ModelRegistryEntry {
        let artifact = json!({"uri": "s3://models/churn/6/", "sha256": "0".repeat(64)});
        let spec = json!({"model": {"name": "churn", "version": "6", "kind": "Predictor"}, "artifact": artifact});
        let mut entry = ModelRegistryEntry::new("churn-6", serde_json::from_value(spec).unwrap());
        entry.metadata.namespace = Some("crm".into());
        entry
    }

    #[tokio::test]
    async fn whoever_uses_an_entry_is_found_on_any_page() {
        for deployments in [1, 100, 101, 250] {
            let client = cluster(deployments, "churn-6").client(Arc::new(Metrics::default()));
            let expected = format!("churn-{:04}", deployments - 1);
            assert_eq!(users_now(&client, &entry()).await, Ok(vec![expected]));
            let client = cluster(deployments, "churn-7").client(Arc::new(Metrics::default()));
            assert_eq!(users_now(&client, &entry()).await, Ok(vec![]));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_not_taken_for_nobody() {
        let cluster = cluster(3, "churn-7");
        assert_eq!(users_now(&cluster.client(Arc::new(Metrics::default())), &entry()).await, Ok(vec![]));
        cluster.ask(Method::PATCH, &format!("{DEPLOYMENTS}/churn-0001"), json!({"spec": {"replicas": "many"}}));
        let client = cluster.client(Arc::new(Metrics::default()));
        assert!(users_now(&client, &entry()).await.is_err());
    }
}
