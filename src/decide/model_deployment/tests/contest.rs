//! Somebody else edits the route, or the pods of a revision.

use std::sync::Arc;

use serde_json::json;

use super::probation;
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

/// Somebody gives its pods another image.
fn change_image(world: &mut World) {
    let stable = world.status().stable.unwrap().revision;
    world.edit_deployment(&stable, |spec| {
        spec.template.spec.as_mut().unwrap().containers[0].image = Some("registry/scorer:hand".into());
    });
}

/// Somebody lets the stable revision's Service select other pods.
fn select_others(world: &mut World) {
    let name = format!("churn-{}", world.status().stable.unwrap().revision);
    let service = Arc::make_mut(world.children.services.get_mut(&name).unwrap());
    service.spec.as_mut().unwrap().selector = None;
    service.metadata.resource_version = Some(format!("{}0", service.metadata.resource_version.clone().unwrap()));
}

/// Whether a Deployment or a Service is put back.
fn puts_back<S>(plan: &Plan<S>) -> bool {
    let is_one = |op: &Op| matches!(op, Op::Apply(Child::Deployment(_) | Child::Service(_), _));
    let is_put_back = plan.ops.iter().any(is_one);
    assert_eq!(is_put_back, !plan.resets.is_empty(), "{:#?}", plan.ops);
    is_put_back
}

fn stalled(world: &World) -> (String, String) {
    let it = condition::find(&world.status().conditions, "Stalled").unwrap().clone();
    (it.reason, it.message)
}

/// As often as it takes.
fn contest(world: &mut World, edit: fn(&mut World)) {
    for _ in 0..3 {
        edit(world);
        assert!(puts_back(&world.pass()), "at once");
    }
}

#[test]
fn a_child_that_is_edited_again_and_again_is_told_of_once_and_put_back_every_ten_seconds_only() {
    for (edit, kind) in
        [(scale as fn(&mut World), "Deployment"), (change_image, "Deployment"), (select_others, "Service")]
    {
        let mut world = World::serving();
        let mut events = Vec::new();
        for _ in 0..3 {
            edit(&mut world);
            let plan = world.pass();
            assert!(puts_back(&plan), "at once");
            events.extend(plan.events);
        }
        assert_eq!(events.iter().map(|it| it.reason.as_str()).collect::<Vec<_>>(), ["ChildContested"]);
        edit(&mut world);
        assert!(!puts_back(&world.pass()), "the fourth time it waits");
        let said = stalled(&world);
        let stable = world.status().stable.unwrap().revision;
        assert_eq!(said.0, "ChildContested");
        assert!(said.1.contains(&format!("{kind} churn-{stable} again and again")), "{said:?}");
        world.advance(9);
        assert!(!puts_back(&world.pass()));
        assert_eq!(world.pass().requeue, Some(std::time::Duration::from_secs(1)));
        world.advance(1);
        let plan = world.pass();
        assert!(puts_back(&plan) && plan.status.is_none() && plan.events.is_empty(), "{plan:#?}");
        world.advance(599);
        world.pass();
        assert_eq!(stalled(&world).0, "ChildContested");
        world.advance(1);
        world.pass();
        assert_eq!(stalled(&world).0, "Progressing", "ten minutes without an edit");
        edit(&mut world);
        assert!(puts_back(&world.pass()), "at once again");
    }
}

#[test]
fn nothing_advances_while_a_child_is_contested() {
    for edit in [scale, change_image, select_others] {
        let mut world = World::mid_canary();
        let weight = world.attempt().weight;
        contest(&mut world, edit);
        for _ in 0..90 {
            world.advance(10);
            edit(&mut world);
            world.pass();
            world.all_is_well();
        }
        assert_eq!(world.attempt().weight, weight, "its step of ten minutes was over long ago");
        world.come_to_rest();
        assert_eq!(world.status().stable.map(|it| it.name), Some("churn-2".into()));
    }
}

#[test]
fn what_is_contested_is_put_back_at_once_on_the_way_back() {
    let mut world = World::mid_canary();
    contest(&mut world, scale);
    world.measure("error-rate", Measurement::of(0.5));
    world.until(
        |it| it.attempt().state == AttemptState::RollingBack,
        |it| {
            it.advance(30);
            it.pass();
        },
    );
    for edit in [scale, scale, scale] {
        edit(&mut world);
        assert!(puts_back(&world.pass()), "each edit of it is");
    }
}

#[test]
fn pods_that_are_called_back_wait_for_no_contest() {
    let mut world = probation::asleep();
    let old = probation::first(&world);
    probation::outcomes(&mut world, 0.02);
    world.pass();
    for _ in 0..6 {
        world.edit_deployment(&old, |spec| spec.replicas = Some(1));
        assert!(puts_back(&world.pass()), "each edit of it is");
    }
}

#[test]
fn what_is_to_have_no_pods_waits_for_no_contest() {
    let mut world = World::serving();
    contest(&mut world, scale);
    world.edit(|spec| spec.replicas = Some(0));
    for _ in 0..3 {
        scale(&mut world);
        let plan = world.pass();
        assert!(plan.ops.iter().any(|op| matches!(op, Op::Apply(Child::Deployment(_), _))), "{:#?}", plan.ops);
    }
}

#[test]
fn an_edit_of_what_the_operator_does_not_set_is_no_contest() {
    let mut world = World::serving();
    let stable = world.status().stable.unwrap().revision;
    for seconds in 1..9 {
        world.edit_deployment(&stable, |spec| spec.min_ready_seconds = Some(seconds));
        let plan = world.pass();
        assert!(!plan.ops.is_empty() && plan.resets.is_empty(), "its generation is noted, and that is all: {plan:#?}");
    }
    assert_eq!(stalled(&world).0, "Progressing");
}

#[test]
fn a_contest_ends_with_its_object_and_with_the_process() {
    let mut world = World::serving();
    contest(&mut world, scale);
    world.pass();
    assert_eq!(stalled(&world).0, "ChildContested");
    let name = format!("churn-{}", world.status().stable.unwrap().revision);
    world.children.deployments.remove(&name);
    world.pass();
    assert_eq!(stalled(&world).0, "Progressing", "what edited it has nothing left to edit");
    world.all_is_well();
    contest(&mut world, scale);
    world.restart();
    scale(&mut world);
    assert!(puts_back(&world.pass()), "another process begins to count anew");
}

#[test]
fn a_contest_hides_nothing_else_that_stands_in_the_way() {
    let mut world = World::mid_canary();
    contest(&mut world, scale);
    let candidate = world.attempt().revision;
    world.run(&candidate, &["1a", "2b"]);
    world.pass();
    let (reason, message) = stalled(&world);
    assert_eq!(reason, "ImagesDiffer");
    assert!(message.contains("again and again"), "{message}");
}

#[test]
fn a_contested_route_is_no_longer_contested_ten_minutes_after_the_clock_was_set_back() {
    let mut world = World::mid_canary();
    for _ in 0..3 {
        edit(&mut world);
        world.pass();
        world.gateway_accepts();
    }
    world.advance(-3600);
    edit(&mut world);
    assert!(resets(&world.pass()), "it does not wait until it is what it was");
    world.gateway_accepts();
    world.advance(-3600);
    for (seconds, contested) in [(0, true), (599, true), (1, false)] {
        world.advance(seconds);
        world.pass();
        assert_eq!(world.status().route_contest.is_some(), contested, "{seconds}");
    }
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
