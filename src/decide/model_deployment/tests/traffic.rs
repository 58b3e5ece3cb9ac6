//! `spec.traffic` is added or removed: whatever serves goes on serving until its successor does.

use std::sync::Arc;

use serde_json::json;

use super::world::{World, seen};
use crate::api::Weight;
use crate::api::model_deployment::{Attempt, AttemptState, Cause};
use crate::build::route;
use crate::decide::{Child, ChildKind, Measurement, Op};

fn active(world: &World) -> Option<Attempt> {
    world.status().attempt.filter(|it| it.state.is_active())
}

fn selected(world: &World) -> Option<String> {
    let service = world.children.services.get("churn")?;
    service.spec.as_ref()?.selector.as_ref()?.get("werkbank.dev/revision").cloned()
}

/// Blue-green at first; then a gateway is added.
fn with_gateway_added() -> World {
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    world.come_to_rest();
    let traffic = World::new().resource.spec.traffic;
    world.edit(|spec| spec.traffic = traffic);
    world.steps(json!([{"weight": "5%", "for": "10m"}]));
    world.come_to_rest();
    world
}

#[test]
fn callers_of_the_service_stay_on_stable_after_a_gateway_was_added() {
    let mut world = with_gateway_added();
    assert!(world.children.route.is_some());
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
    assert_eq!(selected(&world), world.status().stable.map(|it| it.revision));
}

#[test]
fn nothing_drains_while_the_service_still_selects_it() {
    let mut world = with_gateway_added();
    let old = selected(&world).unwrap();
    world.deploy("churn-2");
    for _ in 0..60 {
        world.all_is_well();
        world.pass();
        world.advance(60);
        if world.attempt().state == AttemptState::Promoting {
            break;
        }
    }
    let service = Arc::make_mut(world.children.services.get_mut("churn").unwrap());
    service.spec.as_mut().unwrap().selector.as_mut().unwrap().insert("werkbank.dev/revision".into(), old.clone());
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoting, "the Service is on its way");
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn the_route_stays_while_the_service_cannot_be_had() {
    let mut world = World::serving();
    world.memory.foreign_children.push("Service/churn".into());
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    (0..3).for_each(|_| drop(world.pass()));
    assert!(world.children.route.is_some());
    world.memory.foreign_children.clear();
    world.come_to_rest();
    assert!(world.children.route.is_none() && selected(&world).is_some());
}

#[test]
fn a_bad_candidate_loses_its_weight_also_on_a_route_that_has_to_stay() {
    let mut world = World::mid_canary();
    world.memory.foreign_children.push("Service/churn".into());
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    world.measure("error-rate", Measurement::of(0.2));
    for _ in 0..2 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
    world.pass();
    let stable = format!("churn-{}", world.status().stable.unwrap().revision);
    assert_eq!(world.weights(), [(stable, 10_000)]);
    let gateway = route::gateway(world.children.route.as_deref().unwrap()).unwrap();
    let expected = World::new().resource.spec.traffic.unwrap().gateway;
    assert_eq!(gateway, expected, "as it was last accepted");
}

#[test]
fn a_gateway_api_that_is_installed_late_finds_the_attempt_waiting() {
    let mut world = World::new();
    world.children.gateway_api = false;
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    world.advance(3600);
    let plan = world.pass();
    assert_eq!((world.attempt().cause, plan.requeue), (None, None));
    world.children.gateway_api = true;
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn a_gateway_api_that_is_missing_mid_way_keeps_no_request_from_stable() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.children.gateway_api = false;
    world.children.route = None;
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
}

/// The pass that gives weight dies once its status is written; what it has sent then is still on its way. The
/// attempt is aborted by whoever comes after.
pub(super) fn dies_and_is_aborted(mut world: World) -> (World, Vec<Op>) {
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    let plan = world.decide();
    assert!(plan.status.as_ref().unwrap().attempt.as_ref().unwrap().weight > Weight::NONE);
    world.carry_out(&plan, plan.entries.len() + 1);
    world.restart();
    world.request("abort", "n1");
    for _ in 0..4 {
        world.pass();
        world.gateway_accepts();
    }
    assert!(active(&world).is_none(), "{:#?}", world.attempt());
    (world, plan.ops)
}

/// Whether the API server refuses each of these writes that takes requests somewhere.
pub(super) fn are_refused(world: &World, late: &[Op]) -> bool {
    let takes_requests = |it: &Child| it.name() == "churn";
    let refused = late.iter().filter_map(|op| match op {
        Op::Create(child) => takes_requests(child).then(|| world.versions(child.kind(), child.name()).is_some()),
        Op::Apply(child, known) => takes_requests(child)
            .then(|| world.versions(child.kind(), child.name()).as_ref().and_then(seen).as_ref() != Some(known)),
        Op::Delete(..) => None,
    });
    let refused: Vec<bool> = refused.collect();
    !refused.is_empty() && refused.into_iter().all(|it| it)
}

#[test]
fn a_late_write_switches_no_service_to_what_was_taken_back() {
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    world.come_to_rest();
    world.deploy("churn-2");
    let (world, late) = dies_and_is_aborted(world);
    assert!(are_refused(&world, &late), "{late:#?}");
}

#[test]
fn a_late_write_makes_no_route_and_no_service_for_a_first_deployment_that_was_taken_back() {
    let (world, late) = dies_and_is_aborted(World::new());
    assert!(are_refused(&world, &late), "{late:#?}");
    assert!(world.weights().iter().all(|(_, weight)| *weight == 0));
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    let (world, late) = dies_and_is_aborted(world);
    assert!(are_refused(&world, &late), "{late:#?}");
    assert_eq!(selected(&world).as_deref(), Some("none"));
}

#[test]
fn a_late_write_gives_no_weight_back_to_what_it_was_withdrawn_from() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    let plan = world.decide();
    world.carry_out(&plan, plan.entries.len() + 1);
    world.restart();
    let candidate = world.attempt().revision;
    world.pods_ready_of(&candidate, 0);
    world.pass();
    assert_eq!(world.attempt().withdrawn_from.map(|it| it.to_string()).as_deref(), Some("5%"));
    assert!(are_refused(&world, &plan.ops), "{:#?}", plan.ops);
    // Once is enough.
    world.gateway_accepts();
    let written: Vec<Op> = world.pass().ops;
    let route = |op: &Op| matches!(op, Op::Apply(child, _) if child.kind() == ChildKind::HttpRoute);
    assert!(!written.iter().any(route), "{written:#?}");
}
