//! Capacity is watched for as long as there is weight: what has no ready pod has no traffic.

use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::Weight;
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::{Child, Measurement, Op};

impl World {
    fn candidate_ready(&mut self, pods: i32) {
        let revision = self.attempt().revision;
        self.pods_ready_of(&revision, pods);
    }
}

/// At 50 % with two pods, watched for 30 s.
fn at_half() -> World {
    let mut world = World::mid_canary();
    world.advance(570);
    world.pass();
    for _ in 0..2 {
        world.all_is_well();
        world.pass();
    }
    world.advance(30);
    world.pass();
    assert_eq!((world.attempt().weight.to_string().as_str(), world.attempt().state), ("50%", AttemptState::Observing));
    world
}

#[test]
fn a_candidate_whose_pods_all_die_loses_its_weight_and_comes_back_to_the_same_step() {
    let mut story = Story::of("All pods of the candidate die while it is watched at 50%", at_half());
    story.world.candidate_ready(0);
    story.world.measure("error-rate", Measurement::NoData("no series".into()));
    story.world.advance(5);
    story.pass("no pod is ready");
    story.pass("nothing happens: the gateway takes weight 0");
    story.world.gateway_accepts();
    story.world.candidate_ready(1);
    story.world.advance(60);
    story.pass("one of the two pods is back");
    story.world.candidate_ready(2);
    story.world.advance(60);
    story.pass("both are");
    story.world.gateway_accepts();
    story.world.measure("error-rate", Measurement::of(0.001));
    story.pass("the gateway accepts: the step's clock starts anew");
    story.world.advance(600);
    story.pass("ten minutes have passed, but everything needs two more pods");
    story.is("capacity-lost-and-back");
}

#[test]
fn a_candidate_that_stays_without_pods_is_taken_back() {
    let mut story = Story::of("All pods of the candidate die and none comes back", World::mid_canary());
    story.world.candidate_ready(0);
    story.pass("no pod is ready");
    story.world.gateway_accepts();
    story.world.advance(15 * 60 - 1);
    story.pass("a second before the deadline");
    story.world.advance(1);
    story.pass("progressDeadline has passed");
    story.pass("the gateway has no weight to give up");
    story.is("capacity-lost-for-good");
}

#[test]
fn the_third_loss_in_one_step_is_the_last() {
    let mut world = World::mid_canary();
    for _ in 0..2 {
        world.candidate_ready(0);
        world.pass();
        world.all_is_well();
        world.pass();
        world.all_is_well();
        world.pass();
    }
    let mut story = Story::of("All pods of the candidate die for the third time in a step", world);
    story.world.candidate_ready(0);
    story
        .world
        .pod(serde_json::json!({"containerStatuses": [{"name": "server", "image": "", "imageID": "", "ready": false,
        "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}}]}));
    story.pass("no pod is ready");
    story.is("capacity-lost-three-times");
}

#[test]
fn too_few_pods_hold_the_step_and_then_end_it() {
    let mut story = Story::of("One of two pods of the candidate dies at 50%", at_half());
    story.world.candidate_ready(1);
    story.pass("one of two pods is ready");
    story.world.advance(600);
    story.pass("ten minutes have passed: the step does not end");
    story.world.advance(300);
    story.pass("progressDeadline has passed");
    story.is("capacity-short");
}

#[test]
fn a_shortage_that_ends_lets_the_step_go_on_where_it_was() {
    let mut world = at_half();
    let since = world.attempt().observing_since;
    world.candidate_ready(1);
    world.pass();
    assert_eq!(world.attempt().short_of_capacity_since, Some(world.now));
    assert!(is_nothing(&world.decide()), "a shortage is written once");
    world.candidate_ready(2);
    world.pass();
    assert_eq!((world.attempt().short_of_capacity_since, world.attempt().observing_since), (None, since));
}

#[test]
fn a_candidate_that_dies_on_its_last_step_serves_nobody() {
    let mut world = at_half();
    world.advance(600);
    world.pass();
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoting);
    let mut story = Story::of("All pods of the candidate die while all traffic is on its way to it", world);
    story.world.candidate_ready(0);
    story.pass("no pod is ready");
    story.world.gateway_accepts();
    story.world.pods_ready();
    story.pass("they are again");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.is("capacity-lost-while-promoting");
}

#[test]
fn no_candidate_loses_and_regains_its_weight_for_ever() {
    let mut world = World::mid_canary();
    for _ in 0..200 {
        world.all_is_well();
        world.advance(40);
        world.pass();
        if world.status().attempt.is_some_and(|it| it.state.is_active()) {
            world.candidate_ready(0);
            world.pass();
        }
    }
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::RolledBack, Some(Cause::CapacityLost)));
    let effects = world.trail.effects();
    let raised = effects.iter().filter(|(attempt, decision, ..)| decision == "Shift" && *attempt == world.attempt().id);
    assert!(raised.count() < 10, "{effects:#?}");
}

#[test]
fn weight_goes_before_the_record_is_asked_and_comes_back_only_on_it() {
    let mut world = World::mid_canary();
    world.trail_is_down();
    world.candidate_ready(0);
    world.pass();
    assert_eq!((world.attempt().weight, world.attempt().state), (Weight::NONE, AttemptState::Starting));
    world.all_is_well();
    world.advance(3600);
    world.pass();
    assert_eq!((world.attempt().weight, world.attempt().state), (Weight::NONE, AttemptState::Starting));
    world.memory.trail_unavailable_since = None;
    world.pass();
    assert_eq!(world.attempt().weight.to_string(), "5%");
}

#[test]
fn a_new_leader_knows_what_was_lost() {
    let mut world = at_half();
    world.candidate_ready(0);
    world.pass();
    world.pass();
    world.memory = crate::decide::model_deployment::observed::Memory { lease_epoch: 8, ..Default::default() };
    assert!(is_nothing(&world.decide()));
    world.all_is_well();
    world.pass();
    assert_eq!((world.attempt().weight.to_string().as_str(), world.attempt().step), ("50%", Some(1)));
}

#[test]
fn nothing_that_could_be_refused_stands_before_the_withdrawn_weight() {
    let mut world = at_half();
    let name = format!("churn-{}", world.attempt().revision);
    world.children.deployments.remove(&name);
    let plan = world.decide();
    assert!(matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:?}", plan.ops);
    assert!(plan.ops.iter().any(|op| matches!(op, Op::Create(Child::Deployment(_)))), "{:?}", plan.ops);
}

#[test]
fn what_is_not_asked_while_there_is_no_weight_is_no_silence() {
    let mut world = World::mid_canary();
    world.rollout(
        serde_json::json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "5m", "do": "Rollback"}}),
    );
    world.measure("error-rate", Measurement::ProviderError("connection refused".into()));
    world.advance(30);
    world.pass();
    world.candidate_ready(0);
    world.pass();
    world.gateway_accepts();
    world.advance(600);
    world.pass();
    assert_eq!(world.attempt().cause, None, "{:?}", world.attempt().message);
    // Asked again, it is still away: since now.
    world.candidate_ready(4);
    for _ in 0..3 {
        world.advance(30);
        world.gateway_accepts();
        world.pass();
    }
    let silent = || world.status().verdicts.iter().find_map(|it| it.silent_since);
    assert!(silent().is_some_and(|it| (world.now - it).num_seconds() <= 90), "{:?}", world.status().verdicts);
    assert_eq!(world.attempt().cause, None, "{:?}", world.attempt().message);
    for _ in 0..11 {
        world.advance(30);
        world.gateway_accepts();
        world.pass();
    }
    assert_eq!(world.attempt().cause, Some(Cause::MetricSourceOutage));
}

#[test]
fn a_weight_whose_step_is_gone_comes_back_before_any_other() {
    let mut world = World::mid_canary();
    let before = world.attempt().weight;
    world.candidate_ready(0);
    world.pass();
    assert_eq!(world.attempt().withdrawn_from, Some(before));
    world.gateway_accepts();
    world.steps(serde_json::json!([{"weight": "50%", "for": "10m"}]));
    world.candidate_ready(4);
    world.pass();
    assert_eq!(world.attempt().weight, before);
}
