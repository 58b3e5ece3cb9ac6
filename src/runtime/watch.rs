//! One watch per kind: it fills one cache, and wakes the resources its objects belong to.
//!
//! kube's watcher lists, watches and recovers; its store caches. Added here: several namespaces
//! in one cache; deletions that happened while a watch was down (kube's relist replaces its
//! store without telling anyone what went missing); objects that do not fit their type; kinds
//! that the cluster does not serve (yet), which block nobody.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures::channel::mpsc;
use futures::stream::{SelectAll, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::reflector::{Lookup, ObjectRef, Store, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch as signal;

use super::expectations::Seen;
use super::metrics::Kind;
use super::{Guarded, Metrics};
use crate::act::{EventSink, Subject};
use crate::decide::{Event, EventType};

mod index;
mod intake;

use index::{Index, Keys};
use intake::Intake;

/// Where `kubectl apply` keeps a copy of the whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What can be watched.
pub trait Watchable:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watchable for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Which namespaces are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Cluster,
    /// These.
    Namespaces(Vec<String>),
}

/// Wakes resources of kind `R`.
#[derive(Debug)]
pub struct Queue<R: Lookup<DynamicType = ()> + 'static> {
    pub(super) sender: mpsc::UnboundedSender<ObjectRef<R>>,
    pub(super) receiver: mpsc::UnboundedReceiver<ObjectRef<R>>,
}

impl<R: Lookup<DynamicType = ()> + 'static> Default for Queue<R> {
    fn default() -> Self {
        // Bounded by what the applier does with it: it drains into a set without waiting.
        let (sender, receiver) = mpsc::unbounded();
        Self { sender, receiver }
    }
}

type Trigger<K> = Box<dyn Fn(&K) + Send + Sync>;

/// How one kind is watched, and whom its objects wake.
pub struct Watch<K> {
    config: watcher::Config,
    trim: Box<dyn Fn(&mut K) + Send + Sync>,
    keys: Keys<K>,
    triggers: Vec<Trigger<K>>,
}

impl<K: Watchable> Watch<K> {
    /// Watches what `config` selects.
    #[must_use]
    pub fn new(config: watcher::Config) -> Self {
        Self { config, trim: Box::new(|_| ()), keys: Box::new(|_| Vec::new()), triggers: Vec::new() }
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

    /// Every change of an object, its deletion too, wakes these resources.
    #[must_use]
    pub fn wakes<R>(mut self, queue: &Queue<R>, map: impl Fn(&K) -> Vec<ObjectRef<R>> + Send + Sync + 'static) -> Self
    where
        R: Lookup<DynamicType = ()> + 'static,
    {
        let sender = queue.sender.clone();
        self.triggers.push(Box::new(move |object| {
            for woken in map(object) {
                // Closed only when the loop has ended.
                drop(sender.unbounded_send(woken));
            }
        }));
        self
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

/// Whether a cache can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Filling,
    Filled,
    /// The cluster does not serve this kind.
    Unavailable,
}

/// The objects of one kind, as last seen.
#[derive(Debug, Clone)]
pub struct Cache<K: Watchable> {
    store: Store<K>,
    index: Index,
    state: signal::Receiver<State>,
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

    /// Whether the cluster serves this kind at all, as far as known.
    #[must_use]
    pub fn is_available(&self) -> bool {
        *self.state.borrow() != State::Unavailable
    }
}

/// Answers for one cached kind what it knows of an object; `None` outside: not watched.
type Look = Arc<dyn Fn(&str, &str) -> Option<Option<Seen>> + Send + Sync>;

/// All caches, by kind, for waiting on one's own writes.
#[derive(Clone, Default)]
pub(super) struct Sights {
    by_kind: HashMap<String, Look>,
}

impl Sights {
    pub(super) fn see(&self, kind: &str, namespace: &str, name: &str) -> Option<Option<Seen>> {
        self.by_kind.get(kind).and_then(|look| look(namespace, name))
    }
}

/// The watches of a process.
pub struct Watches {
    client: Client,
    scope: Scope,
    metrics: Arc<Metrics>,
    events: EventSink,
    sights: Sights,
    states: Vec<signal::Receiver<State>>,
    tasks: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Watches {
    /// None yet.
    #[must_use]
    pub fn new(client: Client, scope: Scope, metrics: Arc<Metrics>, events: EventSink) -> Self {
        let (sights, states, tasks) = Default::default();
        Self { client, scope, metrics, events, sights, states, tasks }
    }

    /// Adds the watch of a kind and returns its cache. Once per kind.
    pub fn add<K: Watchable>(&mut self, mut watch: Watch<K>) -> Cache<K> {
        let (reader, writer) = store();
        let (state, seen_state) = signal::channel(State::Filling);
        let cache = Cache { store: reader, index: Index::default(), state: seen_state.clone() };
        let kind = K::kind(&()).into_owned();
        self.sights.by_kind.insert(kind.clone(), look(cache.clone()));
        self.states.push(seen_state);
        let scopes = match &self.scope {
            Scope::Cluster => vec![None],
            Scope::Namespaces(names) => names.iter().cloned().map(Some).collect(),
        };
        let mut streams = SelectAll::new();
        for (index, namespace) in scopes.iter().enumerate() {
            let api: Api<Guarded<K>> = match namespace {
                None => Api::all(self.client.clone()),
                Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            };
            let stream = watcher(api, watch.config.clone()).default_backoff();
            streams.push(stream.map(move |event| (index, event)).boxed());
        }
        let keys = std::mem::replace(&mut watch.keys, Box::new(|_| Vec::new()));
        let intake = Intake::new(writer, cache.store.clone(), scopes, (keys, cache.index.clone()));
        let driver = Driver {
            kind: Kind { kind },
            watch,
            intake,
            state,
            metrics: self.metrics.clone(),
            events: self.events.clone(),
        };
        self.tasks.push(Box::pin(driver.run(streams)));
        cache
    }

    pub(super) fn sights(&self) -> Sights {
        self.sights.clone()
    }

    /// Starts watching; returns once every cache is filled or known to be unavailable.
    pub async fn start(&mut self) {
        for task in self.tasks.drain(..) {
            tokio::spawn(task);
        }
        for state in &mut self.states {
            // The driver's task lives as long as the process.
            drop(state.wait_for(|state| *state != State::Filling).await);
        }
    }
}

fn look<K: Watchable>(cache: Cache<K>) -> Look {
    Arc::new(move |namespace, name| {
        cache.is_available().then(|| {
            cache.get(namespace, name).map(|object| Seen {
                uid: object.meta().uid.clone().unwrap_or_default(),
                resource_version: object.meta().resource_version.clone().unwrap_or_default(),
            })
        })
    })
}

/// The task of one watch.
struct Driver<K: Watchable> {
    kind: Kind,
    watch: Watch<K>,
    intake: Intake<K>,
    state: signal::Sender<State>,
    metrics: Arc<Metrics>,
    events: EventSink,
}

type Streams<K> = SelectAll<futures::stream::BoxStream<'static, (usize, watcher::Result<watcher::Event<Guarded<K>>>)>>;

impl<K: Watchable> Driver<K> {
    async fn run(mut self, mut streams: Streams<K>) {
        while let Some((scope, event)) = streams.next().await {
            match event {
                Ok(event) => self.take(scope, event),
                Err(error) => self.fail(&error),
            }
        }
    }

    fn take(&mut self, scope: usize, event: watcher::Event<Guarded<K>>) {
        let trim = &self.watch.trim;
        let event = event.modify(|object| {
            let meta = object.meta_mut();
            meta.managed_fields = None;
            meta.annotations.iter_mut().for_each(|it| drop(it.remove(LAST_APPLIED)));
            if let Guarded::Good(object) = object {
                trim(object);
            }
        });
        let news = self.intake.take(scope, event);
        for changed in &news.changed {
            for trigger in &self.watch.triggers {
                trigger(changed);
            }
        }
        for (metadata, error) in news.malformed {
            self.report(&metadata, error);
        }
        self.metrics.malformed.get_or_create(&self.kind).set(self.intake.malformed());
        if self.intake.is_filled() && *self.state.borrow() != State::Filled {
            self.metrics.unavailable.get_or_create(&self.kind).set(0);
            self.state.send_replace(State::Filled);
        }
    }

    fn report(&self, metadata: &kube::core::ObjectMeta, error: String) {
        let part = |it: &Option<String>| it.clone().unwrap_or_default();
        let (namespace, name) = (part(&metadata.namespace), part(&metadata.name));
        tracing::warn!(
            kind = self.kind.kind,
            namespace,
            name,
            error,
            "an object does not fit its type and is passed over"
        );
        let subject = Subject::new(&K::api_version(&()), &self.kind.kind, &namespace, &name, &part(&metadata.uid));
        let note = format!(
            "The operator cannot read this object and passes it over: {error}. Correct it, or bring CRD and operator to the same version."
        );
        let [reason, action] = ["InvalidResource", "Read"].map(str::to_owned);
        self.events.tell(&subject, Event { type_: EventType::Warning, reason, action, note });
    }

    fn fail(&mut self, error: &watcher::Error) {
        self.metrics.watch_errors.get_or_create(&self.kind).inc();
        if !is_unserved(error) {
            tracing::warn!(kind = self.kind.kind, %error, "a watch failed and is tried again");
            return;
        }
        if *self.state.borrow() != State::Unavailable {
            tracing::warn!(kind = self.kind.kind, "the cluster does not serve this kind; tried again until it does");
            self.metrics.unavailable.get_or_create(&self.kind).set(1);
            self.state.send_replace(State::Unavailable);
        }
    }
}

/// Whether the API server does not know the kind (its CRD is not installed).
fn is_unserved(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}
