//! From the events of one or several watches of a kind to one cache, and to what changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use kube::Resource as _;
use kube::core::ObjectMeta;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

use super::{Guarded, Index, Keys, Watchable};

type Key = (Option<String>, Option<String>);

pub(super) struct Intake<K: Watchable> {
    writer: Writer<K>,
    store: Store<K>,
    index: (Keys<K>, Index),
    scopes: Vec<Listing>,
    filled: bool,
    /// What does not fit its type, with the version that was reported.
    malformed: HashMap<Key, Option<String>>,
    /// Gone before the cache was filled, by uid: kube's buffer cannot take anything back.
    early: HashSet<Option<String>>,
}

struct Listing {
    namespace: Option<String>,
    listed: HashSet<Key>,
    done: bool,
}

/// What an event meant.
#[derive(Debug)]
pub(super) struct News<K> {
    /// As cached, not copied: the first list can be all of a cluster.
    pub(super) changed: Vec<Arc<K>>,
    pub(super) malformed: Vec<(ObjectMeta, String)>,
}

impl<K> Default for News<K> {
    fn default() -> Self {
        Self { changed: Vec::new(), malformed: Vec::new() }
    }
}

impl<K: Watchable> Intake<K> {
    pub(super) fn new(
        writer: Writer<K>,
        store: Store<K>,
        namespaces: Vec<Option<String>>,
        index: (Keys<K>, Index),
    ) -> Self {
        let listing = |namespace| Listing { namespace, listed: HashSet::new(), done: false };
        Self {
            writer,
            store,
            index,
            scopes: namespaces.into_iter().map(listing).collect(),
            filled: false,
            malformed: HashMap::new(),
            early: HashSet::new(),
        }
    }

    pub(super) fn is_filled(&self) -> bool {
        self.filled
    }

    pub(super) fn malformed(&self) -> i64 {
        i64::try_from(self.malformed.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn take(&mut self, scope: usize, event: Event<Guarded<K>>) -> News<K> {
        let mut news = News::default();
        match event {
            Event::Init => {
                if let Some(listing) = self.scopes.get_mut(scope) {
                    listing.listed.clear();
                }
            }
            Event::InitApply(object) => {
                if let Some(listing) = self.scopes.get_mut(scope) {
                    listing.listed.insert(key(object.meta()));
                }
                self.applied(object, &mut news);
            }
            Event::InitDone => self.listed(scope, &mut news),
            Event::Apply(object) => {
                if let Some(listing) = self.scopes.get_mut(scope).filter(|_| !self.filled) {
                    listing.listed.insert(key(object.meta()));
                }
                self.applied(object, &mut news);
            }
            Event::Delete(object) => self.deleted(object, &mut news),
        }
        news
    }

    fn applied(&mut self, object: Guarded<K>, news: &mut News<K>) {
        let key = key(object.meta());
        match object {
            Guarded::Good(object) => {
                self.malformed.remove(&key);
                if !self.filled {
                    return self.writer.apply_watcher_event(&Event::InitApply(*object));
                }
                let known = self.store.get(&ObjectRef::from_obj(object.as_ref()));
                if known.as_ref().is_some_and(|it| it.meta().resource_version == object.meta().resource_version) {
                    return;
                }
                let reference = ObjectRef::from_obj(object.as_ref());
                self.writer.apply_watcher_event(&Event::Apply(*object));
                let cached = self.store.get(&reference);
                self.find_by(known.as_deref(), cached.as_deref());
                news.changed.extend(cached);
            }
            Guarded::Malformed { metadata, error } => {
                // What was cached of it is not what it is any more.
                let reference = reference::<K>(&metadata);
                if let Some(known) = self.store.get(&reference).filter(|_| self.filled) {
                    self.forget(known, news);
                }
                let version = metadata.resource_version.clone();
                if self.malformed.insert(key, version.clone()) != Some(version) {
                    news.malformed.push((*metadata, error));
                }
            }
        }
    }

    fn deleted(&mut self, object: Guarded<K>, news: &mut News<K>) {
        self.malformed.remove(&key(object.meta()));
        let Guarded::Good(object) = object else {
            return;
        };
        if !self.filled {
            self.early.insert(object.meta().uid.clone());
            return;
        }
        self.forget(Arc::new(*object), news);
    }

    fn find_by(&self, before: Option<&K>, after: Option<&K>) {
        let (keys, index) = &self.index;
        index.change(keys, before, after);
    }

    /// Takes out what is gone, and tells it as it was when it went.
    fn forget(&mut self, object: Arc<K>, news: &mut News<K>) {
        let known = self.store.get(&ObjectRef::from_obj(object.as_ref()));
        self.find_by(known.as_deref(), None);
        self.writer.apply_watcher_event(&Event::Delete(K::clone(&object)));
        news.changed.push(object);
    }

    /// A scope was listed to its end: what it holds and the list did not name is gone.
    fn listed(&mut self, scope: usize, news: &mut News<K>) {
        if let Some(listing) = self.scopes.get_mut(scope) {
            listing.done = true;
        }
        let first = !self.filled;
        if first {
            if !self.scopes.iter().all(|listing| listing.done) {
                return;
            }
            self.writer.apply_watcher_event(&Event::InitDone);
            self.filled = true;
            self.store.state().iter().for_each(|it| self.find_by(None, Some(it)));
        }
        let gone: Vec<_> = self.store.state().into_iter().filter(|it| self.is_gone(scope, first, it.meta())).collect();
        for object in gone {
            self.forget(object, news);
        }
        self.early.clear();
        if first {
            news.changed.extend(self.store.state());
        }
        self.drop_malformed();
        for listing in self.scopes.iter_mut().filter(|listing| listing.done) {
            listing.listed = HashSet::new();
        }
    }

    fn is_gone(&self, scope: usize, first: bool, meta: &ObjectMeta) -> bool {
        let in_scope = |listing: &Listing| listing.namespace.is_none() || listing.namespace == meta.namespace;
        let missing = self.scopes.iter().enumerate().any(|(index, listing)| {
            (first || index == scope) && in_scope(listing) && !listing.listed.contains(&key(meta))
        });
        missing || self.early.contains(&meta.uid)
    }

    /// Malformed objects are listed too; those that are not any more are gone.
    fn drop_malformed(&mut self) {
        if let [listing] = self.scopes.as_slice() {
            self.malformed.retain(|key, _| listing.listed.contains(key));
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
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::reflector::store;

    use super::*;

    fn intake(namespaces: &[Option<&str>]) -> Intake<Service> {
        let (reader, writer) = store();
        let by_version: Keys<Service> = Box::new(|it| it.metadata.resource_version.iter().cloned().collect());
        let namespaces = namespaces.iter().map(|it| it.map(str::to_owned)).collect();
        Intake::new(writer, reader, namespaces, (by_version, Index::default()))
    }

    /// What is found by this key in namespace `a`.
    fn found(intake: &Intake<Service>, key: &str) -> Vec<String> {
        intake.index.1.names("a", key)
    }

    fn metadata(namespace: &str, name: &str, version: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some(namespace.into()),
            name: Some(name.into()),
            uid: Some(format!("{namespace}/{name}")),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        }
    }

    fn good(namespace: &str, name: &str, version: &str) -> Guarded<Service> {
        let metadata = metadata(namespace, name, version);
        Guarded::Good(Box::new(Service { metadata, ..Service::default() }))
    }

    fn bad(name: &str, version: &str) -> Guarded<Service> {
        Guarded::Malformed { metadata: Box::new(metadata("a", name, version)), error: "no".into() }
    }

    fn names(news: &News<Service>) -> Vec<&str> {
        let mut names: Vec<_> = news.changed.iter().filter_map(|it| it.metadata.name.as_deref()).collect();
        names.sort_unstable();
        names
    }

    fn list(intake: &mut Intake<Service>, scope: usize, objects: Vec<Guarded<Service>>) -> News<Service> {
        let mut news = intake.take(scope, Event::Init);
        let applied = objects.into_iter().map(Event::InitApply).chain([Event::InitDone]);
        for event in applied {
            let next = intake.take(scope, event);
            news.changed.extend(next.changed);
            news.malformed.extend(next.malformed);
        }
        news
    }

    #[test]
    fn what_vanished_while_the_watch_was_down_is_told_as_deleted() {
        let mut intake = intake(&[None]);
        let first = list(&mut intake, 0, vec![good("a", "x", "1"), good("a", "y", "1")]);
        assert_eq!(names(&first), ["x", "y"]);
        let again = list(&mut intake, 0, vec![good("a", "x", "1")]);
        assert_eq!(names(&again), ["y"], "and what did not change is no news");
        assert_eq!(intake.store.len(), 1);
    }

    #[test]
    fn one_namespaces_list_does_not_touch_anothers_objects() {
        let mut intake = intake(&[Some("a"), Some("b")]);
        assert!(list(&mut intake, 0, vec![good("a", "x", "1")]).changed.is_empty());
        assert!(!intake.is_filled(), "b is not listed yet");
        assert_eq!(names(&list(&mut intake, 1, vec![good("b", "y", "1")])), ["x", "y"]);
        assert!(intake.is_filled());
        assert_eq!(names(&list(&mut intake, 0, vec![])), ["x"]);
        assert_eq!(intake.store.len(), 1);
    }

    #[test]
    fn the_index_shows_what_the_cache_holds_however_it_came_and_went() {
        let mut intake = intake(&[None]);
        list(&mut intake, 0, vec![good("a", "x", "1"), good("a", "y", "1"), good("a", "z", "1")]);
        assert_eq!(found(&intake, "1"), ["x", "y", "z"]);
        intake.take(0, Event::Apply(good("a", "x", "2")));
        assert_eq!((found(&intake, "1").len(), found(&intake, "2")), (2, vec!["x".to_owned()]));
        intake.take(0, Event::Delete(good("a", "x", "3")));
        intake.take(0, Event::Apply(bad("y", "3")));
        assert_eq!((found(&intake, "1"), found(&intake, "2").len()), (vec!["z".to_owned()], 0));
        list(&mut intake, 0, vec![]);
        assert_eq!(found(&intake, "1").len(), 0, "a list that does not name it any more");
    }

    #[test]
    fn what_is_deleted_before_the_cache_is_filled_does_not_come_back_with_it() {
        let mut intake = intake(&[Some("a"), Some("b")]);
        list(&mut intake, 0, vec![good("a", "x", "1")]);
        intake.take(0, Event::Delete(good("a", "x", "1")));
        list(&mut intake, 1, vec![]);
        assert_eq!(intake.store.len(), 0);
    }

    #[test]
    fn a_malformed_object_is_reported_once_per_version_and_not_served() {
        let mut intake = intake(&[None]);
        list(&mut intake, 0, vec![good("a", "x", "1")]);
        let news = intake.take(0, Event::Apply(bad("x", "2")));
        assert_eq!((names(&news), news.malformed.len()), (vec!["x"], 1));
        assert_eq!((intake.store.len(), intake.malformed()), (0, 1));
        assert!(list(&mut intake, 0, vec![bad("x", "2")]).malformed.is_empty());
        assert_eq!(intake.take(0, Event::Apply(bad("x", "3"))).malformed.len(), 1);
        intake.take(0, Event::Apply(good("a", "x", "4")));
        assert_eq!((intake.store.len(), intake.malformed()), (1, 0));
    }
}
