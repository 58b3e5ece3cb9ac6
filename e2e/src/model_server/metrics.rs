//! What the server counts, for Prometheus: requests by code, their duration, predictions by class.
//!
//! No label carries a revision: Prometheus takes it from the pod's labels, so that
//! a server cannot report under another revision's name.

use std::time::Duration;

use axum::http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::artifact::Prediction;

/// Upper bounds in seconds; scoring takes microseconds, an injected latency up to seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Code {
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Class {
    class: &'static str,
}

/// The server's metrics and their registry.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Code, Counter>,
    duration: Histogram,
    predictions: Family<Class, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("inference_requests", "Inference requests by HTTP status", requests.clone());
        let duration = Histogram::new(BUCKETS);
        registry.register_with_unit(
            "inference_request_duration",
            "Time to answer an inference request, injected latency included",
            Unit::Seconds,
            duration.clone(),
        );
        let predictions = Family::default();
        registry.register("predictions", "Predictions by class", predictions.clone());
        Self { registry, requests, duration, predictions }
    }

    pub(crate) fn answered(&self, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&Code { code: code.as_u16() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(crate) fn predicted(&self, predictions: &[Prediction]) {
        for prediction in predictions {
            let class = if prediction.at_risk { "at_risk" } else { "stays" };
            self.predictions.get_or_create(&Class { class }).inc();
        }
    }

    /// The OpenMetrics text of everything counted.
    pub(crate) fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
