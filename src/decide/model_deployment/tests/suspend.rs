//! `spec.suspend` and the namespace's annotation: nothing new begins and nothing rises, and everything that protects goes on.

use serde_json::json;

use super::pause::has_an_hour_after_resume;
use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause, Phase};
use crate::decide::Measurement;

impl World {
    fn suspend(&mut self, suspend: bool) {
        self.edit(|spec| spec.suspend = Some(suspend));
    }
}

fn message(world: &World, type_: &str) -> String {
    world.status().conditions.into_iter().find(|it| it.type_ == type_).unwrap().message
}

fn reason(world: &World, type_: &str) -> String {
    world.status().conditions.into_iter().find(|it| it.type_ == type_).unwrap().reason
}

#[test]
fn suspend_holds_an_attempt_and_lets_it_go() {
    let mut story = Story::of("Suspended in a canary", World::mid_canary());
    story.world.suspend(true);
    story.pass("suspend");
    story.world.advance(600);
    story.pass("the step's time has passed, and it is measured");
    story.world.suspend(false);
    story.pass("not suspended any more: the step ends");
    story.is("suspended");
}

#[test]
fn no_attempt_begins_while_suspended_and_none_is_forgotten() {
    let mut story = Story::of("A new model while suspended", World::serving());
    story.world.suspend(true);
    story.pass("suspend");
    story.world.deploy("churn-2");
    story.pass("a new model");
    story.world.suspend(false);
    story.pass("not suspended any more");
    story.is("suspended-before-a-new-model");
}

#[test]
fn what_serves_is_ready_while_suspended() {
    let mut world = World::serving();
    world.suspend(true);
    world.pass();
    assert_eq!((world.status().phase, reason(&world, "Ready").as_str()), (Phase::Suspended, "Stable"));
    assert!(is_nothing(&world.pass()));
}

#[test]
fn guardrails_abort_and_revert_do_not_wait_for_the_end_of_a_suspension() {
    type Happens = fn(&mut World);
    let all: [(Happens, Cause); 3] = [
        (|world| world.measure("error-rate", Measurement::of(0.2)), Cause::GuardrailBreached),
        (|world| world.request("abort", "n1"), Cause::Aborted),
        (|world| world.deploy("churn-1"), Cause::Reverted),
    ];
    for ((happens, cause), by_namespace) in all.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut world = World::mid_canary();
        world.suspend(!by_namespace);
        world.namespace_suspend = by_namespace.then(|| "true".into());
        world.pass();
        happens(&mut world);
        for _ in 0..2 {
            world.advance(30);
            world.pass();
        }
        world.gateway_accepts();
        (0..3).for_each(|_| drop(world.pass()));
        let attempt = world.attempt();
        assert_eq!((attempt.state, attempt.cause), (AttemptState::RolledBack, Some(cause)));
    }
}

#[test]
fn a_retry_waits_for_the_end_of_a_suspension_and_a_promotion_is_refused() {
    let mut world = World::mid_canary();
    world.suspend(true);
    world.pass();
    world.request("promote", "n1");
    assert!(world.refusal().contains("spec.suspend is true"));
    world.request("abort", "n2");
    world.pass();
    world.gateway_accepts();
    world.pass();
    world.request("retry", "n3");
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
    world.suspend(false);
    world.pass();
    assert_eq!((world.attempt().state, world.handled().nonce.as_str()), (AttemptState::Starting, "n3"));
}

#[test]
fn a_pause_outlives_a_suspension_and_the_time_of_the_step_counts_from_the_end_of_both() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "1h"}]}));
    world.request("pause", "p1");
    world.pass();
    world.suspend(true);
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(7200);
    world.pass();
    assert_eq!(world.status().phase, Phase::Suspended);
    world.suspend(false);
    world.pass();
    assert_eq!((world.status().phase, world.attempt().held_until), (Phase::Paused, None));
    has_an_hour_after_resume(&mut world);
}

#[test]
fn the_annotation_of_the_namespace_suspends_and_says_where_it_comes_from_and_how_it_is_lifted() {
    let mut story = Story::of("Suspended by the namespace, in a canary", World::mid_canary());
    story.world.namespace_suspend = Some("true".into());
    story.pass("the namespace is annotated with werkbank.dev/suspend");
    story.world.advance(600);
    story.pass("the step's time has passed, and it is measured");
    story.world.namespace_suspend = None;
    story.pass("the annotation is taken away: the step ends");
    story.is("suspended-by-namespace");
}

#[test]
fn a_namespace_that_says_false_suspends_nothing() {
    let mut world = World::mid_canary();
    world.namespace_suspend = Some("false".into());
    world.pass();
    assert_eq!((world.status().phase, world.attempt().suspended_since), (Phase::Observing, None));
}

#[test]
fn a_wrong_value_of_the_annotation_holds_and_is_told() {
    for value in ["yes", "True", "", "0", &"x".repeat(300_000)] {
        let mut world = World::serving();
        world.namespace_suspend = Some(value.to_owned());
        world.deploy("churn-2");
        world.pass();
        let said = message(&world, "Ready");
        assert_eq!((world.status().phase, reason(&world, "Ready").as_str()), (Phase::Suspended, "Suspended"));
        assert!(said.contains("neither \"true\" nor \"false\" and counts as true: it goes on when"), "{said}");
        assert!(said.contains("(kubectl annotate namespace crm werkbank.dev/suspend-)") && said.len() < 400, "{said}");
    }
}

#[test]
fn whoever_lifts_one_of_two_suspensions_is_told_of_the_other() {
    let mut world = World::mid_canary();
    world.suspend(true);
    world.namespace_suspend = Some("true".into());
    world.pass();
    let since = world.attempt().suspended_since;
    assert!(message(&world, "Ready").contains("spec.suspend is true, and the annotation"));
    world.suspend(false);
    world.advance(60);
    world.pass();
    assert_eq!((world.status().phase, world.attempt().suspended_since), (Phase::Suspended, since));
    assert!(!message(&world, "Ready").contains("spec.suspend"));
}
