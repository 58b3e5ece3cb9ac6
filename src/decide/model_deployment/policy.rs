//! How the user wants a rollout to go, read once from the spec, with every default in one place.
//!
//! | field left out | means |
//! |---|---|
//! | `replicas` | 1, or `autoscaling.min` |
//! | `rollout.steps` | none: all traffic once ready |
//! | `rollout.progressDeadline` | 15m |
//! | `rollout.drain` | 30s |
//! | `rollout.keepStable` | 0s: only drained |
//! | `rollout.rollbackWindow` | none: every way back takes the steps |
//! | `rollout.emergencyPromote` | false |
//! | `rollout.onOutage` | hold |
//! | `analysis.interval` | 30s |
//! | `analysis.failureLimit` | 1 |
//! | `analysis.onStableBreach` | nothing is measured between rollouts |
//! | `analysis.metrics[].test.alpha` | 5% |
//!
//! A field that cannot be read is named in [`Policy::errors`]; what can be read
//! is kept, so that a typing error in a step does not switch a guardrail off. A metric that cannot be
//! read is not judged, and so never passes: nothing advances past it, but deadlines go on.

mod metrics;

pub use metrics::MOST_METRICS;

use std::collections::BTreeMap;
use std::time::Duration;

use super::inquiry::{Part, Subject};
use super::question::Template;
use super::stable_breach;
use crate::api::approval::digest_of;
use crate::api::model_deployment::{
    MetricRole, ModelDeploymentSpec, OnRevocation, OutageAction, StableBreachAction, Step, Verdict,
};
use crate::api::{DurationText, Weight};
use crate::stats::NonInferiority;

/// A rollout's rules, with defaults filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Pods at full traffic; at least, with an autoscaler.
    pub replicas: i32,
    /// Pods at full traffic at most, where an autoscaler decides.
    pub most_replicas: Option<i32>,
    /// Copied requests, before the first step.
    pub shadow: Option<ShadowRule>,
    /// Rising weights.
    pub steps: Vec<StepRule>,
    /// For pods and route, each time.
    pub progress_deadline: Duration,
    /// How long a revision without traffic stays.
    pub drain: Duration,
    /// How long the revision that served before keeps its pods.
    pub keep_stable: Duration,
    /// How long a revision stays proven after it was replaced; `None`: not at all.
    pub rollback_window: Option<Duration>,
    /// Whether a ready candidate takes over from a stable revision without a ready pod.
    pub emergency_promote: bool,
    /// What becomes of the stable revision when its entry is revoked.
    pub on_revocation: OnRevocation,
    /// After how long a silent metric source means rollback; `None`: hold.
    pub rollback_on_outage: Option<Duration>,
    /// Between two measurements.
    pub interval: Duration,
    /// Fail verdicts in a row that are tolerated.
    pub failure_limit: i32,
    /// Query that counts requests.
    pub samples: Option<Template>,
    /// The metrics, shared ones included.
    pub metrics: Vec<MetricRule>,
    /// What is done when the stable revision breaks a guardrail between rollouts; `None`: it is not watched.
    pub on_stable_breach: Option<StableBreachAction>,
    /// Digest of what is not in the spec itself: the shared lists of metrics, by name; empty without any.
    pub shared: String,
    /// What could not be read.
    pub errors: Vec<Unreadable>,
}

/// Something in the spec, or in a shared list of metrics, that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// CamelCase, from the documented list.
    pub reason: &'static str,
    /// Field and remedy.
    pub message: String,
    /// Whose verdict is missing for it.
    pub leaves_unjudged: Unjudged,
}

/// What cannot be judged because of an [`Unreadable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unjudged {
    /// It is about something else.
    Nothing,
    /// The metric of this name; readable under the same name elsewhere, it is overridden.
    Metric(String),
    /// Nobody knows which metrics.
    Unknown,
    /// Those of a whole shared list: it is not there, or is no list.
    List,
}

/// Copied requests.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowRule {
    /// Of the requests.
    pub share: Weight,
    /// To watch at least.
    pub for_: Duration,
    /// Roll back after; `None`: no limit.
    pub max_time: Option<Duration>,
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
    /// The role that has to approve it.
    pub approval: Option<String>,
}

/// One metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricRule {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: MetricRole,
    /// What it asks: for its number, or for each of its counts.
    pub queries: Vec<(Part, Template)>,
    /// Of query and bounds as they were written, short.
    pub digest: String,
    /// What is expected.
    pub bounds: Bounds,
    /// How long after the units were served they are judged; `None`: while they are.
    pub delay: Option<Duration>,
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
    /// Counts against the stable revision's.
    Test(TestRule),
}

/// How counts are tested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TestRule {
    /// What the candidate must not be.
    pub margin: NonInferiority,
    /// The chance of an interval that ever misses the truth.
    pub alpha: f64,
}

impl Policy {
    /// Reads the spec. `metrics_from` holds the `metrics.yaml` of each ConfigMap; `Err` says what is missing.
    #[must_use]
    pub fn read(spec: &ModelDeploymentSpec, metrics_from: &BTreeMap<String, Result<String, String>>) -> Self {
        let mut reader = Reader::default();
        let rollout = spec.rollout.clone().unwrap_or_default();
        let analysis = &spec.analysis;
        let metrics = reader.metrics(spec, metrics_from);
        let samples = analysis.samples.as_ref().and_then(|it| reader.samples(&it.prometheus.query));
        Self {
            replicas: spec.autoscaling.as_ref().map_or_else(|| spec.replicas.unwrap_or(1), |it| it.min),
            most_replicas: spec.autoscaling.as_ref().map(|it| it.max),
            shadow: rollout.shadow.as_ref().map(|it| ShadowRule {
                share: Weight::from_percent(it.percent),
                for_: reader.duration("rollout.shadow.for", it.for_.as_ref(), 0),
                max_time: it.max_time.as_ref().and_then(|it| reader.limit("rollout.shadow.maxTime", it)),
            }),
            steps: reader.steps(&rollout.steps),
            progress_deadline: reader.duration("rollout.progressDeadline", rollout.progress_deadline.as_ref(), 15 * 60),
            drain: reader.duration("rollout.drain", rollout.drain.as_ref(), 30),
            keep_stable: reader.duration("rollout.keepStable", rollout.keep_stable.as_ref(), 0),
            rollback_window: rollout.rollback_window.as_ref().and_then(|it| reader.limit("rollout.rollbackWindow", it)),
            emergency_promote: rollout.emergency_promote.unwrap_or(false),
            on_revocation: spec.on_revocation.unwrap_or_default(),
            rollback_on_outage: rollout
                .on_outage
                .filter(|it| it.do_ == OutageAction::Rollback)
                .and_then(|it| reader.limit("rollout.onOutage.after", &it.after)),
            interval: reader
                .duration("analysis.interval", analysis.interval.as_ref(), 30)
                .max(Duration::from_millis(100)),
            failure_limit: analysis.failure_limit.unwrap_or(1),
            on_stable_breach: analysis.on_stable_breach.filter(|it| reader.can_watch(*it, &metrics)),
            samples,
            shared: if metrics_from.is_empty() { String::new() } else { digest_of(metrics_from) },
            metrics,
            errors: reader.errors,
        }
    }

    /// The metrics that judge a candidate while it is on its way.
    pub fn gating(&self) -> impl Iterator<Item = &MetricRule> {
        self.metrics.iter().filter(|it| it.delay.is_none())
    }

    /// Whether a metric compares a value with the stable revision's: both have to get their share of the requests for that.
    #[must_use]
    pub fn compares_values(&self) -> bool {
        self.gating().any(|it| matches!(it.bounds, Bounds::Compare { .. }))
    }

    /// The metrics that judge it when it has arrived, with how long after.
    pub fn late(&self) -> impl Iterator<Item = (&MetricRule, Duration)> {
        self.metrics.iter().filter_map(|it| Some((it, it.delay?)))
    }

    /// How long after a promotion a breach goes back; `None`: it does not.
    #[must_use]
    pub fn fallback_window(&self) -> Option<Duration> {
        self.rollback_window.filter(|_| self.on_stable_breach == Some(StableBreachAction::Fallback))
    }

    /// The metrics that must not be violated, ever.
    pub fn guardrails(&self) -> impl Iterator<Item = &MetricRule> {
        self.gating().filter(|it| it.role == MetricRole::Guardrail)
    }

    /// Fail verdicts in a row that are tolerated of a metric: none of a test, whose Fail holds at any look, and
    /// none of one with `delay`, whose window has ended.
    #[must_use]
    pub fn tolerated(&self, rule: &MetricRule) -> i32 {
        if rule.test().is_some() || rule.delay.is_some() { 0 } else { self.failure_limit }
    }

    /// Whether every metric that is asked for can be judged.
    #[must_use]
    pub fn can_judge(&self) -> bool {
        self.errors.iter().all(|it| it.leaves_unjudged == Unjudged::Nothing)
    }

    /// A shared list of metrics that is not there to judge by: as long as it is away, nobody watches.
    #[must_use]
    pub fn missing_list(&self) -> Option<&Unreadable> {
        self.errors.iter().find(|it| it.leaves_unjudged == Unjudged::List)
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

impl MetricRule {
    /// How it tests counts, if it does.
    #[must_use]
    pub fn test(&self) -> Option<&TestRule> {
        match &self.bounds {
            Bounds::Test(rule) => Some(rule),
            _ => None,
        }
    }

    /// Whether the stable revision is measured, too.
    #[must_use]
    pub fn compares(&self) -> bool {
        !matches!(self.bounds, Bounds::Threshold { .. })
    }

    /// The revisions that it looks at.
    pub fn sides<'a>(&self, candidate: &'a str, stable: &'a str) -> impl Iterator<Item = (Subject, &'a str)> + use<'a> {
        let stable = self.compares().then_some((Subject::Stable, stable));
        [Some((Subject::Candidate, candidate)), stable].into_iter().flatten()
    }

    /// Whether a verdict is about this metric as it is now.
    #[must_use]
    pub fn is_of(&self, verdict: &Verdict) -> bool {
        verdict.metric == self.name && verdict.query_digest == self.digest
    }
}

/// Collects what cannot be read.
#[derive(Default)]
struct Reader {
    errors: Vec<Unreadable>,
}

impl Reader {
    fn unreadable(&mut self, message: String) {
        self.errors.push(Unreadable { reason: "InvalidSpec", message, leaves_unjudged: Unjudged::Nothing });
    }

    fn duration(&mut self, field: &str, text: Option<&DurationText>, default_seconds: u64) -> Duration {
        match text.map(DurationText::duration) {
            None => Duration::from_secs(default_seconds),
            Some(Ok(duration)) => duration,
            Some(Err(error)) => {
                self.unreadable(format!("spec.{field}: {error}"));
                Duration::from_secs(default_seconds)
            }
        }
    }

    /// One that cannot be read is none: nothing may end by it.
    fn limit(&mut self, field: &str, text: &DurationText) -> Option<Duration> {
        text.duration().map_err(|error| self.unreadable(format!("spec.{field}: {error}"))).ok()
    }

    /// Whether some metric can watch the stable revision; nobody is to think that it is watched when it is not.
    fn can_watch(&mut self, action: StableBreachAction, metrics: &[MetricRule]) -> bool {
        let (can, which) = match action {
            StableBreachAction::Alert => (metrics.iter().any(stable_breach::watches_on), " that no Job computes"),
            // For the time in which it may be called back Jobs judge, too.
            StableBreachAction::Fallback => (metrics.iter().any(stable_breach::watches), ""),
        };
        let can = can || self.errors.iter().any(|it| it.leaves_unjudged != Unjudged::Nothing);
        if !can {
            self.unreadable(format!("spec.analysis.onStableBreach watches nothing: give it a guardrail with a threshold and without a delay{which}, or remove it"));
        }
        can
    }

    fn steps(&mut self, steps: &[Step]) -> Vec<StepRule> {
        let mut rules: Vec<StepRule> = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let field = format!("rollout.steps[{index}]");
            let weight = match step.weight.weight() {
                Ok(weight) => weight,
                Err(error) => {
                    self.unreadable(format!("spec.{field}.weight: {error}"));
                    continue;
                }
            };
            let before = rules.last().map_or(Weight::NONE, |rule| rule.weight);
            if weight <= before {
                self.unreadable(format!("spec.{field}.weight: {weight} is not above {before}; the weights of a rollout rise from step to step: raise it, or remove the step"));
                continue;
            }
            rules.push(StepRule {
                weight,
                for_: self.duration(&format!("{field}.for"), step.for_.as_ref(), 0),
                min_samples: step.min_samples.unwrap_or(0),
                approval: step.approval.as_ref().map(|it| it.role.clone()),
                max_step_time: step
                    .max_step_time
                    .as_ref()
                    .and_then(|text| self.limit(&format!("{field}.maxStepTime"), text)),
            });
        }
        rules
    }
}

#[cfg(test)]
mod tests;
