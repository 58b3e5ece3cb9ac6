//! What the process tells Prometheus of itself.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::telemetry::ProcessCollector;

/// Every metric of the runtime; cheap to clone through its `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Passes by kind and outcome.
    pub(super) reconciles: Family<KindOutcome, Counter>,
    pub(super) duration: Family<Kind, Histogram, fn() -> Histogram>,
    pub(super) in_flight: Family<Kind, Gauge>,
    pub(super) errors: Family<KindReason, Counter>,
    pub(super) overdue: Family<Kind, Counter>,
    pub(super) watch_errors: Family<Kind, Counter>,
    pub(super) unavailable: Family<Kind, Gauge>,
    pub(super) forbidden: Family<Kind, Gauge>,
    pub(super) malformed: Family<Kind, Gauge>,
    pub(super) requests: Family<RequestLabels, Counter>,
    pub(super) request_duration: Family<VerbLabel, Histogram, fn() -> Histogram>,
    pub(super) retries: Family<VerbLabel, Counter>,
    pub(super) dropped_events: Counter,
    pub(super) leader: Gauge,
    pub(super) epoch: Gauge,
}

/// Label `kind`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) kind: String,
}

/// Labels `kind`, `outcome`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindOutcome {
    pub(super) kind: &'static str,
    pub(super) outcome: &'static str,
}

/// Labels `kind`, `reason`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindReason {
    pub(super) kind: &'static str,
    pub(super) reason: &'static str,
}

/// Label `verb`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VerbLabel {
    pub(super) verb: &'static str,
}

/// Labels `verb`, `resource`, `code`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) verb: &'static str,
    pub(super) resource: String,
    pub(super) code: u16,
}

impl Metrics {
    /// All metrics, registered.
    #[must_use]
    pub fn new() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("werkbank")),
            reconciles: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_5, 2.0, 16))),
            in_flight: Family::default(),
            errors: Family::default(),
            overdue: Family::default(),
            watch_errors: Family::default(),
            unavailable: Family::default(),
            forbidden: Family::default(),
            malformed: Family::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 14))),
            retries: Family::default(),
            dropped_events: Counter::default(),
            leader: Gauge::default(),
            epoch: Gauge::default(),
        };
        metrics.with_registry(|registry| metrics.register(registry));
        metrics
    }

    fn register(&self, it: &mut Registry) {
        it.register("reconciles", "Passes, by kind and outcome", self.reconciles.clone());
        it.register_with_unit("reconcile_duration", "How long a pass takes", Unit::Seconds, self.duration.clone());
        it.register("reconciles_in_flight", "Passes under way", self.in_flight.clone());
        it.register("reconcile_errors", "Passes that failed, by reason", self.errors.clone());
        it.register(
            "own_writes_unseen",
            "Passes that went ahead before the caches showed the last pass's writes",
            self.overdue.clone(),
        );
        it.register("watch_errors", "Errors of watches", self.watch_errors.clone());
        it.register("watch_unavailable", "1 while the cluster does not serve this kind", self.unavailable.clone());
        it.register(
            "watch_forbidden",
            "Watches of this kind that the API server forbids: nothing is run where they are",
            self.forbidden.clone(),
        );
        it.register("malformed_objects", "Objects that do not fit their type", self.malformed.clone());
        it.register("kube_requests", "Requests to the API server; code 0: no answer", self.requests.clone());
        it.register_with_unit(
            "kube_request_duration",
            "From sending to the answer's head, without waiting for the limit",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        it.register("kube_retries", "Requests sent again", self.retries.clone());
        it.register("events_dropped", "Kubernetes Events not written", self.dropped_events.clone());
        it.register("leader", "1 while this process is the leader", self.leader.clone());
        it.register("lease_epoch", "Epoch of the lease as last seen", self.epoch.clone());
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        it.register("build", "The binary", Info::new(build));
        it.register_collector(Box::new(ProcessCollector));
    }

    /// Registers further metrics, under the same prefix.
    pub fn with_registry<R>(&self, register: impl FnOnce(&mut Registry) -> R) -> R {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    /// When a collector cannot write itself.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(text)
    }

    pub(super) fn failed(&self, kind: &'static str, reason: &'static str) {
        self.errors.get_or_create(&KindReason { kind, reason }).inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_can_be_summed_by_verb() {
        let metrics = Metrics::new();
        let labels = RequestLabels { verb: "update", resource: "modeldeployments/status".into(), code: 409 };
        metrics.requests.get_or_create(&labels).inc();
        let text = metrics.text().unwrap();
        let line = r#"werkbank_kube_requests_total{verb="update",resource="modeldeployments/status",code="409"} 1"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn the_process_tells_its_cpu_and_memory() {
        let text = Metrics::new().text().unwrap();
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("werkbank_process_resident_memory_bytes ") > 1e6);
        assert!(value("werkbank_process_cpu_seconds_total ") >= 0.0);
    }
}
