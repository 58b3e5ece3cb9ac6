//! How the user wants a rollout to go, read once from the spec, with every default in one place.
//!
//! | field left out | means |
//! |---|---|
//! | `replicas` | 1 |
//! | `rollout.steps` | none: all traffic once ready |
//! | `rollout.progressDeadline` | 15m |
//! | `rollout.drain` | 30s |
//! | `rollout.onOutage` | hold |
//! | `analysis.interval` | 30s |
//! | `analysis.failureLimit` | 1 |
//!
//! A field that cannot be read is named in [`Policy::errors`]; what can be read
//! is kept, so that a typing error in a step does not switch a guardrail off.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::model_deployment::{ConfigMapMetrics, Metric, MetricRole, ModelDeploymentSpec, OutageAction, Step};
use crate::api::{DurationText, Quantity, Weight};

/// Each has a verdict in status, which must stay small.
const MOST_METRICS: usize = 64;

/// A rollout's rules, with defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Pods at full traffic.
    pub replicas: i32,
    /// Rising weights.
    pub steps: Vec<StepRule>,
    /// For pods and route, each time.
    pub progress_deadline: Duration,
    /// How long a revision without traffic stays.
    pub drain: Duration,
    /// After how long a silent metric source means rollback; `None`: hold.
    pub rollback_on_outage: Option<Duration>,
    /// Between two measurements.
    pub interval: Duration,
    /// Fail verdicts in a row that are tolerated.
    pub failure_limit: i32,
    /// Query that counts requests.
    pub samples: Option<String>,
    /// The metrics, shared ones included.
    pub metrics: Vec<MetricRule>,
    /// What could not be read: field and remedy.
    pub errors: Vec<String>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRule {
    /// The candidate's share.
    pub weight: Weight,
    /// To watch at least.
    pub for_: Duration,
    /// Requests to have seen.
    pub min_samples: i64,
    /// Roll back after; `None`: no limit.
    pub max_step_time: Option<Duration>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRule {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: MetricRole,
    /// The query template.
    pub query: String,
    /// What is expected.
    pub bounds: Bounds,
}

/// What is expected of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// The value itself.
    Threshold {
        /// Lower bound.
        min: Option<f64>,
        /// Upper bound.
        max: Option<f64>,
    },
    /// Against the stable revision.
    Compare {
        /// candidate ÷ stable.
        max_ratio: Option<f64>,
        /// candidate ÷ stable.
        min_ratio: Option<f64>,
        /// candidate − stable.
        max_increase: Option<f64>,
        /// stable − candidate.
        max_decrease: Option<f64>,
    },
}

impl Policy {
    /// Reads the spec. `metrics_from` holds the `metrics.yaml` of each ConfigMap.
    #[must_use]
    pub fn read(spec: &ModelDeploymentSpec, metrics_from: &BTreeMap<String, Result<String, String>>) -> Self {
        let mut reader = Reader::default();
        let rollout = spec.rollout.clone().unwrap_or_default();
        let analysis = &spec.analysis;
        let metrics = reader.metrics(spec, metrics_from);
        Self {
            replicas: spec.replicas.unwrap_or(1),
            steps: reader.steps(&rollout.steps),
            progress_deadline: reader.duration("rollout.progressDeadline", rollout.progress_deadline.as_ref(), 15 * 60),
            drain: reader.duration("rollout.drain", rollout.drain.as_ref(), 30),
            rollback_on_outage: rollout
                .on_outage
                .filter(|it| it.do_ == OutageAction::Rollback)
                .map(|it| reader.duration("rollout.onOutage.after", Some(&it.after), 0)),
            interval: reader
                .duration("analysis.interval", analysis.interval.as_ref(), 30)
                .max(Duration::from_millis(100)),
            failure_limit: analysis.failure_limit.unwrap_or(1),
            samples: analysis.samples.as_ref().map(|it| it.prometheus.query.clone()),
            metrics,
            errors: reader.errors,
        }
    }

    /// The step the candidate is at: the one with its weight. After an edit that
    /// removed it there is none, and nothing to wait for.
    #[must_use]
    pub fn step_at(&self, weight: Weight) -> Option<(i32, &StepRule)> {
        (0..).zip(&self.steps).find(|(_, step)| step.weight == weight)
    }

    /// The next step: the first above the present weight, so that editing the steps of a running
    /// attempt neither repeats nor restarts one.
    #[must_use]
    pub fn step_after(&self, weight: Weight) -> Option<(i32, &StepRule)> {
        (0..).zip(&self.steps).find(|(_, step)| step.weight > weight)
    }
}

/// Collects what cannot be read.
#[derive(Default)]
struct Reader {
    errors: Vec<String>,
}

impl Reader {
    fn duration(&mut self, field: &str, text: Option<&DurationText>, default_seconds: u64) -> Duration {
        match text.map(DurationText::duration) {
            None => Duration::from_secs(default_seconds),
            Some(Ok(duration)) => duration,
            Some(Err(error)) => {
                self.errors.push(format!("spec.{field}: {error}"));
                Duration::from_secs(default_seconds)
            }
        }
    }

    fn number(&mut self, field: &str, quantity: Option<&Quantity>) -> Option<f64> {
        match quantity?.value() {
            Ok(number) => Some(number),
            Err(error) => {
                self.errors.push(format!("{field}: {error}"));
                None
            }
        }
    }

    fn steps(&mut self, steps: &[Step]) -> Vec<StepRule> {
        let mut rules: Vec<StepRule> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let field = format!("rollout.steps[{index}]");
            let weight = match step.weight.weight() {
                Ok(weight) => weight,
                Err(error) => {
                    self.errors.push(format!("spec.{field}.weight: {error}"));
                    continue;
                }
            };
            let before = rules.last().map_or(Weight::NONE, |rule| rule.weight);
            if weight <= before {
                self.errors.push(format!("spec.{field}.weight: {weight} is not above {before}; the weights of a rollout rise from step to step"));
                continue;
            }
            rules.push(StepRule {
                weight,
                for_: self.duration(&format!("{field}.for"), step.for_.as_ref(), 0),
                min_samples: step.min_samples.unwrap_or(0),
                max_step_time: step
                    .max_step_time
                    .as_ref()
                    .map(|text| self.duration(&format!("{field}.maxStepTime"), Some(text), 0)),
            });
        }
        rules
    }

    /// Shared metrics first, then the deployment's own; a later one replaces an
    /// earlier one of the same name.
    fn metrics(
        &mut self,
        spec: &ModelDeploymentSpec,
        from: &BTreeMap<String, Result<String, String>>,
    ) -> Vec<MetricRule> {
        let mut metrics: Vec<MetricRule> = Vec::new();
        for source in &spec.analysis.metrics_from {
            let name = &source.config_map_ref.name;
            let field = format!("ConfigMap {name}, key metrics.yaml");
            match from.get(name) {
                Some(Ok(text)) => match serde_yaml::from_str::<ConfigMapMetrics>(text) {
                    Ok(shared) => shared.iter().for_each(|metric| self.metric(&field, metric, &mut metrics)),
                    Err(error) => self
                        .errors
                        .push(format!("{field}: {error}; it must be a list of metrics as in spec.analysis.metrics")),
                },
                Some(Err(missing)) => self.errors.push(missing.clone()),
                None => self.errors.push(format!("spec.analysis.metricsFrom: ConfigMap {name} has not been read yet")),
            }
        }
        for metric in &spec.analysis.metrics {
            self.metric("spec.analysis.metrics", metric, &mut metrics);
        }
        if metrics.len() > MOST_METRICS {
            self.errors.push(format!(
                "spec.analysis: {} metrics, shared ones included; at most {MOST_METRICS} are judged, remove some",
                metrics.len()
            ));
            metrics.truncate(MOST_METRICS);
        }
        metrics
    }

    fn metric(&mut self, field: &str, metric: &Metric, metrics: &mut Vec<MetricRule>) {
        if metric.name.len() > 63 {
            // A ConfigMap has no schema that would refuse it.
            return self.errors.push(format!("{field}: a metric's name has more than 63 characters; shorten it"));
        }
        let errors = self.errors.len();
        let bounds = self.bounds(&format!("{field}, {}", metric.name), metric);
        metrics.retain(|it| it.name != metric.name);
        if let (Some(bounds), true) = (bounds, errors == self.errors.len()) {
            metrics.push(MetricRule {
                name: metric.name.clone(),
                role: metric.role,
                query: metric.prometheus.query.clone(),
                bounds,
            });
        }
    }

    fn bounds(&mut self, field: &str, metric: &Metric) -> Option<Bounds> {
        match (&metric.threshold, &metric.compare) {
            (Some(it), None) => {
                let (min, max) = (
                    self.number(&format!("{field}.threshold.min"), it.min.as_ref()),
                    self.number(&format!("{field}.threshold.max"), it.max.as_ref()),
                );
                Some(Bounds::Threshold { min, max })
            }
            (None, Some(it)) => Some(Bounds::Compare {
                max_ratio: self.number(&format!("{field}.compare.maxRatio"), it.max_ratio.as_ref()),
                min_ratio: self.number(&format!("{field}.compare.minRatio"), it.min_ratio.as_ref()),
                max_increase: self.number(&format!("{field}.compare.maxIncrease"), it.max_increase.as_ref()),
                max_decrease: self.number(&format!("{field}.compare.maxDecrease"), it.max_decrease.as_ref()),
            }),
            // CEL refuses these in a spec; a ConfigMap has no CEL.
            _ => {
                self.errors.push(format!("{field}: a metric needs either threshold or compare, not both"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
