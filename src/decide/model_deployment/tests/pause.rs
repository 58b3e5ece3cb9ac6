//! `pause` and `resume`: the weight is held, and everything that protects goes on.

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause, Phase};
use crate::decide::Measurement;

fn paused() -> World {
    let mut world = World::mid_canary();
    world.request("pause", "p1");
    world.pass();
    assert!(world.attempt().paused_since.is_some(), "{:?}", world.handled());
    world
}

/// An hour of measurements, one in five minutes.
fn an_hour(world: &mut World) {
    for _ in 0..12 {
        world.advance(300);
        world.all_is_well();
        world.pass();
    }
}

/// The whole `maxStepTime`, once nobody holds it any more.
pub(super) fn has_an_hour_after_resume(world: &mut World) {
    world.request("resume", "r1");
    world.pass();
    world.advance(3599);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Observing);
    world.advance(1);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::StepTimeExceeded));
}

#[test]
fn a_pause_holds_the_weight_until_somebody_says_resume() {
    let mut story = Story::of("Pause and resume", World::mid_canary());
    story.world.request("pause", "n1");
    story.pass("pause");
    story.world.advance(600);
    story.pass("the step's time has passed, and it is measured");
    story.world.advance(30);
    story.pass("measured again");
    story.world.request("resume", "n2");
    story.pass("resume");
    story.pass("the step ends");
    story.is("pause-and-resume");
}

#[test]
fn two_pauses_in_one_attempt_both_count() {
    let mut world = paused();
    world.request("resume", "r1");
    world.pass();
    assert_eq!(world.attempt().paused_since, None);
    world.pass();
    world.request("pause", "p2");
    world.pass();
    assert_eq!(world.attempt().paused_since, Some(world.now));
    an_hour(&mut world);
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.request("pause", "p3");
    assert!(world.refusal().ends_with("is paused already"));
}

#[test]
fn a_gate_waiting_for_a_person_masks_no_failing_guardrail() {
    let mut story = Story::of("A guardrail is breached in a pause", paused());
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("a first failure");
    story.world.advance(30);
    story.pass("a second");
    story.is("guardrail-breached-while-paused");
}

#[test]
fn revert_and_a_third_revision_do_not_wait_for_the_end_of_a_pause() {
    for (entry, cause) in [("churn-1", Cause::Reverted), ("churn-3", Cause::Superseded)] {
        let mut world = paused();
        world.deploy(entry);
        world.pass();
        let attempt = world.attempt();
        assert_eq!((attempt.cause, attempt.paused_since), (Some(cause), None));
        world.come_to_rest();
        assert_eq!(world.status().stable.unwrap().name, entry, "the next attempt is not paused");
    }
}

#[test]
fn a_breach_and_a_pause_at_the_same_time_are_a_breach() {
    let mut world = World::mid_canary();
    world.analysis(json!({"metrics": [guardrail()], "failureLimit": 0}));
    world.measure("error-rate", Measurement::of(0.2));
    world.advance(30);
    world.request("pause", "p1");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    assert!(world.refusal().ends_with("is being taken back already"));
    assert_eq!(world.attempt().paused_since, None);
}

#[test]
fn the_time_of_a_step_stands_still_in_a_pause_and_begins_anew_after_it() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "maxStepTime": "1h"}]}));
    world.request("pause", "p1");
    world.pass();
    an_hour(&mut world);
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(300);
    world.pass();
    assert_eq!(world.attempt().cause, None, "a person holds it, not its metrics");
    has_an_hour_after_resume(&mut world);
}

#[test]
fn what_is_broken_has_its_deadline_in_a_pause() {
    let mut lost = paused();
    let revision = lost.attempt().revision;
    lost.pods_ready_of(&revision, 0);
    lost.pass();
    assert_eq!(lost.attempt().weight.to_string(), "0%");
    lost.advance(15 * 60);
    lost.pass();
    assert_eq!(lost.attempt().cause, Some(Cause::CapacityLost));

    let mut silent = World::mid_canary();
    silent.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "10m", "do": "Rollback"}}));
    silent.request("pause", "p1");
    silent.pass();
    silent.measure("error-rate", Measurement::ProviderError("refused".into()));
    silent.advance(30);
    silent.pass();
    silent.advance(600);
    silent.pass();
    assert_eq!(silent.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn weight_that_pods_have_lost_comes_back_after_the_pause() {
    let mut world = paused();
    let revision = world.attempt().revision;
    world.pods_ready_of(&revision, 0);
    world.pass();
    an_hour(&mut world);
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string().as_str()), (AttemptState::Starting, "0%"));
    world.request_at("resume", "-", "r1");
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().weight.to_string(), "5%");
}

#[test]
fn a_pause_before_the_first_weight_lets_pods_come_up_and_no_request_reach_them() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    world.request_at("pause", "-", "p1");
    world.pass();
    an_hour(&mut world);
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string().as_str()), (AttemptState::Starting, "0%"));
    assert_eq!((world.status().phase, world.weights().len()), (Phase::Paused, 1));
}

#[test]
fn a_pause_on_the_way_to_all_traffic_keeps_the_revision_to_go_back_to() {
    let mut world = World::mid_canary();
    let step = |world: &mut World| {
        world.advance(60);
        world.all_is_well();
        world.pass();
    };
    world.until(|it| it.attempt().state == AttemptState::Promoting, step);
    world.request_at("pause", "-", "p1");
    world.pass();
    an_hour(&mut world);
    assert_eq!(world.attempt().state, AttemptState::Promoting);
    assert_eq!(world.status().stable.unwrap().name, "churn-1");
    world.request_at("resume", "-", "r1");
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn nobody_takes_over_from_a_broken_stable_revision_while_a_person_holds_it() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "emergencyPromote": true}));
    world.request("pause", "p1");
    world.pass();
    let stable = world.status().stable.unwrap().revision;
    for _ in 0..3 {
        world.all_is_well();
        world.pods_ready_of(&stable, 0);
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.request("resume", "r1");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pods_ready_of(&stable, 0);
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().emergency), (AttemptState::Promoting, true));
}

#[test]
fn a_pause_does_not_wait_for_the_record_and_going_on_does() {
    let mut world = World::mid_canary();
    world.trail_is_down();
    world.request("pause", "p1");
    world.pass();
    assert!(world.attempt().paused_since.is_some());
    world.request("resume", "r1");
    world.pass();
    assert!(world.attempt().paused_since.is_some(), "not forgotten, and not done");
    world.memory.trail_unavailable_since = None;
    world.pass();
    assert_eq!((world.attempt().paused_since, world.handled().nonce.as_str()), (None, "r1"));
    world.pass();
    assert_eq!(world.trail.recorded().len(), world.trail.effects().len());
}

#[test]
fn a_paused_attempt_is_not_looked_at_again_but_to_measure() {
    let mut world = paused();
    an_hour(&mut world);
    let plan = world.pass();
    assert!(is_nothing(&plan), "{plan:?}");
    assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(30)));
}
