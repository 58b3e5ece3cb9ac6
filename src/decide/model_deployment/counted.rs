//! Metrics with `test`: what has been counted in this attempt, and what it proves.
//!
//! Queries count since the present weight took effect. What earlier weights gave stays in the verdict, by weight,
//! so that the whole attempt is the evidence and no period is pooled with one of another weight. Nothing
//! else is remembered: the next look, after a restart or not, computes the same from the same counts.

use chrono::{DateTime, Utc};

use super::inquiry::{Part, Subject};
use super::judge::{Judged, short, unknown};
use super::policy::{MetricRule, TestRule};
use super::question::Template;
use crate::api::Weight;
use crate::api::model_deployment::{Attempt, CountedPeriod, Exposure, Verdict, VerdictKind};
use crate::decide::Measurement;
use crate::stats::mean::Moments;
use crate::stats::period::NotCounts;
use crate::stats::proportion::Tally;
use crate::stats::{Better, Finding, Interval, Period, mean, proportion, share};

/// Weights whose counts are kept; more than any list of steps that a person writes.
const MOST_PERIODS: usize = 16;

/// The judgement of what has been counted by now; the answers of one subject come in the order of the rule's queries.
pub(super) fn judge<'a>(
    rule: &MetricRule,
    test: &TestRule,
    attempt: &Attempt,
    before: Option<&Verdict>,
    answer: impl Fn(Part, Subject) -> Option<&'a Measurement>,
) -> Judged {
    let old = before.map_or(&[][..], |it| &it.periods);
    let counts = |subject| counts(rule, |part| answer(part, subject));
    let (candidate, stable) = match (counts(Subject::Candidate), counts(Subject::Stable)) {
        (Ok(candidate), Ok(stable)) => (candidate, stable),
        (Err(why), _) => return Judged { periods: old.to_vec(), ..unknown(&why, "") },
        (_, Err(why)) => return Judged { periods: old.to_vec(), ..unknown(&why, "the stable revision: ") },
    };
    of_periods(rule, test, with_present(old, attempt, &candidate, &stable), old)
}

/// The judgement of what was counted at each weight of an attempt that has ended.
pub(super) fn judge_exposed<'a>(
    rule: &MetricRule,
    test: &TestRule,
    exposed: &[Exposure],
    before: Option<&Verdict>,
    answer: impl Fn(usize, Part, Subject) -> Option<&'a Measurement>,
) -> Judged {
    let old = before.map_or(&[][..], |it| &it.periods);
    let mut periods = Vec::new();
    for (index, exposure) in exposed.iter().enumerate() {
        let counts = |subject| counts(rule, |part| answer(index, part, subject));
        let (candidate, stable) = match (counts(Subject::Candidate), counts(Subject::Stable)) {
            (Ok(candidate), Ok(stable)) => (candidate, stable),
            (Err(why), _) => return Judged { periods: old.to_vec(), ..unknown(&why, "") },
            (_, Err(why)) => return Judged { periods: old.to_vec(), ..unknown(&why, "the baseline: ") },
        };
        add(&mut periods, &period(exposure.weight, None, &candidate, &stable));
    }
    of_periods(rule, test, periods, old)
}

fn of_periods(rule: &MetricRule, test: &TestRule, periods: Vec<CountedPeriod>, old: &[CountedPeriod]) -> Judged {
    let judged = match rule.queries.len() {
        2 => proportions(test, &periods),
        _ => means(test, &periods),
    };
    match judged {
        Ok(judged) => Judged { periods, ..judged },
        // They are not kept: the next ones may be right.
        Err(why) => Judged { periods: old.to_vec(), ..unknown(&Measurement::Refused(why.to_string()), "") },
    }
}

/// All counts of one revision, or the first answer that is none.
fn counts<'a>(rule: &MetricRule, answer: impl Fn(Part) -> Option<&'a Measurement>) -> Result<Vec<f64>, Measurement> {
    let one = |(part, template): &(Part, Template)| match answer(*part) {
        Some(Measurement::Value(value)) => Ok(*value),
        Some(Measurement::NoData(why)) => {
            let nothing = match template {
                Template::Prometheus(_) => "add `or vector(0)` to the query",
                Template::Http(_) | Template::Job(_) => "let the answer say so",
                Template::Sql(_) => "let the query count, or COALESCE(…, 0)",
            };
            Err(Measurement::NoData(format!(
                "{}{}: {why}; if nothing has happened yet, that is 0: {nothing}",
                part.field(),
                template.provider()
            )))
        }
        Some(other) => Err(other.clone()),
        None => Err(Measurement::NoData(format!("{}{} was not measured", part.field(), template.provider()))),
    };
    rule.queries.iter().map(one).collect()
}

/// The periods so far, with the counts of the one that goes on.
fn with_present(old: &[CountedPeriod], attempt: &Attempt, candidate: &[f64], stable: &[f64]) -> Vec<CountedPeriod> {
    let mut periods: Vec<CountedPeriod> = Vec::new();
    for period in old.iter().filter(|it| it.since != attempt.observing_since) {
        add(&mut periods, period);
    }
    periods.push(period(attempt.weight, attempt.observing_since, candidate, stable));
    let too_many = periods.len().saturating_sub(MOST_PERIODS);
    periods.split_off(too_many)
}

fn period(weight: Weight, since: Option<DateTime<Utc>>, candidate: &[f64], stable: &[f64]) -> CountedPeriod {
    let written = |counts: &[f64]| counts.iter().copied().map(written).collect();
    CountedPeriod { weight, since, candidate: written(candidate), stable: written(stable) }
}

/// One more period, together with those of its weight.
fn add(periods: &mut Vec<CountedPeriod>, period: &CountedPeriod) {
    match periods.iter_mut().find(|it| it.weight == period.weight) {
        Some(same) => {
            same.candidate = added(&same.candidate, &period.candidate);
            same.stable = added(&same.stable, &period.stable);
        }
        None => periods.push(CountedPeriod { since: None, ..period.clone() }),
    }
}

/// Millionths are more than a count is known to.
fn written(count: f64) -> String {
    let millionths = (count * 1e6).round() / 1e6;
    (if millionths.is_finite() { millionths } else { count }).to_string()
}

fn read(counts: &[String]) -> Vec<f64> {
    // What is no number is refused with the counts it belongs to.
    counts.iter().map(|it| it.parse().unwrap_or(f64::NAN)).collect()
}

fn added(a: &[String], b: &[String]) -> Vec<String> {
    read(a).into_iter().zip(read(b)).map(|(a, b)| written(a + b)).collect()
}

fn proportions(test: &TestRule, periods: &[CountedPeriod]) -> Result<Judged, NotCounts> {
    let tally = |counts: &[String]| match read(counts).as_slice() {
        [successes, trials] => Tally::new(*successes, *trials),
        _ => Err(NotCounts::NotACount),
    };
    let periods = all(periods, tally)?;
    let interval = proportion::interval(&periods, test.alpha);
    let value = periods.last().map(|it| (it.candidate.rate(), it.stable.rate()));
    Ok(told(test, &interval, value, &units(&periods, Tally::trials)))
}

fn means(test: &TestRule, periods: &[CountedPeriod]) -> Result<Judged, NotCounts> {
    let moments = |counts: &[String]| match read(counts).as_slice() {
        [sum, squares, count] => Moments::new(*sum, *squares, *count),
        _ => Err(NotCounts::NotACount),
    };
    let periods = all(periods, moments)?;
    let interval = mean::interval(&periods, test.alpha);
    let value = periods.last().map(|it| (it.candidate.mean(), it.stable.mean()));
    Ok(told(test, &interval, value, &units(&periods, Moments::count)))
}

/// Where all traffic goes to the candidate there is nothing to compare: the earlier weights tell.
fn all<T>(
    periods: &[CountedPeriod],
    one: impl Fn(&[String]) -> Result<T, NotCounts>,
) -> Result<Vec<Period<T>>, NotCounts> {
    let mut all = Vec::new();
    for period in periods {
        let share = f64::from(period.weight.hundredths()) / 10_000.0;
        all.extend(Period::new(share, one(&period.candidate)?, one(&period.stable)?));
    }
    Ok(all)
}

fn units<T>(periods: &[Period<T>], number: impl Fn(&T) -> f64) -> Vec<Period<f64>> {
    periods.iter().filter_map(|it| Period::new(it.share(), number(&it.candidate), number(&it.stable))).collect()
}

type Values = Option<(Option<f64>, Option<f64>)>;

fn told(test: &TestRule, interval: &Interval, values: Values, units: &[Period<f64>]) -> Judged {
    let (value, stable) = values.unwrap_or_default();
    let judged = |verdict, message| Judged { value, stable, ..Judged::of(verdict, message) };
    if let Some(mismatch) = mismatch(units) {
        return judged(VerdictKind::Inconclusive, mismatch);
    }
    let margin = match test.margin.better {
        Better::Higher => format!("at least {} is asked for", short(test.margin.limit())),
        Better::Lower => format!("at most {} is asked for", short(test.margin.limit())),
    };
    let between =
        format!("candidate − stable is between {} and {}; {margin}", short(interval.low), short(interval.high));
    match test.margin.judge(interval) {
        Finding::NotInferior => judged(VerdictKind::Pass, between),
        Finding::Inferior => judged(VerdictKind::Fail, between),
        Finding::Open => judged(VerdictKind::Inconclusive, format!("{between}: too few units to tell")),
    }
}

/// Why the counts cannot be compared, if units do not come as the weights say.
pub(super) fn mismatch(units: &[Period<f64>]) -> Option<String> {
    if !share::is_mismatch(units) {
        return None;
    }
    let seen: f64 = units.iter().map(|it| it.candidate).sum();
    let intended: f64 = units.iter().map(|it| it.share() * (it.candidate + it.stable)).sum();
    Some(format!(
        "sample ratio mismatch: the candidate has {seen:.0} units where the weights give {intended:.0}; nothing may be compared: look for retries, \
         caches or lost counts between the gateway and the query"
    ))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::json;

    use super::*;
    use crate::api::model_deployment::{ModelDeploymentSpec, VerdictKind::*};
    use crate::decide::model_deployment::inquiry::{Answered, Inquiry, Judges, Query, Topic};
    use crate::decide::model_deployment::judge;
    use crate::decide::model_deployment::policy::Policy;
    use crate::decide::model_deployment::question::Question;

    fn policy(direction: &str, margin: &str, counts: &str) -> Policy {
        let count = || json!({"prometheus": {"query": "q{r=\"{{ revision }}\"}[{{ window }}]"}});
        let counts = match counts {
            "proportion" => json!({"successes": count(), "trials": count()}),
            _ => json!({"sum": count(), "sumSquares": count(), "count": count()}),
        };
        let of = if counts.get("trials").is_some() { "proportion" } else { "mean" };
        let spec: ModelDeploymentSpec = serde_json::from_value(json!({
            "modelRef": {"name": "e"}, "port": 1, "template": {}, "rollout": {"steps": [{"weight": "5%"}]},
            "analysis": {"metrics": [{"name": "m", "role": "Guardrail", of: counts,
                "test": {"direction": direction, "nonInferiorityMargin": margin}}]},
        }))
        .unwrap();
        let policy = Policy::read(&spec, &std::collections::BTreeMap::new());
        assert_eq!(policy.errors, []);
        policy
    }

    /// The verdict after a look at `minute` of an observation of `weight` that began at `since`.
    fn look(
        policy: &Policy,
        before: &[Verdict],
        weight: &str,
        since: i64,
        candidate: &[f64],
        stable: &[f64],
    ) -> Verdict {
        let began = DateTime::UNIX_EPOCH + TimeDelta::minutes(since);
        let attempt: Attempt = serde_json::from_value(json!({
            "id": "a", "revision": "r", "entry": {"revision": "r", "name": "e", "uid": "u"}, "state": "Observing",
            "weight": weight, "startedAt": began, "enteredAt": began, "observingSince": began,
        }))
        .unwrap();
        let both = [(Subject::Candidate, candidate), (Subject::Stable, stable)];
        let questions = |subject| {
            let question = || Ok(Question::Prometheus("q".into()));
            let one = move |(part, _): &(Part, Template)| Query {
                part: *part,
                subject,
                exposure: None,
                question: question(),
            };
            policy.metrics[0].queries.iter().map(one)
        };
        let topic = Topic { judges: Judges::Attempt, attempt: "a".into(), metric: Some("m".into()) };
        let queries = both.iter().flat_map(|(subject, _)| questions(*subject)).collect();
        let measurements = both.iter().flat_map(|(_, counts)| counts.iter().map(|it| Measurement::of(*it))).collect();
        let inquiry = Inquiry { topic, digest: policy.metrics[0].digest.clone(), queries };
        // A look in each minute, the newest one last.
        let minute = before.iter().map(|it| it.time + TimeDelta::minutes(1)).chain([began]).max().unwrap();
        let answer = Answered { inquiry, began: minute, measurements };
        judge::judge(policy, &attempt, before, &[&answer], minute).0.remove(0)
    }

    #[test]
    fn what_is_better_depends_on_the_direction() {
        let verdict = |direction, candidate: f64| {
            let policy = policy(direction, "1pp", "proportion");
            look(&policy, &[], "50%", 0, &[candidate, 10_000.0], &[1_000.0, 10_000.0]).verdict
        };
        assert_eq!(
            [700.0, 900.0, 1_000.0, 1_300.0].map(|it| verdict("HigherIsBetter", it)),
            [Fail, Inconclusive, Inconclusive, Pass]
        );
        assert_eq!(
            [700.0, 1_000.0, 1_100.0, 1_300.0].map(|it| verdict("LowerIsBetter", it)),
            [Pass, Inconclusive, Inconclusive, Fail]
        );
    }

    #[test]
    fn means_are_compared_by_their_sums() {
        let verdict = |mean: f64| {
            let policy = policy("HigherIsBetter", "2", "mean");
            let sums = |mean: f64| [mean * 5_000.0, (mean * mean + 400.0) * 5_000.0, 5_000.0];
            look(&policy, &[], "50%", 0, &sums(mean), &sums(50.0))
        };
        assert_eq!([45.0, 48.0, 50.5].map(|it| verdict(it).verdict), [Fail, Inconclusive, Pass]);
        assert_eq!(
            verdict(45.0).message,
            "candidate − stable is between -6.2226 and -3.7774; at least -2 is asked for"
        );
        assert_eq!((verdict(45.0).value.as_deref(), verdict(45.0).stable_value.as_deref()), (Some("45"), Some("50")));
    }

    #[test]
    fn the_present_observation_is_counted_once_and_an_earlier_one_of_that_weight_is_kept() {
        let policy = policy("HigherIsBetter", "1pp", "proportion");
        let first = look(&policy, &[], "5%", 0, &[1.0, 10.0], &[19.0, 190.0]);
        let later = look(&policy, &[first], "5%", 0, &[2.0, 20.0], &[38.0, 380.0]);
        let anew = look(&policy, &[later], "5%", 7, &[1.0, 5.0], &[9.5, 95.0]);
        let again = look(&policy, &[anew], "5%", 9, &[0.0, 0.0], &[0.0, 0.0]);
        let next = look(&policy, &[again], "50%", 12, &[4.0, 40.0], &[3.0, 41.0]);
        let seen: Vec<_> = next
            .periods
            .iter()
            .map(|it| (it.weight.to_string(), it.since.is_some(), it.candidate.join("/"), it.stable.join("/")))
            .collect();
        let of = |weight: &str, goes_on, candidate: &str, stable: &str| {
            (weight.to_owned(), goes_on, candidate.to_owned(), stable.to_owned())
        };
        assert_eq!(seen, [of("5%", false, "3/25", "47.5/475"), of("50%", true, "4/40", "3/41")]);
    }

    #[test]
    fn a_verdict_that_was_written_down_and_read_again_goes_on_as_if_it_had_not_been() {
        let policy = policy("HigherIsBetter", "1pp", "proportion");
        let first = look(&policy, &[], "5%", 0, &[100.25, 1_000.5], &[1_900.0, 19_000.0]);
        let read: Verdict = serde_json::from_str(&serde_json::to_string(&first).unwrap()).unwrap();
        let [next, after_restart] =
            [first, read].map(|it| look(&policy, &[it], "50%", 9, &[90.0, 900.0], &[91.0, 901.0]));
        assert_eq!(next, after_restart);
    }

    #[test]
    fn where_all_traffic_goes_to_the_candidate_the_earlier_weights_tell() {
        let policy = policy("HigherIsBetter", "2pp", "proportion");
        let proven = look(&policy, &[], "50%", 0, &[1_000.0, 10_000.0], &[1_000.0, 10_000.0]);
        assert_eq!(proven.verdict, Pass);
        let full = look(&policy, &[proven], "100%", 9, &[0.0, 5_000.0], &[0.0, 0.0]);
        assert_eq!((full.verdict, full.periods.len()), (Pass, 2));
    }

    #[test]
    fn a_look_without_counts_forgets_nothing_that_earlier_weights_have_shown() {
        let policy = policy("HigherIsBetter", "2pp", "proportion");
        let proven = look(&policy, &[], "50%", 0, &[1_000.0, 10_000.0], &[1_000.0, 10_000.0]);
        let counts = [10.0, 100.0];
        let sides = [([f64::NAN, 100.0], counts, NoData), (counts, [10.0, f64::NAN], Inconclusive)];
        for (candidate, stable, expected) in sides {
            let unknown = look(&policy, std::slice::from_ref(&proven), "100%", 9, &candidate, &stable);
            assert_eq!((unknown.verdict, &unknown.periods), (expected, &proven.periods));
            let again = look(&policy, &[unknown], "100%", 9, &[0.0, 5_000.0], &[0.0, 0.0]);
            assert_eq!((again.verdict, again.periods.len()), (Pass, 2));
        }
    }

    /// The judgement of an attempt that has ended, with these counts at 5 % and at 50 %: (candidate, stable).
    fn late(counts: [(&[f64], &[f64]); 2]) -> Judged {
        let policy = policy("HigherIsBetter", "2pp", "proportion");
        let rule = &policy.metrics[0];
        let measured = counts.map(|(candidate, stable)| {
            [candidate, stable].map(|it| it.iter().map(|it| Measurement::of(*it)).collect::<Vec<_>>())
        });
        let exposed: Vec<Exposure> = serde_json::from_value(json!([
            {"weight": "5%", "since": "2026-11-18T12:00:00Z", "until": "2026-11-18T12:10:00Z"},
            {"weight": "50%", "since": "2026-11-18T12:11:00Z", "until": "2026-11-18T12:20:00Z"},
        ]))
        .unwrap();
        judge_exposed(rule, rule.test().unwrap(), &exposed, None, |index, part, subject| {
            let place = rule.queries.iter().position(|it| it.0 == part)?;
            measured.get(index)?.get(usize::from(subject == Subject::Stable))?.get(place)
        })
    }

    #[test]
    fn outcomes_of_one_weight_that_are_not_there_are_not_made_up_for_by_another() {
        let good: (&[f64], &[f64]) = (&[5_000.0, 50_000.0], &[5_000.0, 50_000.0]);
        let early: (&[f64], &[f64]) = (&[500.0, 5_000.0], &[9_500.0, 95_000.0]);
        assert_eq!(late([early, good]).verdict, Pass);
        let missing = f64::NAN;
        assert_eq!(late([early, (&[missing, 50_000.0], good.1)]).verdict, NoData);
        assert_eq!(late([(&[500.0, missing], early.1), good]).verdict, NoData);
        let of_baseline = late([early, (good.0, &[missing, 50_000.0])]);
        assert_eq!(of_baseline.verdict, Inconclusive, "{}", of_baseline.message);
    }

    #[test]
    fn a_sample_ratio_mismatch_at_one_weight_is_not_made_up_for_by_another() {
        let right: (&[f64], &[f64]) = (&[5_000.0, 50_000.0], &[5_000.0, 50_000.0]);
        let wrong: (&[f64], &[f64]) = (&[200.0, 2_000.0], &[9_800.0, 98_000.0]);
        for counts in
            [[wrong, right], [(&[500.0, 5_000.0], &[9_500.0, 95_000.0]), (&[5_000.0, 50_000.0], &[3_000.0, 30_000.0])]]
        {
            let judged = late(counts);
            assert_eq!(judged.verdict, Inconclusive, "{}", judged.message);
            assert!(judged.message.contains("sample ratio mismatch"), "{}", judged.message);
        }
    }

    #[test]
    fn counts_in_status_that_nobody_can_read_prove_nothing() {
        let policy = policy("HigherIsBetter", "2pp", "proportion");
        let mut proven = look(&policy, &[], "50%", 0, &[1_000.0, 10_000.0], &[1_000.0, 10_000.0]);
        proven.periods[0].candidate = vec!["many".into()];
        let next = look(&policy, &[proven], "100%", 9, &[0.0, 0.0], &[0.0, 0.0]);
        assert_eq!((next.verdict, next.refused), (ProviderError, true));
    }

    #[test]
    fn the_weights_that_are_remembered_have_an_end() {
        let policy = policy("HigherIsBetter", "2pp", "proportion");
        let mut verdicts = Vec::new();
        for weight in 1..=30 {
            verdicts = vec![look(&policy, &verdicts, &format!("{weight}%"), weight, &[1.0, 10.0], &[9.0, 90.0])];
        }
        assert_eq!(verdicts[0].periods.len(), MOST_PERIODS);
        assert_eq!(verdicts[0].periods.last().unwrap().weight.to_string(), "30%");
    }
}
