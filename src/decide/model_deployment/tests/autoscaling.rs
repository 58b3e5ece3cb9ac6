//! `spec.autoscaling`: an autoscaler for each revision decides, the operator says how many pods there are at least.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::story::Story;
use super::world::{World, from, is_nothing};
use crate::api::labels;
use crate::api::model_deployment::AttemptState;
use crate::build::{APPLIED, autoscaler};
use crate::decide::{Child, Op, Plan};

/// Between 2 and 20 pods; `churn-1` serves.
fn autoscaled() -> World {
    let mut world = World::new();
    world.edit(|spec| {
        spec.replicas = None;
        spec.autoscaling = Some(from(json!({"min": 2, "max": 20, "metrics": [{"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]})));
    });
    world.come_to_rest();
    world
}

fn stable_of(world: &World) -> String {
    labels::name(&["churn", &world.status().stable.expect("a stable revision").revision])
}

fn candidate_of(world: &World) -> String {
    labels::name(&["churn", &world.attempt().revision])
}

fn pods(world: &World, name: &str) -> i32 {
    world.children.deployments[name].spec.as_ref().unwrap().replicas.unwrap()
}

fn at_least(world: &World, name: &str) -> i32 {
    autoscaler::min(&world.children.autoscalers[name])
}

fn writes_a_deployment<S>(plan: &Plan<S>) -> bool {
    plan.ops.iter().any(|op| matches!(op, Op::Apply(Child::Deployment(_), _)))
}

#[test]
fn a_canary_raises_the_floor_with_the_weight_and_never_writes_the_number_of_pods() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    world.autoscaled(&stable, 10);
    world.all_is_well();
    world.pass();
    world.deploy("churn-2");
    let mut story = Story::of("A canary between two autoscalers: stable has 10 pods when it begins", world);
    story.pass("another entry is named");
    story.pass("the candidate's record is there");
    story.world.pods_ready();
    story.pass("the pod that 5% need is ready");
    story.world.all_is_well();
    story.pass("the gateway accepts");
    story.world.advance(600);
    story.pass("50% need five pods: the autoscaler is told");
    story.world.autoscalers_act();
    story.world.pods_ready();
    story.pass("it has made them, and they are ready");
    story.world.all_is_well();
    story.pass("the gateway accepts");
    story.world.advance(600);
    story.pass("everything needs ten");
    story.world.all_is_well();
    story.pass("they are ready");
    story.world.all_is_well();
    story.pass("the gateway accepts: the floors are those of the spec again");
    story.is("autoscaled-canary");
}

#[test]
fn hpa_scales_the_wrong_revision_to_its_maximum() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    world.autoscaled(&stable, 10);
    world.deploy("churn-2");
    for _ in 0..4 {
        world.pass();
        world.all_is_well();
    }
    let candidate = candidate_of(&world);
    assert_ne!(world.children.autoscalers[&stable].spec.as_ref().unwrap().scale_target_ref.name, candidate);
    assert_eq!((at_least(&world, &stable), pods(&world, &stable)), (10, 10), "all traffic may come back");
    assert_eq!((at_least(&world, &candidate), pods(&world, &candidate)), (1, 1), "5% of 10");
    // The candidate's load is its own affair, and so is stable's.
    world.autoscaled(&candidate, 7);
    world.all_is_well();
    assert!(!writes_a_deployment(&world.pass()));
    assert_eq!((pods(&world, &stable), pods(&world, &candidate)), (10, 7));
}

#[test]
fn the_floor_of_a_promotion_stays_as_long_as_the_old_revision() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    world.edit(|spec| spec.rollout.as_mut().unwrap().keep_stable = Some(from(json!("30m"))));
    world.autoscaled(&stable, 10);
    world.all_is_well();
    world.deploy("churn-2");
    for _ in 0..60 {
        world.pass();
        world.all_is_well();
        if world.attempt().state == AttemptState::Promoted {
            break;
        }
        world.advance(60);
    }
    let (old, new) = (stable, stable_of(&world));
    world.pass();
    assert_eq!((at_least(&world, &old), at_least(&world, &new)), (10, 10));
    world.come_to_rest();
    assert_eq!((world.children.autoscalers.get(&old), at_least(&world, &new)), (None, 2));
}

#[test]
fn what_an_autoscaler_does_is_never_undone() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    for pods_wanted in [5, 20, 2, 3] {
        world.autoscaled(&stable, pods_wanted);
        world.all_is_well();
        let plan = world.pass();
        assert!(plan.ops.is_empty(), "{:?}", plan.ops);
        assert!(is_nothing(&world.pass()));
        assert_eq!(pods(&world, &stable), pods_wanted);
    }
}

#[test]
fn a_template_edited_by_hand_is_put_back_once_and_the_number_of_pods_is_left() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    world.autoscaled(&stable, 5);
    let revision = world.status().stable.unwrap().revision;
    world.edit_deployment(&revision, |spec| {
        spec.template.spec.as_mut().unwrap().containers[0].image = Some("registry/scorer:hand".into());
    });
    world.count_templates(&stable, 2);
    assert!(writes_a_deployment(&world.pass()));
    world.count_templates(&stable, 3);
    world.all_is_well();
    world.pass();
    assert!(is_nothing(&world.pass()));
    assert_eq!(pods(&world, &stable), 5);
    let image = |world: &World| {
        let spec = world.children.deployments[&stable].spec.clone().unwrap();
        spec.template.spec.unwrap().containers[0].image.clone()
    };
    assert_eq!(image(&world).as_deref(), Some("registry/scorer:1.4"));
    world.edit_deployment(&revision, |spec| {
        spec.template.spec.as_mut().unwrap().containers[0].image = Some("registry/scorer:again".into());
    });
    world.count_templates(&stable, 4);
    assert!(writes_a_deployment(&world.pass()), "once more");
}

#[test]
fn what_an_autoscaler_makes_of_one_that_another_version_put_back_is_left_alone() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    // An earlier version built it, and noted so in its revision's record.
    let earlier = |it: &mut ObjectMeta| it.annotations.get_or_insert_default().insert(APPLIED.into(), "earlier".into());
    earlier(&mut Arc::make_mut(world.children.records.get_mut(&stable).unwrap()).metadata);
    earlier(&mut Arc::make_mut(world.children.deployments.get_mut(&stable).unwrap()).metadata);
    let revision = world.status().stable.unwrap().revision;
    world.edit_deployment(&revision, |spec| {
        spec.template.spec.as_mut().unwrap().containers[0].image = Some("registry/scorer:hand".into());
    });
    world.count_templates(&stable, 2);
    assert!(writes_a_deployment(&world.pass()), "this one puts it back");
    world.count_templates(&stable, 3);
    world.all_is_well();
    world.pass();
    for pods in [3, 5, 7, 9] {
        world.autoscaled(&stable, pods);
        let plan = world.pass();
        assert!(!writes_a_deployment(&plan) && plan.resets.is_empty(), "{plan:#?}");
    }
}

#[test]
fn from_replicas_to_an_autoscaler_and_back_nothing_starts_and_no_pod_is_lost() {
    let mut world = World::serving();
    let stable = stable_of(&world);
    let with = autoscaled().resource.spec.autoscaling;
    world.edit(|spec| (spec.replicas, spec.autoscaling) = (None, with));
    world.come_to_rest();
    assert_eq!((at_least(&world, &stable), pods(&world, &stable)), (2, 4), "what it has is the autoscaler's to lower");
    world.autoscaled(&stable, 6);
    world.edit(|spec| (spec.replicas, spec.autoscaling) = (Some(4), None));
    world.come_to_rest();
    assert!(world.children.autoscalers.is_empty());
    assert_eq!(pods(&world, &stable), 4);
    assert_eq!(world.status().attempts, 1);
}

#[test]
fn an_autoscaler_gets_something_to_scale_where_there_was_nothing() {
    let mut world = World::serving();
    let stable = stable_of(&world);
    world.edit(|spec| spec.replicas = Some(0));
    world.come_to_rest();
    let with = autoscaled().resource.spec.autoscaling;
    world.edit(|spec| (spec.replicas, spec.autoscaling) = (None, with));
    world.pass();
    assert_eq!(pods(&world, &stable), 2, "an autoscaler leaves a Deployment alone that says 0");
}

#[test]
fn traffic_that_grows_during_a_step_raises_what_the_candidate_needs() {
    let mut world = autoscaled();
    let stable = stable_of(&world);
    world.deploy("churn-2");
    for _ in 0..5 {
        world.pass();
        world.all_is_well();
    }
    assert_eq!((world.attempt().state, world.attempt().weight.to_string()), (AttemptState::Observing, "5%".into()));
    world.autoscaled(&stable, 20);
    world.advance(600);
    world.all_is_well();
    world.pass();
    assert_eq!(at_least(&world, &candidate_of(&world)), 10, "half of what stable has now");
}

#[test]
fn metrics_that_are_none_are_told_and_stop_nothing_that_serves() {
    let mut world = autoscaled();
    world.edit(|spec| spec.autoscaling.as_mut().unwrap().metrics = vec![json!({"type": 7})]);
    world.pass();
    let status = world.status();
    let stalled = status.conditions.iter().find(|it| it.type_ == "Stalled").unwrap();
    assert_eq!(stalled.reason, "InvalidAutoscaling");
    assert!(stalled.message.starts_with("spec.autoscaling"), "{}", stalled.message);
    assert!(status.conditions.iter().any(|it| it.type_ == "Available" && it.reason == "PodsReady"));
}
