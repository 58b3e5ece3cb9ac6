//! `/healthz`, `/readyz`, `/metrics`.
//!
//! Healthy means the loops turn: each beats from within the task that runs it, and a beat that
//! stays out for a minute is a loop that hangs, which only a restart mends. Ready means the caches
//! are filled; a replica that waits for the lease is ready too.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::{Metrics, Shutdown};

/// Longer without a beat is hanging.
const SILENCE: Duration = Duration::from_mins(1);

/// How the process is.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    ready: AtomicBool,
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
        Self { started: Instant::now(), ready: AtomicBool::new(false), beats: Mutex::default() }
    }
}

impl Pulse {
    pub(super) fn beat(&self) {
        self.last.store(self.started.elapsed().as_secs(), Ordering::Relaxed);
    }
}

impl Health {
    /// The caches are filled.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
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
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state((health, metrics));
    axum::serve(listener, app).with_graceful_shutdown(async move { shutdown.requested().await }).await
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
    if health.ready.load(Ordering::Relaxed) {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the caches are not filled yet\n").into_response()
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
mod tests {
    use super::*;

    #[test]
    fn a_loop_without_a_beat_for_a_minute_hangs() {
        let health = Health::default();
        let _pulse = health.pulse("ModelDeployment");
        assert!(health.hanging(SILENCE).is_empty());
        assert_eq!(health.hanging(SILENCE + Duration::from_secs(1)), ["ModelDeployment"]);
    }
}
