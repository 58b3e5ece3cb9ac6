//! The worlds that are exhausted: where each begins, and what can happen there.

use serde_json::{Value, json};

use super::World;
use super::event::After::{Child, Record, Status};
use super::event::Event::{self, *};
use super::same::check_waits;
use crate::api::model_deployment::Phase;
use crate::decide::Measurement;
use crate::decide::model_deployment::tests::properties::late_by;
use crate::decide::model_deployment::tests::world::{from, guardrail};
use crate::explore;

/// `churn-1` is to serve, which has never served; nobody knows what it answers.
fn first() -> World {
    let mut world = World::new();
    world.edit(|spec| spec.replicas = Some(1));
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "progressDeadline": "2m", "drain": "1m"}));
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [guardrail()]}));
    world
}

/// One step of a minute, measured each minute; everything is given up after two.
fn small() -> World {
    let mut world = first();
    world.come_to_rest();
    world
}

/// `churn-2` is on its way; errors are as they should be.
fn on_its_way() -> World {
    let mut world = small();
    world.measure("error-rate", Measurement::of(0.001));
    world.deploy("churn-2");
    world
}

/// In a healthy cluster.
fn half_a_minute(world: &mut World) {
    world.pass();
    world.all_is_well();
    world.advance(30);
}

/// `churn-2` has been promoted, and is judged after a minute by what arrives late.
fn on_probation() -> World {
    let mut world = small();
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [guardrail(), late_by("1m")]}));
    world.measure("error-rate", Measurement::of(0.001));
    world.deploy("churn-2");
    world.until(|it| it.status().phase == Phase::Probation, half_a_minute);
    world
}

/// `churn-1` serves, and `churn-2` is on its way as `change` says it is to go.
fn on_its_way_so(change: Value) -> World {
    let mut world = small();
    let mut rollout = serde_json::to_value(&world.resource.spec.rollout).unwrap();
    rollout.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    world.rollout(rollout);
    world.measure("error-rate", Measurement::of(0.001));
    world.deploy("churn-2");
    world
}

/// `churn-1` was replaced by `churn-2` a while ago, and is proven for two minutes.
fn replaced() -> World {
    let mut world = on_its_way_so(json!({"rollbackWindow": "2m", "keepStable": "1m"}));
    world.until(
        |it| it.status().phase == Phase::Stable && it.status().stable.is_some_and(|it| it.name == "churn-2"),
        half_a_minute,
    );
    world
}

fn explored(what: &str, first: World, events: &[Event]) {
    check_waits(&first);
    explore::explored(what, first, events);
}

#[test]
fn every_way_a_canary_can_go_keeps_the_rules() {
    explored("a canary", on_its_way(), &[Pass, PodsReady, PodsGone, GatewayAccepts, Good, Bad, Minute]);
}

#[test]
fn whatever_people_change_their_minds_to_keeps_the_rules() {
    explored("people", on_its_way(), &[Pass, Cluster, Minute, Deploy("churn-1"), Deploy("churn-2"), Abort]);
}

#[test]
fn a_trail_that_comes_and_goes_keeps_the_rules() {
    explored("the trail", on_its_way(), &[Pass, Cluster, Minute, Bad, TrailDown, TrailUp]);
}

#[test]
fn every_death_and_every_conflict_of_a_canary_keeps_the_rules() {
    explored("deaths", on_its_way(), &[Pass, Cluster, Minute, Dies(Record), Dies(Status), Dies(Child), Conflict]);
}

#[test]
fn every_way_a_probation_can_go_keeps_the_rules() {
    let events = [Pass, Cluster, Minute, Outcome(Some(0.001)), Outcome(Some(0.5)), Outcome(None)];
    explored("probation", on_probation(), &events);
}

#[test]
fn whatever_people_want_of_a_revision_on_probation_keeps_the_rules() {
    let events = [Pass, Cluster, Minute, Outcome(Some(0.5)), Deploy("churn-1"), Abort];
    explored("people and probation", on_probation(), &events);
}

#[test]
fn the_next_candidate_and_every_death_on_probation_keep_the_rules() {
    let mut world = on_probation();
    world.deploy("churn-3");
    explored("the next candidate", world, &[Pass, Cluster, Minute, Outcome(Some(0.5)), Dies(Status)]);
}

#[test]
fn every_way_a_first_deployment_can_go_keeps_the_rules() {
    explored("a first deployment", first(), &[Pass, PodsReady, PodsGone, GatewayAccepts, Good, Bad, Minute]);
}

#[test]
fn every_death_and_every_conflict_of_a_first_deployment_keeps_the_rules() {
    explored("deaths of a first deployment", first(), &[Pass, Cluster, Minute, Good, Bad, Dies(Status), Conflict]);
}

#[test]
fn a_first_deployment_that_is_followed_by_another_keeps_the_rules() {
    explored("a first deployment and the next", first(), &[Pass, Cluster, Minute, Bad, Deploy("churn-2"), Abort]);
}

#[test]
fn whoever_pauses_and_resumes_keeps_the_rules() {
    explored("pauses", on_its_way(), &[Pass, Cluster, Minute, Bad, Ask("pause"), Ask("resume")]);
}

#[test]
fn whoever_promotes_what_is_paused_keeps_the_rules() {
    explored("promotions", on_its_way(), &[Pass, Cluster, Minute, Bad, Ask("pause"), Ask("promote")]);
}

#[test]
fn whoever_tries_again_keeps_the_rules() {
    explored("retries", on_its_way(), &[Pass, Cluster, Minute, Good, Bad, Ask("retry")]);
}

#[test]
fn whoever_suspends_keeps_the_rules() {
    explored("suspensions", on_its_way(), &[Pass, Cluster, Minute, Bad, Suspend(true), Suspend(false)]);
}

#[test]
fn every_way_a_shadow_can_go_keeps_the_rules() {
    let world = on_its_way_so(json!({"shadow": {"percent": 50, "for": "1m", "maxTime": "2m"}}));
    explored("a shadow", world, &[Pass, PodsReady, PodsGone, GatewayAccepts, Good, Bad, Minute, Dies(Status)]);
}

#[test]
fn whatever_the_owner_says_of_a_step_keeps_the_rules() {
    let world = on_its_way_so(json!({"steps": [{"weight": "50%", "for": "1m", "approval": {"role": "owner"}}]}));
    explored("an approval", world, &[Pass, Cluster, Minute, Bad, Says("Approved"), Says("Rejected"), TakenBack]);
}

#[test]
fn whoever_is_revoked_the_rules_are_kept() {
    let world = on_its_way_so(json!({"keepStable": "1m"}));
    explored("a revocation", world, &[Pass, Cluster, Minute, Bad, Revoke("churn-1"), Revoke("churn-2"), Dies(Status)]);
}

#[test]
fn the_fast_way_back_keeps_the_rules() {
    explored("a return", replaced(), &[Pass, Cluster, Minute, Bad, Deploy("churn-1"), Deploy("churn-2")]);
}

#[test]
fn a_stable_revision_that_is_watched_between_rollouts_keeps_the_rules() {
    let mut world = replaced();
    world
        .analysis(json!({"interval": "1m", "failureLimit": 0, "onStableBreach": "Fallback", "metrics": [guardrail()]}));
    explored("a watched stable revision", world, &[Pass, Cluster, Minute, Good, Bad, Dies(Status)]);
}

#[test]
fn a_metric_source_that_falls_silent_keeps_the_rules() {
    let world = on_its_way_so(json!({"onOutage": {"after": "2m", "do": "Rollback"}}));
    explored("an outage", world, &[Pass, Cluster, Minute, Good, Bad, Silent, Dies(Status)]);
}

#[test]
fn a_step_that_takes_too_long_keeps_the_rules() {
    let steps = json!([{"weight": "50%", "for": "1m", "maxStepTime": "2m", "minSamples": 100}]);
    let mut world = on_its_way_so(json!({"steps": steps}));
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [guardrail()],
        "samples": {"prometheus": {"query": "requests{revision=\"{{ revision }}\"}"}}}));
    explored("a step's time", world, &[Pass, Cluster, Minute, Bad, Samples(99.0), Samples(100.0)]);
}

#[test]
fn whoever_is_compared_keeps_the_rules() {
    let mut world = on_its_way();
    world.analysis(json!({"interval": "1m", "failureLimit": 0, "metrics": [{"name": "error-rate", "role": "Guardrail",
        "compare": {"to": "Stable", "maxRatio": "1.2"}, "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}}]}));
    explored("a comparison", world, &[Pass, Cluster, Minute, Good, Bad, StableGood, StableBad]);
}

#[test]
fn a_stable_revision_that_does_not_serve_keeps_the_rules() {
    let world = on_its_way_so(json!({"emergencyPromote": true}));
    explored("an emergency", world, &[Pass, Cluster, PodsReady, StableGone, Minute, Bad]);
}

#[test]
fn what_autoscalers_do_keeps_the_rules() {
    let mut world = on_its_way();
    world.edit(|spec| {
        spec.replicas = None;
        spec.autoscaling = Some(from(json!({"min": 1, "max": 4, "metrics": [{"type": "Resource", "resource":
            {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}]})));
    });
    explored("autoscalers", world, &[Pass, Cluster, Autoscaled, StableScaled(4), StableScaled(1), Minute, Bad]);
}
