//! A stable revision without a ready pod: `rollout.emergencyPromote`, and what happens without it.

use serde_json::json;

use super::story::Story;
use super::world::World;
use crate::api::model_deployment::AttemptState;
use crate::decide::Measurement;

/// `churn-2` watched at 5 % when the last pod of `churn-1` is lost.
fn stable_is_lost(emergency_promote: bool) -> World {
    let mut world = World::mid_canary();
    world.edit(|spec| {
        spec.rollout.as_mut().unwrap().emergency_promote = emergency_promote.then_some(true);
    });
    let stable = world.status().stable.unwrap().revision;
    world.pods_ready_of(&stable, 0);
    world
}

fn lose_stable(world: &mut World) {
    let stable = world.status().stable.unwrap().revision;
    world.pods_ready();
    world.pods_ready_of(&stable, 0);
}

#[test]
fn stuck_because_stable_is_broken() {
    let mut story =
        Story::of("The stable revision loses its pods under a canary: emergencyPromote", stable_is_lost(true));
    story.pass("no pod of the stable revision is ready");
    story.world.advance(30);
    story.pass("half a minute later none is: pods for everything are asked for");
    lose_stable(&mut story.world);
    story.pass("the candidate has pods for everything");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    assert!(story.world.status().proven.iter().all(|it| it.revision != story.world.target()), "it was not watched");
    story.is("emergency-promote");
}

#[test]
fn what_keeps_scaling_the_stable_revision_to_0_does_not_stop_the_candidate_that_may_take_over() {
    for (emergency_promote, expected) in [(false, AttemptState::Observing), (true, AttemptState::Promoted)] {
        let mut world = stable_is_lost(emergency_promote);
        let stable = world.status().stable.unwrap().revision;
        for _ in 0..12 {
            if world.attempt().state != AttemptState::Promoted {
                world.edit_deployment(&stable, |spec| spec.replicas = Some(0));
            }
            world.pass();
            lose_stable(&mut world);
            world.gateway_accepts();
            world.advance(10);
        }
        assert_eq!(world.attempt().state, expected);
        let contested = world.memory.resets.iter().any(|it| it.is_contested(world.now));
        assert!(contested, "{:#?}", world.memory.resets);
    }
}

#[test]
fn a_broken_stable_revision_does_not_stop_a_rollout_that_is_judged_by_itself() {
    let mut world = stable_is_lost(false);
    for _ in 0..60 {
        lose_stable(&mut world);
        world.gateway_accepts();
        world.measure("error-rate", Measurement::of(0.001));
        world.pass();
        if world.attempt().state == AttemptState::Promoted {
            return;
        }
        world.advance(60);
    }
    panic!("not promoted: {:#?}", world.attempt());
}

#[test]
fn what_is_compared_with_a_broken_stable_revision_holds_unless_the_candidate_may_take_over() {
    for (emergency_promote, expected) in [(false, AttemptState::Observing), (true, AttemptState::Promoted)] {
        let mut world = stable_is_lost(emergency_promote);
        world.analysis(json!({"metrics": [{"name": "error-rate", "role": "Guardrail",
            "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}, "compare": {"to": "Stable", "maxRatio": "1.5"}}]}));
        world.measure_stable("error-rate", Measurement::NoData("no series".into()));
        for _ in 0..60 {
            lose_stable(&mut world);
            world.gateway_accepts();
            world.measure("error-rate", Measurement::of(0.001));
            world.pass();
            world.advance(60);
        }
        assert_eq!(world.attempt().state, expected, "emergencyPromote: {emergency_promote}");
    }
}

#[test]
fn a_candidate_that_a_guardrail_speaks_against_never_takes_over() {
    let mut world = stable_is_lost(true);
    world.measure("error-rate", Measurement::of(0.5));
    for _ in 0..3 {
        lose_stable(&mut world);
        world.advance(30);
        world.pass();
        assert_ne!(world.attempt().state, AttemptState::Promoting);
    }
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
}

#[test]
fn nobody_takes_over_from_what_is_scaled_to_zero_on_purpose() {
    let mut world = stable_is_lost(true);
    world.edit(|spec| spec.replicas = Some(0));
    for _ in 0..5 {
        world.pass();
        world.gateway_accepts();
    }
    assert_eq!((world.attempt().state, world.attempt().emergency), (AttemptState::Observing, false));
}

#[test]
fn a_stable_revision_that_recovers_while_pods_come_up_gets_its_canary_back() {
    let mut world = stable_is_lost(true);
    world.pass();
    world.advance(30);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting, "pods for everything are awaited");
    world.all_is_well();
    world.pass();
    world.pass();
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string()), (AttemptState::Observing, "5%".into()));
}

#[test]
fn a_pod_that_merely_moves_to_another_node_promotes_nobody() {
    let mut world = stable_is_lost(true);
    world.pass();
    world.advance(29);
    world.pass();
    world.all_is_well();
    world.pass();
    assert_eq!(world.status().stable_down_since, None);
    let stable = world.status().stable.unwrap().revision;
    world.pods_ready_of(&stable, 0);
    world.advance(20);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Observing, "its time begins anew");
}

#[test]
fn a_stable_revision_that_is_scaled_up_from_zero_is_not_broken() {
    let mut world = World::serving();
    world.rollout(json!({"emergencyPromote": true, "steps": [{"weight": "5%", "for": "10m"}]}));
    world.edit(|spec| spec.replicas = Some(0));
    world.come_to_rest();
    world.edit(|spec| spec.replicas = Some(4));
    world.deploy("churn-2");
    for _ in 0..6 {
        lose_stable(&mut world);
        world.gateway_accepts();
        world.pass();
        world.advance(60);
        assert_ne!(world.attempt().state, AttemptState::Promoting);
    }
}

#[test]
fn an_emergency_ends_shadowing_too() {
    let mut world = World::serving();
    world.rollout(json!({"emergencyPromote": true, "shadow": {"percent": 100, "for": "1h"},
        "steps": [{"weight": "5%", "for": "10m"}]}));
    world.deploy("churn-2");
    for _ in 0..6 {
        world.pass();
        world.all_is_well();
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
    for _ in 0..6 {
        lose_stable(&mut world);
        world.gateway_accepts();
        world.pass();
        world.advance(30);
    }
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}
