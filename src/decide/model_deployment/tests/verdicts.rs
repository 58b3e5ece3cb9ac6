//! Measurements decide: what holds, what passes, what takes back.

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::Measurement;
use crate::decide::model_deployment::inquiry::Asked;
use crate::decide::model_deployment::measure;
use crate::decide::model_deployment::policy::Policy;

fn compared() -> serde_json::Value {
    json!({"name": "latency", "role": "Guardrail", "compare": {"to": "Stable", "maxRatio": "1.2"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}})
}

/// Ten minutes later the step would end if it were proven.
fn held(title: &str, prepare: impl FnOnce(&mut World)) -> Story {
    let mut world = World::mid_canary();
    prepare(&mut world);
    let mut story = Story::of(title, world);
    story.world.advance(600);
    story
}

#[test]
fn no_data_holds() {
    let mut story = held("NoData holds the weight", |world| {
        world.measure("error-rate", Measurement::of(f64::NAN));
    });
    story.pass("ten minutes have passed, the metric has nothing to say");
    story.is("no-data-holds");
}

#[test]
fn too_few_samples_hold() {
    let mut story = held("Too few requests hold the weight", |world| {
        world.steps(json!([{"weight": "5%", "minSamples": 2000}]));
        world.analysis(json!({"metrics": [guardrail()], "samples": {"prometheus": {"query": "requests{revision=\"{{ revision }}\"}"}}}));
        world.measure("samples", Measurement::of(1999.4));
    });
    story.pass("1999 of 2000 requests");
    story.world.measure("samples", Measurement::of(2000.2));
    story.world.advance(30);
    story.pass("2000 of 2000");
    story.is("too-few-samples-hold");
}

#[test]
fn inconclusive_holds() {
    let mut story = held("Half a comparison is Inconclusive and holds the weight", |world| {
        world.analysis(json!({"metrics": [compared()]}));
        world.measure("latency", Measurement::of(0.1));
    });
    story.pass("the stable revision has no latency");
    story.is("inconclusive-holds");
}

#[test]
fn compared_with_stable() {
    let mut story = held("Candidate against stable", |world| {
        world.analysis(json!({"failureLimit": 0, "metrics": [compared()]}));
        world.measure("latency", Measurement::of(0.11));
        world.measure_stable("latency", Measurement::of(0.1));
    });
    story.pass("1.1 times as slow is allowed");
    story.world.measure("latency", Measurement::of(0.13));
    story.world.advance(30);
    story.pass("1.3 times is not");
    story.is("compared-with-stable");
}

pub(super) fn hit_rate(role: &str) -> serde_json::Value {
    let count = |of: &str| json!({"prometheus": {"query": format!("sum(increase({of}_total{{revision=\"{{{{ revision }}}}\"}}[{{{{ window }}}}]))")}});
    json!({"name": "hit-rate", "role": role, "proportion": {"successes": count("hits"), "trials": count("shown")},
        "test": {"direction": "HigherIsBetter", "nonInferiorityMargin": "2pp"}})
}

#[test]
fn counts_of_all_weights_prove_a_candidate_as_good_as_the_margin_asks() {
    let mut story = held("Counts: not worse by 2 points", |world| {
        world.steps(json!([{"weight": "5%", "for": "5m"}, {"weight": "50%"}]));
        world.analysis(json!({"metrics": [hit_rate("Objective")]}));
        world.count("hit-rate", (10.0, 100.0), (190.0, 1900.0));
    });
    story.pass("ten minutes, and too little to tell");
    story.world.count("hit-rate", (1600.0, 16_000.0), (30_400.0, 304_000.0));
    story.world.advance(3600);
    story.pass("an hour later there is enough");
    story.world.all_is_well();
    story.world.count("hit-rate", (0.0, 0.0), (0.0, 0.0));
    story.pass("pods for 50%");
    story.world.all_is_well();
    story.pass("the gateway accepts 50%");
    story.world.advance(30);
    story.pass("at 50 % nothing is counted yet, and what was counted at 5 % stays");
    story.is("counts-pass");
}

#[test]
fn a_test_that_fails_takes_back_at_the_first_look_whatever_the_failure_limit() {
    let mut story = held("Counts: worse by more than 2 points", |world| {
        world.steps(json!([{"weight": "5%", "for": "5m"}]));
        world.analysis(json!({"failureLimit": 3, "metrics": [hit_rate("Guardrail")]}));
        world.count("hit-rate", (30.0, 1000.0), (1900.0, 19_000.0));
    });
    story.pass("3 % instead of 10 %");
    story.is("counts-fail");
}

#[test]
fn a_guardrail_that_counts_waits_until_the_weight_is_in_effect() {
    let mut world = World::serving();
    world.analysis(json!({"metrics": [guardrail(), hit_rate("Guardrail")]}));
    world.count("hit-rate", (30.0, 1000.0), (1900.0, 19_000.0));
    world.deploy("churn-2");
    for _ in 0..3 {
        world.pass();
        world.pods_ready();
    }
    world.advance(30);
    world.pass();
    let measured = |world: &World| world.status().verdicts.iter().map(|it| it.metric.clone()).collect::<Vec<_>>();
    assert_eq!((world.attempt().state, measured(&world)), (AttemptState::Shifting, vec!["error-rate".to_owned()]));
    world.gateway_accepts();
    world.pass();
    world.advance(30);
    world.pass();
    assert_eq!(measured(&world), ["error-rate", "hit-rate"]);
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
}

#[test]
fn a_sample_ratio_mismatch_makes_counts_inconclusive() {
    let mut story = held("Counts: units do not come as the weight says", |world| {
        world.steps(json!([{"weight": "5%", "for": "5m"}]));
        world.analysis(json!({"metrics": [hit_rate("Guardrail")]}));
        world.count("hit-rate", (30.0, 600.0), (1900.0, 19_000.0));
    });
    story.pass("5 % instead of 10 %, but of 600 units instead of 980");
    story.is("counts-of-another-share");
}

#[test]
fn counts_that_are_none_hold_and_say_which() {
    let mut story = held("Counts: nothing yet, nonsense, and silence", |world| {
        world.steps(json!([{"weight": "5%", "for": "5m"}]));
        world.analysis(json!({"metrics": [hit_rate("Guardrail")]}));
    });
    story.pass("no series");
    story.world.count("hit-rate", (600.0, 60.0), (190.0, 1900.0));
    story.world.advance(30);
    story.pass("more hits than shown");
    story.world.measure("hit-rate Trials", Measurement::ProviderError("connection refused".into()));
    story.world.advance(30);
    story.pass("silence");
    story.is("counts-unknown");
}

#[test]
fn a_breach_within_the_limit_is_tolerated_and_one_more_rolls_back() {
    let mut story = Story::of("A guardrail is breached: failureLimit 1", World::mid_canary());
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("the first breach is tolerated");
    story.world.measure("error-rate", Measurement::of(0.001));
    story.world.advance(30);
    story.pass("a Pass ends the row");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached once");
    story.world.measure("error-rate", Measurement::NoData("no series".into()));
    story.world.advance(30);
    story.pass("not knowing does not acquit");
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached twice in a row");
    story.pass("the gateway has not taken weight 0 yet");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.world.gateway_accepts();
    story.pass("nothing happens while the candidate drains");
    story.world.advance(30);
    story.pass("the candidate has drained");
    story.pass("its record is gone");
    story.pass("nothing happens");
    story.is("guardrail-breached");
}

#[test]
fn a_missed_objective_rolls_back() {
    let mut story = held("An objective is missed", |world| {
        world.analysis(json!({"failureLimit": 0, "metrics": [guardrail(), {
            "name": "hit-rate", "role": "Objective", "threshold": {"min": "20%"},
            "prometheus": {"query": "hits{revision=\"{{ revision }}\"}"}}]}));
        world.measure("hit-rate", Measurement::of(0.1));
    });
    story.pass("10% instead of 20%");
    story.is("objective-missed");
}

#[test]
fn a_silent_source_holds() {
    let mut story = Story::of("Prometheus does not answer: hold", World::mid_canary());
    story.world.measure("error-rate", Measurement::ProviderError("connection refused; is Prometheus running?".into()));
    story.world.advance(40);
    story.pass("silent for 40 s: no healthy canary dies of that");
    story.world.advance(3600);
    story.pass("silent for an hour");
    story.world.measure("error-rate", Measurement::of(0.001));
    story.world.advance(30);
    story.pass("it answers again");
    story.is("prometheus-silent-holds");
}

#[test]
fn a_silent_source_rolls_back_where_that_is_declared() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "5m", "do": "Rollback"}}));
    let mut story = Story::of("Prometheus does not answer: onOutage", world);
    story.world.measure("error-rate", Measurement::ProviderError("connection refused; is Prometheus running?".into()));
    story.world.advance(30);
    story.pass("silent");
    story.world.advance(299);
    story.pass("for 4 min 59 s");
    story.world.advance(1);
    story.pass("for 5 min, as far as anybody knows: it was asked a second ago");
    story.world.advance(29);
    story.pass("asked after 5 min, it is silent still");
    story.is("prometheus-silent-on-outage");
}

#[test]
fn a_source_that_is_seldom_asked_is_asked_again_before_its_silence_counts() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "1m", "do": "Rollback"}}));
    let mut analysis = serde_json::to_value(&world.resource.spec.analysis).unwrap();
    analysis["interval"] = "5m".into();
    world.analysis(analysis);
    world.measure("error-rate", Measurement::ProviderError("a restart of a few seconds".into()));
    world.advance(300);
    world.pass();
    world.advance(299);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Observing, "who was away at that moment may be back");
    let mut back = world.clone();
    back.measure("error-rate", Measurement::of(0.001));
    for it in [&mut world, &mut back] {
        it.advance(1);
        it.pass();
    }
    assert_eq!(back.attempt().cause, None);
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn a_refused_query_is_no_outage() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "1h"}], "onOutage": {"after": "5m", "do": "Rollback"}}));
    let mut story = Story::of("Prometheus refuses a query", world);
    story.world.measure(
        "error-rate",
        Measurement::Refused(
            "Prometheus refuses the query (HTTP 400 bad_data): invalid parameter \"query\": 1:5: parse error".into(),
        ),
    );
    story.world.advance(30);
    story.pass("a parse error");
    story.world.advance(600);
    story.pass("longer than onOutage.after");
    story.world.advance(3000 - 30);
    story.pass("maxStepTime has passed");
    story.is("query-refused");
}

#[test]
fn an_abort_and_a_revert_wait_for_no_source_that_is_slow() {
    let due = |world: &World| {
        let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
        !measure::due(&world.resource, &policy, &world.status(), &Asked::default(), world.now).is_empty()
    };
    let mut world = World::mid_canary();
    world.advance(30);
    assert!(due(&world));
    let (mut aborted, mut reverted, mut edited) = (world.clone(), world.clone(), world);
    aborted.request("abort", "n1");
    reverted.deploy("churn-1");
    edited.steps(json!([{"weight": "5%", "for": "1h"}]));
    assert_eq!([&aborted, &reverted, &edited].map(due), [false, false, true]);
    // Nothing that is never carried out can stand in the way of measuring.
    aborted.request_for("abort", "r9-9-11112222", "n2");
    assert!(due(&aborted));
}

#[test]
fn a_secret_that_is_not_granted_is_told_with_its_remedy_and_is_no_outage() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "1m", "do": "Rollback"}}));
    world.measure("error-rate", Measurement::SecretNotReadable("grant it with: kubectl".into()));
    for _ in 0..10 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::Observing);
    let stalled = |world: &World| world.status().conditions.into_iter().find(|it| it.type_ == "Stalled").unwrap();
    assert_eq!(stalled(&world).reason, "SecretNotReadable");
    assert_eq!(stalled(&world).message, "metric error-rate: grant it with: kubectl");
    world.measure("error-rate", Measurement::of(0.0));
    world.advance(30);
    world.pass();
    assert_eq!(stalled(&world).reason, "Progressing");
}

#[test]
fn requests_that_cannot_be_counted_by_a_refused_query_say_so() {
    let mut world = World::mid_canary();
    world.steps(json!([{"weight": "5%", "minSamples": 2000}]));
    world.analysis(json!({"metrics": [guardrail()], "samples": {"prometheus": {"query": "requests{revision=\"{{ revision }}\"}"}}}));
    world.measure("samples", Measurement::Refused("Prometheus refuses the query (HTTP 400 bad_data): no".into()));
    world.advance(30);
    world.pass();
    let verdict = world.status().verdicts.remove(0);
    assert!(verdict.refused && verdict.silent_since.is_none(), "{verdict:?}");
}

#[test]
fn a_changed_query_starts_its_own_sample() {
    let changed = || {
        let mut metric = guardrail();
        metric["prometheus"]["query"] = json!("errors_total{revision=\"{{ revision }}\"}");
        json!({"metrics": [metric]})
    };
    let mut world = World::mid_canary();
    world.measure("error-rate", Measurement::of(0.2));
    world.advance(30);
    world.pass();
    world.analysis(changed());
    world.advance(30);
    world.pass();
    assert_eq!(world.status().verdicts[0].failures, 1, "another query's row is not its own");

    let mut world = World::mid_canary();
    world.advance(560);
    world.pass();
    world.analysis(changed());
    world.advance(10);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Observing, "another query's Pass is no proof");
    world.advance(20);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
}

#[test]
fn an_analysis_without_metrics_says_why_and_only_waits() {
    let mut story = held("Nothing is measured, on purpose", |world| {
        world.analysis(json!({"none": "internal model, checked by hand"}));
    });
    story.pass("ten minutes have passed");
    story.is("analysis-none");
}
