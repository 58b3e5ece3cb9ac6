//! Every request to the API server goes through here: limited, measured, retried within bounds.
//!
//! kube's own retry repeats any request fifteen times, also one that may have happened. Here a
//! write is repeated only when the server said that it did nothing (429, 503), a read also when
//! the connection broke; few times, within one deadline, and never sooner than `Retry-After`. What
//! is left over is for the loop, which decides again instead of insisting.
//!
//! Watches are neither limited nor timed out; neither is the lease, because a busy process that
//! loses it for its own traffic would be a bad joke.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use kube::client::Body;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::{BoxError, Layer, Service};

use super::Metrics;
use super::backoff::spread;
use super::metrics::{RequestLabels, VerbLabel};
use crate::act::Authority;

/// Bounds on requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// On average per second; 0 for no limit.
    pub(super) qps: u32,
    /// At once, before the average counts.
    pub(super) burst: u32,
    /// Under way at the same time.
    pub(super) concurrency: usize,
    /// How often one request is sent, at most.
    pub(super) attempts: u32,
    /// For all attempts of a request, waits included.
    pub(super) deadline: Duration,
    /// For one attempt.
    pub(super) timeout: Duration,
}

/// The layer, to put around kube's own stack.
#[derive(Debug, Clone)]
pub(super) struct RequestsLayer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    metrics: Arc<Metrics>,
    slots: Semaphore,
    /// When the next request may start if the burst is used up (GCRA).
    next: Mutex<Option<Instant>>,
}

impl RequestsLayer {
    pub(super) fn new(bounds: Bounds, metrics: Arc<Metrics>) -> Self {
        let slots = Semaphore::new(bounds.concurrency.max(1));
        Self { shared: Arc::new(Shared { bounds, metrics, slots, next: Mutex::new(None) }) }
    }
}

impl<S> Layer<S> for RequestsLayer {
    type Service = Requests<S>;

    fn layer(&self, inner: S) -> Requests<S> {
        Requests { inner: Arc::new(tokio::sync::Mutex::new(inner)), shared: self.shared.clone() }
    }
}

/// See the module.
pub(super) struct Requests<S> {
    /// kube's stack is boxed and cannot be cloned; it is only held while a request starts.
    inner: Arc<tokio::sync::Mutex<S>>,
    shared: Arc<Shared>,
}

impl<S, B> Service<Request<Body>> for Requests<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, shared) = (self.inner.clone(), self.shared.clone());
        Box::pin(async move {
            let about = About::of(&request);
            match about.verb {
                "watch" => send(&inner, &shared, &about, request).await,
                _ => bounded(&inner, &shared, &about, request).await,
            }
        })
    }
}

/// Sends a request until it is answered, within the bounds.
async fn bounded<S, B>(
    inner: &tokio::sync::Mutex<S>,
    shared: &Shared,
    about: &About,
    request: Request<Body>,
) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
{
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let mut attempt = 1;
    loop {
        let again = body.try_clone();
        let last = again.is_none() || attempt >= shared.bounds.attempts;
        let request = Request::from_parts(parts.clone(), again.unwrap_or_else(Body::empty));
        shared.admit(about, started).await?;
        let answer = {
            // A lease that waits behind a flood of passes is a lease that is lost.
            let _slot = if about.is_lease() { None } else { Some(shared.slots.acquire().await?) };
            // What was decided as a leader may have waited here for longer than that lasted.
            Authority::allows(&parts.extensions)?;
            match tokio::time::timeout(shared.bounds.timeout, send(inner, shared, about, request)).await {
                Ok(answer) => answer,
                Err(_) => {
                    shared.count(about, 0);
                    Err(format!("no answer within {:?}", shared.bounds.timeout).into())
                }
            }
        };
        let Some(wait) = about.retry(&answer, attempt).filter(|_| !last) else {
            return answer;
        };
        if started.elapsed() + wait > shared.bounds.deadline {
            return answer;
        }
        shared.metrics.retries.get_or_create(&VerbLabel { verb: about.verb }).inc();
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// Sends it once, and counts it.
async fn send<S, B>(
    inner: &tokio::sync::Mutex<S>,
    shared: &Shared,
    about: &About,
    request: Request<Body>,
) -> Result<Response<B>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
{
    let started = Instant::now();
    let answer = {
        let mut inner = inner.lock().await;
        std::future::poll_fn(|cx| inner.poll_ready(cx)).await?;
        inner.call(request)
    }
    .await;
    let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
    shared.count(about, code);
    let verb = VerbLabel { verb: about.verb };
    shared.metrics.request_duration.get_or_create(&verb).observe(started.elapsed().as_secs_f64());
    answer
}

impl Shared {
    fn count(&self, about: &About, code: u16) {
        let resource = about.resource.clone();
        self.metrics.requests.get_or_create(&RequestLabels { verb: about.verb, resource, code }).inc();
    }

    /// Waits for the request's turn.
    async fn admit(&self, about: &About, started: Instant) -> Result<(), BoxError> {
        if about.is_lease() {
            return Ok(());
        }
        match self.turn(Instant::now(), started + self.bounds.deadline) {
            Turn::Now => Ok(()),
            Turn::At(start) => {
                tokio::time::sleep_until(start).await;
                Ok(())
            }
            Turn::TooLate => Err("too many requests are waiting: raise --kube-api-qps".into()),
        }
    }

    /// When a request that comes now may start. One that would be too late takes nobody's turn.
    fn turn(&self, now: Instant, latest: Instant) -> Turn {
        let Some(interval) = Duration::from_secs(1).checked_div(self.bounds.qps) else {
            return Turn::Now;
        };
        let credit = interval * self.bounds.burst.saturating_sub(1);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = next.unwrap_or(now).max(now);
        let start = mine.checked_sub(credit).unwrap_or(now);
        if start > latest {
            return Turn::TooLate;
        }
        *next = Some(mine + interval);
        if start > now { Turn::At(start) } else { Turn::Now }
    }
}

/// When a request may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Now,
    At(Instant),
    TooLate,
}

/// What a request is about, in the API server's words.
#[derive(Debug, PartialEq, Eq)]
struct About {
    verb: &'static str,
    resource: String,
    /// For spreading retries.
    path: String,
}

impl About {
    fn of<B>(request: &Request<B>) -> Self {
        let path = request.uri().path();
        let (resource, named) = resource(path);
        let watches = request.uri().query().is_some_and(|query| query.split('&').any(|it| it == "watch=true"));
        let apply = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|it| it.as_bytes().starts_with(b"application/apply-patch"));
        let verb = match *request.method() {
            Method::GET if watches => "watch",
            Method::GET if named => "get",
            Method::GET => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH if apply => "apply",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            Method::DELETE => "deletecollection",
            _ => "other",
        };
        Self { verb, resource, path: path.to_owned() }
    }

    /// Whether it is what this process leads by.
    fn is_lease(&self) -> bool {
        self.resource == "leases"
    }

    /// How long to wait before sending it again, if that is safe and may help.
    fn retry<B>(&self, answer: &Result<Response<B>, BoxError>, attempt: u32) -> Option<Duration> {
        let reads = matches!(self.verb, "get" | "list");
        let own = || spread(Duration::from_millis(50) * 2_u32.saturating_pow(attempt - 1), &self.path, attempt);
        let Ok(answer) = answer else {
            return reads.then(own);
        };
        match answer.status() {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let asked = answer.headers().get(header::RETRY_AFTER);
                let seconds = asked.and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok());
                Some(own().max(Duration::from_secs(seconds.unwrap_or(0))))
            }
            StatusCode::GATEWAY_TIMEOUT if reads => Some(own()),
            _ => None,
        }
    }
}

/// Plural and subresource of an API path, and whether it names one object.
fn resource(path: &str) -> (String, bool) {
    let mut parts = path.trim_matches('/').split('/');
    let skipped = match parts.next() {
        Some("api") => 1,
        Some("apis") => 2,
        _ => return ("other".into(), true),
    };
    let parts: Vec<&str> = parts.skip(skipped).collect();
    let parts = match parts.as_slice() {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        parts => parts,
    };
    match parts {
        [plural] => ((*plural).to_owned(), false),
        [plural, _] => ((*plural).to_owned(), true),
        [plural, _, subresource, ..] => (format!("{plural}/{subresource}"), true),
        [] => ("other".into(), true),
    }
}

#[cfg(test)]
mod tests;
