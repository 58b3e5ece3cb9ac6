//! A metric source that breaks on command, and remembers when the operator was first told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves an error rate by deployment; ends when dropped.
pub struct MetricSource {
    broken: Shared,
    url: String,
    serving: JoinHandle<()>,
}

type Shared = Arc<Mutex<BTreeMap<String, Option<Instant>>>>;

impl Drop for MetricSource {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl MetricSource {
    /// Serves on a free port of this machine.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub async fn start() -> Result<Self> {
        let broken = Shared::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new().route("/{deployment}", get(answer)).with_state(broken.clone());
        let serving = tokio::spawn(async move {
            // It ends by being aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { broken, url, serving })
    }

    /// The entry of `analysis.metrics` that reads the error rate of a deployment, and lets no more than 1 % pass.
    #[must_use]
    pub fn guardrail(&self, deployment: &str) -> Value {
        json!({
            "name": "error-rate", "role": "Guardrail", "threshold": {"max": "1%"},
            "http": {"url": format!("{}/{deployment}", self.url), "jsonPath": "$.errorRate"},
        })
    }

    /// From now on everything is well with a deployment.
    pub fn mend(&self, deployment: &str) {
        lock(&self.broken).remove(deployment);
    }

    /// From now on nothing is; gives when that began.
    pub fn breach(&self, deployment: &str) -> Instant {
        let mut broken = lock(&self.broken);
        broken.insert(deployment.to_owned(), None);
        Instant::now()
    }

    /// When the breach was told first, if it was.
    #[must_use]
    pub fn looked(&self, deployment: &str) -> Option<Instant> {
        lock(&self.broken).get(deployment).copied().flatten()
    }
}

fn lock(broken: &Shared) -> std::sync::MutexGuard<'_, BTreeMap<String, Option<Instant>>> {
    broken.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(broken): State<Shared>, Path(deployment): Path<String>) -> Json<Value> {
    let rate = match lock(&broken).get_mut(&deployment) {
        None => 0.0,
        Some(told) => {
            told.get_or_insert_with(Instant::now);
            1.0
        }
    };
    Json(json!({"errorRate": rate}))
}
