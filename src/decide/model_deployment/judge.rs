//! What the measurements mean: one of five verdicts per metric.
//!
//! "Bad" and "unknown" are different things. Only a number can be Fail; no
//! data, too little data and a silent source hold the weight, and never pass.

use chrono::{DateTime, Utc};

use super::counted;
use super::inquiry::{Answered, Part, Subject};
use super::policy::{Bounds, MOST_METRICS, MetricRule, Policy};
use super::stable_breach::{says_the_same, watching};
use crate::api::Weight;
use crate::api::condition;
use crate::api::model_deployment::{Attempt, CountedPeriod, Probation, Verdict, VerdictKind};
use crate::decide::Measurement;
use crate::stats::Period;

/// Requests since the present weight took effect, as far as they were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Samples {
    /// Those of the candidate.
    pub candidate: Option<i64>,
    /// Those of the stable revision: only where a metric compares the two.
    pub stable: Option<i64>,
}

impl Samples {
    /// Why the two cannot be compared, if requests do not come as the weight says.
    fn mismatch(self, weight: Weight) -> Option<String> {
        let share = f64::from(weight.hundredths()) / f64::from(Weight::TOTAL);
        let period = Period::new(share, self.candidate? as f64, self.stable? as f64)?;
        counted::mismatch(&[period])
    }
}

/// The verdicts on a candidate after these answers, and the number of requests counted, if they were.
#[must_use]
pub fn judge(
    policy: &Policy,
    attempt: &Attempt,
    old: &[Verdict],
    answered: &[&Answered],
    now: DateTime<Utc>,
) -> (Vec<Verdict>, Samples) {
    // What was counted before the clock started is of another weight.
    let is_of_before = |it: &Answered| attempt.observing_since.is_some_and(|since| it.began < since);
    let counting = answered.iter().filter(|it| it.inquiry.topic.metric.is_none() && !is_of_before(it));
    let counting = counting.max_by_key(|it| it.began);
    let count = |subject| counting.and_then(|it| it.get(Part::Value, subject, None));
    let number = |subject| match count(subject) {
        // Counters are extrapolated by rate functions; a request is a whole one.
        Some(Measurement::Value(count)) => Some(count.round().clamp(0.0, 9e15) as i64),
        _ => None,
    };
    let counted = count(Subject::Candidate);
    let samples = Samples { candidate: number(Subject::Candidate), stable: number(Subject::Stable) };
    let wanted = policy.step_at(attempt.weight).map_or(0, |(_, step)| step.min_samples);
    // Where counting is slower than judging, what was counted before is less than there is by now.
    let before = Samples { candidate: attempt.samples, stable: attempt.stable_samples };
    let known = if counted.is_some() { samples } else { before };
    // Until the weight is in effect requests are of the one before.
    let mismatch = attempt.observing_since.and_then(|_| known.mismatch(attempt.weight));
    let judged = |rule: &MetricRule, before: Option<&Verdict>, answer: &Answered| {
        let of = |part, subject| answer.get(part, subject, None);
        let judged = match &rule.bounds {
            Bounds::Test(_) if attempt.observing_since.is_none_or(|since| answer.began < since) => return None,
            Bounds::Test(test) => counted::judge(rule, test, attempt, before, of),
            _ => one(rule, of(Part::Value, Subject::Candidate)?, of(Part::Value, Subject::Stable)),
        };
        let judged = match &mismatch {
            Some(why) if matches!(rule.bounds, Bounds::Compare { .. }) => incomparable(judged, why),
            _ => judged,
        };
        Some(with_samples(judged, wanted, known.candidate, counted))
    };
    (follow_all(policy, old, answered, now, judged), samples)
}

/// The verdicts after answers that say this of each metric; of one that has no answer, as they were.
fn follow_all(
    policy: &Policy,
    old: &[Verdict],
    answered: &[&Answered],
    now: DateTime<Utc>,
    judged: impl Fn(&MetricRule, Option<&Verdict>, &Answered) -> Option<Judged>,
) -> Vec<Verdict> {
    let one = |rule: &MetricRule| {
        let before = old.iter().find(|it| rule.is_of(it));
        // An answer that was judged already, or that a newer one has overtaken, says nothing new.
        let is_known = |it: &Answered| before.is_some_and(|before| it.began <= before.time && before.time <= now);
        let of_rule = |it: &&&Answered| {
            let (topic, digest) = (&it.inquiry.topic, &it.inquiry.digest);
            topic.metric.as_ref() == Some(&rule.name) && *digest == rule.digest && !is_known(it)
        };
        let answer = answered.iter().filter(of_rule).max_by_key(|it| it.began);
        let verdict = answer.and_then(|it| Some(follow(before, judged(rule, before, it)?, rule, it.began)));
        verdict.or_else(|| before.cloned())
    };
    let mut verdicts: Vec<Verdict> = policy.metrics.iter().filter_map(one).collect();
    verdicts.extend(old.iter().filter(|it| is_unread(policy, it)).cloned());
    verdicts.truncate(MOST_METRICS);
    verdicts
}

/// Whether a verdict is about a metric that is asked for, as far as anybody knows.
#[must_use]
pub fn is_wanted(policy: &Policy, verdict: &Verdict) -> bool {
    policy.metrics.iter().any(|rule| rule.is_of(verdict)) || is_unread(policy, verdict)
}

/// Whether its metric may be among those that cannot be read at this moment: then its row of failures
/// is kept, because not knowing does not acquit.
fn is_unread(policy: &Policy, verdict: &Verdict) -> bool {
    !policy.can_judge() && policy.metrics.iter().all(|rule| rule.name != verdict.metric)
}

/// A verdict before history is added.
pub(super) struct Judged {
    pub(super) verdict: VerdictKind,
    pub(super) value: Option<f64>,
    pub(super) stable: Option<f64>,
    /// The source does not answer.
    pub(super) silent: bool,
    /// It refuses the query.
    pub(super) refused: bool,
    /// A Secret is missing to ask it.
    pub(super) secretless: bool,
    pub(super) message: String,
    /// What a test has counted.
    pub(super) periods: Vec<CountedPeriod>,
}

impl Judged {
    /// One that is no outage.
    pub(super) fn of(verdict: VerdictKind, message: impl Into<String>) -> Self {
        Self {
            verdict,
            value: None,
            stable: None,
            silent: false,
            refused: false,
            secretless: false,
            message: message.into(),
            periods: Vec::new(),
        }
    }
}

/// The verdicts on a revision on probation after these answers.
#[must_use]
pub fn judge_probation(
    policy: &Policy,
    probation: &Probation,
    answered: &[&Answered],
    now: DateTime<Utc>,
) -> Vec<Verdict> {
    let judged = |rule: &MetricRule, before: Option<&Verdict>, answer: &Answered| {
        let number = |subject| answer.get(Part::Value, subject, None);
        Some(match &rule.bounds {
            Bounds::Test(test) => {
                counted::judge_exposed(rule, test, &probation.exposed, before, |index, part, subject| {
                    answer.get(part, subject, Some(index))
                })
            }
            _ => one(rule, number(Subject::Candidate)?, number(Subject::Stable)),
        })
    };
    let verdicts = follow_all(policy, &probation.verdicts, answered, now, judged);
    without_repetition(policy, &probation.verdicts, verdicts, probation.until)
}

/// The verdicts on a revision that serves alone, by what is the case now.
#[must_use]
pub fn judge_stable(policy: &Policy, old: &[Verdict], answered: &[&Answered], now: DateTime<Utc>) -> Vec<Verdict> {
    let judged = |rule: &MetricRule, _: Option<&Verdict>, answer: &Answered| {
        Some(one(rule, answer.get(Part::Value, Subject::Candidate, None)?, None))
    };
    without_repetition(policy, old, follow_all(policy, old, answered, now, judged), None)
}

/// A revision may serve for months: what a guardrail says again, while it is watched, is no news and is not written down,
/// except what it says first at the moment that counts.
fn without_repetition(
    policy: &Policy,
    old: &[Verdict],
    mut verdicts: Vec<Verdict>,
    counts: Option<DateTime<Utc>>,
) -> Vec<Verdict> {
    // A Job goes when its verdict is there.
    for rule in watching(policy) {
        let Some(before) = old.iter().find(|it| rule.is_of(it)) else { continue };
        let is_first = |it: &Verdict| counts.is_some_and(|at| before.time < at && at <= it.time);
        let is_no_news =
            |it: &&mut Verdict| rule.is_of(it) && says_the_same(before, it, policy.tolerated(rule)) && !is_first(it);
        if let Some(after) = verdicts.iter_mut().find(is_no_news) {
            before.clone_into(after);
        }
    }
    verdicts
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
        Bounds::Test(_) => Judged::of(VerdictKind::Inconclusive, "not counted"),
    }
}

/// Two that do not get their share prove nobody good by being compared. A Fail stands: what answers badly is retried elsewhere, and is just what
/// does not get its share.
fn incomparable(judged: Judged, why: &str) -> Judged {
    match judged.verdict {
        VerdictKind::Pass => Judged { verdict: VerdictKind::Inconclusive, message: why.to_owned(), ..judged },
        _ => judged,
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
    let message = if failed.is_empty() { "within bounds".to_owned() } else { failed.join("; ") };
    Judged { value: Some(value), stable, ..Judged::of(verdict, message) }
}

pub(super) fn unknown(answer: &Measurement, whose: &str) -> Judged {
    let (verdict, why) = match answer {
        Measurement::NoData(why) if whose.is_empty() => (VerdictKind::NoData, why.as_str()),
        // Half of a comparison is no comparison.
        Measurement::NoData(why) => (VerdictKind::Inconclusive, why.as_str()),
        Measurement::ProviderError(why) | Measurement::Refused(why) | Measurement::SecretNotReadable(why) => {
            (VerdictKind::ProviderError, why.as_str())
        }
        Measurement::Value(_) => (VerdictKind::Inconclusive, "not compared"),
    };
    Judged {
        silent: matches!(answer, Measurement::ProviderError(_)),
        refused: matches!(answer, Measurement::Refused(_)),
        secretless: matches!(answer, Measurement::SecretNotReadable(_)),
        ..Judged::of(verdict, format!("{whose}{why}"))
    }
}

/// Pass needs the step's `minSamples`; Fail does not: breaking a bound is not
/// excused by having broken it early.
fn with_samples(judged: Judged, wanted: i64, samples: Option<i64>, counted: Option<&Measurement>) -> Judged {
    if wanted == 0 || judged.verdict != VerdictKind::Pass || samples.is_some_and(|it| it >= wanted) {
        return judged;
    }
    let unproven = match (samples, counted) {
        (Some(samples), _) => Judged::of(VerdictKind::Inconclusive, format!("{samples} of {wanted} requests seen")),
        (None, Some(answer @ (Measurement::ProviderError(_) | Measurement::Refused(_)))) => {
            unknown(answer, "requests cannot be counted: ")
        }
        (None, _) => Judged::of(VerdictKind::Inconclusive, format!("no requests counted yet, {wanted} are needed")),
    };
    Judged { value: judged.value, stable: judged.stable, periods: judged.periods, ..unproven }
}

/// Adds history: Fail verdicts in a row (only Pass ends the row: not knowing does not acquit),
/// and since when the source has been silent.
fn follow(before: Option<&Verdict>, judged: Judged, rule: &MetricRule, began: DateTime<Utc>) -> Verdict {
    let row = before.map_or(0, |it| it.failures);
    Verdict {
        metric: rule.name.clone(),
        failures: match judged.verdict {
            VerdictKind::Fail => row.saturating_add(1),
            VerdictKind::Pass => 0,
            _ => row,
        },
        silent_since: judged.silent.then(|| before.and_then(|it| it.silent_since).unwrap_or(began)),
        refused: judged.refused,
        secret_not_readable: judged.secretless,
        query_digest: rule.digest.clone(),
        verdict: judged.verdict,
        value: judged.value.map(short),
        stable_value: judged.stable.map(short),
        message: condition::brief(&judged.message),
        time: began,
        periods: judged.periods,
    }
}

/// Five significant digits: what a person compares, and stable across passes.
pub(super) fn short(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    let scale = 10_f64.powf(4.0 - magnitude);
    let rounded = (value * scale).round() / scale;
    if rounded.is_finite() { rounded.to_string() } else { value.to_string() }
}

#[cfg(test)]
mod tests;
