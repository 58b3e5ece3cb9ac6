//! An API server in memory: objects, versions, preconditions, patches, lists and watches as the real one has
//! them, and whatever a test wants to go wrong.
//!
//! It is what all tests of the loop talk to. Watches tell everything at once, unless somebody takes them in
//! hand ([`Cluster::lag`], [`Cluster::deliver`]): the simulation lets each kind's events come when it likes.

#[cfg(test)]
mod contract;
mod patch;
mod rules;
mod schema;
mod selector;
mod store;
mod watch;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body as Answer;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use crate::runtime::{Clock, Metrics, connect_to};
use store::State;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is answered with this code, and nothing happens.
    Refused(u16),
    /// It happens, and is answered after this long.
    Slow(Duration),
    /// It is never answered, and nothing happens.
    Hangs,
}

type Faults = Arc<dyn Fn(&str) -> Option<Fault> + Send + Sync>;

/// A code and a body.
pub(crate) type Reply = (u16, Value);

/// See the module. Clones are the same server.
#[derive(Clone, Default)]
pub(crate) struct Cluster(Arc<Mutex<State>>);

/// A request, read.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    query: String,
    metadata_only: bool,
    patch: PatchType,
    pub(crate) body: Value,
}

/// What the body of a PATCH is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatchType {
    Merge,
    Strategic,
    /// Of a kind that the operator does not send, as server-side apply: nothing is played for it, and it is refused.
    Other,
}

impl PatchType {
    fn of(content_type: &str) -> Self {
        match content_type {
            it if it.starts_with("application/strategic-merge-patch+json") => Self::Strategic,
            it if it.starts_with("application/merge-patch+json") => Self::Merge,
            _ => Self::Other,
        }
    }
}

impl Asked {
    /// Reads a request of kube's client.
    pub(crate) async fn read(request: Request<Body>) -> Result<Self, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        let header = |name| parts.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
        Ok(Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: selector::decoded(parts.uri.query().unwrap_or_default()),
            metadata_only: header(http::header::ACCEPT).contains("as=PartialObjectMetadata"),
            patch: PatchType::of(header(http::header::CONTENT_TYPE)),
            body,
        })
    }

    /// `PUT /path`.
    pub(crate) fn about(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The object that a write is about; of what is created, where it will be.
    pub(crate) fn object(&self) -> String {
        let path = self.path.trim_end_matches("/status");
        let name = self.body["metadata"]["name"].as_str().filter(|_| self.method == Method::POST);
        name.map_or_else(|| path.to_owned(), |name| format!("{path}/{name}"))
    }

    pub(crate) fn is_write(&self) -> bool {
        self.method != Method::GET
    }

    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }

    /// A query parameter.
    fn param(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    }
}

impl Cluster {
    /// A client with the operator's own bounds on requests.
    pub(crate) fn client(&self, metrics: Arc<Metrics>) -> Client {
        let cluster = self.clone();
        connect_to(service_fn(move |request: Request<Body>| cluster.clone().serve(request)), 4, metrics)
    }

    /// What goes wrong from now on; asked with `PUT /path`.
    pub(crate) fn faults(&self, faults: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) {
        self.lock().faults = Some(Arc::new(faults));
    }

    /// Nothing goes wrong any more.
    pub(crate) fn recover(&self) {
        self.lock().faults = None;
    }

    /// This collection may not be listed or watched any more; `None`: each may be, again.
    pub(crate) fn forbid(&self, collection: Option<&str>) {
        self.lock().forbidden = collection.map(str::to_owned);
        collection.into_iter().for_each(|it| self.cut(it));
    }

    /// Objects are created at the time this clock tells.
    pub(crate) fn goes_by(&self, clock: Clock) {
        self.lock().clock = clock;
    }

    /// Stores an object as it is, as somebody else would who may write anything.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.lock().store(path, object);
    }

    /// A request of somebody else, which nothing goes wrong with.
    pub(crate) fn ask(&self, method: Method, path: &str, body: Value) -> Reply {
        let (path, query) = (path.to_owned(), String::new());
        self.lock().answer(&Asked { method, path, query, metadata_only: false, patch: PatchType::Merge, body })
    }

    /// A request as it came.
    pub(crate) fn answer(&self, asked: &Asked) -> Response<Answer> {
        if !asked.is_write() && self.lock().forbidden.as_ref() == Some(&asked.path) {
            return reply(refusal(403, reason(403), ""));
        }
        if asked.is_watch() {
            return Response::new(self.lock().watch(asked));
        }
        reply(self.lock().answer(asked))
    }

    /// The object at this path; null if there is none.
    pub(crate) fn get(&self, path: &str) -> Arc<Value> {
        self.lock().one(path).cloned().unwrap_or_default()
    }

    /// All objects of a collection over all namespaces, by path.
    pub(crate) fn all(&self, collection: &str) -> Vec<(String, Arc<Value>)> {
        self.lock().of(collection)
    }

    /// All objects, by path.
    pub(crate) fn everything(&self) -> Vec<(String, Arc<Value>)> {
        self.lock().objects.values().flatten().map(|(path, it)| (path.clone(), it.clone())).collect()
    }

    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Accepted and refused writes by now, as `PUT /path`, without the lease's.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.lock().writes.iter().filter(|it| !it.contains("/leases")).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let asked = Asked::read(request).await?;
        let faults = self.lock().faults.clone();
        match faults.and_then(|faults| faults(&asked.about())) {
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Refused(code)) => {
                self.lock().note(&asked);
                Ok(reply(refusal(code, reason(code), "")))
            }
            Some(Fault::Slow(wait)) => {
                let answer = self.answer(&asked);
                tokio::time::sleep(wait).await;
                Ok(answer)
            }
            None => Ok(self.answer(&asked)),
        }
    }
}

/// As HTTP.
pub(crate) fn reply((code, body): Reply) -> Response<Answer> {
    let body = Answer::from(body.to_string());
    Response::builder().status(code).body(body).unwrap()
}

/// The API server's way to say no; of the object of this name, if it is about one.
pub(crate) fn refusal(code: u16, reason: &str, name: &str) -> Reply {
    let message = format!("no: {reason}");
    let details = if name.is_empty() { Value::Null } else { json!({"name": name}) };
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    let mut status = status;
    if !details.is_null() {
        status["details"] = details;
    }
    (code, status)
}

/// The API server's word for a code.
pub(crate) fn reason(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    }
}

/// What goes into a stream of a watch.
type Line = Result<String, Infallible>;
