//! Sources that take their time: nobody waits for them who need not.

use serde_json::json;

use super::world::{World, guardrail};
use crate::api::model_deployment::{AttemptState, Cause, VerdictKind};
use crate::decide::Measurement;

/// `mid_canary`, with a guardrail that is answered at once and a KPI that is not.
fn with_a_slow_kpi() -> World {
    let mut world = World::mid_canary();
    let kpi = json!({"name": "kpi", "role": "Guardrail", "threshold": {"min": "5%"},
        "prometheus": {"query": "hits{revision=\"{{ revision }}\"}"}});
    world.analysis(json!({"metrics": [guardrail(), kpi], "failureLimit": 0}));
    world.measure("kpi", Measurement::of(0.2));
    world.answers_slowly("kpi");
    world.advance(30);
    world.pass();
    assert_eq!(world.awaited(), ["kpi"]);
    world
}

fn verdict_on(world: &World, metric: &str) -> Option<VerdictKind> {
    world.status().verdicts.iter().find(|it| it.metric == metric).map(|it| it.verdict)
}

#[test]
fn a_guardrail_is_judged_while_a_slower_source_is_awaited() {
    let mut world = with_a_slow_kpi();
    assert_eq!((verdict_on(&world, "error-rate"), verdict_on(&world, "kpi")), (Some(VerdictKind::Pass), None));
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(30);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
}

#[test]
fn what_is_under_way_is_not_asked_again_and_the_rounds_go_on() {
    let mut world = with_a_slow_kpi();
    for _ in 0..5 {
        let plan = world.pass();
        assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(30)), "the next round");
        assert_eq!(world.awaited(), ["kpi"]);
        world.advance(30);
    }
}

#[test]
fn where_everything_is_under_way_its_answers_are_what_is_waited_for() {
    let mut world = with_a_slow_kpi();
    world.answers_slowly("error-rate");
    world.advance(30);
    let plan = world.pass();
    assert_eq!(world.awaited(), ["kpi", "error-rate"]);
    assert!(plan.requeue.is_some_and(|it| it > std::time::Duration::from_mins(1)), "{:?}", plan.requeue);
    assert!(plan.status.is_none() && plan.ops.is_empty());
    world.arrives("error-rate");
    world.pass();
    assert_eq!(world.awaited(), ["kpi"], "a round is one interval after the last one began");
    world.advance(30);
    world.pass();
    assert_eq!(world.awaited(), ["kpi", "error-rate"]);
}

#[test]
fn a_late_answer_is_of_the_time_it_was_asked_for_and_ends_no_step_that_began_since() {
    let mut world = with_a_slow_kpi();
    let asked_at = world.now;
    world.advance(570);
    world.arrives("kpi");
    world.pass();
    let kpi = world.status().verdicts.into_iter().find(|it| it.metric == "kpi").unwrap();
    assert_eq!((kpi.verdict, kpi.time), (VerdictKind::Pass, asked_at));
    // What was asked for at 5 % is awaited while the next step begins.
    for _ in 0..4 {
        world.advance(1);
        world.all_is_well();
        world.pass();
    }
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string()), (AttemptState::Observing, "50%".into()));
    let began = attempt.observing_since.unwrap();
    world.advance(600);
    world.arrives("kpi");
    world.pass();
    let kpi = world.status().verdicts.into_iter().find(|it| it.metric == "kpi").unwrap();
    assert!(kpi.verdict == VerdictKind::Pass && kpi.time > asked_at && kpi.time < began, "{kpi:?}");
    assert_eq!(world.attempt().state, AttemptState::Observing, "nothing that was asked for in this step is answered");
    world.advance(30);
    world.pass();
    world.arrives("kpi");
    world.pass();
    assert_ne!(world.attempt().state, AttemptState::Observing, "now the step is proven");
}

#[test]
fn after_a_restart_everything_is_asked_once_more() {
    let mut world = with_a_slow_kpi();
    world.forget_what_was_asked();
    world.advance(30);
    world.pass();
    assert_eq!(world.awaited(), ["kpi"]);
}

#[test]
fn a_clock_that_was_set_back_makes_no_busy_loop() {
    let mut world = with_a_slow_kpi();
    world.advance(-600);
    world.pass();
    for _ in 0..3 {
        let plan = world.pass();
        assert!(plan.requeue.is_none_or(|it| it >= std::time::Duration::from_secs(30)), "{:?}", plan.requeue);
    }
}

#[test]
fn answers_about_an_attempt_that_is_over_judge_nothing() {
    let mut world = with_a_slow_kpi();
    world.measure("kpi", Measurement::of(0.0));
    world.request("abort", "n1");
    world.pass();
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
    let before = world.status();
    world.arrives("kpi");
    world.pass();
    assert_eq!(world.status(), before);
}

#[test]
fn requests_that_were_counted_at_one_weight_prove_nothing_at_the_next() {
    let mut world = World::mid_canary();
    world.steps(json!([{"weight": "5%", "minSamples": 100}, {"weight": "50%", "minSamples": 100}]));
    let samples = json!({"prometheus": {"query": "requests{revision=\"{{ revision }}\"}"}});
    world.analysis(json!({"metrics": [guardrail()], "samples": samples}));
    world.measure("samples", Measurement::of(150.0));
    for _ in 0..6 {
        world.advance(30);
        world.pass();
        if world.attempt().weight.to_string() == "50%" {
            break;
        }
        world.pods_ready();
    }
    assert_eq!((world.attempt().state, world.attempt().weight.to_string()), (AttemptState::Shifting, "50%".into()));
    // A round while the gateway has not accepted it yet counts requests, too; and then counting is slow.
    world.advance(30);
    world.pass();
    world.answers_slowly("samples");
    for _ in 0..4 {
        world.advance(30);
        world.all_is_well();
        world.pass();
    }
    let verdict = world.status().verdicts.remove(0);
    assert_eq!((world.attempt().state, world.attempt().weight.to_string()), (AttemptState::Observing, "50%".into()));
    assert_eq!(verdict.verdict, VerdictKind::Inconclusive, "{verdict:?}");
    world.arrives("samples");
    world.advance(30);
    world.pass();
    assert_ne!(world.attempt().state, AttemptState::Observing, "150 of them have been counted at 50 %");
}
