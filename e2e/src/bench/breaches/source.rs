//! A metric source that breaks on command, and remembers who saw it when.

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
pub(super) struct Source {
    broken: Shared,
    url: String,
    serving: JoinHandle<()>,
}

type Shared = Arc<Mutex<BTreeMap<String, Option<Instant>>>>;

impl Drop for Source {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Source {
    pub(super) async fn start() -> Result<Self> {
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

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// From now on everything is well with a deployment.
    pub(super) fn mend(&self, deployment: &str) {
        lock(&self.broken).remove(deployment);
    }

    /// From now on nothing is; gives when that began.
    pub(super) fn break_(&self, deployment: &str) -> Instant {
        let mut broken = lock(&self.broken);
        broken.insert(deployment.to_owned(), None);
        Instant::now()
    }

    /// When the breach was told first, if it was.
    pub(super) fn looked(&self, deployment: &str) -> Option<Instant> {
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
