//! The routes: health and metadata, inference, metrics.
//!
//! Liveness says that the process answers; readiness, of server and model alike,
//! that it wants traffic, which ends when draining begins. Every answer, errors
//! included, names the revision in `x-werkbank-revision`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;

use crate::artifact::Model;
use crate::metrics::Metrics;
use crate::protocol::{InferRequest, InferResponse, ProtocolError, metadata, predict, respond};
use crate::settings::{Fault, Settings};

const REVISION: HeaderName = HeaderName::from_static("x-werkbank-revision");
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One model behind HTTP; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ModelServer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    model: Model,
    metrics: Metrics,
    revision: HeaderValue,
    fault: Fault,
    ready: AtomicBool,
    inferences: AtomicU64,
}

impl ModelServer {
    /// A server that is ready at once: `model` has been checked when it was loaded.
    pub(crate) fn new(model: Model, settings: &Settings) -> anyhow::Result<Self> {
        let revision = HeaderValue::from_str(&settings.revision)
            .context("WERKBANK_REVISION cannot be sent as a header; use letters, digits and dashes")?;
        Ok(Self {
            shared: Arc::new(Shared {
                model,
                metrics: Metrics::new(),
                revision,
                fault: settings.fault.clone(),
                ready: AtomicBool::new(true),
                inferences: AtomicU64::new(0),
            }),
        })
    }

    /// From now on readiness fails; everything else goes on.
    pub(crate) fn stop_being_ready(&self) {
        self.shared.ready.store(false, Ordering::Release);
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/v2/health/live", get(|| async { Json(json!({ "live": true })) }))
            .route("/v2/health/ready", get(ready))
            .route("/v2/models/{name}", get(model_metadata))
            .route("/v2/models/{name}/ready", get(model_ready))
            .route("/v2/models/{name}/infer", post(infer))
            .route("/metrics", get(metrics))
            .fallback(|| async {
                let message = "no such path; see GET /v2/models/{name} and POST /v2/models/{name}/infer".to_owned();
                ProtocolError { status: StatusCode::NOT_FOUND, message }
            })
            .layer(middleware::from_fn_with_state(self.clone(), name_the_revision))
            .with_state(self.clone())
    }

    fn model(&self, name: &str) -> Result<&Model, ProtocolError> {
        let model = &self.shared.model;
        if model.name() == name {
            return Ok(model);
        }
        let message = format!("there is no model `{name}` here; this server has `{}`", model.name());
        Err(ProtocolError { status: StatusCode::NOT_FOUND, message })
    }

    fn answer(&self, name: &str, body: &[u8]) -> Result<InferResponse, ProtocolError> {
        let model = self.model(name)?;
        self.inject_error()?;
        let request: InferRequest = serde_json::from_slice(body)
            .map_err(|e| ProtocolError::bad_request(format!("the body is not an inference request: {e}")))?;
        let predictions = predict(model, &request)?;
        self.shared.metrics.predicted(&predictions);
        Ok(respond(model, request, &predictions))
    }

    /// Spreads the errors evenly, so that a rate of 5 % is 5 of any 100 and a test need not be lucky.
    fn inject_error(&self) -> Result<(), ProtocolError> {
        let Fault { error_rate: rate, file, .. } = &self.shared.fault;
        if file.as_ref().is_some_and(|file| !file.exists()) {
            return Ok(());
        }
        let n = self.shared.inferences.fetch_add(1, Ordering::Relaxed) as f64;
        if (n * rate).floor() < ((n + 1.0) * rate).floor() {
            let message = "injected by FAULT_ERROR_RATE; unset it to get answers".to_owned();
            return Err(ProtocolError { status: StatusCode::INTERNAL_SERVER_ERROR, message });
        }
        Ok(())
    }
}

async fn name_the_revision(State(server): State<ModelServer>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(REVISION, server.shared.revision.clone());
    response
}

async fn ready(State(server): State<ModelServer>) -> Response {
    let ready = server.shared.ready.load(Ordering::Acquire);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready }))).into_response()
}

async fn model_ready(server: State<ModelServer>, Path(name): Path<String>) -> Response {
    match server.model(&name) {
        Ok(_) => ready(server).await,
        Err(error) => error.into_response(),
    }
}

async fn model_metadata(State(server): State<ModelServer>, Path(name): Path<String>) -> Response {
    match server.model(&name) {
        Ok(model) => Json(metadata(model)).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn infer(State(server): State<ModelServer>, Path(name): Path<String>, body: Bytes) -> Response {
    let started = Instant::now();
    let latency = server.shared.fault.latency;
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let response = match server.answer(&name, &body) {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => error.into_response(),
    };
    server.shared.metrics.answered(response.status(), started.elapsed());
    response
}

async fn metrics(State(server): State<ModelServer>) -> Response {
    match server.shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests;
