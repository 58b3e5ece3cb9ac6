//! `spec.replicas` is edited while an attempt is under way, by a person or an autoscaler.

use super::world::World;
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::AttemptState;

/// How many pods are asked for, of stable and of the candidate.
fn asked_for(world: &World) -> (i32, i32) {
    let pods = |revision: &str| {
        let live = &world.children.deployments[&labels::name(&["churn", revision])];
        live.spec.as_ref().unwrap().replicas.unwrap()
    };
    (pods(&world.status().stable.unwrap().revision), pods(&world.attempt().revision))
}

fn scale(world: &mut World, replicas: i32) {
    world.edit(|spec| spec.replicas = Some(replicas));
    world.pass();
}

#[test]
fn a_scale_up_reaches_stable_while_an_attempt_is_under_way() {
    let mut world = World::mid_canary();
    scale(&mut world, 40);
    assert_eq!(asked_for(&world), (40, 2));
}

#[test]
fn a_scale_down_waits_for_the_attempts_end() {
    let mut world = World::mid_canary();
    scale(&mut world, 2);
    assert_eq!(asked_for(&world), (4, 1));
}

#[test]
fn scaled_to_zero_mid_canary_runs_nothing() {
    let mut world = World::mid_canary();
    scale(&mut world, 0);
    assert_eq!(asked_for(&world), (0, 0));
}

#[test]
fn a_canary_that_was_begun_at_zero_is_scaled_up_together_with_what_serves() {
    let mut world = World::serving();
    world.edit(|spec| spec.replicas = Some(0));
    world.come_to_rest();
    world.deploy("churn-2");
    for _ in 0..4 {
        world.pass();
        world.gateway_accepts();
    }
    assert_eq!((world.attempt().weight.to_string().as_str(), asked_for(&world)), ("5%", (0, 0)));
    scale(&mut world, 10);
    assert_eq!((world.attempt().weight, world.attempt().state), (Weight::NONE, AttemptState::Starting));
    assert_eq!(asked_for(&world), (10, 1), "weight goes back to pods that are on their way");
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().weight.to_string(), "5%");
}
