//! An API server in memory, for tests of everything that talks to one: objects, versions,
//! preconditions, lists and watches as the real one has them, and whatever a test wants to go wrong.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body as Answer;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, Layer, service_fn};

use super::Metrics;
use super::requests::{Bounds, RequestsLayer};

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    /// It is answered with this code, and nothing happens.
    Refused(u16),
    /// It happens, and is answered after this long.
    Slow(Duration),
    /// It is never answered, and nothing happens.
    Hangs,
}

type Faults = Arc<dyn Fn(&str) -> Option<Fault> + Send + Sync>;

/// See the module. Clones are the same server.
#[derive(Clone, Default)]
pub(super) struct Cluster(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    watches: Vec<(String, mpsc::UnboundedSender<Result<String, Infallible>>)>,
    /// Events that no watch shows yet.
    unseen: Option<Vec<(String, String)>>,
    writes: Vec<String>,
    faults: Option<Faults>,
}

impl Cluster {
    /// A client with the operator's own bounds on requests.
    pub(super) fn client(&self, metrics: Arc<Metrics>) -> Client {
        let cluster = self.clone();
        let server = service_fn(move |request: Request<Body>| cluster.clone().serve(request));
        let bounds = Bounds {
            qps: 0,
            burst: 1,
            concurrency: 64,
            attempts: 4,
            deadline: Duration::from_secs(30),
            timeout: Duration::from_secs(15),
        };
        Client::new(RequestsLayer::new(bounds, metrics).layer(server), "crm")
    }

    /// What goes wrong from now on; asked with `PUT /path`.
    pub(super) fn faults(&self, faults: impl Fn(&str) -> Option<Fault> + Send + Sync + 'static) {
        self.lock().faults = Some(Arc::new(faults));
    }

    /// Nothing goes wrong any more.
    pub(super) fn recover(&self) {
        self.lock().faults = None;
    }

    /// Stores an object as somebody else would.
    pub(super) fn put(&self, path: &str, object: Value) {
        self.lock().store(path, object);
    }

    /// The object at this path; null if there is none.
    pub(super) fn get(&self, path: &str) -> Value {
        self.lock().objects.get(path).cloned().unwrap_or_default()
    }

    /// Accepted and refused writes by now, as `PUT /path`, without the lease's.
    pub(super) fn writes(&self) -> Vec<String> {
        self.lock().writes.iter().filter(|it| !it.contains("/leases")).cloned().collect()
    }

    /// Watches show nothing new until [`Cluster::catch_up`].
    pub(super) fn lag(&self) {
        self.lock().unseen = Some(Vec::new());
    }

    /// Watches show everything.
    pub(super) fn catch_up(&self) {
        let mut state = self.lock();
        for (collection, event) in state.unseen.take().unwrap_or_default() {
            state.show(&collection, event);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn serve(self, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let about = format!("{} {path}", parts.method);
        let faults = self.lock().faults.clone();
        let (code, answer) = match faults.and_then(|faults| faults(&about)) {
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::Refused(code)) => {
                self.lock().note(&parts.method, about);
                refusal(code, reason(code))
            }
            fault => {
                if query.contains("watch=true") {
                    return Ok(Response::new(self.lock().watch(path, query)));
                }
                self.lock().note(&parts.method, about);
                let answer = self.lock().answer(&parts.method, path, &body);
                if let Some(Fault::Slow(wait)) = fault {
                    tokio::time::sleep(wait).await;
                }
                answer
            }
        };
        Ok(Response::builder().status(code).body(Answer::from(serde_json::to_vec(&answer)?))?)
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    let message = format!("no: {reason}");
    (code, json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}))
}

/// A line of a watch; the type comes first, as from the real one.
fn event(type_: &str, object: &Value) -> String {
    format!("{{\"type\":\"{type_}\",\"object\":{object}}}\n")
}

/// The API server's word for a code.
fn reason(code: u16) -> &'static str {
    match code {
        403 => "Forbidden",
        404 => "NotFound",
        422 => "Invalid",
        _ => "InternalError",
    }
}

/// `/apis/g/v/namespaces/n/plural/name` → `/apis/g/v/plural`, the collection over all namespaces.
fn collection(path: &str) -> String {
    let (root, rest) = path.split_once("/namespaces/").unwrap();
    format!("{root}/{}", rest.split('/').nth(1).unwrap())
}

impl State {
    fn note(&mut self, method: &Method, about: String) {
        self.writes.extend((method != Method::GET).then_some(about));
    }

    fn store(&mut self, path: &str, mut object: Value) -> (u16, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let metadata = &object["metadata"];
        let gone =
            !metadata["deletionTimestamp"].is_null() && metadata["finalizers"].as_array().is_none_or(Vec::is_empty);
        let type_ = if gone { "DELETED" } else { "MODIFIED" };
        self.show(&collection(path), event(type_, &object));
        if gone {
            self.objects.remove(path);
        } else {
            self.objects.insert(path.to_owned(), object.clone());
        }
        (200, object)
    }

    fn show(&mut self, collection: &str, event: String) {
        if let Some(unseen) = &mut self.unseen {
            return unseen.push((collection.to_owned(), event));
        }
        self.watches
            .retain(|(watched, watch)| watched != collection || watch.unbounded_send(Ok(event.clone())).is_ok());
    }

    /// From the version the watch was asked from.
    fn watch(&mut self, path: &str, query: &str) -> Answer {
        let from = query.split('&').find_map(|it| it.strip_prefix("resourceVersion=")).unwrap_or("0");
        let (sender, events) = mpsc::unbounded();
        for object in self.of(path) {
            let version = object["metadata"]["resourceVersion"].as_str().unwrap();
            if version.parse::<u64>().unwrap() > from.parse().unwrap() {
                sender.unbounded_send(Ok(event("MODIFIED", &object))).unwrap();
            }
        }
        self.watches.push((path.to_owned(), sender));
        Answer::from_stream(events.map(|event| event))
    }

    fn of(&self, path: &str) -> Vec<Value> {
        self.objects.iter().filter(|(at, _)| collection(at) == path).map(|(_, it)| it.clone()).collect()
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let stale = |known: &Value, sent: &Value| {
            ["uid", "resourceVersion"].iter().any(|it| !sent[it].is_null() && sent[it] != known["metadata"][it])
        };
        if method == Method::POST {
            let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
            if self.objects.contains_key(&path) {
                return refusal(409, "AlreadyExists");
            }
            let mut object = body.clone();
            object["metadata"]["uid"] = format!("uid-{}", self.version).into();
            return self.store(&path, object);
        }
        if method == Method::GET && !path.contains("/namespaces/") {
            let metadata = json!({"resourceVersion": self.version.to_string()});
            return (200, json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": self.of(path)}));
        }
        let (object, status) = path.strip_suffix("/status").map_or((path, false), |path| (path, true));
        let Some(mut known) = self.objects.get(object).cloned() else { return refusal(404, "NotFound") };
        match *method {
            Method::GET => return (200, known),
            _ if stale(&known, &body["metadata"]) => return refusal(409, "Conflict"),
            _ if status => known["status"] = body["status"].clone(),
            Method::PUT => known = body.clone(),
            _ => {
                for (key, value) in body.as_object().unwrap() {
                    match value {
                        Value::Object(fields) if key == "metadata" => {
                            known[key].as_object_mut().unwrap().extend(fields.clone());
                        }
                        value => known[key] = value.clone(),
                    }
                }
            }
        }
        self.store(object, known)
    }
}
