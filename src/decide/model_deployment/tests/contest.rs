//! Somebody else edits the route.

use std::sync::Arc;

use serde_json::json;

use super::story::Story;
use super::world::World;
use crate::api::model_deployment::{AttemptState, Phase};
use crate::decide::{Child, Measurement, Op, Plan};

/// Who it is gives the last backend another weight.
fn edit(world: &mut World) {
    world.edit_route(|spec| {
        let mut rules = spec.rules.list();
        let backends = rules[0]["backendRefs"].as_array_mut().unwrap();
        backends.last_mut().unwrap()["weight"] = json!(7777);
        spec.rules = rules.into();
    });
}

fn resets<S>(plan: &Plan<S>) -> bool {
    plan.ops.iter().any(|op| matches!(op, Op::Apply(Child::HttpRoute(_), _)))
}

#[test]
fn an_edit_of_the_route_is_reset_and_the_third_holds_the_rollout() {
    let mut story = Story::of("Somebody edits the route under a canary, again and again", World::mid_canary());
    for time in ["once", "twice", "three times: nothing advances"] {
        edit(&mut story.world);
        story.pass(time);
        story.world.gateway_accepts();
    }
    edit(&mut story.world);
    story.pass("and again, at once: not before ten seconds have passed");
    story.world.advance(10);
    story.pass("they have");
    story.world.gateway_accepts();
    story.world.advance(595);
    story.pass("the step is over, but does not end");
    story.world.advance(5);
    story.pass("ten minutes without an edit");
    story.is("route-contested");
}

#[test]
fn progress_read_from_the_live_route_jumps_to_100_percent() {
    let mut world = World::mid_canary();
    let revision = world.attempt().revision;
    world.edit_route(|spec| {
        let mut rules = spec.rules.list();
        let backends = rules[0]["backendRefs"].as_array_mut().unwrap();
        let last = backends.pop().unwrap();
        *backends = vec![json!({"name": last["name"], "port": last["port"], "weight": 10_000})];
        spec.rules = rules.into();
    });
    assert!(resets(&world.pass()));
    let attempt = world.attempt();
    assert_eq!(
        (attempt.state, attempt.weight.to_string(), attempt.revision),
        (AttemptState::Observing, "5%".into(), revision)
    );
    assert_eq!(world.weights().iter().map(|(_, weight)| *weight).collect::<Vec<_>>(), [9500, 500]);
}

#[test]
fn weight_0_is_written_at_once_however_contested_the_route_is() {
    let mut world = World::mid_canary();
    for _ in 0..4 {
        edit(&mut world);
        world.pass();
        world.gateway_accepts();
    }
    world.measure("error-rate", Measurement::of(0.5));
    for _ in 0..2 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    for _ in 0..3 {
        edit(&mut world);
        assert!(resets(&world.pass()), "each edit of it is");
    }
    world.gateway_accepts();
    world.pass();
    assert_eq!(world.status().phase, Phase::RolledBack);
}

#[test]
fn an_old_copy_of_the_route_with_its_annotations_is_an_edit_too() {
    let mut world = World::serving();
    let copy = world.children.route.clone().unwrap();
    world.deploy("churn-2");
    for _ in 0..4 {
        world.pass();
        world.all_is_well();
    }
    let live = Arc::make_mut(world.children.route.as_mut().unwrap());
    live.spec = copy.spec.clone();
    live.metadata.annotations.clone_from(&copy.metadata.annotations);
    world.edit_route(|_| ());
    world.pass();
    assert_eq!(world.status().route_contest.map(|it| it.resets), Some(1));
}

#[test]
fn what_the_operator_has_not_written_yet_is_nobodys_edit() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!(world.status().route_contest, None);
    let mut world = World::mid_canary();
    world.gateway(json!({"parentRefs": [{"name": "internal", "namespace": "infra"}], "hostnames": ["other.internal"]}));
    world.come_to_rest();
    assert_eq!(world.status().route_contest, None, "the user's own edit, once it is accepted");
}
