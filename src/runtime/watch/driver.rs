//! The task of one watch: events into the cache, wakes and reports out of it.

use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use kube::Resource as _;
use kube::core::ObjectMeta;
use kube::runtime::watcher::{Error, Event as Change, Result};
use tokio::sync::watch as signal;

use super::source::{Refused, refused};
use super::standing::{Phase, Standing, remedy};
use super::unreadable::Unreadable;
use super::{Guarded, Intake, Watch, Watchable};
use crate::act::{EventSink, Subject};
use crate::decide::{Event, EventType};
use crate::runtime::Metrics;
use crate::runtime::metrics::Kind;

/// Where `kubectl apply` keeps a copy of the whole manifest.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

pub(super) struct Driver<K: Watchable> {
    pub(super) kind: Kind,
    /// The kind's number in `standing`.
    pub(super) number: usize,
    pub(super) watch: Watch<K>,
    pub(super) intake: Intake<K>,
    pub(super) unreadable: Unreadable,
    pub(super) standing: Arc<signal::Sender<Standing>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) events: EventSink,
}

/// Events and the number of the scope they come from.
type Streams<K> = SelectAll<BoxStream<'static, (usize, Result<Change<Guarded<K>>>)>>;

impl<K: Watchable> Driver<K> {
    pub(super) async fn run(mut self, mut streams: Streams<K>) {
        while let Some((scope, event)) = streams.next().await {
            match event {
                Ok(event) => self.take(scope, event),
                Err(error) => self.fail(scope, &error),
            }
        }
    }

    fn take(&mut self, scope: usize, event: Change<Guarded<K>>) {
        let trim = &self.watch.trim;
        let event = event.modify(|object| {
            let meta = object.meta_mut();
            meta.managed_fields = None;
            meta.annotations.iter_mut().for_each(|it| drop(it.remove(LAST_APPLIED)));
            if let Guarded::Good(object) = object {
                trim(object);
            }
        });
        let listed = matches!(event, Change::InitDone);
        let news = self.intake.take(scope, event);
        for changed in &news.changed {
            for trigger in &self.watch.triggers {
                trigger(changed.before.as_deref(), &changed.now);
            }
        }
        for (namespace, key) in &news.places {
            for trigger in &self.watch.by_key {
                trigger(namespace, key);
            }
        }
        for (namespace, name) in &news.unreadable {
            let (namespace, name) = (namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
            self.watch.by_name.iter().for_each(|trigger| trigger(namespace, name));
        }
        for (metadata, error) in news.malformed {
            self.report(&metadata, error);
        }
        self.metrics.malformed.get_or_create(&self.kind).set(self.unreadable.count());
        if listed {
            self.enter(scope, Phase::Listed);
        }
    }

    fn report(&self, metadata: &ObjectMeta, error: String) {
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
        self.events.tell(&subject, Event { type_: EventType::Warning, reason, action, note, entry: None });
    }

    fn fail(&mut self, scope: usize, error: &Error) {
        self.metrics.watch_errors.get_or_create(&self.kind).inc();
        match refused(error) {
            None => tracing::warn!(kind = self.kind.kind, %error, "a watch failed and is tried again"),
            Some(Refused::Unserved) => {
                if self.enter(scope, Phase::Unserved) {
                    let kind = &self.kind.kind;
                    tracing::warn!(kind, "the cluster does not serve this kind; tried again until it does");
                }
            }
            Some(Refused::Forbidden) => {
                if self.enter(scope, Phase::Forbidden) {
                    let (namespace, need) = {
                        let standing = self.standing.borrow();
                        (standing.scopes().get(scope).cloned().flatten(), standing.need(self.number))
                    };
                    let remedy = remedy(need, namespace.as_deref(), &K::plural(&()));
                    tracing::warn!(kind = self.kind.kind, namespace, %error, "{remedy}");
                }
            }
        }
    }

    /// From now on the kind is in this phase in this scope; whether that is news.
    fn enter(&self, scope: usize, phase: Phase) -> bool {
        let is_news = self.standing.send_if_modified(|it| it.set(self.number, scope, phase));
        if is_news {
            let count = |phase| self.standing.borrow().count(self.number, phase);
            let forbidden = i64::try_from(count(Phase::Forbidden)).unwrap_or(i64::MAX);
            self.metrics.forbidden.get_or_create(&self.kind).set(forbidden);
            self.metrics.unavailable.get_or_create(&self.kind).set(i64::from(count(Phase::Unserved) > 0));
        }
        is_news
    }
}
