//! What stays of the revision that served before: `rollout.keepStable` and `rollout.rollbackWindow`.

use serde_json::{Value, json};

use super::story::Story;
use super::world::World;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, RevisionRole};
use crate::decide::{Child, Measurement, Op};

fn rollout(more: Value) -> Value {
    let mut rollout = json!({"steps": [{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m"}]});
    rollout.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rollout
}

/// `churn-2` was promoted a moment ago, after `churn-1`.
pub(super) fn just_promoted(more: Value) -> World {
    let mut world = World::serving();
    world.rollout(rollout(more));
    world.deploy("churn-2");
    promote(&mut world);
    world
}

fn promote(world: &mut World) {
    for _ in 0..60 {
        world.all_is_well();
        world.pass();
        if world.attempt().state == AttemptState::Promoted {
            return;
        }
        world.advance(60);
    }
    panic!("not promoted: {:#?}", world.attempt());
}

fn role_of(world: &World, revision: &str) -> Option<RevisionRole> {
    world.status().revisions.iter().find(|it| it.revision == revision).map(|it| it.role)
}

/// Weights that the candidate had until it was promoted.
fn weights_until_promoted(world: &mut World) -> Vec<String> {
    let mut weights = Vec::new();
    for _ in 0..60 {
        world.all_is_well();
        world.pass();
        let attempt = world.attempt();
        let weight = attempt.weight.to_string();
        if attempt.state.is_active() && weights.last() != Some(&weight) {
            weights.push(weight);
        }
        if attempt.state == AttemptState::Promoted {
            return weights;
        }
        world.advance(60);
    }
    panic!("not promoted: {:#?}", world.attempt());
}

#[test]
fn the_old_revision_keeps_its_pods_for_keep_stable_and_the_way_back_is_one_shift() {
    let mut story = Story::of(
        "Back within keepStable and rollbackWindow",
        just_promoted(json!({"keepStable": "30m", "rollbackWindow": "24h"})),
    );
    story.world.gateway_accepts();
    story.pass("the route names only the new revision");
    story.world.advance(600);
    story.pass("ten minutes later: long drained, and still there");
    story.world.deploy("churn-1");
    story.pass("the spec names the entry from before");
    story.pass("its pods are there and ready: all traffic at once");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.is("fast-return");
}

#[test]
fn past_keep_stable_the_old_revision_goes_and_past_rollback_window_it_takes_the_steps() {
    let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "2h"}));
    let (old, name) = (first(&world), |revision: &str| labels::name(&["churn", revision]));
    world.advance(30 * 60 - 1);
    world.pass();
    assert_eq!(role_of(&world, &old), Some(RevisionRole::Kept));
    world.advance(1);
    let plan = world.pass();
    let deleted = plan.ops.iter().any(|op| matches!(op, Op::Delete(_, it, _) if *it == name(&old)));
    assert!(deleted, "it has had no traffic for half an hour: nothing to drain: {:?}", plan.ops);
    world.come_to_rest();
    assert_eq!(role_of(&world, &old), None);

    let mut in_time = world.clone();
    in_time.deploy("churn-1");
    assert_eq!(weights_until_promoted(&mut in_time), ["0%", "100%"], "pods first, then all traffic");
    world.advance(2 * 3600);
    world.deploy("churn-1");
    assert_eq!(weights_until_promoted(&mut world), ["0%", "5%", "50%", "100%"]);
}

fn first(world: &World) -> String {
    let promoted = &world.status().proven;
    promoted.first().expect("a proven revision").revision.clone()
}

#[test]
fn without_rollback_window_every_way_back_takes_the_steps() {
    let mut world = just_promoted(json!({"keepStable": "30m"}));
    world.deploy("churn-1");
    assert_eq!(weights_until_promoted(&mut world), ["0%", "5%", "50%", "100%"]);
}

#[test]
fn a_window_counts_from_when_a_revision_was_replaced_not_from_when_it_began_to_serve() {
    let mut world = World::serving();
    world.rollout(rollout(json!({"rollbackWindow": "1h"})));
    world.advance(30 * 24 * 3600);
    world.deploy("churn-2");
    promote(&mut world);
    world.deploy("churn-1");
    assert_eq!(weights_until_promoted(&mut world), ["0%", "100%"]);
}

#[test]
fn a_return_is_watched_with_all_of_the_traffic_as_long_as_a_breach_takes_to_show() {
    let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "24h"}));
    let old = first(&world);
    world.deploy("churn-1");
    for _ in 0..3 {
        world.pass();
        world.gateway_accepts();
    }
    assert_eq!(world.weights().len(), 1, "all of the traffic");
    world.measure("error-rate", Measurement::of(0.5));
    for _ in 0..2 {
        assert_eq!(world.attempt().state, AttemptState::Promoting);
        world.advance(30);
        world.pass();
    }
    assert_eq!((world.attempt().state, world.attempt().revision), (AttemptState::RollingBack, old));
}

/// One that passes may fail the next time: a breach shows after `failureLimit` and one more.
#[test]
fn a_return_that_is_well_is_watched_as_long_as_one_that_is_not() {
    for limit in [0, 1, 3] {
        let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "24h"}));
        world.analysis(json!({"metrics": [super::world::guardrail()], "failureLimit": limit}));
        world.deploy("churn-1");
        for _ in 0..3 {
            world.pass();
            world.gateway_accepts();
        }
        for _ in 0..limit {
            world.advance(30);
            world.all_is_well();
            world.pass();
            assert_eq!(world.attempt().state, AttemptState::Promoting, "failureLimit {limit}");
        }
        world.advance(30);
        world.all_is_well();
        world.pass();
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoted, "failureLimit {limit}");
    }
}

#[test]
fn guardrails_are_on_during_a_fast_return_and_one_that_was_taken_back_is_not_proven_any_more() {
    let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "24h"}));
    let old = first(&world);
    world.deploy("churn-1");
    world.pass();
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().weight.to_string()), (AttemptState::Promoting, "100%".into()));
    world.measure("error-rate", Measurement::of(0.5));
    for _ in 0..2 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::RollingBack, "{:#?}", world.status().verdicts);
    assert!(world.status().proven.iter().all(|it| it.revision != old));
    world.gateway_accepts();
    world.pass();
    assert!(world.status().taken_back.iter().any(|it| it.revision == old));
}

#[test]
fn one_revision_is_kept_at_a_time() {
    let mut world = just_promoted(json!({"keepStable": "10h"}));
    let first = first(&world);
    world.deploy("churn-3");
    promote(&mut world);
    let kept: Vec<_> = world.status().revisions.into_iter().filter(|it| it.role == RevisionRole::Kept).collect();
    assert_eq!(kept.len(), 1, "{kept:#?}");
    assert_ne!(kept[0].revision, first);
}

#[test]
fn a_kept_revision_keeps_all_of_its_pods_unless_nothing_is_to_run() {
    let mut world = just_promoted(json!({"keepStable": "10h"}));
    let name = labels::name(&["churn", &first(&world)]);
    let pods = |world: &World| world.children.deployments[&name].spec.as_ref().unwrap().replicas;
    world.edit(|spec| spec.replicas = Some(2));
    world.pass();
    assert_eq!(pods(&world), Some(4), "as many as it had when it served");
    world.children.deployments.remove(&name);
    let plan = world.pass();
    let made = plan.ops.iter().find_map(|op| match op {
        Op::Create(Child::Deployment(it)) => it.spec.as_ref().unwrap().replicas,
        _ => None,
    });
    assert_eq!(made, Some(2), "somebody deleted it");
    world.edit(|spec| spec.replicas = Some(0));
    world.pass();
    assert_eq!(pods(&world), Some(0));
}

#[test]
fn a_proven_revision_comes_back_as_it_was_built_although_the_operator_would_build_it_differently_now() {
    let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "24h"}));
    world.settings.fetch_image = "werkbank:0.2.0".into();
    world.deploy("churn-1");
    world.pass();
    let plan = world.pass();
    assert!(!plan.ops.iter().any(|op| matches!(op, Op::Delete(..))), "{:?}", plan.ops);
    assert_eq!(world.attempt().state, AttemptState::Promoting);
}
