//! Every version of every object that stories are about, as watches tell it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::TryStreamExt;
use kube::api::{DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::ApiResource;
use kube::{Api, Client};
use serde_json::Value;
use tokio::task::JoinSet;

use super::shared::plot::KINDS;

type Told = (String, Value);

/// See the module; by namespace.
#[derive(Clone, Default)]
pub(super) struct Sightings(Arc<Mutex<BTreeMap<String, Vec<Told>>>>);

impl Sightings {
    /// Notes everything that happens from now on, until the answer is dropped.
    pub(super) async fn watch(&self, client: &Client) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (kind, root, plural) in KINDS {
            let api_version = root.trim_start_matches("/apis/").trim_start_matches("/api/").to_owned();
            let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
            let (group, version) = (group.to_owned(), version.to_owned());
            let resource = ApiResource { group, version, api_version, kind: kind.into(), plural: plural.into() };
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let from = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
            tasks.spawn(follow(self.clone(), api, from));
        }
        tasks
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Told>>> {
        self.0.lock().unwrap()
    }

    /// What has happened in a namespace, the versions of each object in order.
    pub(super) fn of(&self, namespace: &str) -> Vec<Told> {
        self.all().get(namespace).cloned().unwrap_or_default()
    }

    /// An object; null if it is gone.
    pub(super) fn now(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let all = self.all();
        let mut told = all.get(namespace).into_iter().flatten().rev();
        let last = told.find(|(_, it)| it["kind"] == kind && it["metadata"]["name"] == name);
        last.filter(|it| it.0 != "DELETED").map(|it| it.1.clone()).unwrap_or_default()
    }

    /// The entry that a revision serves, by its record.
    pub(super) fn entry_of(&self, namespace: &str, revision: &str) -> Option<String> {
        let record = self.now(namespace, "ControllerRevision", &format!("{}-{revision}", super::NAME));
        record["data"]["entry"]["name"].as_str().map(str::to_owned)
    }

    fn note(&self, type_: &str, object: &DynamicObject) {
        let namespace = object.metadata.namespace.clone().unwrap_or_default();
        let object = serde_json::to_value(object).unwrap();
        self.all().entry(namespace).or_default().push((type_.to_owned(), object));
    }
}

/// The API server ends a watch now and then; it goes on from where it was.
async fn follow(sightings: Sightings, api: Api<DynamicObject>, mut from: String) {
    loop {
        let Ok(events) = api.watch(&WatchParams::default(), &from).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut events = Box::pin(events);
        while let Ok(Some(event)) = events.try_next().await {
            let (type_, object) = match event {
                WatchEvent::Added(object) => ("ADDED", object),
                WatchEvent::Modified(object) => ("MODIFIED", object),
                WatchEvent::Deleted(object) => ("DELETED", object),
                WatchEvent::Bookmark(bookmark) => {
                    from = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(error) => panic!("something was missed: {error:?}"),
            };
            from = object.metadata.resource_version.clone().unwrap();
            sightings.note(type_, &object);
        }
    }
}
