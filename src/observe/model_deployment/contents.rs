//! What is in the ConfigMaps that some deployment refers to.
//!
//! The watch tells only their metadata. The content is asked for once for each resourceVersion the watch
//! shows, and kept as long as a deployment refers to it: a rollout on unchanged ConfigMaps reads nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::{Api, Client};

use super::watches::config_map_key;
use crate::api::ModelDeployment;
use crate::api::condition;
use crate::api::revision::ConfigMapContent;
use crate::runtime::Cache;

type Place = (String, String);

/// Contents by namespace and name.
pub(super) struct Contents {
    known: Mutex<Kept>,
    deployments: Cache<ModelDeployment>,
}

#[derive(Default)]
struct Kept {
    by_place: HashMap<Place, Known>,
    /// How many there may be before those that nobody refers to are looked for.
    enough: usize,
}

struct Known {
    uid: Option<String>,
    resource_version: Option<String>,
    content: Arc<ConfigMapContent>,
}

impl Known {
    fn is_of(&self, metadata: &ObjectMeta) -> bool {
        self.uid == metadata.uid && self.resource_version == metadata.resource_version
    }
}

impl Contents {
    /// None yet. What none of `deployments` refers to is forgotten.
    pub(super) fn new(deployments: Cache<ModelDeployment>) -> Self {
        Self { known: Mutex::default(), deployments }
    }

    /// The content of what the watch showed; `None` if it has gone since, `Err` with what the API server says
    /// if it does not hand it out.
    pub(super) async fn of(
        &self,
        client: &Client,
        seen: &PartialObjectMeta<ConfigMap>,
    ) -> Result<Option<Arc<ConfigMapContent>>, String> {
        let place = place(&seen.metadata);
        let known = self.lock().by_place.get(&place).filter(|it| it.is_of(&seen.metadata)).map(|it| it.content.clone());
        if known.is_some() {
            return Ok(known);
        }
        let (namespace, name) = &place;
        let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(|error| {
            tracing::warn!(namespace, name, %error, "a ConfigMap cannot be read");
            condition::brief(&error.to_string())
        })?;
        Ok(found.map(|found| self.keep(place, found)))
    }

    fn keep(&self, place: Place, found: ConfigMap) -> Arc<ConfigMapContent> {
        let ObjectMeta { uid, resource_version, .. } = found.metadata.clone();
        let content = Arc::new(content(found));
        let mut kept = self.lock();
        kept.by_place.insert(place, Known { uid, resource_version, content: content.clone() });
        // Not each time: at a start all of them come one after the other.
        if kept.by_place.len() > kept.enough {
            kept.by_place
                .retain(|(namespace, name), _| !self.deployments.find(namespace, &config_map_key(name)).is_empty());
            kept.enough = 2 * kept.by_place.len();
        }
        content
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(metadata: &ObjectMeta) -> Place {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn content(config_map: ConfigMap) -> ConfigMapContent {
    let bytes = config_map.binary_data.into_iter().flatten();
    ConfigMapContent {
        data: config_map.data.unwrap_or_default(),
        binary_data: bytes
            .filter_map(|(key, bytes)| {
                let text = serde_json::to_value(bytes).ok()?;
                Some((key, text.as_str()?.to_owned()))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use http::{Request, Response};
    use kube::client::Body;
    use kube::runtime::watcher;
    use serde_json::{Value, json};

    use super::super::watches::references;
    use super::*;
    use crate::act::EventSink;
    use crate::runtime::{Metrics, Scope, Watch, Watches};

    /// An API server with one deployment, which refers to ConfigMap `rules`.
    #[derive(Default)]
    struct Server {
        version: AtomicU32,
        reads: AtomicU32,
        refuses: AtomicBool,
    }

    impl Server {
        async fn answer(&self, request: Request<Body>) -> Value {
            if request.uri().query().is_some_and(|it| it.contains("watch=true")) {
                return std::future::pending().await;
            }
            match request.uri().path().rsplit('/').next() {
                Some("modeldeployments") => json!({
                    "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeploymentList",
                    "metadata": {"resourceVersion": "1"}, "items": [deployment()],
                }),
                _ if self.refuses.load(Ordering::SeqCst) => json!({
                    "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403,
                    "reason": "Forbidden", "message": "not for you",
                }),
                name => {
                    self.reads.fetch_add(1, Ordering::SeqCst);
                    let version = self.version.load(Ordering::SeqCst).to_string();
                    json!({"metadata": metadata(name.unwrap(), &version), "data": {"version": version}})
                }
            }
        }
    }

    fn deployment() -> Value {
        let volume = json!({"name": "rules", "configMap": {"name": "rules"}});
        json!({
            "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": {"namespace": "crm", "name": "churn", "uid": "1", "resourceVersion": "1"},
            "spec": {
                "modelRef": {"name": "one"}, "port": 8080, "analysis": {"none": "a test"},
                "template": {"spec": {"containers": [{"name": "server", "image": "x"}], "volumes": [volume]}},
            },
        })
    }

    fn metadata(name: &str, version: &str) -> Value {
        json!({"namespace": "crm", "name": name, "uid": name, "resourceVersion": version})
    }

    /// What the watch shows of a ConfigMap.
    fn seen(name: &str, version: &str) -> PartialObjectMeta<ConfigMap> {
        serde_json::from_value(json!({"metadata": metadata(name, version)})).unwrap()
    }

    async fn contents(server: Arc<Server>) -> (Contents, Client) {
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move {
                let answer = server.answer(request).await;
                let code = answer["code"].as_u64().map_or(200, |it| u16::try_from(it).unwrap());
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                Ok::<_, tower::BoxError>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        let (client, metrics) = (Client::new(service, "crm"), Arc::new(Metrics::new()));
        let events = EventSink::start(client.clone(), "test".into(), Default::default());
        let mut watches = Watches::new(client.clone(), Scope::Cluster, metrics, events);
        let deployments = watches.add(Watch::new(watcher::Config::default()).index(references));
        watches.start().await.unwrap();
        (Contents::new(deployments), client)
    }

    #[tokio::test]
    async fn a_config_map_is_read_once_for_each_version_the_watch_shows() {
        let server = Arc::new(Server::default());
        let (contents, client) = contents(server.clone()).await;
        for version in ["0", "0", "1", "1"] {
            server.version.store(version.parse().unwrap(), Ordering::SeqCst);
            let content = contents.of(&client, &seen("rules", version)).await.unwrap().unwrap();
            assert_eq!(content.data["version"], version);
        }
        assert_eq!(server.reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn what_is_not_handed_out_is_told_and_asked_for_again() {
        let server = Arc::new(Server::default());
        let (contents, client) = contents(server.clone()).await;
        server.refuses.store(true, Ordering::SeqCst);
        let said = contents.of(&client, &seen("rules", "0")).await.unwrap_err();
        assert!(said.contains("not for you"), "{said}");
        server.refuses.store(false, Ordering::SeqCst);
        assert!(contents.of(&client, &seen("rules", "0")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_no_deployment_refers_to_is_not_kept_for_long() {
        let server = Arc::new(Server::default());
        let (contents, client) = contents(server.clone()).await;
        contents.of(&client, &seen("rules", "0")).await.unwrap();
        for number in 0..10 {
            contents.of(&client, &seen(&format!("formerly-used-{number}"), "0")).await.unwrap();
            let kept: Vec<Place> = contents.lock().by_place.keys().cloned().collect();
            assert!(kept.len() <= 2, "twice as many as are referred to: {kept:?}");
            assert!(kept.contains(&("crm".to_owned(), "rules".to_owned())), "{kept:?}");
        }
    }
}
