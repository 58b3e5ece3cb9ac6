//! What the measurements mean: one of five verdicts per metric.
//!
//! "Bad" and "unknown" are different things. Only a number can be Fail; no
//! data, too little data and a silent source hold the weight, and never pass.

use chrono::{DateTime, Utc};

use super::measure::{Query, Subject};
use super::policy::{Bounds, MetricRule, Policy};
use crate::api::condition;
use crate::api::model_deployment::{Attempt, Verdict, VerdictKind};
use crate::decide::Measurement;

/// The verdicts after a measurement, and the number of requests counted.
#[must_use]
pub fn judge(
    policy: &Policy,
    attempt: &Attempt,
    old: &[Verdict],
    answers: &[(Query, Measurement)],
    began: DateTime<Utc>,
) -> (Vec<Verdict>, Option<i64>) {
    let answer = |metric: Option<&str>, subject| {
        answers
            .iter()
            .find(|(query, _)| query.metric.as_deref() == metric && query.subject == subject)
            .map(|(_, answer)| answer)
    };
    let counted = answer(None, Subject::Candidate);
    let samples = match counted {
        // Counters are extrapolated by rate functions; a request is a whole one.
        Some(Measurement::Value(count)) => Some(count.round().clamp(0.0, 9e15) as i64),
        _ => None,
    };
    let wanted = policy.step_at(attempt.weight).map_or(0, |(_, step)| step.min_samples);
    let mut verdicts = Vec::new();
    for rule in &policy.metrics {
        let before = old.iter().find(|it| it.metric == rule.name);
        let Some(candidate) = answer(Some(&rule.name), Subject::Candidate) else {
            verdicts.extend(before.cloned());
            continue;
        };
        let judged = one(rule, candidate, answer(Some(&rule.name), Subject::Stable));
        let judged = with_samples(judged, wanted, samples, counted);
        verdicts.push(follow(before, judged, &rule.name, began));
    }
    (verdicts, samples)
}

/// A verdict before history is added.
struct Judged {
    verdict: VerdictKind,
    value: Option<f64>,
    stable: Option<f64>,
    message: String,
}

fn one(rule: &MetricRule, candidate: &Measurement, stable: Option<&Measurement>) -> Judged {
    let value = match candidate {
        Measurement::Value(value) => *value,
        other => return unknown(other, ""),
    };
    match &rule.bounds {
        Bounds::Threshold { min, max } => {
            let bounds =
                [violated("below the minimum", value, *min, false), violated("above the maximum", value, *max, true)];
            conclude(value, None, bounds)
        }
        Bounds::Compare { max_ratio, min_ratio, max_increase, max_decrease } => {
            let baseline = match stable {
                Some(Measurement::Value(value)) => *value,
                Some(other) => return Judged { value: Some(value), ..unknown(other, "the stable revision: ") },
                None => return unknown(&Measurement::NoData("the stable revision was not measured".into()), ""),
            };
            // 0 ÷ 0 is no difference; anything ÷ 0 is infinitely more.
            let ratio = if value == baseline { 1.0 } else { value / baseline };
            let bounds = [
                violated("times the stable revision's is above the maximum ratio", ratio, *max_ratio, true),
                violated("times the stable revision's is below the minimum ratio", ratio, *min_ratio, false),
                violated(
                    "more than the stable revision is above the maximum increase",
                    value - baseline,
                    *max_increase,
                    true,
                ),
                violated(
                    "less than the stable revision is above the maximum decrease",
                    baseline - value,
                    *max_decrease,
                    true,
                ),
            ];
            conclude(value, Some(baseline), bounds)
        }
    }
}

fn violated(what: &str, value: f64, bound: Option<f64>, upper: bool) -> Option<String> {
    let bound = bound?;
    let fails = if upper { value > bound } else { value < bound };
    fails.then(|| format!("{} {what} {}", short(value), short(bound)))
}

fn conclude<const N: usize>(value: f64, stable: Option<f64>, bounds: [Option<String>; N]) -> Judged {
    let failed: Vec<String> = bounds.into_iter().flatten().collect();
    let verdict = if failed.is_empty() { VerdictKind::Pass } else { VerdictKind::Fail };
    let message = if failed.is_empty() { "within bounds".into() } else { failed.join("; ") };
    Judged { verdict, value: Some(value), stable, message }
}

fn unknown(answer: &Measurement, whose: &str) -> Judged {
    let (verdict, why) = match answer {
        Measurement::NoData(why) if whose.is_empty() => (VerdictKind::NoData, why.as_str()),
        // Half of a comparison is no comparison.
        Measurement::NoData(why) => (VerdictKind::Inconclusive, why.as_str()),
        Measurement::ProviderError(why) => (VerdictKind::ProviderError, why.as_str()),
        Measurement::Value(_) => (VerdictKind::Inconclusive, "not compared"),
    };
    Judged { verdict, value: None, stable: None, message: format!("{whose}{why}") }
}

/// Pass needs the step's `minSamples`; Fail does not: breaking a bound is not
/// excused by having broken it early.
fn with_samples(judged: Judged, wanted: i64, samples: Option<i64>, counted: Option<&Measurement>) -> Judged {
    if wanted == 0 || judged.verdict != VerdictKind::Pass || samples.is_some_and(|it| it >= wanted) {
        return judged;
    }
    let (verdict, message) = match (samples, counted) {
        (Some(samples), _) => (VerdictKind::Inconclusive, format!("{samples} of {wanted} requests seen")),
        (None, Some(Measurement::ProviderError(why))) => {
            (VerdictKind::ProviderError, format!("requests cannot be counted: {why}"))
        }
        (None, _) => (VerdictKind::Inconclusive, format!("no requests counted yet, {wanted} are needed")),
    };
    Judged { verdict, message, ..judged }
}

/// Adds history: Fail verdicts in a row (only Pass ends the row: not knowing does not acquit),
/// and since when the source has been silent.
fn follow(before: Option<&Verdict>, judged: Judged, metric: &str, began: DateTime<Utc>) -> Verdict {
    let row = before.map_or(0, |it| it.failures);
    let silent = judged.verdict == VerdictKind::ProviderError;
    Verdict {
        metric: metric.into(),
        failures: match judged.verdict {
            VerdictKind::Fail => row.saturating_add(1),
            VerdictKind::Pass => 0,
            _ => row,
        },
        silent_since: silent.then(|| before.and_then(|it| it.silent_since).unwrap_or(began)),
        verdict: judged.verdict,
        value: judged.value.map(short),
        stable_value: judged.stable.map(short),
        message: condition::brief(&judged.message),
        time: began,
    }
}

/// Five significant digits: what a person compares, and stable across passes.
fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    let scale = 10_f64.powf(4.0 - magnitude);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded.to_string() } else { value.to_string() }
}
