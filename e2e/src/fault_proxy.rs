//! An API server, or an object store, seen through a proxy that a test can break, at one chosen write.
//!
//! The node's pods (and so the operator) reach the API server through it; everybody else goes straight there.
//! It passes everything on as it is, tokens and watches included, and counts writes. At the write that a test
//! names it calls the test, which kills the operator, and answers no more: *before* the write reached the
//! server, or *after* it was carried out there. To the operator's successor the two differ by one object only.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// On which side of a write something breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The server never hears of it.
    Before,
    /// It is carried out, and nobody is told.
    After,
}

/// What etcd takes is less.
const LARGEST: usize = 4 << 20;

type Break = Box<dyn FnOnce() + Send>;

/// At which write.
enum At {
    /// The one with this number, of all.
    Number(usize),
    /// The next one whose path has this in it.
    Path(String),
}

/// See the module. Ends when it is dropped.
pub struct FaultProxy {
    address: SocketAddr,
    upstream: Arc<Upstream>,
    task: JoinHandle<()>,
}

struct Upstream {
    client: reqwest::Client,
    url: String,
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    writes: Vec<String>,
    /// Those that were answered.
    answers: Vec<(String, String, u16)>,
    /// At which write, on which side, and what happens then.
    armed: Option<(At, Side, Break)>,
    forgets_conditions: bool,
    /// What the server answered to the last write that was broken after it.
    answered: Option<StatusCode>,
}

impl FaultProxy {
    /// Starts in front of the API server at `url`.
    ///
    /// # Errors
    /// The CA is none, or there is no free port.
    pub async fn start(url: &str, ca_pem: &str) -> Result<Self> {
        let ca = reqwest::Certificate::from_pem(ca_pem.as_bytes())?;
        Self::before(url, client().add_root_certificate(ca).build()?).await
    }

    /// Starts in front of an object store that speaks HTTP.
    ///
    /// # Errors
    /// There is no free port.
    pub async fn before_store(url: &str) -> Result<Self> {
        Self::before(url, client().build()?).await
    }

    async fn before(url: &str, client: reqwest::Client) -> Result<Self> {
        let upstream =
            Arc::new(Upstream { client, url: url.trim_end_matches('/').to_owned(), counted: Mutex::default() });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free port for the proxy")?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(pass).with_state(upstream.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the proxy before the API server ended");
            }
        });
        Ok(Self { address, upstream, task })
    }

    /// What to reach instead of the API server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every write so far, as `PUT /path`; leases and Events apart.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.upstream.counted().writes.clone()
    }

    /// Every write that was answered so far: method, path and code.
    #[must_use]
    pub fn answered(&self) -> Vec<(String, String, u16)> {
        self.upstream.counted().answers.clone()
    }

    /// At the write number `nth` from now, counted from 1, calls `then` and answers no more.
    pub fn break_at(&self, nth: usize, side: Side, then: impl FnOnce() + Send + 'static) {
        let mut counted = self.upstream.counted();
        let at = At::Number(counted.writes.len() + nth);
        counted.armed = Some((at, side, Box::new(then)));
        counted.answered = None;
    }

    /// The same at the next write whose path has `part` in it.
    pub fn break_at_path(&self, part: &str, side: Side, then: impl FnOnce() + Send + 'static) {
        let mut counted = self.upstream.counted();
        counted.armed = Some((At::Path(part.to_owned()), side, Box::new(then)));
        counted.answered = None;
    }

    /// From now on the server is not told under which conditions it is to write: a store that knows of none.
    pub fn forgets_conditions(&self) {
        self.upstream.counted().forgets_conditions = true;
    }

    /// Whether that write is still to come.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.upstream.counted().armed.is_some()
    }

    /// Whether the write that was broken after it was carried out: the API server may have refused it.
    #[must_use]
    pub fn was_carried_out(&self) -> bool {
        self.upstream.counted().answered.is_some_and(|it| it.is_success())
    }

    /// Nothing breaks any more.
    pub fn disarm(&self) {
        self.upstream.counted().armed = None;
    }
}

fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().no_proxy().http1_only()
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    fn counted(&self) -> std::sync::MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write; what is to happen at it.
    fn count(&self, method: &Method, path: &str) -> Option<(Side, Break)> {
        if !counts(method, path) {
            return None;
        }
        let mut counted = self.counted();
        counted.writes.push(format!("{method} {path}"));
        let is_now = counted.armed.as_ref().is_some_and(|(at, ..)| match at {
            At::Number(number) => *number == counted.writes.len(),
            At::Path(part) => path.contains(part),
        });
        let (_, side, then) = counted.armed.take_if(|_| is_now)?;
        Some((side, then))
    }

    async fn forward(&self, request: Request) -> Result<reqwest::Response> {
        let (mut parts, body) = request.into_parts();
        parts.headers.remove(header::HOST);
        if self.counted().forgets_conditions {
            parts.headers.remove(header::IF_NONE_MATCH);
            parts.headers.remove(header::IF_MATCH);
        }
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let request = self.client.request(parts.method, format!("{}{path}", self.url)).headers(parts.headers);
        Ok(request.body(axum::body::to_bytes(body, LARGEST).await?).send().await?)
    }
}

fn counts(method: &Method, path: &str) -> bool {
    method != Method::GET && !path.contains("/leases") && !path.contains("/events")
}

async fn pass(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    match upstream.count(request.method(), request.uri().path()) {
        None => {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let answer = answer(upstream.forward(request).await);
            if counts(&method, &path) {
                upstream.counted().answers.push((method.to_string(), path, answer.status().as_u16()));
            }
            answer
        }
        Some((Side::Before, then)) => {
            then();
            std::future::pending().await
        }
        Some((Side::After, then)) => {
            // Its status says that it was carried out; nobody reads the rest.
            match upstream.forward(request).await {
                Ok(answer) => upstream.counted().answered = Some(answer.status()),
                Err(error) => tracing::warn!(%error, "the write to break after did not get through"),
            }
            then();
            std::future::pending().await
        }
    }
}

fn answer(answer: Result<reqwest::Response>) -> Response {
    match answer {
        Ok(answer) => {
            let (status, headers) = (answer.status(), answer.headers().clone());
            let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
            *response.status_mut() = status;
            *response.headers_mut() = headers;
            // Each hop frames its own body.
            response.headers_mut().remove(header::TRANSFER_ENCODING);
            response
        }
        Err(error) => {
            let mut response = Response::new(Body::from(error.to_string()));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response
        }
    }
}
