//! Reads the metrics: shared lists first, then the deployment's own.
//!
//! A ConfigMap has neither schema nor CEL, so everything that the API server would refuse in a spec
//! is refused here, entry by entry: a mistake in one leaves the others to judge. Query templates are
//! tried out when they are read, not when they are due.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Bounds, MetricRule, Reader, TestRule, Unjudged, Unreadable};
use crate::api::model_deployment::{Compare, Direction, Metric, ModelDeploymentSpec, Test, Threshold};
use crate::api::{DurationText, Quantity};
use crate::decide::model_deployment::inquiry::Part;
use crate::decide::model_deployment::question::{self, Template};
use crate::stats::{Better, NonInferiority};
use crate::text::hex::hex;

/// Each has a verdict in status, which must stay small.
pub const MOST_METRICS: usize = 64;
/// Longest name of a metric.
const LONGEST_NAME: usize = 63;
/// What a test errs by when nothing else is said.
const ALPHA: f64 = 0.05;
/// Below this it would never find anything.
const LEAST_ALPHA: f64 = 1e-6;
const NO_BOUND: &str = "there is no bound that could be violated; give one";
/// Whoever may write ConfigMaps may not run pods for that.
const NOT_SHARED: &str = "a job runs any image that it names, so it cannot be shared; move it to spec.analysis.metrics";
const WHO_JUDGES: &str =
    "proportion and mean are judged by test; prometheus, http, sql and job, by threshold or compare";

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
        self.usable("spec.analysis.samples", Unjudged::Unknown, Part::Value, &template).then_some(template)
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
            let read = serde_yaml::from_value::<Metric>(entry)
                .map_err(|error| format!("{error}; write it as in spec.analysis.metrics"))
                .and_then(|metric| if metric.job.is_some() { Err(NOT_SHARED.to_owned()) } else { Ok(metric) });
            match read {
                Ok(metric) => self.metric(field, &metric, metrics),
                Err(error) => {
                    let called = name.as_deref().map(brief).unwrap_or_default();
                    let message = format!("{field}, entry {}{called}: {error}", index + 1);
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
        let queries = match question::of(metric) {
            Ok(queries) => queries,
            Err(why) => {
                self.not_a_metric(&field, metric, why);
                return;
            }
        };
        if metric.job.is_some() && !is_label(&metric.name) {
            let why = "a metric with job names a Job and a label: lower-case letters, digits and - in its name";
            self.not_a_metric(&field, metric, why);
            return;
        }
        let bounds = self.bounds(&field, metric, &queries);
        let delay = metric.delay.as_ref().and_then(|it| self.delay(&field, metric, it, &queries));
        for (part, template) in &queries {
            self.usable(&field, Unjudged::Metric(metric.name.clone()), *part, template);
        }
        if let (Some(bounds), true) = (bounds, errors == self.errors.len()) {
            metrics.push(MetricRule {
                name: metric.name.clone(),
                role: metric.role,
                queries,
                digest: hex(&Sha256::digest(serde_json::to_vec(metric).unwrap_or_default()), 4),
                bounds,
                delay,
            });
        }
    }

    /// One that cannot be read makes no metric without.
    fn delay(
        &mut self,
        field: &str,
        metric: &Metric,
        delay: &DurationText,
        queries: &[(Part, Template)],
    ) -> Option<Duration> {
        if let Some((part, template)) = queries.iter().find(|(_, template)| !template.uses("windowEnd")) {
            let why = format!(
                "with delay, {}{} must name {{{{ windowEnd }}}}: it is of who was served during the steps",
                part.field(),
                template.provider()
            );
            self.not_a_metric(field, metric, &why);
        }
        let unread = Unjudged::Metric(metric.name.clone());
        delay.duration().map_err(|error| self.unjudged(unread, format!("{field}.delay: {error}"))).ok()
    }

    fn replace(&mut self, name: &str, metrics: &mut Vec<MetricRule>) {
        metrics.retain(|it| it.name != name);
        self.errors.retain(|it| !matches!(&it.leaves_unjudged, Unjudged::Metric(other) if other == name));
    }

    fn usable(&mut self, field: &str, leaves_unjudged: Unjudged, part: Part, template: &Template) -> bool {
        let Err(question::Unusable { field: of, why }) = template.check() else { return true };
        let message = format!("{field}: its query cannot be used: {why}; correct {}{of}", part.field());
        self.errors.push(Unreadable { reason: "QueryInvalid", message, leaves_unjudged });
        false
    }

    fn bounds(&mut self, field: &str, metric: &Metric, queries: &[(Part, Template)]) -> Option<Bounds> {
        let counts = queries.iter().any(|(part, _)| *part != Part::Value);
        match (&metric.threshold, &metric.compare, &metric.test) {
            (Some(threshold), None, None) if !counts => self.threshold(field, metric, threshold),
            (None, Some(compare), None) if !counts => self.compare(field, metric, compare, queries),
            (None, None, Some(test)) if counts => self.test(field, metric, test, queries),
            (Some(_), None, None) | (None, Some(_), None) | (None, None, Some(_)) => {
                self.not_a_metric(field, metric, WHO_JUDGES)
            }
            _ => self.not_a_metric(field, metric, "a metric needs exactly one of threshold, compare and test"),
        }
    }

    fn threshold(&mut self, field: &str, metric: &Metric, it: &Threshold) -> Option<Bounds> {
        if it.min.is_none() && it.max.is_none() {
            return self.not_a_metric(field, metric, NO_BOUND);
        }
        Some(Bounds::Threshold {
            min: self.number(field, metric, "threshold.min", it.min.as_ref()),
            max: self.number(field, metric, "threshold.max", it.max.as_ref()),
        })
    }

    fn compare(&mut self, field: &str, metric: &Metric, it: &Compare, queries: &[(Part, Template)]) -> Option<Bounds> {
        if [&it.max_ratio, &it.min_ratio, &it.max_increase, &it.max_decrease].iter().all(|it| it.is_none()) {
            return self.not_a_metric(field, metric, NO_BOUND);
        }
        if !queries.iter().all(|(_, template)| template.uses("revision")) {
            let same =
                "compare needs {{ revision }} in the query: without it, candidate and stable give the same number";
            return self.not_a_metric(field, metric, same);
        }
        Some(Bounds::Compare {
            max_ratio: self.number(field, metric, "compare.maxRatio", it.max_ratio.as_ref()),
            min_ratio: self.number(field, metric, "compare.minRatio", it.min_ratio.as_ref()),
            max_increase: self.number(field, metric, "compare.maxIncrease", it.max_increase.as_ref()),
            max_decrease: self.number(field, metric, "compare.maxDecrease", it.max_decrease.as_ref()),
        })
    }

    fn test(&mut self, field: &str, metric: &Metric, it: &Test, queries: &[(Part, Template)]) -> Option<Bounds> {
        for (part, template) in queries {
            if !(template.uses("revision") && (template.uses("window") || template.uses("windowStart"))) {
                let why = format!(
                    "{}{} must count one revision, {{{{ revision }}}}, since the step's observation began, {{{{ window }}}} or {{{{ windowStart }}}}",
                    part.field(),
                    template.provider()
                );
                return self.not_a_metric(field, metric, &why);
            }
        }
        let margin = self.number(field, metric, "test.nonInferiorityMargin", Some(&it.non_inferiority_margin))?;
        let alpha = match &it.alpha {
            None => ALPHA,
            Some(alpha) => self.number(field, metric, "test.alpha", Some(alpha))?,
        };
        if margin < 0.0 || (metric.proportion.is_some() && margin >= 1.0) {
            let why = "test.nonInferiorityMargin is by how much the candidate may be worse: 0 or more, and of a proportion less than 100pp (write 1pp or \"0.01\")";
            return self.not_a_metric(field, metric, why);
        }
        if !(LEAST_ALPHA..=0.5).contains(&alpha) {
            return self.not_a_metric(
                field,
                metric,
                "test.alpha is the chance of an error: from 0.0001% to 50%, such as 5%",
            );
        }
        let better = match it.direction {
            Direction::HigherIsBetter => Better::Higher,
            Direction::LowerIsBetter => Better::Lower,
        };
        Some(Bounds::Test(TestRule { margin: NonInferiority { better, margin }, alpha }))
    }

    fn number(&mut self, field: &str, metric: &Metric, part: &str, quantity: Option<&Quantity>) -> Option<f64> {
        match quantity?.value() {
            Ok(number) => Some(number),
            Err(error) => {
                self.unjudged(Unjudged::Metric(metric.name.clone()), format!("{field}.{part}: {error}"));
                None
            }
        }
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

/// What the API server asks of a metric's name in a spec.
fn is_label(name: &str) -> bool {
    let letters = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
    !name.is_empty() && name.bytes().all(letters) && !name.starts_with('-') && !name.ends_with('-')
}

/// A name that nobody has checked, for a message.
fn brief(name: &str) -> String {
    format!(" ({})", name.chars().take(LONGEST_NAME).collect::<String>())
}
