//! From the events of one or several watches of a kind to one cache, and to what changed.

use std::collections::HashSet;
use std::sync::Arc;

use kube::Resource as _;
use kube::core::ObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

use super::index::Place;
use super::unreadable::{Key, Unreadable};
use super::{Guarded, Index, Keys, News as Telling, Watchable};

pub(super) struct Intake<K: Watchable> {
    writer: Writer<K>,
    store: Store<K>,
    index: (Keys<K>, Index),
    /// Which changes are told.
    telling: Telling<K>,
    scopes: Vec<Listing>,
    unreadable: Unreadable,
}

/// One watch of the kind.
struct Listing {
    namespace: Option<String>,
    /// What the list that is under way has named so far; `None` while none is.
    named: Option<HashSet<Key>>,
}

impl Listing {
    fn covers(&self, key: &Key) -> bool {
        self.namespace.is_none() || self.namespace == key.0
    }
}

/// An object came, changed or went; as cached, not copied: the first list can be all of a cluster.
#[derive(Debug)]
pub(super) struct Changed<K> {
    /// What it was, if it is still there and was before.
    pub(super) before: Option<Arc<K>>,
    /// What it is, or was when it went.
    pub(super) now: Arc<K>,
}

/// What an event meant.
#[derive(Debug)]
pub(super) struct News<K> {
    pub(super) changed: Vec<Changed<K>>,
    pub(super) malformed: Vec<(ObjectMeta, String)>,
    /// What is there from now on and cannot be read, or was and is gone; of what was cached before, `changed` tells.
    pub(super) unreadable: Vec<Key>,
    /// Where something is found that was not, or is not any more.
    pub(super) places: Vec<Place>,
}

impl<K> Default for News<K> {
    fn default() -> Self {
        Self { changed: Vec::new(), malformed: Vec::new(), unreadable: Vec::new(), places: Vec::new() }
    }
}

impl<K: Watchable> Intake<K> {
    pub(super) fn new(
        mut writer: Writer<K>,
        store: Store<K>,
        namespaces: Vec<Option<String>>,
        index: (Keys<K>, Index),
        unreadable: Unreadable,
    ) -> Self {
        // kube fills a store all at once, when one list is complete. Here lists of several namespaces come one
        // among the other: each object goes in as it comes, and `Standing` tells what is complete.
        writer.apply_watcher_event(&Event::InitDone);
        let scopes = namespaces.into_iter().map(|namespace| Listing { namespace, named: None }).collect();
        Self { writer, store, index, telling: Box::new(|_, _| true), scopes, unreadable }
    }

    /// Tells only these changes of what is there.
    pub(super) fn telling(self, telling: Telling<K>) -> Self {
        Self { telling, ..self }
    }

    pub(super) fn take(&mut self, scope: usize, event: Event<Guarded<K>>) -> News<K> {
        let mut news = News::default();
        match event {
            Event::Init => {
                if let Some(listing) = self.scopes.get_mut(scope) {
                    listing.named = Some(HashSet::new());
                }
            }
            Event::InitApply(object) | Event::Apply(object) => {
                if let Some(named) = self.scopes.get_mut(scope).and_then(|it| it.named.as_mut()) {
                    named.insert(key(object.meta()));
                }
                self.applied(object, &mut news);
            }
            Event::InitDone => self.listed(scope, &mut news),
            Event::Delete(object) => self.deleted(object, &mut news),
        }
        news
    }

    fn applied(&mut self, object: Guarded<K>, news: &mut News<K>) {
        let key = key(object.meta());
        match object {
            Guarded::Good(object) => {
                let reference = ObjectRef::from_obj(object.as_ref());
                let known = self.store.get(&reference);
                if known.as_ref().is_some_and(|it| it.meta().resource_version == object.meta().resource_version) {
                    self.unreadable.remove(&key);
                    return;
                }
                self.writer.apply_watcher_event(&Event::Apply(*object));
                let cached = self.store.get(&reference);
                news.places.extend(self.find_by(known.as_deref(), cached.as_deref()));
                // Not before it is found by what it has: in between nobody would know that it is there.
                self.unreadable.remove(&key);
                let told = cached.filter(|it| (self.telling)(known.as_deref(), it));
                news.changed.extend(told.map(|now| Changed { before: known, now }));
            }
            Guarded::Malformed { metadata, error } => {
                let version = metadata.resource_version.clone();
                let before = self.unreadable.insert(key.clone(), version.clone());
                // What was cached of it is not what it is any more; and before that, it is known to be there.
                match self.store.get(&reference::<K>(&metadata)) {
                    Some(known) => self.forget(known, news),
                    None if before.is_none() => news.unreadable.push(key),
                    None => {}
                }
                if before != Some(version) {
                    news.malformed.push((*metadata, error));
                }
            }
        }
    }

    fn deleted(&mut self, object: Guarded<K>, news: &mut News<K>) {
        let key = key(object.meta());
        let was_unreadable = self.unreadable.remove(&key);
        match object {
            Guarded::Good(object) => self.forget(Arc::new(*object), news),
            Guarded::Malformed { .. } if was_unreadable => news.unreadable.push(key),
            Guarded::Malformed { .. } => {}
        }
    }

    fn find_by(&self, before: Option<&K>, after: Option<&K>) -> Vec<Place> {
        let (keys, index) = &self.index;
        index.change(keys, before, after)
    }

    /// Takes out what is gone, and tells it as it was when it went.
    fn forget(&mut self, object: Arc<K>, news: &mut News<K>) {
        let known = self.store.get(&ObjectRef::from_obj(object.as_ref()));
        news.places.extend(self.find_by(known.as_deref(), None));
        self.writer.apply_watcher_event(&Event::Delete(K::clone(&object)));
        news.changed.push(Changed { before: None, now: object });
    }

    /// A scope was listed to its end: what is known of it and the list did not name is gone.
    fn listed(&mut self, scope: usize, news: &mut News<K>) {
        let Some(listing) = self.scopes.get_mut(scope) else { return };
        let Some(named) = listing.named.take() else { return };
        let gone = |key: &Key| listing.covers(key) && !named.contains(key);
        news.unreadable.extend(self.unreadable.take(gone));
        let gone: Vec<_> = self.store.state().into_iter().filter(|it| gone(&key(it.meta()))).collect();
        for object in gone {
            self.forget(object, news);
        }
    }
}

fn key(meta: &ObjectMeta) -> Key {
    (meta.namespace.clone(), meta.name.clone())
}

fn reference<K: Watchable>(meta: &ObjectMeta) -> ObjectRef<K> {
    let reference = ObjectRef::new(meta.name.as_deref().unwrap_or_default());
    reference.within(meta.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
