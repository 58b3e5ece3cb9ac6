//! Somebody else edits the route, or the pods of a revision.

use std::sync::Arc;

use serde_json::json;

use super::story::Story;
use super::world::World;
use crate::api::condition;
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

/// Somebody scales the stable revision.
fn scale(world: &mut World) {
    let stable = world.status().stable.unwrap().revision;
    world.edit_deployment(&stable, |spec| spec.replicas = Some(7));
}

fn puts_back<S>(plan: &Plan<S>) -> bool {
    let is_deployment = plan.ops.iter().any(|op| matches!(op, Op::Apply(Child::Deployment(_), _)));
    assert_eq!(is_deployment, !plan.resets.is_empty(), "{:#?}", plan.ops);
    is_deployment
}

#[test]
fn a_deployment_that_is_edited_again_and_again_is_put_back_every_ten_seconds_only() {
    let mut world = World::serving();
    for _ in 0..3 {
        scale(&mut world);
        assert!(puts_back(&world.pass()), "at once");
    }
    scale(&mut world);
    assert!(!puts_back(&world.pass()), "the fourth time it waits");
    let stalled = |world: &World| condition::find(&world.status().conditions, "Stalled").unwrap().clone();
    let said = stalled(&world);
    let stable = world.status().stable.unwrap().revision;
    assert_eq!(said.reason, "ChildContested");
    assert!(
        said.message.contains(&format!("Deployment churn-{stable} again and again (put back 3 times)")),
        "{said:?}"
    );
    world.advance(9);
    assert!(!puts_back(&world.pass()));
    assert_eq!(world.pass().requeue, Some(std::time::Duration::from_secs(1)));
    world.advance(1);
    assert!(puts_back(&world.pass()));
    world.advance(599);
    world.pass();
    assert_eq!(stalled(&world).reason, "ChildContested");
    world.advance(1);
    world.pass();
    assert_eq!(stalled(&world).reason, "Progressing", "ten minutes without an edit");
    scale(&mut world);
    assert!(puts_back(&world.pass()), "at once again");
}

#[test]
fn what_the_operator_scales_itself_is_no_contest() {
    let mut world = World::serving();
    let weights = [5, 10, 30, 50, 70, 90].map(|it| json!({"weight": format!("{it}%"), "for": "1m"}));
    world.rollout(json!({"steps": weights}));
    for entry in ["churn-2", "churn-3", "churn-4"] {
        world.deploy(entry);
        world.come_to_rest();
        assert_eq!(world.memory.resets, []);
    }
}

#[test]
fn a_rollout_goes_on_while_its_deployments_are_contested() {
    let mut world = World::mid_canary();
    for _ in 0..4 {
        scale(&mut world);
        world.pass();
    }
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name), Some("churn-2".into()));
}

#[test]
fn what_the_operator_scales_of_what_an_earlier_one_built_is_no_contest() {
    let mut world = World::serving();
    let name = format!("churn-{}", world.status().stable.unwrap().revision);
    for pods in [3, 5, 7, 9] {
        let live = std::sync::Arc::make_mut(world.children.deployments.get_mut(&name).unwrap());
        live.metadata.annotations.get_or_insert_default().insert(crate::build::APPLIED.into(), "earlier".into());
        world.edit(|spec| spec.replicas = Some(pods));
        let plan = world.pass();
        assert!(plan.ops.iter().any(|op| matches!(op, Op::Apply(Child::Deployment(_), _))), "{:?}", plan.ops);
        assert_eq!(plan.resets, []);
    }
}
