//! Waiting ends by a deadline, and a deadline that has passed in vain wakes nobody.

use std::time::Duration;

use serde_json::json;

use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause};

/// The candidate's pods are ready, and the pass that gives it weight is to come.
fn ready_to_shift() -> World {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world
}

#[test]
fn nothing_is_looked_at_in_a_loop_while_something_holds_a_candidate_that_is_ready() {
    type Happens = fn(&mut World);
    let obstacles: [(Happens, Option<Duration>); 3] = [
        (|world| drop(world.entries.remove("churn-2")), None),
        (|world| world.rollout(json!({"steps": [{"weight": "5%"}, {"weight": "2%"}]})), None),
        (World::trail_is_down, Some(Duration::from_secs(10))),
    ];
    for (happens, expected) in obstacles {
        let mut world = ready_to_shift();
        happens(&mut world);
        world.pass();
        world.advance(3600);
        let plan = world.pass();
        assert!(is_nothing(&plan), "{plan:?}");
        assert_eq!((plan.requeue, world.attempt().state), (expected, AttemptState::Starting));
    }
}

#[test]
fn a_deadline_wakes_for_as_long_as_something_is_missing() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.advance(60);
    assert_eq!(world.decide().requeue, Some(Duration::from_secs(14 * 60)));
    world.advance(14 * 60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
}

#[test]
fn objectives_wait_for_the_step_without_being_asked_for_again_and_again() {
    let mut world = ready_to_shift();
    world.analysis(json!({"metrics": [{"name": "hit-rate", "role": "Objective", "threshold": {"min": "20%"},
        "prometheus": {"query": "hits{revision=\"{{ revision }}\"}"}}]}));
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Shifting);
    let plan = world.pass();
    assert!(is_nothing(&plan), "{plan:?}");
    assert_eq!(plan.requeue, Some(Duration::from_secs(15 * 60)), "the gateway's time to accept");
}

#[test]
fn a_limit_that_cannot_be_read_is_no_limit_that_has_passed() {
    let unreadable = [
        json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "9999d"}, {"weight": "50%", "for": "10m"}]}),
        json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "9999d", "do": "Rollback"}}),
    ];
    for rollout in unreadable {
        let mut world = World::mid_canary();
        world.rollout(rollout);
        world.measure("error-rate", crate::decide::Measurement::ProviderError("connection refused".into()));
        world.advance(3600);
        (0..2).for_each(|_| drop(world.pass()));
        let ready = world.status().conditions.into_iter().find(|it| it.type_ == "Ready").unwrap();
        assert_eq!((world.attempt().cause, ready.reason.as_str()), (None, "InvalidSpec"), "{}", ready.message);
    }
}

#[test]
fn a_clock_that_was_set_back_leaves_no_guardrail_unasked() {
    let mut world = World::mid_canary();
    world.advance(-7200);
    world.measure("error-rate", crate::decide::Measurement::of(0.2));
    for _ in 0..2 {
        let plan = world.pass();
        assert!(plan.requeue.is_some_and(|it| it <= Duration::from_secs(30)), "{:?}", plan.requeue);
        world.advance(30);
    }
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
}
