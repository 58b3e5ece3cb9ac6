//! `lifecycle: Revoked` of an entry: nothing of it gets traffic.

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

// ── beside an attempt ──

#[test]
fn a_candidate_that_is_left_alone_gets_all_of_the_traffic_when_it_has_the_pods() {
    let mut world = World::mid_canary();
    let (bad, candidate) = (stable(&world), world.attempt().revision);
    world.revoke("churn-1");
    world.pass();
    assert_eq!(weights(&world), [], "its pods are few: {:?}", world.attempt());
    assert_eq!(role_of(&world, &bad), Some(RevisionRole::Draining));
    world.come_to_rest();
    assert_eq!(stable(&world), candidate);
    assert_eq!(weights(&world), [(labels::name(&["churn", &candidate]), 10_000)]);
    assert_eq!(role_of(&world, &bad), None);
}

#[test]
fn a_candidate_that_is_left_alone_and_never_has_the_pods_is_taken_back_in_time() {
    let mut world = World::mid_canary();
    let candidate = world.attempt().revision;
    world.revoke("churn-1");
    world.pass();
    world.pods_ready_of(&candidate, 1);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.advance(15 * 60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
    assert_eq!(weights(&world), []);
}

#[test]
fn a_candidate_that_is_shadowed_has_nothing_to_copy_any_more_and_goes_on_without() {
    let mut world = shadowing();
    world.revoke("churn-1");
    world.pass();
    world.gateway_accepts();
    world.pass();
    assert_eq!((world.attempt().state, weights(&world)), (AttemptState::Starting, vec![]));
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn a_person_who_holds_the_candidate_holds_it_also_when_nothing_else_serves() {
    let mut world = World::mid_canary();
    world.request("pause", "n1");
    world.pass();
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!((world.status().phase, weights(&world)), (Phase::Paused, vec![]));
    assert_eq!(condition(&world, "Available").1, "Revoked");
    world.request_at("resume", "-", "n2");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn a_candidate_begins_anew_from_what_was_kept() {
    let mut world = kept();
    let old = first(&world);
    world.begins("churn-3");
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), [(labels::name(&["churn", &old]), 10_000)]);
    for _ in 0..6 {
        world.all_is_well();
        world.pass();
    }
    assert_eq!((world.attempt().entry.name.as_str(), world.attempt().weight.to_string().as_str()), ("churn-3", "5%"));
    assert_eq!(stable(&world), old);
}

#[test]
fn a_candidate_with_all_of_the_traffic_keeps_it_and_goes_back_to_what_was_kept() {
    for (mut world, back) in [(kept(), Some("churn-1")), (World::serving(), None)] {
        world.steps(json!([{"weight": "50%"}]));
        world.deploy("churn-3");
        for _ in 0..60 {
            world.all_is_well();
            world.pass();
            if world.attempt().state == AttemptState::Promoting {
                break;
            }
            world.advance(60);
        }
        let serves = world.status().stable.unwrap().name;
        world.revoke(&serves);
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoting);
        assert_eq!(world.status().stable.map(|it| it.name).as_deref(), back);
        world.request("abort", "n1");
        world.pass();
        let expected: Vec<_> = back.map(|_| (labels::name(&["churn", &stable(&world)]), 10_000)).into_iter().collect();
        assert_eq!(weights(&world), expected);
    }
}

#[test]
fn a_rollback_under_way_ends_at_what_was_kept_or_at_nobody() {
    for (mut world, back) in [(kept(), Some("churn-1")), (World::serving(), None)] {
        world.begins("churn-3");
        world.request("abort", "n1");
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::RollingBack);
        let serves = world.status().stable.unwrap().name;
        world.revoke(&serves);
        world.pass();
        let expected: Vec<_> = back.map(|_| (labels::name(&["churn", &stable(&world)]), 10_000)).into_iter().collect();
        assert_eq!(weights(&world), expected);
        settle(&mut world);
        assert_eq!(world.status().stable.map(|it| it.name).as_deref(), back);
    }
}

#[test]
fn stable_and_candidate_are_revoked_at_once_and_neither_gets_anything() {
    let mut world = World::mid_canary();
    world.revoke("churn-1");
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), []);
    settle(&mut world);
    assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
    assert_eq!(world.status().taken_back.len(), 2);
}

#[test]
fn the_route_comes_first_when_nothing_else_may_stand_before_it() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    assert_eq!(world.attempt().weight.to_string(), "0%");
    world.revoke("churn-1");
    let plan = world.pass();
    let first = plan.ops.first().expect("a write");
    assert!(matches!(first, Op::Apply(Child::HttpRoute(_), _)), "{:#?}", plan.ops);
    assert_eq!(weights(&world), []);
}

#[test]
fn a_process_that_dies_between_decision_and_route_leaves_that_to_the_next() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    world.revoke("churn-1");
    let plan = world.decide();
    world.carry_out(&plan, plan.entries.len() + 1);
    assert_eq!((world.status().stable, weights(&world).len()), (None, 1));
    let plan = world.pass();
    assert!(plan.urgent && matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:#?}", plan.ops);
    assert_eq!(weights(&world), []);
}

// ── Keep ──

#[test]
fn keep_serves_on_and_says_so_and_the_next_revision_takes_its_steps() {
    let mut world = World::serving();
    keeps(&mut world);
    world.revoke("churn-1");
    world.come_to_rest();
    assert_eq!(weights(&world), [(labels::name(&["churn", &stable(&world)]), 10_000)]);
    let (available, _, message) = condition(&world, "Available");
    assert!(available && message.contains("entry churn-1 is revoked, and onRevocation is Keep"), "{message}");
    assert_eq!(condition(&world, "Ready").1, "EntryRevoked");
    world.begins("churn-2");
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
    assert!(!condition(&world, "Available").2.contains("revoked"));
}

#[test]
fn keep_serves_until_the_pods_of_what_was_kept_are_ready() {
    let mut world = asleep();
    keeps(&mut world);
    let (old, bad) = (first(&world), stable(&world));
    world.revoke("churn-2");
    world.pass();
    assert_eq!(served(&world), [labels::name(&["churn", &bad])], "something has to serve");
    assert_eq!(condition(&world, "Ready").1, "Revoked");
    let called_back = world.now;
    for _ in 0..3 {
        world.advance(60);
        world.pass();
    }
    let recall = world.status().probation.and_then(|it| it.recall).expect("it is called back");
    assert_eq!(recall.at, called_back, "once");
    settle(&mut world);
    assert_eq!((stable(&world), served(&world)), (old.clone(), vec![labels::name(&["churn", &old])]));
    assert_eq!(world.attempt().cause, Some(Cause::Revoked));
}

#[test]
fn keep_goes_back_to_a_kept_revision_at_once_where_its_pods_are_there() {
    let mut world = kept();
    keeps(&mut world);
    let old = first(&world);
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), [(labels::name(&["churn", &old]), 10_000)]);
    settle(&mut world);
    assert_eq!((stable(&world), world.status().probation), (old, None));
}

#[test]
fn who_does_not_want_to_keep_it_any_more_stops_it() {
    for mut world in [World::serving(), asleep()] {
        keeps(&mut world);
        let bad = stable(&world);
        let entry = world.status().stable.unwrap().name;
        world.revoke(&entry);
        world.pass();
        assert_eq!(served(&world), [labels::name(&["churn", &bad])]);
        world.edit(|spec| spec.on_revocation = Some(OnRevocation::StopServing));
        world.pass();
        assert!(
            !weights(&world).iter().any(|(name, _)| *name == labels::name(&["churn", &bad])),
            "{:?}",
            weights(&world)
        );
    }
}

#[test]
fn keep_that_comes_after_the_stop_brings_nothing_back() {
    let mut world = World::serving();
    world.revoke("churn-1");
    settle(&mut world);
    keeps(&mut world);
    settle(&mut world);
    assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
}

#[test]
fn keep_is_for_what_serves_and_not_for_a_candidate() {
    let mut world = World::mid_canary();
    keeps(&mut world);
    world.revoke("churn-2");
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::Revoked));
}

// ── the same bytes under another entry ──

#[test]
fn the_same_bytes_under_an_entry_that_stands_serve_on() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    std::sync::Arc::make_mut(world.entries.get_mut("churn-again").unwrap()).metadata.uid = Some("entry-again".into());
    world.deploy("churn-again");
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-again"));
    assert!(condition(&world, "Ready").0 && weights(&world).len() == 1);
}

#[test]
fn a_spec_that_names_a_revoked_entry_takes_nothing_from_the_same_bytes_under_one_that_stands() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    std::sync::Arc::make_mut(world.entries.get_mut("churn-again").unwrap()).metadata.uid = Some("entry-again".into());
    world.revoke("churn-again");
    world.deploy("churn-again");
    settle(&mut world);
    assert_eq!((weights(&world).len(), condition(&world, "Ready").1.as_str()), (1, "EntryRevoked"));
}

#[test]
fn an_entry_that_was_replaced_by_force_is_revoked_like_any_other() {
    let mut world = World::mid_canary();
    std::sync::Arc::make_mut(world.entries.get_mut("churn-2").unwrap()).metadata.uid = Some("entry-new".into());
    world.revoke("churn-2");
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::Revoked));
}

#[test]
fn whose_the_bytes_are_is_remembered_when_the_spec_has_moved_on() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "6h"}));
    world.deploy("churn-again");
    settle(&mut world);
    world.begins("churn-2");
    let served = stable(&world);
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.revision), Some(served), "it is churn-again's");
    world.revoke("churn-again");
    world.pass();
    assert!(world.status().stable.is_none());
}

#[test]
fn what_an_earlier_version_of_the_operator_began_is_known_by_its_record() {
    let mut world = kept();
    let old = first(&world);
    world.resource.status.as_mut().unwrap().revisions.iter_mut().for_each(|it| it.entry = None);
    world.pass();
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), [(labels::name(&["churn", &old]), 10_000)]);
}

// ── what else is under way ──

#[test]
fn an_edit_of_the_gateway_that_nobody_has_accepted_is_not_what_weight_0_is_written_from() {
    for mut world in [World::serving(), kept()] {
        let accepted = route::gateway(world.children.route.as_ref().unwrap());
        world.gateway(json!({"parentRefs": [{"name": "internal", "sectionName": "nowhere"}]}));
        settle(&mut world);
        let entry = world.status().stable.unwrap().name;
        world.revoke(&entry);
        settle(&mut world);
        assert_eq!(route::gateway(world.children.route.as_ref().unwrap()), accepted);
        assert!(!world.attempt().state.is_active(), "{:?}", world.attempt());
    }
}

#[test]
fn a_candidate_that_was_held_for_long_has_all_of_its_time_when_it_is_left_alone() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    world.request_at("pause", "-", "n1");
    for _ in 0..3 {
        world.pass();
        world.pods_ready();
    }
    world.advance(3600);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.revoke("churn-1");
    world.pass();
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
}

#[test]
fn a_shadow_that_has_lasted_for_long_does_not_end_the_candidate() {
    let mut world = shadowing();
    for _ in 0..40 {
        world.advance(60);
        world.measure("error-rate", Measurement::NoData("no series".into()));
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
    world.revoke("churn-1");
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
}

#[test]
fn what_got_all_of_the_traffic_because_it_was_left_alone_is_not_proven() {
    let mut world = World::mid_canary();
    let candidate = world.attempt().revision;
    world.revoke("churn-1");
    world.come_to_rest();
    assert_eq!(stable(&world), candidate);
    assert!(world.status().proven.iter().all(|it| it.revision != candidate), "{:?}", world.status().proven);
}

#[test]
fn what_was_gone_back_to_without_pods_and_does_not_come_up_is_an_emergency() {
    let mut world = asleep();
    let old = first(&world);
    world.edit(|spec| spec.rollout.get_or_insert_default().emergency_promote = Some(true));
    world.revoke("churn-2");
    world.pass();
    world.gateway_accepts();
    world.pass();
    world.deploy("churn-3");
    for _ in 0..20 {
        world.advance(10);
        world.pods_ready();
        world.pods_ready_of(&old, 0);
        world.gateway_accepts();
        world.pass();
    }
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-3"));
    assert!(world.attempt().emergency);
}

// ── deprecated ──

#[test]
fn a_deprecated_entry_begins_nothing_and_what_serves_goes_on() {
    let mut world = World::serving();
    world.lifecycle("churn-1", Lifecycle::Deprecated);
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.come_to_rest();
    assert!(condition(&world, "Ready").0, "what serves is as it was");
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!((world.status().attempts, weights(&world).len()), (1, 1));
    let (stalled, reason, message) = condition(&world, "Stalled");
    assert!(
        stalled && reason == "EntryDeprecated" && message.contains("point spec.modelRef at another entry"),
        "{message}"
    );
    assert_eq!(condition(&world, "Ready").1, "EntryDeprecated");
    world.lifecycle("churn-2", Lifecycle::Active);
    world.come_to_rest();
    assert!(condition(&world, "Ready").0 && !condition(&world, "Stalled").0);
}

#[test]
fn what_is_on_its_way_when_its_entry_is_deprecated_goes_on() {
    let mut world = World::mid_canary();
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn the_retry_of_a_deprecated_entry_is_refused() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    settle(&mut world);
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.request("retry", "n2");
    world.pass();
    let handled = world.status().handled_request.expect("a request");
    assert_eq!(handled.outcome, RequestOutcome::Refused);
    assert!(handled.message.unwrap().contains("entry churn-2 is deprecated"));
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn the_way_back_to_what_is_kept_is_open_though_its_entry_is_deprecated() {
    let mut world = kept();
    let old = first(&world);
    world.lifecycle("churn-1", Lifecycle::Deprecated);
    world.deploy("churn-1");
    world.come_to_rest();
    assert_eq!(stable(&world), old);
}

#[test]
fn a_refused_write_of_a_child_does_not_keep_the_route_from_going() {
    let mut world = World::serving();
    world.revoke("churn-1");
    world.refuses(ChildKind::Deployment, "churn-x", "no");
    world.pass();
    assert_eq!(weights(&world), []);
}
