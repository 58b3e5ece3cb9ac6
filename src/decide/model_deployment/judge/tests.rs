use chrono::TimeDelta;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::api::model_deployment::{ModelDeploymentSpec, VerdictKind::*};
use crate::decide::model_deployment::inquiry::{Inquiry, Judges, Query, Topic};
use crate::decide::model_deployment::question::Question;

const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

fn policy(bounds: serde_json::Value, min_samples: i64) -> Policy {
    let mut metric = json!({"name": "m", "role": "Guardrail", "prometheus": {"query": "q{r=\"{{ revision }}\"}"}});
    metric.as_object_mut().unwrap().extend(bounds.as_object().unwrap().clone());
    let spec: ModelDeploymentSpec = serde_json::from_value(json!({
        "modelRef": {"name": "e"}, "port": 1, "template": {},
        "rollout": {"steps": [{"weight": "5%", "minSamples": min_samples}]},
        "analysis": {"metrics": [metric]},
    }))
    .unwrap();
    Policy::read(&spec, &std::collections::BTreeMap::new())
}

fn attempt() -> Attempt {
    serde_json::from_value(json!({
        "id": "a", "revision": "r", "entry": {"revision": "r", "name": "e", "uid": "u"}, "state": "Observing",
        "weight": "5%", "startedAt": NOW, "enteredAt": NOW,
    }))
    .unwrap()
}

fn answered(
    policy: &Policy,
    metric: Option<&str>,
    answers: Vec<(Subject, Measurement)>,
    began: DateTime<Utc>,
) -> Answered {
    let digest = metric.map(|_| policy.metrics[0].digest.clone()).unwrap_or_default();
    let topic = Topic { judges: Judges::Attempt, attempt: "a".into(), metric: metric.map(str::to_owned) };
    let (subjects, measurements): (Vec<_>, _) = answers.into_iter().unzip();
    let question = || Ok(Question::Prometheus("q".into()));
    let query = |subject| Query { part: Part::Value, subject, exposure: None, question: question() };
    let queries = subjects.into_iter().map(query).collect();
    Answered { inquiry: Inquiry { topic, digest, queries }, began, measurements }
}

/// The verdict on these answers, after `before`.
fn after(
    before: &[Verdict],
    policy: &Policy,
    candidate: Measurement,
    stable: Option<Measurement>,
    samples: Option<Measurement>,
    began: DateTime<Utc>,
) -> Verdict {
    let mut answers = vec![(Subject::Candidate, candidate)];
    answers.extend(stable.map(|it| (Subject::Stable, it)));
    let of_metric = answered(policy, Some("m"), answers, began);
    let counted = samples.map(|it| answered(policy, None, vec![(Subject::Candidate, it)], began));
    let all: Vec<&Answered> = counted.iter().chain([&of_metric]).collect();
    judge(policy, &attempt(), before, &all, began).0.remove(0)
}

fn at_most_one_percent(candidate: Measurement) -> VerdictKind {
    after(&[], &policy(json!({"threshold": {"max": "1%"}}), 0), candidate, None, None, NOW).verdict
}

fn at_most_a_fifth_more(candidate: f64, stable: Measurement) -> VerdictKind {
    let policy = policy(json!({"compare": {"to": "Stable", "maxRatio": "1.2"}}), 0);
    after(&[], &policy, Measurement::of(candidate), Some(stable), None, NOW).verdict
}

fn silence() -> Measurement {
    Measurement::ProviderError("connection refused".into())
}

#[test]
fn a_bound_itself_is_still_within() {
    assert_eq!(at_most_one_percent(Measurement::of(0.01)), Pass);
    assert_eq!(at_most_one_percent(Measurement::of(0.010_001)), Fail);
    let policy = policy(json!({"threshold": {"min": "20%", "max": "1"}}), 0);
    let verdict = |value| after(&[], &policy, Measurement::of(value), None, None, NOW).verdict;
    assert_eq!([verdict(0.2), verdict(0.199), verdict(1.0), verdict(1.1)], [Pass, Fail, Pass, Fail]);
}

#[test]
fn no_number_is_never_a_pass_and_never_a_fail() {
    assert_eq!(at_most_one_percent(Measurement::of(f64::NAN)), NoData);
    assert_eq!(at_most_one_percent(Measurement::NoData("empty".into())), NoData);
    assert_eq!(at_most_one_percent(silence()), ProviderError);
}

#[test]
fn infinity_breaches_any_maximum() {
    assert_eq!(at_most_one_percent(Measurement::of(f64::INFINITY)), Fail);
}

#[test]
fn nothing_against_nothing_is_no_difference_and_something_against_nothing_is() {
    assert_eq!(at_most_a_fifth_more(0.0, Measurement::of(0.0)), Pass);
    assert_eq!(at_most_a_fifth_more(0.001, Measurement::of(0.0)), Fail);
    assert_eq!(at_most_a_fifth_more(0.0, Measurement::of(0.5)), Pass);
}

#[test]
fn half_a_comparison_is_inconclusive_and_a_silent_source_is_said_to_be_silent() {
    assert_eq!(at_most_a_fifth_more(0.1, Measurement::NoData("empty".into())), Inconclusive);
    assert_eq!(at_most_a_fifth_more(0.1, silence()), ProviderError);
}

#[test]
fn each_bound_of_a_comparison_is_kept_in_its_direction() {
    let verdict = |bound: &str, limit: &str, candidate| {
        let policy = policy(json!({"compare": {"to": "Stable", bound: limit}}), 0);
        after(&[], &policy, Measurement::of(candidate), Some(Measurement::of(1.0)), None, NOW).verdict
    };
    assert_eq!([verdict("minRatio", "0.5", 0.5), verdict("minRatio", "0.5", 0.4)], [Pass, Fail]);
    assert_eq!([verdict("maxIncrease", "0.5", 1.5), verdict("maxIncrease", "0.5", 1.6)], [Pass, Fail]);
    assert_eq!([verdict("maxDecrease", "0.5", 0.5), verdict("maxDecrease", "0.5", 0.4)], [Pass, Fail]);
    assert_eq!([verdict("maxDecrease", "0.5", 9.0), verdict("maxIncrease", "0.5", 0.0)], [Pass, Pass]);
}

#[test]
fn pass_needs_its_samples_and_fail_does_not() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 100);
    let verdict = |value, samples| after(&[], &policy, Measurement::of(value), None, samples, NOW).verdict;
    assert_eq!(verdict(0.0, Some(Measurement::of(99.4))), Inconclusive);
    assert_eq!(verdict(0.0, Some(Measurement::of(99.6))), Pass, "counters are extrapolated");
    assert_eq!(verdict(0.0, Some(Measurement::NoData("empty".into()))), Inconclusive);
    assert_eq!(verdict(0.0, None), Inconclusive);
    assert_eq!(verdict(0.0, Some(silence())), ProviderError);
    assert_eq!(verdict(0.5, Some(Measurement::of(1.0))), Fail);
}

#[test]
fn only_a_pass_ends_a_row_of_failures() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 0);
    let mut verdicts = Vec::new();
    let mut row = Vec::new();
    let answers =
        [Measurement::of(1.0), Measurement::of(f64::NAN), silence(), Measurement::of(1.0), Measurement::of(0.0)];
    for (second, answer) in (0..).zip(answers) {
        verdicts = vec![after(&verdicts, &policy, answer, None, None, NOW + TimeDelta::seconds(second))];
        row.push(verdicts[0].failures);
    }
    assert_eq!(row, [1, 1, 1, 2, 0]);
}

#[test]
fn silence_counts_from_the_first_question_without_an_answer() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 0);
    let later = |seconds| NOW + TimeDelta::seconds(seconds);
    let first = after(&[], &policy, silence(), None, None, later(1));
    let second = after(&[first], &policy, silence(), None, None, later(31));
    assert_eq!(second.silent_since, Some(later(1)));
    let answered = after(&[second], &policy, Measurement::NoData("empty".into()), None, None, later(61));
    assert_eq!(answered.silent_since, None, "no data is an answer");
}

#[test]
fn a_metric_that_was_not_asked_keeps_its_verdict_and_one_that_is_gone_has_none() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 0);
    let old = after(&[], &policy, Measurement::of(0.0), None, None, NOW);
    let gone = Verdict { metric: "gone".into(), ..old.clone() };
    let (verdicts, samples) = judge(&policy, &attempt(), &[gone, old.clone()], &[], NOW);
    assert_eq!((verdicts, samples), (vec![old], Samples::default()));
}

#[test]
fn an_answer_that_is_told_twice_counts_once_and_one_that_comes_late_does_not_undo_a_newer_one() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 0);
    let later = |seconds| NOW + TimeDelta::seconds(seconds);
    let look = |before: &[Verdict], value, began| {
        let answer = answered(&policy, Some("m"), vec![(Subject::Candidate, Measurement::of(value))], began);
        judge(&policy, &attempt(), before, &[&answer], later(60)).0
    };
    let failing = look(&[], 1.0, later(30));
    assert_eq!(look(&failing, 1.0, later(30)), failing, "told again");
    assert_eq!(look(&failing, 0.0, later(10)), failing, "asked for earlier");
    assert_eq!(look(&failing, 1.0, later(40))[0].failures, 2);
    let ahead = [Verdict { time: later(90), ..failing[0].clone() }];
    assert_eq!(look(&ahead, 0.0, later(40))[0].verdict, Pass, "the clock was set back");
}

#[test]
fn an_answer_to_what_is_not_asked_any_more_judges_nothing() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 0);
    let mut answer = answered(&policy, Some("m"), vec![(Subject::Candidate, Measurement::of(1.0))], NOW);
    answer.inquiry.digest = "of the metric before the edit".into();
    assert_eq!(judge(&policy, &attempt(), &[], &[&answer], NOW), (vec![], Samples::default()));
}

#[test]
fn requests_that_were_counted_before_the_weight_took_effect_prove_nothing() {
    let policy = policy(json!({"threshold": {"max": "1%"}}), 100);
    let later = |seconds| NOW + TimeDelta::seconds(seconds);
    let attempt = Attempt { observing_since: Some(later(10)), ..attempt() };
    let of_metric = answered(&policy, Some("m"), vec![(Subject::Candidate, Measurement::of(0.0))], later(20));
    let look = |counted_at, attempt: &Attempt| {
        let count = answered(&policy, None, vec![(Subject::Candidate, Measurement::of(500.0))], counted_at);
        let (verdicts, samples) = judge(&policy, attempt, &[], &[&count, &of_metric], later(20));
        (verdicts[0].verdict, samples.candidate)
    };
    assert_eq!(look(later(9), &attempt), (Inconclusive, None));
    assert_eq!(look(later(10), &attempt), (Pass, Some(500)));
    let known = Attempt { samples: Some(200), ..attempt };
    let (verdicts, _) = judge(&policy, &known, &[], &[&of_metric], later(20));
    assert_eq!(verdicts[0].verdict, Pass, "counted earlier at this weight, and more by now");
}

/// Of two that do not get their share of the requests: because some are retried, or not counted.
#[test]
fn a_sample_ratio_mismatch_makes_a_comparison_prove_nobody_good_and_excuses_nobody() {
    let compared = policy(json!({"compare": {"to": "Stable", "maxRatio": "1.2"}}), 0);
    let bounded = policy(json!({"threshold": {"max": "1"}}), 0);
    let in_effect = Attempt { observing_since: Some(NOW), ..attempt() };
    let look = |policy: &Policy, value: f64, requests: (f64, f64)| {
        let values = vec![(Subject::Candidate, Measurement::of(value)), (Subject::Stable, Measurement::of(0.5))];
        let of_metric = answered(policy, Some("m"), values, NOW);
        let counts = [(Subject::Candidate, requests.0), (Subject::Stable, requests.1)];
        let counts = counts.map(|(subject, it)| (subject, Measurement::of(it))).to_vec();
        let count = answered(policy, None, counts, NOW);
        judge(policy, &in_effect, &[], &[&count, &of_metric], NOW).0.remove(0)
    };
    // The weight is 5 %.
    for requests in [(500.0, 9_500.0), (5.0, 95.0), (10.0, 95.0)] {
        assert_eq!(look(&compared, 0.5, requests).verdict, Pass, "{requests:?}");
        assert_eq!(look(&compared, 0.7, requests).verdict, Fail, "{requests:?}");
    }
    for requests in [(1_000.0, 9_000.0), (250.0, 9_750.0), (0.0, 500.0)] {
        let verdict = look(&compared, 0.5, requests);
        assert_eq!(verdict.verdict, Inconclusive, "{requests:?}");
        assert!(verdict.message.starts_with("sample ratio mismatch: the candidate has"), "{}", verdict.message);
        assert_eq!(look(&compared, 0.7, requests).verdict, Fail, "{requests:?}");
        assert_eq!(look(&bounded, 0.5, requests).verdict, Pass, "{requests:?}");
    }
    // Of one alone nobody can tell.
    let known = Attempt { samples: Some(1_000), ..in_effect };
    let values = vec![(Subject::Candidate, Measurement::of(0.5)), (Subject::Stable, Measurement::of(0.5))];
    let of_metric = answered(&compared, Some("m"), values, NOW);
    assert_eq!(judge(&compared, &known, &[], &[&of_metric], NOW).0[0].verdict, Pass);
    let known = Attempt { stable_samples: Some(9_000), ..known };
    assert_eq!(judge(&compared, &known, &[], &[&of_metric], NOW).0[0].verdict, Inconclusive);
    // Requests are of the weight before until the gateway has accepted this one.
    let on_its_way = Attempt { observing_since: None, ..known };
    assert_eq!(judge(&compared, &on_its_way, &[], &[&of_metric], NOW).0[0].verdict, Pass);
}

proptest! {
    #[test]
    fn values_are_told_in_few_digits_and_close_to_what_they_are(value in -1e12_f64..1e12) {
        let text = short(value);
        let read: f64 = text.parse().unwrap();
        prop_assert!((read - value).abs() <= value.abs() * 1e-4, "{value} is told as {text}");
    }

    #[test]
    fn whatever_is_measured_is_judged(candidate in any::<f64>(), stable in any::<f64>()) {
        let policy = policy(json!({"compare": {"to": "Stable", "maxRatio": "1.2", "maxDecrease": "0.1"}}), 0);
        let verdict = after(&[], &policy, Measurement::of(candidate), Some(Measurement::of(stable)), None, NOW);
        prop_assert!(verdict.verdict != Pass || !(candidate.is_nan() || stable.is_nan()));
    }
}
