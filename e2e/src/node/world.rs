//! Pods and nodes as the watches last showed them, and who is bound where.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Binding, Node, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use serde_json::json;

use super::{
    agent::occupies,
    schedule::{Misfit, fit, is_pending, unschedulable, unschedulable_condition},
};

/// Namespace (empty for nodes) and name.
type Key = (String, String);

/// All objects of one kind.
pub(super) struct Seen<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// What a list that is not complete yet has shown so far.
    listing: Option<BTreeMap<Key, Arc<K>>>,
    listed: bool,
}

impl<K: ResourceExt> Seen<K> {
    fn new() -> Self {
        Self { objects: BTreeMap::new(), listing: None, listed: false }
    }

    /// Takes in an event; answers the object if it is there, new or changed.
    pub(super) fn see(&mut self, event: Event<K>) -> Option<Arc<K>> {
        let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Init => self.listing = Some(BTreeMap::new()),
            Event::InitApply(object) => {
                let object = Arc::new(object);
                self.listing.get_or_insert_default().insert(key(&object), object);
            }
            Event::InitDone => {
                self.objects = self.listing.take().unwrap_or_default();
                self.listed = true;
            }
            Event::Apply(object) => {
                let object = Arc::new(object);
                self.objects.insert(key(&object), Arc::clone(&object));
                return Some(object);
            }
            Event::Delete(object) => {
                self.objects.remove(&key(&object));
            }
        }
        None
    }

    /// Whether everything has been listed at least once.
    pub(super) fn complete(&self) -> bool {
        self.listed
    }

    /// Everything.
    pub(super) fn all(&self) -> Vec<Arc<K>> {
        self.objects.values().cloned().collect()
    }

    /// Every object's uid.
    pub(super) fn uids(&self) -> BTreeSet<String> {
        self.objects.values().filter_map(|object| object.uid()).collect()
    }

    /// Whether this very object (not a namesake) is still there.
    pub(super) fn knows(&self, object: &K) -> bool {
        let key = (object.namespace().unwrap_or_default(), object.name_any());
        self.objects.get(&key).is_some_and(|known| known.uid() == object.uid())
    }
}

/// What the agent sees of the cluster.
pub(super) struct World {
    client: Client,
    name: String,
    pub(super) pods: Seen<Pod>,
    pub(super) nodes: Seen<Node>,
    /// Pods bound by this agent that the watch still shows unbound.
    bound: BTreeSet<String>,
}

impl World {
    /// A cluster of which nothing is known, seen from the node of this name.
    pub(super) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), pods: Seen::new(), nodes: Seen::new(), bound: BTreeSet::new() }
    }

    /// Binds a pod to this node if it waits and fits; tells it why not if it
    /// fits no node at all.
    pub(super) async fn schedule(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if !is_pending(pod) {
            self.bound.remove(&uid);
            return;
        }
        if !(self.pods.complete() && self.nodes.complete()) || self.bound.contains(&uid) {
            return;
        }
        let Some(spec) = &pod.spec else { return };
        let fits: Vec<(String, Result<(), Misfit>)> = self
            .nodes
            .objects
            .values()
            .map(|node| (node.name_any(), fit(spec, node, self.occupied(&node.name_any()))))
            .collect();
        let misfits: Vec<Misfit> = fits.iter().filter_map(|(_, fit)| fit.err()).collect();
        if fits.iter().any(|(name, fit)| *name == self.name && fit.is_ok()) {
            self.bind(pod, uid).await;
        } else if misfits.len() == fits.len() {
            self.refuse(pod, &unschedulable(&misfits)).await;
        }
    }

    fn occupied(&self, node: &str) -> usize {
        let shown = self.pods.objects.values().filter(|pod| occupies(pod, node)).count();
        if node == self.name { shown + self.bound.len() } else { shown }
    }

    async fn bind(&mut self, pod: &Pod, uid: String) {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let binding = Binding {
            metadata: ObjectMeta {
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(self.name.clone()),
                ..ObjectReference::default()
            },
        };
        let answer: kube::Result<Status> =
            pods.create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await;
        match answer {
            Ok(_) => {
                self.bound.insert(uid);
            }
            // Another node was faster, or the pod has gone.
            Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409) => {}
            Err(error) => tracing::warn!(pod = pod.name_any(), %error, "pod not bound yet"),
        }
    }

    async fn refuse(&self, pod: &Pod, message: &str) {
        let Some(condition) = unschedulable_condition(pod, message, Timestamp::now()) else {
            return;
        };
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
        let body = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        if let Err(error) = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(body)).await {
            tracing::debug!(pod = pod.name_any(), %error, "PodScheduled not written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "ns", "uid": uid}})).unwrap()
    }

    #[test]
    fn a_relist_replaces_what_was_known_only_when_it_is_complete() {
        let mut seen = Seen::new();
        assert!(!seen.complete());
        for event in [Event::Init, Event::InitApply(pod("a", "1")), Event::InitApply(pod("b", "2")), Event::InitDone] {
            seen.see(event);
        }
        seen.see(Event::Init);
        seen.see(Event::InitApply(pod("b", "2")));
        assert_eq!(seen.uids().len(), 2, "a was not forgotten while the list is under way");
        seen.see(Event::InitDone);
        assert_eq!(seen.uids(), BTreeSet::from(["2".to_owned()]));
    }

    #[test]
    fn a_namesake_is_another_pod() {
        let mut seen = Seen::new();
        seen.see(Event::Apply(pod("a", "1")));
        assert!(seen.knows(&pod("a", "1")) && !seen.knows(&pod("a", "2")));
        seen.see(Event::Delete(pod("a", "1")));
        assert!(!seen.knows(&pod("a", "1")));
    }
}
