//! Nothing begins, and no weight rises, before the artifact of the entry is verified, where the operator is told to.

use std::sync::Arc;

use serde_json::{Value, json};

use super::gates::{condition, weight};
use super::kept::just_promoted;
use super::probation::settle;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, Phase};
use crate::api::model_registry_entry::ModelRegistryEntryStatus;
use crate::decide::EventType;

/// `churn-1` serves; artifacts are verified, and that of `churn-2` is as it is said.
fn world(said: Value) -> World {
    let mut world = World::serving();
    world.settings.verify_artifacts = true;
    is_said(&mut world, "churn-1", json!({"status": "True", "reason": "Verified", "message": "it is right"}));
    is_said(&mut world, "churn-2", said);
    world
}

/// What the condition of an entry says.
fn is_said(world: &mut World, entry: &str, mut said: Value) {
    let entry = Arc::make_mut(world.entries.get_mut(entry).unwrap());
    said["type"] = "ArtifactVerified".into();
    said["lastTransitionTime"] = "2026-11-18T12:00:00Z".into();
    let status: ModelRegistryEntryStatus = serde_json::from_value(json!({"conditions": [said]})).unwrap();
    entry.status = Some(status);
}

fn awaited() -> Value {
    json!({"status": "False", "reason": "ArtifactNotVerified", "message": "Job x reads the artifact"})
}

fn wrong() -> Value {
    json!({"status": "False", "reason": "ArtifactDigestMismatch", "message": "it has another digest"})
}

fn right() -> Value {
    json!({"status": "True", "reason": "Verified", "message": "it is right"})
}

#[test]
fn nothing_begins_before_the_artifact_is_verified() {
    let mut world = world(awaited());
    world.deploy("churn-2");
    let plan = world.pass();
    assert_eq!((world.status().phase, world.status().attempts), (Phase::Gating, 1));
    assert_eq!(condition(&world, "Ready"), (false, "ArtifactNotVerified".into()));
    assert!(!condition(&world, "Stalled").0, "it is only waited for");
    assert_eq!((plan.events[0].reason.as_str(), plan.events[0].type_), ("ArtifactNotVerified", EventType::Normal));
    assert!(is_nothing(&world.pass()));
    is_said(&mut world, "churn-2", right());
    settle(&mut world);
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn an_entry_of_which_nothing_is_known_yet_waits_too() {
    let mut world = world(awaited());
    Arc::make_mut(world.entries.get_mut("churn-2").unwrap()).status = None;
    world.deploy("churn-2");
    world.pass();
    assert_eq!(condition(&world, "Ready"), (false, "ArtifactNotVerified".into()));
}

#[test]
fn what_is_not_the_registered_artifact_needs_a_person() {
    let mut world = world(wrong());
    world.deploy("churn-2");
    let plan = world.pass();
    assert_eq!(condition(&world, "Stalled"), (true, "ArtifactDigestMismatch".into()));
    assert_eq!(plan.events[0].type_, EventType::Warning);
    assert!(plan.events[0].note.contains("the artifact of entry churn-2 is not the registered one"));
}

#[test]
fn no_weight_rises_for_an_artifact_that_somebody_has_replaced_and_what_serves_goes_on() {
    let mut world = world(right());
    world.begins("churn-2");
    world.advance(30);
    world.pass();
    assert_eq!(weight(&world), "5%");
    is_said(&mut world, "churn-2", wrong());
    is_said(&mut world, "churn-1", wrong());
    world.advance(3600);
    settle(&mut world);
    assert_eq!((world.attempt().state, weight(&world)), (AttemptState::Observing, "5%".into()));
    assert_eq!((world.status().phase, condition(&world, "Available").0), (Phase::Gating, true));
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!(world.attempt().state, AttemptState::RolledBack, "the way back is open");
}

#[test]
fn where_nobody_verifies_nobody_waits() {
    let mut world = world(wrong());
    world.settings.verify_artifacts = false;
    world.deploy("churn-2");
    world.pass();
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn the_way_back_to_what_has_proven_itself_waits_for_no_store() {
    for rollout in [json!({"keepStable": "30m", "rollbackWindow": "1h"}), json!({"keepStable": "30m"}), json!({})] {
        for said in [None, Some(wrong()), Some(awaited())] {
            let mut world = just_promoted(rollout.clone());
            world.settings.verify_artifacts = true;
            said.into_iter().for_each(|it| is_said(&mut world, "churn-1", it));
            let attempts = world.status().attempts;
            world.deploy("churn-1");
            settle(&mut world);
            assert_eq!(world.status().attempts, attempts + 1, "{rollout}");
            assert_ne!(world.status().phase, Phase::Gating);
        }
    }
}
