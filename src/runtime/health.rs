//! `/healthz`, `/readyz`, `/metrics`.
//!
//! Healthy means the loops turn: each beats from within the task that runs it, and a beat that
//! stays out for a minute is a loop that hangs, which only a restart mends. Ready means the caches
//! are filled; a replica that waits for the lease is ready too. What the operator may not read is
//! named there, and stops only what rests on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

use super::watch::Standing;
use super::{Metrics, Shutdown};

/// Longer without a beat is hanging.
const SILENCE: Duration = Duration::from_mins(1);

/// How the process is.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    standing: OnceLock<signal::Receiver<Standing>>,
    beats: Mutex<Vec<(&'static str, Arc<AtomicU64>)>>,
}

/// One loop's pulse.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    started: Instant,
    last: Arc<AtomicU64>,
}

impl Default for Health {
    fn default() -> Self {
        Self { started: Instant::now(), standing: OnceLock::new(), beats: Mutex::default() }
    }
}

impl Pulse {
    pub(super) fn beat(&self) {
        self.last.store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }
}

impl Health {
    /// From now on readiness is that of the caches.
    pub(super) fn follow(&self, standing: signal::Receiver<Standing>) {
        // Once per process; a second time changes nothing.
        drop(self.standing.set(standing));
    }

    /// A loop that beats from now on.
    pub(super) fn pulse(&self, name: &'static str) -> Pulse {
        let pulse = Pulse { started: self.started, last: Arc::default() };
        pulse.beat();
        self.beats.lock().unwrap_or_else(PoisonError::into_inner).push((name, pulse.last.clone()));
        pulse
    }

    /// The loops that hang at this time since the start.
    fn hanging(&self, uptime: Duration) -> Vec<&'static str> {
        let beats = self.beats.lock().unwrap_or_else(PoisonError::into_inner);
        let silent =
            |last: &AtomicU64| uptime.saturating_sub(Duration::from_secs(last.load(Ordering::Relaxed))) > SILENCE;
        beats.iter().filter(|(_, last)| silent(last)).map(|(name, _)| *name).collect()
    }
}

/// Serves until shutdown.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    axum::serve(listener, router(health, metrics))
        .with_graceful_shutdown(async move { shutdown.requested().await })
        .await
}

fn router(health: Arc<Health>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state((health, metrics))
}

type Shared = State<(Arc<Health>, Arc<Metrics>)>;

async fn healthz(State((health, _)): Shared) -> Response {
    match health.hanging(health.started.elapsed()).as_slice() {
        [] => "ok\n".into_response(),
        hanging => {
            let body = format!("hanging: {}\n", hanging.join(", "));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

async fn readyz(State((health, _)): Shared) -> Response {
    let Some(standing) = health.standing.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the operator is starting\n").into_response();
    };
    let (ready, report) = {
        let standing = standing.borrow();
        (standing.is_ready(), standing.report())
    };
    if ready {
        format!("ok\n{report}").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, report).into_response()
    }
}

async fn text(State((_, metrics)): Shared) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use axum::body::to_bytes;
    use http::Request;
    use k8s_openapi::api::core::v1::Service;
    use kube::runtime::watcher;
    use tower::ServiceExt;

    use super::*;
    use crate::runtime::watch::server::Server;
    use crate::runtime::{Scope, Watch};

    #[test]
    fn a_loop_without_a_beat_for_a_minute_hangs() {
        let health = Health::default();
        let _pulse = health.pulse("ModelDeployment");
        assert!(health.hanging(SILENCE).is_empty());
        assert_eq!(health.hanging(SILENCE + Duration::from_secs(1)), ["ModelDeployment"]);
    }

    /// `None` on a machine that has just been started.
    pub(in crate::runtime) fn two_minutes_old() -> Option<Arc<Health>> {
        let started = Instant::now().checked_sub(SILENCE * 2)?;
        Some(Arc::new(Health { started, ..Health::default() }))
    }

    pub(in crate::runtime) fn forget_beats(health: &Health) {
        health.beats.lock().unwrap().iter().for_each(|(_, last)| last.store(0, Ordering::Relaxed));
    }

    pub(in crate::runtime) async fn get(health: &Arc<Health>, path: &str) -> (u16, String) {
        let app = router(health.clone(), Arc::new(Metrics::new()));
        let answer = app.oneshot(Request::get(path).body(axum::body::Body::empty()).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        (code, String::from_utf8(to_bytes(answer.into_body(), 10_000).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn healthz_names_the_loop_that_hangs() {
        let Some(health) = two_minutes_old() else { return };
        assert_eq!(get(&health, "/healthz").await, (200, "ok\n".to_owned()));
        let pulse = health.pulse("ModelDeployment");
        forget_beats(&health);
        assert_eq!(get(&health, "/healthz").await, (503, "hanging: ModelDeployment\n".to_owned()));
        pulse.beat();
        assert_eq!(get(&health, "/healthz").await.0, 200);
    }

    #[tokio::test]
    async fn readyz_follows_the_caches_and_names_what_may_not_be_read() {
        let health = Arc::new(Health::default());
        assert_eq!(get(&health, "/readyz").await, (503, "the operator is starting\n".to_owned()));
        let server = Server::new();
        let (mut watches, _) = server.watches(Scope::Namespaces(vec!["ads".into(), "crm".into()]));
        watches.add(Watch::<Service>::new(watcher::Config::default()));
        health.follow(watches.standing());
        assert_eq!(get(&health, "/readyz").await, (503, "the caches are not filled yet: services\n".to_owned()));
        server.refuses("/api/v1/namespaces/ads/services", 403);
        watches.start().await.unwrap();
        let (code, body) = get(&health, "/readyz").await;
        assert!(code == 200 && body.starts_with("ok\nnamespace ads is left out: "), "{code} {body}");
        server.refuses("/api/v1/namespaces/crm/services", 403);
        let nothing = |it: &Standing| !it.is_ready();
        tokio::time::timeout(Duration::from_secs(10), watches.standing().wait_for(nothing)).await.unwrap().unwrap();
        assert_eq!(get(&health, "/readyz").await.0, 503, "nothing is left to run");
        assert_eq!(get(&health, "/healthz").await.0, 200, "and no restart would mend it");
    }
}
