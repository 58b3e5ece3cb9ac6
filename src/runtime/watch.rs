//! One watch per kind: it fills one cache, and wakes the resources its objects belong to.
//!
//! kube's watcher lists, watches and recovers; its store caches. Added here: several namespaces
//! in one cache; deletions that happened while a watch was down (kube's relist replaces its
//! store without telling anyone what went missing); objects that do not fit their type; kinds
//! that the cluster does not serve (yet), which block nobody; and namespaces that the operator
//! may not read, which are left out.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use super::expectations::Seen;
use super::metrics::Kind;
use super::{Guarded, Metrics};
use crate::act::EventSink;

mod driver;
mod index;
mod intake;
mod queue;
#[cfg(test)]
pub(super) mod server;
mod source;
mod standing;
mod unreadable;

use driver::Driver;
use index::{Index, Keys};
use intake::Intake;
pub use queue::{Queue, Waker};
pub use standing::Loss;
use standing::Need;
pub(super) use standing::Standing;
use unreadable::Unreadable;

/// What can be watched.
pub trait Watchable: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

impl<K> Watchable for K where K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static {}

/// A Namespace, by its metadata.
pub type NamespaceMeta = PartialObjectMeta<Namespace>;

/// Which namespaces are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

/// From what an object was, if it was and still is, to what it is.
type Trigger<K> = Box<dyn Fn(Option<&K>, &K) + Send + Sync>;
/// Whether such a change is told.
type News<K> = Box<dyn Fn(Option<&K>, &K) -> bool + Send + Sync>;
/// Namespace, and a key or a name.
type KeyTrigger = Box<dyn Fn(&str, &str) + Send + Sync>;

/// Objects in a page of a list. Each comes with its `managedFields`, which are larger than what is kept of it, and all kinds are
/// listed at the same time: with kube's 500, that was a tenth of the memory at a restart.
const PAGE: u32 = 200;

/// What there is not where Namespaces may not be read.
const WITHOUT_NAMESPACES: Loss =
    Loss { what: "the annotation werkbank.dev/suspend of the Namespace is not seen", role: "ClusterRole" };

/// Where one kind is looked for in one scope, and what is selected there.
type Place<K> = (Api<Guarded<K>>, watcher::Config);

/// How one kind is watched, and whom its objects wake.
pub struct Watch<K> {
    config: watcher::Config,
    trim: Box<dyn Fn(&mut K) + Send + Sync>,
    keys: Keys<K>,
    index: Index,
    news: News<K>,
    triggers: Vec<Trigger<K>>,
    by_key: Vec<KeyTrigger>,
    by_name: Vec<KeyTrigger>,
}

impl<K: Watchable> Watch<K> {
    /// Watches what `config` selects.
    #[must_use]
    pub fn new(config: watcher::Config) -> Self {
        Self {
            config,
            trim: Box::new(|_| ()),
            keys: Box::new(|_| Vec::new()),
            index: Index::default(),
            news: Box::new(|_, _| true),
            triggers: Vec::new(),
            by_key: Vec::new(),
            by_name: Vec::new(),
        }
    }

    /// Lets [`Cache::find`] find an object by these keys.
    #[must_use]
    pub fn index(mut self, keys: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.keys = Box::new(keys);
        self
    }

    /// Drops what nobody reads before it is cached; `managedFields` and kubectl's copy of what was
    /// applied go in any case.
    #[must_use]
    pub fn trim(mut self, trim: impl Fn(&mut K) + Send + Sync + 'static) -> Self {
        self.trim = Box::new(trim);
        self
    }

    /// Of an object's changes only these wake anybody: from what it was, if it was there, to what it is. Its
    /// deletion always does.
    #[must_use]
    pub fn only_when(mut self, news: impl Fn(Option<&K>, &K) -> bool + Send + Sync + 'static) -> Self {
        self.news = Box::new(news);
        self
    }

    /// Every change of an object, its deletion too, wakes these resources.
    #[must_use]
    pub fn wakes<R>(self, queue: &Queue<R>, map: impl Fn(&K) -> Vec<ObjectRef<R>> + Send + Sync + 'static) -> Self
    where
        R: Lookup<DynamicType = ()> + 'static,
    {
        self.wakes_when(queue, |_, _| true, map)
    }

    /// An object that comes or goes wakes these resources, and of its changes those that are news to them: from what it was to what
    /// it is. For what is written more often than the others read of it.
    #[must_use]
    pub fn wakes_when<R>(
        mut self,
        queue: &Queue<R>,
        is_news: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
        map: impl Fn(&K) -> Vec<ObjectRef<R>> + Send + Sync + 'static,
    ) -> Self
    where
        R: Lookup<DynamicType = ()> + 'static,
    {
        let sender = queue.sender.clone();
        self.triggers.push(Box::new(move |before, object| {
            if before.is_some_and(|before| !is_news(before, object)) {
                return;
            }
            for woken in map(object) {
                // Closed only when the loop has ended.
                drop(sender.unbounded_send(woken));
            }
        }));
        self
    }

    /// An object that has a key from now on, or has it no more (see [`Watch::index`]), wakes the resource of its namespace that the
    /// key names; any other change of it does not. For what concerns few of an object's changes.
    #[must_use]
    pub fn wakes_by_key<R>(
        mut self,
        queue: &Queue<R>,
        name: impl Fn(&str) -> Option<&str> + Send + Sync + 'static,
    ) -> Self
    where
        R: Lookup<DynamicType = ()> + 'static,
    {
        let waker = queue.waker();
        self.by_key.push(Box::new(move |namespace, key| {
            name(key).into_iter().for_each(|name| waker.wake(namespace, name));
        }));
        self
    }

    /// An object that comes or goes wakes those of its kind and namespace that refer to it, which the key of its name finds (see
    /// [`Watch::index`]), those that refer to these, and so on, so `far`; and of its changes those do that are news to them. One that does not fit its type comes and goes, too.
    #[must_use]
    pub fn wakes_kin(
        mut self,
        queue: &Queue<K>,
        is_news: impl Fn(&K, &K) -> bool + Send + Sync + 'static,
        key: impl Fn(&str) -> String + Send + Sync + 'static,
        far: usize,
    ) -> Self {
        let index = self.index.clone();
        let kin = Arc::new(move |namespace: &str, name: &str| index.kin(namespace, name, &key, far));
        let (waker, of_unreadable) = (queue.waker(), kin.clone());
        self.by_name.push(Box::new(move |namespace, name| {
            of_unreadable(namespace, name).iter().for_each(|name| waker.wake(namespace, name));
        }));
        self.wakes_when(queue, is_news, move |object| {
            let namespace = object.meta().namespace.clone().unwrap_or_default();
            let names = kin(&namespace, object.meta().name.as_deref().unwrap_or_default());
            names.iter().map(|name| ObjectRef::new(name).within(&namespace)).collect()
        })
    }

    /// Every change of an object wakes the resource itself.
    #[must_use]
    pub fn wakes_itself(self, queue: &Queue<K>) -> Self {
        self.wakes(queue, |object| vec![ObjectRef::from_obj(object)])
    }

    /// Every change of an object wakes its controlling owner, if that is an `R`.
    #[must_use]
    pub fn wakes_owner<R>(self, queue: &Queue<R>) -> Self
    where
        R: Resource<DynamicType = ()> + 'static,
    {
        self.wakes(queue, |object| {
            let namespace = object.meta().namespace.as_deref();
            let owners = object.meta().owner_references.as_deref().unwrap_or_default();
            owners.iter().filter_map(|owner| ObjectRef::from_owner_ref(namespace, owner, ())).collect()
        })
    }
}

/// The objects of one kind, as last seen.
#[derive(Debug, Clone)]
pub struct Cache<K: Watchable> {
    store: Store<K>,
    index: Index,
    unreadable: Unreadable,
    /// The kind's number in `standing`.
    kind: usize,
    standing: signal::Receiver<Standing>,
}

impl<K: Watchable> Cache<K> {
    /// The objects.
    #[must_use]
    pub fn store(&self) -> &Store<K> {
        &self.store
    }

    /// One object.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// The objects that have this key (see [`Watch::index`]).
    #[must_use]
    pub fn find(&self, namespace: &str, key: &str) -> Vec<Arc<K>> {
        let names = self.index.names(namespace, key);
        names.iter().filter_map(|name| self.get(namespace, name)).collect()
    }

    /// How many objects have this key.
    #[must_use]
    pub fn count(&self, namespace: &str, key: &str) -> usize {
        self.index.count(namespace, key)
    }

    /// Names of objects that have this key, at most so many, of thousands: those of `known` that still do, and then the last.
    #[must_use]
    pub fn some_names(&self, namespace: &str, key: &str, known: &[&str], most: usize) -> Vec<String> {
        self.index.some_names(namespace, key, known, most)
    }

    /// An object in the namespace that is there and does not fit its type, so that nobody knows what it has: the first by name.
    #[must_use]
    pub fn unreadable(&self, namespace: &str) -> Option<String> {
        self.unreadable.first_in(namespace)
    }

    /// Whether this object is there and does not fit its type.
    #[must_use]
    pub fn is_unreadable(&self, namespace: &str, name: &str) -> bool {
        self.unreadable.contains(namespace, name)
    }

    /// Whether the cluster serves this kind at all, as far as known in this namespace.
    #[must_use]
    pub fn is_available(&self, namespace: &str) -> bool {
        self.standing.borrow().is_served(self.kind, namespace)
    }

    /// Whether the operator may not read this kind in the namespace: then the cache shows what was once there.
    #[must_use]
    pub fn is_forbidden(&self, namespace: &str) -> bool {
        self.standing.borrow().is_forbidden(self.kind, namespace)
    }
}

/// Answers for one cached kind what it knows of an object; `None` outside: not watched.
type Look = Arc<dyn Fn(&str, &str) -> Option<Option<Seen>> + Send + Sync>;

/// What the loop asks the caches besides objects.
#[derive(Clone)]
pub(super) struct Sights {
    /// By kind, for waiting on one's own writes.
    by_kind: HashMap<String, Look>,
    standing: signal::Receiver<Standing>,
}

impl Sights {
    pub(super) fn see(&self, kind: &str, namespace: &str, name: &str) -> Option<Option<Seen>> {
        self.by_kind.get(kind).and_then(|look| look(namespace, name))
    }

    /// Whether the caches show all that a decision in this namespace rests on.
    pub(super) fn cover(&self, namespace: &str) -> bool {
        self.standing.borrow().covers(namespace)
    }
}

/// A watch ended, which none ever should.
#[derive(Debug, thiserror::Error)]
#[error(
    "the watch of {kind} ended, and with it everything that rests on it; the process ends so that it starts afresh: please report it with the message above"
)]
pub struct WatchEnded {
    kind: String,
}

/// The watches of a process; they end with it.
pub struct Watches {
    client: Client,
    metrics: Arc<Metrics>,
    events: EventSink,
    looks: HashMap<String, Look>,
    standing: Arc<signal::Sender<Standing>>,
    tasks: Vec<(String, BoxFuture<'static, ()>)>,
    running: JoinSet<String>,
}

impl Watches {
    /// None yet.
    #[must_use]
    pub fn new(client: Client, scope: Scope, metrics: Arc<Metrics>, events: EventSink) -> Self {
        let scopes = match scope {
            Scope::Cluster => vec![None],
            Scope::Namespaces(names) => names.into_iter().collect::<BTreeSet<_>>().into_iter().map(Some).collect(),
        };
        let standing = Arc::new(signal::Sender::new(Standing::new(scopes)));
        let (looks, tasks, running) = Default::default();
        Self { client, metrics, events, looks, standing, tasks, running }
    }

    /// Adds the watch of a kind and returns its cache. Once per kind.
    pub fn add<K>(&mut self, watch: Watch<K>) -> Cache<K>
    where
        K: Watchable + Resource<Scope = NamespaceResourceScope>,
    {
        let place = self.places();
        self.add_at(watch, Need::Needed, |scope, config| (place(scope), config))
    }

    /// As [`Self::add`], of a kind that decisions can do without: where it may not be read, that is the loss.
    pub fn add_welcome<K>(&mut self, watch: Watch<K>, loss: Loss) -> Cache<K>
    where
        K: Watchable + Resource<Scope = NamespaceResourceScope>,
    {
        let place = self.places();
        self.add_at(watch, Need::Welcome(loss), |scope, config| (place(scope), config))
    }

    /// Adds the watch of the Namespaces themselves: each is found in itself, as `get(name, name)`. They are told one
    /// by one where only some are watched. Where they may not be read, nothing waits for it.
    pub fn add_namespaces(&mut self, watch: Watch<NamespaceMeta>) -> Cache<NamespaceMeta> {
        let api = Api::all(self.client.clone());
        let Watch { trim, .. } = watch;
        let at_home = move |namespace: &mut NamespaceMeta| {
            trim(namespace);
            namespace.metadata.namespace.clone_from(&namespace.metadata.name);
        };
        let watch = Watch { trim: Box::new(at_home), ..watch };
        self.add_at(watch, Need::Welcome(WITHOUT_NAMESPACES), |scope, config| {
            let named = |name: &str| config.clone().fields(&format!("metadata.name={name}"));
            (api.clone(), scope.map_or_else(|| config.clone(), named))
        })
    }

    /// Where objects of a kind are: everywhere, or in one namespace.
    fn places<K>(&self) -> impl Fn(Option<&str>) -> Api<K> + use<K>
    where
        K: Watchable + Resource<Scope = NamespaceResourceScope>,
    {
        let client = self.client.clone();
        move |scope| match scope {
            None => Api::all(client.clone()),
            Some(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    fn add_at<K: Watchable>(
        &mut self,
        mut watch: Watch<K>,
        need: Need,
        place: impl Fn(Option<&str>, watcher::Config) -> Place<K>,
    ) -> Cache<K> {
        let (reader, writer) = store();
        let mut number = 0;
        self.standing.send_modify(|it| number = it.add(&K::plural(&()), &K::group(&()), need));
        let standing = self.standing.subscribe();
        let unreadable = Unreadable::default();
        let cache =
            Cache { store: reader, index: watch.index.clone(), unreadable: unreadable.clone(), kind: number, standing };
        let kind = K::kind(&()).into_owned();
        self.looks.insert(kind.clone(), look(cache.clone()));
        let scopes = self.standing.borrow().scopes().to_vec();
        let mut streams = SelectAll::new();
        for (index, namespace) in scopes.iter().enumerate() {
            let (api, config) = place(namespace.as_deref(), watch.config.clone().page_size(PAGE));
            streams.push(source::events(api, &config).map(move |event| (index, event)).boxed());
        }
        let keys = std::mem::replace(&mut watch.keys, Box::new(|_| Vec::new()));
        let news = std::mem::replace(&mut watch.news, Box::new(|_, _| true));
        let intake = Intake::new(writer, cache.store.clone(), scopes, (keys, cache.index.clone()), unreadable.clone());
        let driver = Driver {
            kind: Kind { kind: kind.clone() },
            number,
            watch,
            intake: intake.telling(news),
            unreadable,
            standing: self.standing.clone(),
            metrics: self.metrics.clone(),
            events: self.events.clone(),
        };
        self.tasks.push((kind, driver.run(streams).boxed()));
        cache
    }

    pub(super) fn sights(&self) -> Sights {
        Sights { by_kind: self.looks.clone(), standing: self.standing() }
    }

    pub(super) fn standing(&self) -> signal::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// What is waited for, what is missing, and what to do about it, as people are told.
    #[cfg(test)]
    pub(crate) fn report(&self) -> String {
        self.standing.borrow().report()
    }

    /// Starts watching; returns once every namespace is filled or left out, and not all are.
    ///
    /// # Errors
    /// When a watch ends.
    pub async fn start(&mut self) -> Result<(), WatchEnded> {
        for (kind, task) in self.tasks.drain(..) {
            self.running.spawn(AssertUnwindSafe(task).catch_unwind().map(|_| kind));
        }
        let mut standing = self.standing();
        tokio::select! {
            // The sender is in `self`, so this ends by the value alone.
            _ = standing.wait_for(Standing::is_ready) => Ok(()),
            ended = self.ended() => Err(ended),
        }
    }

    /// Returns when a watch has ended: by a panic.
    pub async fn ended(&mut self) -> WatchEnded {
        match self.running.join_next().await {
            Some(Ok(kind)) => WatchEnded { kind },
            Some(Err(error)) => WatchEnded { kind: format!("some kind ({error})") },
            None => std::future::pending().await,
        }
    }
}

fn look<K: Watchable>(cache: Cache<K>) -> Look {
    Arc::new(move |namespace, name| {
        cache.is_available(namespace).then(|| {
            cache.get(namespace, name).map(|object| Seen {
                uid: object.meta().uid.clone().unwrap_or_default(),
                resource_version: object.meta().resource_version.clone().unwrap_or_default(),
            })
        })
    })
}

#[cfg(test)]
mod tests;
