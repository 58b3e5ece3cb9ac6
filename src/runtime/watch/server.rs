//! An API server in memory: lists, and watches that end when a test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use http::{Request, Response, Uri};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch as signal;

use super::{Scope, Watches};
use crate::act::EventSink;
use crate::runtime::Metrics;

/// By the path of a list.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<Value>>,
    refused: BTreeMap<String, u16>,
    unwatchable: BTreeSet<String>,
    silent: BTreeSet<String>,
    expired: BTreeSet<String>,
    requests: Vec<String>,
}

pub(in crate::runtime) struct Server {
    state: Mutex<State>,
    changes: signal::Sender<()>,
}

impl Server {
    pub(in crate::runtime) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changes: signal::Sender::new(()) })
    }

    /// What is there from now on; watches do not tell.
    pub(in crate::runtime) fn holds(&self, path: &str, namespace: &str, names: &[&str]) {
        let metadata = |name: &&str| json!({"namespace": namespace, "name": name, "uid": name, "resourceVersion": "1"});
        let objects = names.iter().map(|name| json!({"metadata": metadata(name), "spec": {}})).collect();
        self.change(|state| {
            state.objects.insert(path.to_owned(), objects);
        });
    }

    /// Requests are refused with this code, watches under way too.
    pub(in crate::runtime) fn refuses(&self, path: &str, code: u16) {
        self.change(|state| {
            state.refused.insert(path.to_owned(), code);
        });
    }

    /// Lists are answered and watches refused.
    pub(in crate::runtime) fn only_lists(&self, path: &str) {
        self.change(|state| {
            state.unwatchable.insert(path.to_owned());
        });
    }

    pub(in crate::runtime) fn serves(&self, path: &str) {
        self.change(|state| {
            state.refused.remove(path);
            state.silent.remove(path);
            state.unwatchable.remove(path);
        });
    }

    /// Requests are not answered.
    pub(in crate::runtime) fn is_silent(&self, path: &str) {
        self.change(|state| {
            state.refused.remove(path);
            state.silent.insert(path.to_owned());
        });
    }

    /// Watches end, and must list again.
    pub(in crate::runtime) fn expires(&self, paths: &[&str]) {
        self.change(|state| state.expired.extend(paths.iter().map(|it| (*it).to_owned())));
    }

    pub(in crate::runtime) fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    pub(in crate::runtime) fn client(self: &Arc<Self>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, tower::BoxError>(server.answer(request.uri().clone()).await) }
        });
        Client::new(service, "crm")
    }

    /// Watches of what it serves.
    pub(in crate::runtime) fn watches(self: &Arc<Self>, scope: Scope) -> (Watches, Arc<Metrics>) {
        let (client, metrics) = (self.client(), Arc::new(Metrics::new()));
        let events = EventSink::start(client.clone(), "test".into(), Default::default());
        (Watches::new(client, scope, metrics.clone(), events), metrics)
    }

    async fn answer(&self, asked: Uri) -> Response<Body> {
        let watches = asked.query().is_some_and(|it| it.contains("watch=true"));
        self.lock().requests.push(asked.to_string());
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(answer) = self.answer_now(asked.path(), watches) {
                return answer;
            }
            changes.changed().await.unwrap();
        }
    }

    fn answer_now(&self, path: &str, watches: bool) -> Option<Response<Body>> {
        let mut state = self.lock();
        if state.silent.contains(path) {
            return None;
        }
        let unwatchable = (watches && state.unwatchable.contains(path)).then_some(&403);
        if let Some(code) = state.refused.get(path).or(unwatchable) {
            return Some(answer(*code, &json!({"kind": "Status", "status": "Failure", "message": "no", "code": code})));
        }
        if watches {
            let gone = json!({"type": "ERROR", "object": {"kind": "Status", "message": "expired", "code": 410}});
            return state.expired.remove(path).then(|| answer(200, &gone));
        }
        let items = state.objects.get(path).cloned().unwrap_or_default();
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": "1"}, "items": items});
        Some(answer(200, &list))
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(code: u16, body: &Value) -> Response<Body> {
    Response::builder().status(code).body(Body::from(format!("{body}\n").into_bytes())).unwrap()
}
