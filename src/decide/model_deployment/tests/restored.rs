//! Deployments that come back from a backup: the record knows more than their status.

use super::story::Story;
use super::world::World;
use crate::api::model_deployment::{AttemptState, Cause};
use crate::audit::{Entry, EntryKind};
use crate::decide::Measurement;

/// `churn-2` was watched at 5 %, breached, and has been taken back.
fn rolled_back() -> World {
    let mut world = World::mid_canary();
    for _ in 0..2 {
        world.advance(30);
        world.measure("error-rate", Measurement::of(0.2));
        world.pass();
    }
    world.come_to_rest();
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
    world
}

#[test]
fn a_restored_object_promotes_what_had_been_rolled_back() {
    let mut world = rolled_back();
    world.advance(3600);
    world.restore();
    let mut story =
        Story::of("A deployment is restored without status, and names the revision that was taken back", world);
    story.world.trail_is_down();
    story.pass("the record does not answer: nothing begins");
    story.world.memory.trail_unavailable_since = None;
    story.pass("it does: the revision is held, and nothing is made for it");
    story.world.advance(60);
    story.pass("and stays so");
    story.world.request("retry", "n1");
    story.pass("until a person asks for it");
    story.is("restored");
}

/// Nothing is to be written meanwhile, so no write finds out when it is back.
#[test]
fn a_record_that_cannot_be_read_is_asked_again_soon() {
    let mut world = rolled_back();
    world.restore();
    world.trail_unread_since = Some(world.now);
    world.pass();
    let plan = world.pass();
    assert_eq!((plan.status.is_none(), plan.requeue), (true, Some(std::time::Duration::from_secs(10))));
    world.trail_unread_since = None;
    world.come_to_rest();
    assert_eq!(world.attempt().cause, Some(Cause::PreviouslyRolledBack));
}

#[test]
fn a_hold_whose_status_write_is_lost_is_decided_again_and_can_be_tried_again() {
    let mut world = rolled_back();
    world.restore();
    world.conflict();
    world.pass();
    world.come_to_rest();
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.cause), (AttemptState::Failed, Some(Cause::PreviouslyRolledBack)));
    world.request("retry", "n1");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
}

#[test]
fn a_restored_object_that_names_another_revision_is_a_first_deployment() {
    let mut world = rolled_back();
    world.restore();
    world.deploy("churn-1");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.revision), Some(world.target()));
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn what_was_reverted_or_replaced_is_no_fault_of_the_revision() {
    let mut world = World::mid_canary();
    world.deploy("churn-3");
    world.come_to_rest();
    world.deploy("churn-1");
    world.come_to_rest();
    world.restore();
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.revision), Some(world.target()));
}

#[test]
fn what_a_person_had_tried_again_since_is_not_held() {
    let mut world = rolled_back();
    world.request("retry", "n1");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.revision), Some(world.target()), "it has been promoted");
    world.restore();
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn what_another_of_that_name_gave_up_hides_no_rollback_of_the_same_number() {
    let mut world = rolled_back();
    let is_rollback = |it: &Entry| it.kind == EntryKind::Intent && it.decision == "RollBack";
    let rollback = world.trail.newest_first().into_iter().find(is_rollback).unwrap();
    world.advance(60);
    // It lost all its intents to conflicts, up to that number.
    for sequence in 1..=rollback.sequence {
        for kind in [EntryKind::Intent, EntryKind::Void] {
            let given_up = Entry {
                kind,
                uid: "0000-between".into(),
                sequence,
                decision: "Start".into(),
                revision: "r9".into(),
                ..rollback.clone()
            };
            world.trail.append(&given_up).unwrap();
        }
    }
    world.restore();
    world.come_to_rest();
    assert_eq!(world.attempt().cause, Some(Cause::PreviouslyRolledBack));
}

#[test]
fn one_that_is_restored_twice_is_held_twice() {
    let mut world = rolled_back();
    world.advance(60);
    world.restore();
    world.come_to_rest();
    world.advance(60);
    world.restore();
    world.resource.metadata.uid = Some("55554444-3333".into());
    world.come_to_rest();
    assert_eq!(
        (world.attempt().state, world.attempt().cause),
        (AttemptState::Failed, Some(Cause::PreviouslyRolledBack))
    );
}

#[test]
fn a_status_of_an_earlier_time_begins_nothing_that_the_record_says_was_rolled_back() {
    let serving = World::serving();
    let mut world = rolled_back();
    world.resource.status.clone_from(&serving.resource.status);
    world.children = serving.children.clone();
    world.advance(3600);
    world.come_to_rest();
    let taken_back: Vec<_> = world.status().taken_back.into_iter().map(|it| it.cause).collect();
    assert_eq!(taken_back, [Cause::PreviouslyRolledBack]);
    assert_ne!(world.status().stable.map(|it| it.revision), Some(world.target()));
}

#[test]
fn a_status_of_an_earlier_time_goes_on_only_until_the_record_contradicts_it() {
    let mid_canary = World::mid_canary();
    let mut world = rolled_back();
    // The API server's store was set back; the record was not.
    world.resource = mid_canary.resource.clone();
    world.children = mid_canary.children.clone();
    let watched = world.attempt().revision;
    world.advance(3600);
    world.come_to_rest();
    let status = world.status();
    assert_eq!(
        (world.attempt().state, world.attempt().cause),
        (AttemptState::RolledBack, Some(Cause::PreviouslyRolledBack))
    );
    assert_ne!(status.stable.map(|it| it.revision), Some(watched));
}

/// That its number is taken, an older status finds out in memory; what it was taken for, only the record says.
#[test]
fn a_status_of_an_earlier_time_goes_no_step_on_while_the_record_cannot_be_read() {
    let mid_canary = World::mid_canary();
    let mut world = rolled_back();
    (world.resource, world.children) = (mid_canary.resource.clone(), mid_canary.children.clone());
    world.advance(3600);
    world.measure("error-rate", Measurement::of(0.001));
    world.all_is_well();
    world.until(
        |it| !it.memory.lost.is_empty(),
        |it| {
            it.pass();
            it.all_is_well();
            it.advance(60);
        },
    );
    world.trail_unread_since = Some(world.now);
    let (before, numbers) = (world.attempt().weight, world.status().sequence);
    for _ in 0..20 {
        world.pass();
        world.all_is_well();
        world.advance(60);
        assert_eq!((world.attempt().weight, world.status().sequence), (before, numbers));
    }
    world.trail_unread_since = None;
    world.come_to_rest();
    assert_eq!(world.attempt().cause, Some(Cause::PreviouslyRolledBack));
}

#[test]
fn that_it_lost_its_pods_meanwhile_takes_the_number_of_the_rollback_and_hides_it_not() {
    let mid_canary = World::mid_canary();
    let mut world = rolled_back();
    // Only the status is of an earlier time: the candidate's pods are gone, and weight 0 does not wait for the record.
    world.resource.status.clone_from(&mid_canary.resource.status);
    world.pass();
    assert_eq!(world.attempt().withdrawn_from.map(|it| it.to_string()).as_deref(), Some("5%"));
    world.come_to_rest();
    assert_eq!(
        (world.attempt().state, world.attempt().cause),
        (AttemptState::RolledBack, Some(Cause::PreviouslyRolledBack))
    );
}

#[test]
fn until_something_serves_every_revision_is_asked_about() {
    let mut world = rolled_back();
    world.deploy("churn-3");
    while world.status().weight.is_none() {
        world.pass();
        world.all_is_well();
    }
    world.request("abort", "n1");
    world.come_to_rest();
    world.restore();
    for name in ["churn-2", "churn-3"] {
        world.deploy(name);
        world.come_to_rest();
        let attempt = world.attempt();
        assert_eq!((attempt.revision, attempt.cause), (world.target(), Some(Cause::PreviouslyRolledBack)), "{name}");
    }
    world.deploy("churn-4");
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}
