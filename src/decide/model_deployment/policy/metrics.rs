//! Reads the metrics: shared lists first, then the deployment's own.
//!
//! A ConfigMap has neither schema nor CEL, so everything that the API server would refuse in a spec
//! is refused here, entry by entry: a mistake in one leaves the others to judge. Query templates are
//! tried out when they are read, not when they are due.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Bounds, MetricRule, Reader, Unjudged, Unreadable};
use crate::api::Quantity;
use crate::api::model_deployment::{Metric, ModelDeploymentSpec};
use crate::decide::model_deployment::question::Template;
use crate::text::hex::hex;

/// Each has a verdict in status, which must stay small.
pub const MOST_METRICS: usize = 64;
/// Longest name of a metric.
const LONGEST_NAME: usize = 63;

impl Reader {
    /// A later metric replaces an earlier one of the same name, readable or not.
    pub(super) fn metrics(
        &mut self,
        spec: &ModelDeploymentSpec,
        from: &BTreeMap<String, Result<String, String>>,
    ) -> Vec<MetricRule> {
        let mut metrics: Vec<MetricRule> = Vec::new();
        for source in &spec.analysis.metrics_from {
            let name = &source.config_map_ref.name;
            match from.get(name) {
                Some(Ok(text)) => self.shared(&format!("ConfigMap {name}, key metrics.yaml"), text, &mut metrics),
                Some(Err(missing)) => self.unjudged(Unjudged::List, missing.clone()),
                None => self.unjudged(
                    Unjudged::List,
                    format!("spec.analysis.metricsFrom: ConfigMap {name} has not been read yet"),
                ),
            }
        }
        for metric in &spec.analysis.metrics {
            self.metric("spec.analysis.metrics", metric, &mut metrics);
        }
        if metrics.len() > MOST_METRICS {
            let message = format!(
                "spec.analysis: {} metrics, shared ones included; at most {MOST_METRICS} are judged, remove some",
                metrics.len()
            );
            self.unjudged(Unjudged::Unknown, message);
            metrics.truncate(MOST_METRICS);
        }
        metrics
    }

    /// The query that counts requests, if it can be one.
    pub(super) fn samples(&mut self, template: &str) -> Option<Template> {
        let template = Template::Prometheus(template.to_owned());
        self.usable("spec.analysis.samples", Unjudged::Unknown, &template).then_some(template)
    }

    fn shared(&mut self, field: &str, text: &str, metrics: &mut Vec<MetricRule>) {
        let entries = match serde_yaml::from_str::<Vec<serde_yaml::Value>>(text) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("{field}: {error}; it must be a list of metrics as in spec.analysis.metrics");
                return self.unjudged(Unjudged::List, message);
            }
        };
        for (index, entry) in entries.into_iter().enumerate() {
            let name = entry.get("name").and_then(|it| it.as_str()).map(str::to_owned);
            match serde_yaml::from_value::<Metric>(entry) {
                Ok(metric) => self.metric(field, &metric, metrics),
                Err(error) => {
                    let called = name.as_deref().map(brief).unwrap_or_default();
                    let message =
                        format!("{field}, entry {}{called}: {error}; write it as in spec.analysis.metrics", index + 1);
                    if let Some(name) = &name {
                        self.replace(name, metrics);
                    }
                    self.unjudged(name.map_or(Unjudged::Unknown, Unjudged::Metric), message);
                }
            }
        }
    }

    fn metric(&mut self, field: &str, metric: &Metric, metrics: &mut Vec<MetricRule>) {
        if metric.name.len() > LONGEST_NAME {
            let message = format!("{field}: a metric's name has more than {LONGEST_NAME} characters; shorten it");
            return self.unjudged(Unjudged::Unknown, message);
        }
        self.replace(&metric.name, metrics);
        let errors = self.errors.len();
        let field = format!("{field}, {}", metric.name);
        let query = match Template::of(metric) {
            Ok(query) => query,
            Err(why) => return self.unjudged(Unjudged::Metric(metric.name.clone()), format!("{field}: {why}")),
        };
        let bounds = self.bounds(&field, metric, &query);
        self.usable(&field, Unjudged::Metric(metric.name.clone()), &query);
        if let (Some(bounds), true) = (bounds, errors == self.errors.len()) {
            metrics.push(MetricRule {
                name: metric.name.clone(),
                role: metric.role,
                query,
                digest: hex(&Sha256::digest(serde_json::to_vec(metric).unwrap_or_default()), 4),
                bounds,
            });
        }
    }

    fn replace(&mut self, name: &str, metrics: &mut Vec<MetricRule>) {
        metrics.retain(|it| it.name != name);
        self.errors.retain(|it| !matches!(&it.leaves_unjudged, Unjudged::Metric(other) if other == name));
    }

    fn usable(&mut self, field: &str, leaves_unjudged: Unjudged, query: &Template) -> bool {
        let Err(error) = query.check() else { return true };
        let message = format!("{field}: its query cannot be used: {error}");
        self.errors.push(Unreadable { reason: "QueryInvalid", message, leaves_unjudged });
        false
    }

    fn bounds(&mut self, field: &str, metric: &Metric, query: &Template) -> Option<Bounds> {
        let mut number = |part: &str, quantity: &Option<Quantity>| match quantity.as_ref()?.value() {
            Ok(number) => Some(number),
            Err(error) => {
                self.unjudged(Unjudged::Metric(metric.name.clone()), format!("{field}.{part}: {error}"));
                None
            }
        };
        let (bounds, any) = match (&metric.threshold, &metric.compare) {
            (Some(it), None) => (
                Bounds::Threshold { min: number("threshold.min", &it.min), max: number("threshold.max", &it.max) },
                it.min.is_some() || it.max.is_some(),
            ),
            (None, Some(it)) => (
                Bounds::Compare {
                    max_ratio: number("compare.maxRatio", &it.max_ratio),
                    min_ratio: number("compare.minRatio", &it.min_ratio),
                    max_increase: number("compare.maxIncrease", &it.max_increase),
                    max_decrease: number("compare.maxDecrease", &it.max_decrease),
                },
                [&it.max_ratio, &it.min_ratio, &it.max_increase, &it.max_decrease].iter().any(|it| it.is_some()),
            ),
            _ => return self.not_a_metric(field, metric, "a metric needs either threshold or compare, not both"),
        };
        if !any {
            return self.not_a_metric(field, metric, "there is no bound that could be violated; give one");
        }
        if metric.compare.is_some() && !query.uses("revision") {
            let same =
                "compare needs {{ revision }} in the query: without it, candidate and stable give the same number";
            return self.not_a_metric(field, metric, same);
        }
        Some(bounds)
    }

    /// CEL refuses these in a spec; a ConfigMap has no CEL.
    fn not_a_metric(&mut self, field: &str, metric: &Metric, why: &str) -> Option<Bounds> {
        self.unjudged(Unjudged::Metric(metric.name.clone()), format!("{field}: {why}"));
        None
    }

    fn unjudged(&mut self, leaves_unjudged: Unjudged, message: String) {
        self.errors.push(Unreadable { reason: "InvalidSpec", message, leaves_unjudged });
    }
}

/// A name that nobody has checked, for a message.
fn brief(name: &str) -> String {
    format!(" ({})", name.chars().take(LONGEST_NAME).collect::<String>())
}
