//! Watches: everything that has happened since a version, in order; or 410 if that is too long ago.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body as Answer;
use futures::StreamExt;
use futures::channel::mpsc;
use serde_json::{Value, json};

use super::store::State;
use super::{Asked, Cluster, Line};

/// Something that happened to an object.
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) collection: String,
    pub(super) path: String,
    pub(super) type_: &'static str,
    pub(super) object: Arc<Value>,
    /// What it was before.
    pub(super) before: Option<Arc<Value>>,
}

/// A stream that is open.
pub(super) struct Watch {
    asked: Asked,
    /// The collection over all namespaces, and the namespace if it is about one only.
    collection: String,
    namespace: Option<String>,
    /// Everything up to this version has been told.
    told: u64,
    sender: mpsc::UnboundedSender<Line>,
}

impl Asked {
    /// An object as it was asked for.
    pub(super) fn shown(&self, object: &Value) -> Value {
        if self.metadata_only {
            let metadata = &object["metadata"];
            return json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata});
        }
        object.clone()
    }
}

impl Watch {
    /// What it has to tell of a change. What gets the label is new to a watch of the label, and what loses it is gone, as it
    /// was before (`watch_cache.go`, `cacher/cache_watcher.go`).
    fn about<'a>(&self, change: &'a Change) -> Option<(&'static str, Cow<'a, Value>)> {
        let is_here =
            |it: &Value| self.namespace.as_ref().is_none_or(|own| it["metadata"]["namespace"] == own.as_str());
        if change.version <= self.told || change.collection != self.collection || !is_here(&change.object) {
            return None;
        }
        let is = change.type_ != "DELETED" && self.asked.selects(&change.object);
        let was = change.before.as_ref().filter(|it| self.asked.selects(it));
        match (was, is) {
            (None, false) => None,
            (None, true) => Some(("ADDED", Cow::Borrowed(&*change.object))),
            (Some(_), true) => Some(("MODIFIED", Cow::Borrowed(&*change.object))),
            (Some(_), false) if change.type_ == "DELETED" => Some(("DELETED", Cow::Borrowed(&*change.object))),
            (Some(before), false) => {
                let mut last = Value::clone(before);
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                Some(("DELETED", Cow::Owned(last)))
            }
        }
    }

    fn tell(&mut self, change: &Change) -> bool {
        let Some((type_, object)) = self.about(change) else { return true };
        self.told = change.version;
        self.say(type_, &self.asked.shown(&object))
    }

    /// A line; the type comes first, as from the real one. Whether somebody listens.
    fn say(&self, type_: &str, object: &Value) -> bool {
        self.sender.unbounded_send(Ok(format!("{{\"type\":\"{type_}\",\"object\":{object}}}\n"))).is_ok()
    }
}

impl State {
    pub(super) fn watch(&mut self, asked: &Asked) -> Answer {
        let from = asked.param("resourceVersion").unwrap_or("0").parse().unwrap();
        let (sender, lines) = mpsc::unbounded();
        let (collection, namespace) = asked.scope();
        let namespace = namespace.map(str::to_owned);
        let watch = Watch { asked: asked.clone(), collection, namespace, told: from, sender };
        if from < self.floor {
            let gone =
                json!({"kind": "Status", "status": "Failure", "reason": "Expired", "message": "too old", "code": 410});
            watch.say("ERROR", &gone);
        } else {
            self.watches.push(watch);
        }
        if !self.is_by_hand {
            self.tell_all();
        }
        Answer::from_stream(lines.map(|line| line))
    }

    /// Tells every watch everything.
    pub(super) fn tell_all(&mut self) {
        let log = &self.log;
        self.watches.retain_mut(|watch| {
            let since = log.partition_point(|it| it.version <= watch.told);
            log[since..].iter().all(|change| watch.tell(change)) && !watch.sender.is_closed()
        });
    }

    /// What a watch is to tell next.
    fn next(&self, watch: &Watch) -> Option<&Change> {
        let since = self.log.partition_point(|it| it.version <= watch.told);
        self.log[since..].iter().find(|change| watch.about(change).is_some())
    }
}

impl Cluster {
    /// Watches show nothing new until [`Cluster::catch_up`].
    pub(crate) fn lag(&self) {
        self.lock().is_by_hand = true;
    }

    /// Watches show everything.
    pub(crate) fn catch_up(&self) {
        let mut state = self.lock();
        state.is_by_hand = false;
        state.tell_all();
    }

    /// Lists tell what was there in this version; the newest, if none is said.
    pub(crate) fn lists_at(&self, version: Option<u64>) {
        self.lock().lists_at = version;
    }

    /// Everything that has happened, as watches would tell it.
    pub(crate) fn history(&self) -> Vec<(String, Value)> {
        let state = self.lock();
        state.log.iter().map(|it| (it.type_.to_owned(), Value::clone(&it.object))).collect()
    }

    /// The collections whose watch has something to tell.
    pub(crate) fn behind(&self) -> Vec<String> {
        let mut state = self.lock();
        state.watches.retain(|it| !it.sender.is_closed());
        let mut behind: Vec<String> =
            state.watches.iter().filter(|it| state.next(it).is_some()).map(|it| it.asked.path.clone()).collect();
        behind.sort_unstable();
        behind.dedup();
        behind
    }

    /// The collections that are watched.
    pub(crate) fn watched(&self) -> Vec<String> {
        let mut state = self.lock();
        state.watches.retain(|it| !it.sender.is_closed());
        state.watches.iter().map(|it| it.asked.path.clone()).collect()
    }

    /// Lets the watch of a collection tell the next thing that happened; returns that.
    pub(crate) fn deliver(&self, collection: &str) -> Option<String> {
        let mut state = self.lock();
        let index = state.watches.iter().position(|it| it.asked.path == collection)?;
        let mut watch = state.watches.swap_remove(index);
        let told = state.next(&watch).map(|change| {
            watch.tell(change);
            format!("{} {} {}", change.type_, change.path, change.version)
        });
        state.watches.push(watch);
        told
    }

    /// Lets the watch of a collection say how far it is, without an object.
    pub(crate) fn bookmark(&self, collection: &str) {
        let mut state = self.lock();
        let Some(index) = state.watches.iter().position(|it| it.asked.path == collection) else { return };
        let mut watch = state.watches.swap_remove(index);
        if state.next(&watch).is_none() {
            watch.told = state.version;
        }
        let bookmark = json!({"kind": "Bookmark", "apiVersion": "v1",
            "metadata": {"resourceVersion": watch.told.to_string()}});
        watch.say("BOOKMARK", &bookmark);
        state.watches.push(watch);
    }

    /// Ends the watch of a collection without a word; it may go on from where it was.
    pub(crate) fn cut(&self, collection: &str) {
        self.lock().watches.retain(|it| it.asked.path != collection);
    }

    /// Forgets what has happened: watches that end now have to list anew.
    pub(crate) fn compact(&self) {
        let mut state = self.lock();
        state.floor = state.version;
        // Streams that are open go on, as from the real one's cache.
        let told = state.watches.iter().map(|it| it.told).min().unwrap_or(u64::MAX);
        state.log.retain(|it| it.version > told);
    }
}
