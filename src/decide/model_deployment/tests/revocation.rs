//! `lifecycle: Revoked` of an entry: nothing of it gets traffic.

mod attempts;
mod entries;
mod keep;

use serde_json::json;

use super::kept::just_promoted;
use super::probation::{asleep, condition, outcomes, pods, promoted, served, settle, stable};
use super::shadow::shadowing;
use super::story::Story;
use super::world::World;
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{
    AttemptState, Cause, OnRevocation, Phase, RequestOutcome, RevisionRole, RevisionStatus,
};
use crate::api::model_registry_entry::Lifecycle;
use crate::build::route;
use crate::decide::{Child, ChildKind, Measurement, Op};

/// What the route gives each revision that it gives anything.
fn weights(world: &World) -> Vec<(String, i64)> {
    world.weights().into_iter().filter(|(_, weight)| *weight > 0).collect()
}

/// The revision of `churn-1`, which is alive.
fn first(world: &World) -> String {
    let is_first = |it: &RevisionStatus| it.entry.as_ref().is_some_and(|it| it.name == "churn-1");
    world.status().revisions.into_iter().find(is_first).expect("churn-1 is alive").revision
}

fn role_of(world: &World, revision: &str) -> Option<RevisionRole> {
    world.status().revisions.iter().find(|it| it.revision == revision).map(|it| it.role)
}

fn keeps(world: &mut World) {
    world.edit(|spec| spec.on_revocation = Some(OnRevocation::Keep));
}

/// `churn-2` serves, and `churn-1` is kept for half an hour.
fn kept() -> World {
    let mut world = just_promoted(json!({"keepStable": "30m"}));
    world.all_is_well();
    world.pass();
    world
}

fn is_taken_back(world: &World, revision: &str) -> bool {
    world.status().taken_back.iter().any(|it| it.revision == revision && it.cause == Cause::Revoked)
}

// ── a candidate ──

#[test]
fn a_candidate_goes_in_the_pass_that_sees_its_entry_revoked_and_is_not_tried_again() {
    let mut world = World::mid_canary();
    let candidate = world.attempt().revision;
    world.revoke("churn-2");
    world.trail_is_down();
    world.edit(|spec| spec.suspend = Some(true));
    let plan = world.pass();
    assert!(plan.urgent);
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::RollingBack, Some(Cause::Revoked)));
    assert_eq!(weights(&world), [(labels::name(&["churn", &stable(&world)]), 10_000)]);
    settle(&mut world);
    assert!(is_taken_back(&world, &candidate));
    assert!(condition(&world, "Available").0);
    let (stalled, reason, message) = condition(&world, "Stalled");
    assert!(
        stalled && reason == "EntryRevoked" && message.contains("point spec.modelRef at another entry"),
        "{message}"
    );
}

#[test]
fn revoked_comes_before_abort_and_a_breach() {
    let mut world = World::mid_canary();
    world.revoke("churn-2");
    world.request("abort", "n1");
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::Revoked));
}

#[test]
fn a_first_deployment_gets_no_traffic_back_and_its_retry_is_refused() {
    let mut world = World::new();
    for _ in 0..3 {
        world.all_is_well();
        world.pass();
    }
    assert_eq!((world.attempt().state, weights(&world).len()), (AttemptState::Promoting, 1));
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!((world.attempt().state, weights(&world)), (AttemptState::Failed, vec![]));
    world.request("retry", "n1");
    world.pass();
    let handled = world.status().handled_request.expect("a request");
    assert_eq!(handled.outcome, RequestOutcome::Refused);
    assert!(handled.message.unwrap().contains("entry churn-1 is revoked"));
    settle(&mut world);
    assert_eq!((world.attempt().state, weights(&world)), (AttemptState::Failed, vec![]));
}

#[test]
fn an_entry_that_is_revoked_begins_no_attempt() {
    let mut world = World::serving();
    world.revoke("churn-2");
    world.deploy("churn-2");
    settle(&mut world);
    assert_eq!((world.status().attempts, world.status().phase), (1, Phase::Stable));
    assert_eq!(condition(&world, "Ready").1, "EntryRevoked");
    assert!(condition(&world, "Available").0, "what serves is not revoked");
}

// ── the stable revision, and what takes its place ──

#[test]
fn the_stable_revision_is_off_traffic_in_one_pass_and_what_was_kept_has_it() {
    let mut story = Story::of("The stable revision's entry is revoked", kept());
    let (old, bad) = (first(&story.world), stable(&story.world));
    story.world.revoke("churn-2");
    story.pass("revoked: all traffic to what was kept, in this pass");
    assert_eq!(weights(&story.world), [(labels::name(&["churn", &old]), 10_000)]);
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.world.advance(30);
    story.pass("drained");
    assert_eq!((stable(&story.world), role_of(&story.world, &bad)), (old, Some(RevisionRole::Draining)));
    story.is("revoked-stable");
}

#[test]
fn on_probation_the_last_proven_revision_gets_the_traffic_at_once_though_its_pods_come_up_later() {
    let mut story = Story::of("Revoked on probation, when the old revision has no pods", asleep());
    let old = first(&story.world);
    story.world.revoke("churn-2");
    story.pass("revoked: nothing goes to it any more, pods of the old one come up");
    assert_eq!(weights(&story.world), [(labels::name(&["churn", &old]), 10_000)]);
    assert_eq!(pods(&story.world, &old), Some(4));
    let (available, reason, _) = condition(&story.world, "Available");
    assert!(!available && reason == "NoPodReady");
    story.world.gateway_accepts();
    story.world.pods_ready();
    story.pass("they are ready");
    assert!(condition(&story.world, "Available").0);
    story.world.advance(30);
    story.pass("drained");
    story.is("revoked-on-probation");
}

#[test]
fn what_is_kept_and_was_not_proven_is_not_gone_back_to() {
    let mut world = kept();
    world.resource.status.as_mut().unwrap().proven.clear();
    world.revoke("churn-2");
    settle(&mut world);
    assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
}

#[test]
fn with_nothing_kept_nothing_serves_and_the_pods_go_when_they_are_drained() {
    let mut story = Story::of("Revoked, and nothing is kept", World::serving());
    let bad = stable(&story.world);
    story.world.revoke("churn-1");
    story.pass("revoked: weight 0");
    assert_eq!(weights(&story.world), []);
    assert_eq!(story.world.attempt().taken_from, Some(Weight::FULL), "no late write may give it any of that back");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    assert_eq!(pods(&story.world, &bad), Some(4), "it ends its last requests");
    story.world.advance(30);
    story.pass("drained: no pods");
    assert_eq!(pods(&story.world, &bad), Some(0));
    let (available, reason, message) = condition(&story.world, "Available");
    assert!(
        !available && reason == "Revoked" && message.contains("is off traffic because its entry is revoked"),
        "{message}"
    );
    assert_eq!(
        (condition(&story.world, "Stalled").1.as_str(), story.world.status().phase),
        ("EntryRevoked", Phase::Failed)
    );
    story.is("revoked-nothing-kept");
}

#[test]
fn after_a_stop_another_entry_is_a_first_deployment_without_steps() {
    let mut world = World::serving();
    world.revoke("churn-1");
    world.come_to_rest();
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
    assert_eq!(weights(&world), [(labels::name(&["churn", &stable(&world)]), 10_000)]);
    assert_eq!(world.status().revisions.len(), 1, "what was stopped is gone");
    assert!(condition(&world, "Ready").0);
}

#[test]
fn without_a_gateway_the_service_selects_nobody_and_then_the_next() {
    let mut world = World::new();
    world.edit(|spec| spec.traffic = None);
    world.steps(json!([]));
    world.analysis(json!({"none": "a switch"}));
    world.come_to_rest();
    world.revoke("churn-1");
    settle(&mut world);
    let selected = |world: &World| {
        serde_json::to_value(&*world.children.services["churn"]).unwrap()["spec"]["selector"][labels::REVISION].clone()
    };
    assert_eq!(selected(&world), "none");
    world.deploy("churn-2");
    settle(&mut world);
    assert_eq!(selected(&world), stable(&world));
}

#[test]
fn a_kept_revision_that_is_revoked_is_not_gone_back_to_and_its_pods_go() {
    let mut world = kept();
    let (old, served) = (first(&world), stable(&world));
    world.revoke("churn-1");
    world.pass();
    assert_eq!(role_of(&world, &old), Some(RevisionRole::Draining));
    assert_eq!((stable(&world), is_taken_back(&world, &old)), (served, true));
    world.revoke("churn-2");
    settle(&mut world);
    assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
}

#[test]
fn probation_ends_when_what_it_would_go_back_to_is_revoked() {
    let mut world = promoted();
    let (old, late) = (first(&world), stable(&world));
    world.revoke("churn-1");
    world.trail_is_down();
    world.pass();
    assert_eq!((world.status().probation, stable(&world)), (None, late.clone()));
    assert_eq!(role_of(&world, &old), Some(RevisionRole::Draining));
    world.memory.trail_unavailable_since = None;
    outcomes(&mut world, 0.02);
    settle(&mut world);
    assert_eq!(stable(&world), late, "there is nothing to go back to");
    assert!(world.trail.open().is_empty());
}

#[test]
fn both_are_revoked_at_once_and_neither_gets_anything() {
    for mut world in [kept(), promoted(), asleep()] {
        world.revoke("churn-1");
        world.revoke("churn-2");
        world.pass();
        assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
        settle(&mut world);
        assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
    }
}

#[test]
fn what_was_to_be_taken_back_stays_condemned_when_its_fallback_is_revoked() {
    let mut world = asleep();
    let bad = stable(&world);
    outcomes(&mut world, 0.02);
    world.pass();
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!((stable(&world), world.status().probation), (bad, None));
    let (ready, reason, message) = condition(&world, "Ready");
    assert!(
        !ready && reason == "ObjectiveMissed" && message.contains("deploy another revision"),
        "{reason}: {message}"
    );
    assert!(condition(&world, "Stalled").0 && condition(&world, "Available").0);
}

#[test]
fn a_refused_write_of_a_child_does_not_keep_the_route_from_going() {
    let mut world = World::serving();
    world.revoke("churn-1");
    world.refuses(ChildKind::Deployment, "churn-x", "no");
    world.pass();
    assert_eq!(weights(&world), []);
}
