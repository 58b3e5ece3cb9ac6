//! Outcomes that arrive late: metrics with `delay`, and what is kept to go back to until they are there.

mod people;
mod succession;

use serde_json::{Value, json};

use super::story::Story;
use super::world::{World, guardrail, is_nothing};
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, Cause, Phase, RequestOutcome, RevisionRole, VerdictKind};
use crate::decide::model_deployment::inquiry::{Asked, Subject};
use crate::decide::model_deployment::measure;
use crate::decide::model_deployment::policy::Policy;
use crate::decide::model_deployment::question::Question;
use crate::decide::{EventType, Measurement};

/// At least 5 % of those who were served buy within an hour.
fn hit_rate() -> Value {
    json!({"name": "hit-rate", "role": "Objective", "delay": "1h", "threshold": {"min": "5%"},
        "prometheus": {"query": "hits{revision=\"{{ revision }}\", from=\"{{ windowStart }}\", to=\"{{ windowEnd }}\"}"}})
}

/// The same, as counts against the stable revision.
fn tested() -> Value {
    let count = |of: &str| {
        let query = format!("{of}{{revision=\"{{{{ revision }}}}\"}}[{{{{ window }}}}] @ {{{{ windowEnd }}}}");
        json!({"prometheus": {"query": query}})
    };
    json!({"name": "hit-rate", "role": "Objective", "delay": "1h",
        "proportion": {"successes": count("hits"), "trials": count("served")},
        "test": {"direction": "HigherIsBetter", "nonInferiorityMargin": "1pp"}})
}

fn serving(late: Value) -> World {
    let mut world = World::serving();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m"}],
        "keepStable": "10m", "progressDeadline": "15m", "rollbackWindow": "7d"}));
    world.analysis(json!({"metrics": [guardrail(), late]}));
    world
}

/// `churn-2` has been promoted a moment ago, after `churn-1`; its outcomes arrive in an hour.
pub(super) fn promoted() -> World {
    let mut world = serving(hit_rate());
    promote(&mut world, "churn-2");
    world
}

pub(super) fn promote(world: &mut World, entry: &str) {
    world.deploy(entry);
    let attempts = world.status().attempts;
    for _ in 0..60 {
        world.all_is_well();
        world.pass();
        if world.attempt().state == AttemptState::Promoted && world.status().attempts > attempts {
            return;
        }
        world.advance(60);
    }
    panic!("not promoted: {:#?}", world.attempt());
}

/// `promoted`, after the old revision has lost its pods.
pub(super) fn asleep() -> World {
    asleep_with(|_, _| ())
}

/// As that; `runs` says what the old revision's pods ran.
pub(super) fn asleep_with(runs: impl Fn(&mut World, &str)) -> World {
    let mut world = promoted();
    let old = first(&world);
    runs(&mut world, &old);
    for seconds in [600, 60] {
        world.pass();
        world.running.clear();
        world.advance(seconds);
        world.pass();
        world.all_is_well();
    }
    assert_eq!(role_of(&world, &old), Some(RevisionRole::Fallback));
    world
}

/// The outcomes of an hour ago.
pub(super) fn outcomes(world: &mut World, share: f64) {
    world.measure("hit-rate", Measurement::of(share));
    world.advance(3600);
}

pub(super) fn first(world: &World) -> String {
    world.status().probation.expect("on probation").fallback.revision
}

pub(super) fn stable(world: &World) -> String {
    world.status().stable.expect("something serves").revision
}

pub(super) fn role_of(world: &World, revision: &str) -> Option<RevisionRole> {
    world.status().revisions.iter().find(|it| it.revision == revision).map(|it| it.role)
}

pub(super) fn pods(world: &World, revision: &str) -> Option<i32> {
    world.children.deployments.get(&labels::name(&["churn", revision]))?.spec.as_ref()?.replicas
}

pub(super) fn served(world: &World) -> Vec<String> {
    world.weights().into_iter().filter(|(_, weight)| *weight > 0).map(|(name, _)| name).collect()
}

pub(super) fn is_proven(world: &World, revision: &str) -> bool {
    world.status().proven.iter().any(|it| it.revision == revision)
}

pub(super) fn condition(world: &World, type_: &str) -> (bool, String, String) {
    let all = world.status().conditions;
    let it = all.into_iter().find(|it| it.type_ == type_).expect("a condition");
    (it.status == true.into(), it.reason, it.message)
}

/// Passes until nothing is written any more, in a healthy cluster whose clock stands still.
pub(super) fn settle(world: &mut World) {
    for _ in 0..20 {
        world.all_is_well();
        if is_nothing(&world.pass()) {
            return;
        }
    }
    panic!("it does not settle: {:#?}", world.status());
}

#[test]
fn a_promoted_revision_is_proven_when_its_outcomes_are_there() {
    let mut story = Story::of("Late outcomes, and they are good", promoted());
    story.world.gateway_accepts();
    story.pass("promoted, and on probation");
    story.world.advance(600);
    story.pass("keepStable is over: the old revision goes to sleep");
    story.world.all_is_well();
    story.world.measure("hit-rate", Measurement::of(0.08));
    story.world.advance(2400);
    story.pass("not an hour after the steps yet: nobody asks for outcomes, guardrails go on");
    story.world.advance(600);
    story.pass("an hour after the steps: the outcomes are good");
    story.pass("proven: what was kept is not needed any more");
    story.world.advance(30);
    story.pass("drained");
    story.is("late-outcomes-good");
}

#[test]
fn nothing_gates_a_step_that_arrives_later() {
    let mut world = serving(hit_rate());
    world.measure("hit-rate", Measurement::of(0.0));
    promote(&mut world, "churn-2");
    assert_eq!(world.status().phase, Phase::Probation);
    let (ready, reason, message) = condition(&world, "Ready");
    assert!(ready && reason == "Probation", "{message}");
    assert!(message.contains("hit-rate is judged at 2026-11-18T13:"), "{message}");
    assert!(world.status().verdicts.iter().all(|it| it.metric != "hit-rate"));
}

#[test]
fn the_window_is_of_those_who_were_served_while_both_revisions_had_traffic() {
    let mut world = promoted();
    let exposed = world.status().probation.unwrap().exposed;
    let weights: Vec<String> = exposed.iter().map(|it| it.weight.to_string()).collect();
    assert_eq!(weights, ["5%", "50%"]);
    world.advance(3600);
    let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
    let due = measure::due(&world.resource, &policy, &world.status(), &Asked::default(), world.now);
    let asked = due.iter().find(|it| it.topic.metric.as_deref() == Some("hit-rate")).expect("it is due");
    let (start, end) = (exposed[0].since.timestamp(), exposed[1].until.unwrap().timestamp());
    let revision = stable(&world);
    let query = format!("hits{{revision=\"{revision}\", from=\"{start}\", to=\"{end}\"}}");
    assert_eq!(asked.queries[0].question, Ok(Question::Prometheus(query)));
}

#[test]
fn counts_of_a_late_test_are_of_each_weight_alone_and_of_the_revision_that_was_stable_then() {
    let mut world = serving(tested());
    promote(&mut world, "churn-2");
    let old = first(&world);
    world.advance(3600);
    let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
    let due = measure::due(&world.resource, &policy, &world.status(), &Asked::default(), world.now);
    let asked: Vec<_> =
        due.iter().filter(|it| it.topic.metric.as_deref() == Some("hit-rate")).flat_map(|it| &it.queries).collect();
    assert_eq!(asked.len(), 2 * 2 * 2, "two weights, two revisions, two counts");
    let baseline = asked.iter().filter(|it| it.subject == Subject::Stable);
    assert!(baseline.clone().all(|it| format!("{:?}", it.question).contains(&old)));
    assert_eq!(baseline.filter(|it| it.exposure == Some(1)).count(), 2);
    // The base rate doubles from the first weight to the second. Within each weight both are alike; pooled, the
    // candidate, which had most of its units in the second, would look twice as good as it is.
    let counts = |world: &mut World, index: usize, candidate: (f64, f64), stable: (f64, f64)| {
        for (part, candidate, stable) in [("Successes", candidate.0, stable.0), ("Trials", candidate.1, stable.1)] {
            let metric = format!("hit-rate {part} #{index}");
            world.measure(&metric, Measurement::of(candidate));
            world.measure_stable(&metric, Measurement::of(stable));
        }
    };
    counts(&mut world, 0, (500.0, 10_000.0), (9_500.0, 190_000.0));
    counts(&mut world, 1, (8_000.0, 100_000.0), (10_000.0, 100_000.0));
    world.pass();
    let attempt = world.attempt();
    assert_eq!(attempt.cause, Some(Cause::ObjectiveMissed), "worse at 50 %: {:#?}", world.status().verdicts);
    let verdict = world.status().verdicts.into_iter().find(|it| it.metric == "hit-rate").unwrap();
    assert_eq!((verdict.verdict, verdict.periods.len()), (VerdictKind::Fail, 2));
}

#[test]
fn a_guardrail_that_goes_on_saying_the_same_is_asked_in_time_and_written_down_once() {
    let mut world = asleep();
    let written = world.status();
    for _ in 0..20 {
        world.advance(30);
        world.measure("error-rate", Measurement::of(0.002));
        let plan = world.pass();
        assert!(is_nothing(&plan), "{plan:#?}");
        assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(30)));
    }
    assert_eq!(world.status(), written);
    // One failure is tolerated, and is news.
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(30);
    world.pass();
    assert_eq!(world.status().probation.unwrap().verdicts[0].failures, 1);
    world.advance(30);
    world.pass();
    assert_eq!(world.status().probation.unwrap().recall.unwrap().cause, Cause::GuardrailBreached);
}

#[test]
fn what_is_kept_to_go_back_to_has_everything_but_pods() {
    let world = asleep();
    let old = first(&world);
    let name = labels::name(&["churn", &old]);
    assert_eq!(pods(&world, &old), Some(0));
    assert!(world.children.records.contains_key(&name) && world.children.services.contains_key(&name));
    let mut later = world.clone();
    later.advance(1800);
    later.pass();
    assert!(later.children.records.contains_key(&name), "as long as the probation lasts");
}

#[test]
fn what_is_kept_to_go_back_to_ends_its_requests_before_its_pods_go() {
    let mut world = serving(hit_rate());
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "drain": "30s"}));
    promote(&mut world, "churn-2");
    let old = first(&world);
    let had = pods(&world, &old);
    world.pass();
    world.advance(29);
    world.pass();
    assert_eq!((pods(&world, &old), role_of(&world, &old)), (had, Some(RevisionRole::Kept)));
    world.advance(1);
    world.pass();
    world.pass();
    assert_eq!((pods(&world, &old), role_of(&world, &old)), (Some(0), Some(RevisionRole::Fallback)));
}

#[test]
fn a_revision_is_proven_only_at_the_end_of_its_probation() {
    let mut world = promoted();
    let revision = stable(&world);
    assert!(!is_proven(&world, &revision));
    outcomes(&mut world, 0.08);
    settle(&mut world);
    assert!(is_proven(&world, &revision) && world.status().probation.is_none());
    assert_eq!(condition(&world, "Ready").1, "Stable");
}

#[test]
fn a_guardrail_goes_on_being_measured_on_probation_and_a_breach_goes_back() {
    let mut world = asleep();
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(30);
    world.pass();
    assert_eq!(world.status().phase, Phase::Probation, "one failure is tolerated");
    world.advance(30);
    world.pass();
    assert_eq!((world.status().phase, condition(&world, "Ready").1), (Phase::RollingBack, "GuardrailBreached".into()));
}

#[test]
fn what_is_compared_with_the_stable_revision_is_not_asked_when_that_has_no_traffic() {
    let mut world = serving(hit_rate());
    let compared = json!({"name": "latency", "role": "Guardrail", "compare": {"to": "Stable", "maxRatio": "1.2"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}});
    world.analysis(json!({"metrics": [guardrail(), compared, hit_rate()]}));
    world.measure("latency", Measurement::of(1.0));
    world.measure_stable("latency", Measurement::of(1.0));
    promote(&mut world, "churn-2");
    world.advance(30);
    world.pass();
    let asked: Vec<String> = world.status().probation.unwrap().verdicts.into_iter().map(|it| it.metric).collect();
    assert_eq!(asked, ["error-rate"]);
}

#[test]
fn a_late_metric_that_is_removed_is_told_of_no_more() {
    let mut world = serving(hit_rate());
    let mut other = hit_rate();
    other["name"] = json!("returns");
    other["delay"] = json!("24h");
    world.analysis(json!({"metrics": [guardrail(), hit_rate(), other]}));
    promote(&mut world, "churn-2");
    world.measure("hit-rate", Measurement::Refused("no such series".into()));
    world.advance(3700);
    world.pass();
    let stalled =
        |world: &World| world.status().conditions.into_iter().find(|it| it.type_ == "Stalled").unwrap().reason;
    assert_eq!(stalled(&world), "QueryRefused");
    world.analysis(json!({"metrics": [guardrail(), other]}));
    world.pass();
    assert_eq!(stalled(&world), "Progressing");
}

#[test]
fn outcomes_that_do_not_come_prove_nothing_and_take_nothing_back() {
    for silence in [Measurement::NoData("no rows".into()), Measurement::ProviderError("connection refused".into())] {
        let mut world = promoted();
        world.edit(|spec| {
            let outage = json!({"after": "1m", "do": "Rollback"});
            spec.rollout.as_mut().unwrap().on_outage = Some(serde_json::from_value(outage).unwrap());
        });
        let (revision, old) = (stable(&world), first(&world));
        world.measure("hit-rate", silence);
        let mut told = 0;
        for _ in 0..150 {
            world.advance(60);
            let plan = world.pass();
            world.all_is_well();
            let unknown = |it: &&crate::decide::Event| it.type_ == EventType::Warning && it.reason == "OutcomeUnknown";
            told += plan.events.iter().filter(unknown).count();
        }
        assert_eq!((world.status().phase, stable(&world)), (Phase::Probation, revision));
        let (ready, _, message) = condition(&world, "Ready");
        assert!(ready && message.contains("not asked any more") && message.contains("promote"), "{message}");
        assert_eq!((told, pods(&world, &old)), (1, Some(0)), "said once, and kept");
        let last = world.status().probation.unwrap().verdicts.into_iter().find(|it| it.metric == "hit-rate").unwrap();
        world.advance(24 * 3600);
        world.pass();
        let now = world.status().probation.unwrap().verdicts.into_iter().find(|it| it.metric == "hit-rate").unwrap();
        assert_eq!(last, now, "it is not asked for ever");
    }
}

#[test]
fn an_operator_that_was_away_for_days_asks_before_it_gives_up() {
    let mut world = asleep();
    world.measure("hit-rate", Measurement::of(0.08));
    world.advance(5 * 24 * 3600);
    world.restart();
    settle(&mut world);
    assert!(world.status().probation.is_none() && is_proven(&world, &stable(&world)));
}

#[test]
fn a_clock_that_was_set_back_asks_no_outcome_before_its_time() {
    let mut world = asleep();
    world.measure("hit-rate", Measurement::of(0.02));
    world.advance(-4 * 3600);
    world.pass();
    assert_eq!(world.status().phase, Phase::Probation);
    let asked = world.status().probation.unwrap().verdicts;
    assert!(asked.iter().all(|it| it.metric != "hit-rate"), "{asked:#?}");
}

#[test]
fn a_delayed_metric_that_is_removed_ends_the_probation_and_one_that_cannot_be_read_does_not() {
    let mut unread = promoted();
    let mut broken = hit_rate();
    broken["delay"] = json!("soon");
    unread.analysis(json!({"metrics": [guardrail(), broken]}));
    unread.pass();
    assert!(unread.status().probation.is_some());
    assert_eq!(condition(&unread, "Ready").1, "InvalidSpec");

    let mut removed = promoted();
    let revision = stable(&removed);
    removed.analysis(json!({"metrics": [guardrail()]}));
    removed.pass();
    assert!(removed.status().probation.is_none() && !is_proven(&removed, &revision));
}

#[test]
fn without_a_delay_nothing_is_on_probation_and_neither_is_a_first_deployment_or_a_way_back() {
    let mut first = World::new();
    first.analysis(json!({"metrics": [guardrail(), hit_rate()]}));
    first.come_to_rest();
    assert!(first.status().probation.is_none() && is_proven(&first, &stable(&first)));
    let mut world = promoted();
    outcomes(&mut world, 0.08);
    settle(&mut world);
    promote(&mut world, "churn-1");
    assert!(world.attempt().fast_return && world.status().probation.is_none());
}

#[test]
fn at_rest_on_probation_nothing_is_written() {
    let mut world = serving(hit_rate());
    world.analysis(json!({"metrics": [hit_rate()]}));
    promote(&mut world, "churn-2");
    world.advance(700);
    settle(&mut world);
    for _ in 0..20 {
        world.advance(60);
        assert!(is_nothing(&world.pass()));
    }
}

#[test]
fn autoscaled_revisions_sleep_and_wake_as_well() {
    let mut world = serving(hit_rate());
    world.edit(|spec| {
        spec.replicas = None;
        let autoscaling = json!({"min": 2, "max": 8, "metrics": [{"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]});
        spec.autoscaling = Some(serde_json::from_value(autoscaling).unwrap());
    });
    settle(&mut world);
    promote(&mut world, "churn-2");
    let old = first(&world);
    for seconds in [600, 60] {
        world.advance(seconds);
        settle(&mut world);
    }
    assert_eq!(pods(&world, &old), Some(0));
    outcomes(&mut world, 0.02);
    world.pass();
    assert!(pods(&world, &old) >= Some(2), "{:?}", pods(&world, &old));
    settle(&mut world);
    assert_eq!(stable(&world), old);
}

#[test]
fn what_proves_a_revision_waits_for_the_record() {
    let mut world = promoted();
    outcomes(&mut world, 0.06);
    world.memory.trail_unavailable_since = Some(world.now);
    for _ in 0..5 {
        world.pass();
        world.advance(60);
    }
    assert!(world.status().probation.is_some(), "proven, and not on the record");
    world.memory.trail_unavailable_since = None;
    settle(&mut world);
    assert!(world.status().probation.is_none());
}
