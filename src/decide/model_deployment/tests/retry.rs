//! A revision whose artifact was refused is tried again once somebody has put it right.

use std::sync::Arc;

use serde_json::{Value, json};

use super::world::{World, from};
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::{ChildKind, Op};

/// `werkbank fetch` failed for good at `finished` seconds after noon; `state` is what the container does since.
fn refused(state: &Value, finished: i64) -> Value {
    let failure =
        ArtifactFailure::new(ArtifactFailureReason::ArtifactAccessDenied, "the store refuses the credentials");
    let at = super::world::noon() + chrono::TimeDelta::seconds(finished);
    json!({"initContainerStatuses": [{
        "name": "werkbank-fetch", "image": "werkbank:0.1.0", "imageID": "", "ready": false, "restartCount": 1, "state": state,
        "lastState": {"terminated": {"exitCode": 12, "message": failure.to_line(), "finishedAt": at.to_rfc3339()}},
    }]})
}

fn failed_first_deployment() -> World {
    let mut world = World::new();
    (0..2).for_each(|_| drop(world.pass()));
    world.advance(10);
    world.pod(refused(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), 5));
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Failed, Some(Cause::ArtifactRefused)));
    world.advance(60);
    world
}

#[test]
fn what_was_refused_before_the_retry_does_not_end_it() {
    let mut world = failed_first_deployment();
    world.request("retry", "n1");
    (0..3).for_each(|_| drop(world.pass()));
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
    world.advance(5);
    world.pod(refused(&json!({"waiting": {"reason": "CrashLoopBackOff"}}), 75));
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ArtifactRefused), "refused again, since");
}

#[test]
fn a_fetch_that_has_succeeded_since_refuses_nothing() {
    let mut world = World::new();
    (0..2).for_each(|_| drop(world.pass()));
    world.advance(10);
    world.pod(refused(&json!({"terminated": {"exitCode": 0}}), 5));
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
}

#[test]
fn a_retry_is_built_from_what_was_corrected() {
    let mut world = failed_first_deployment();
    let mut entry = world.entries["churn-1"].as_ref().clone();
    entry.spec.artifact.as_mut().unwrap().secret_ref = Some(from(json!({"name": "corrected"})));
    world.entries.insert("churn-1".into(), Arc::new(entry));
    world.pass();
    let name = format!("churn-{}", world.attempt().revision);
    let secret = |world: &World| {
        let record = world.children.records[&name].record.as_ref().unwrap();
        record.secret_ref.as_ref().map(|it| serde_json::to_value(it).unwrap()["name"].clone())
    };
    assert_eq!(secret(&world), None, "nobody has asked to try again");
    world.request("retry", "n1");
    (0..3).for_each(|_| drop(world.pass()));
    assert_eq!(secret(&world), Some(json!("corrected")));
    assert!(world.children.deployments.contains_key(&name));
    let uid = world.children.records[&name].metadata.uid.clone();
    world.pods_ready();
    world.pods.clear();
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
    assert_eq!(world.children.records[&name].metadata.uid, uid, "made anew once");
}

#[test]
fn a_record_is_made_anew_only_for_a_retry_and_never_under_traffic() {
    let mut world = World::mid_canary();
    let name = format!("churn-{}", world.attempt().revision);
    let uid = world.children.records[&name].metadata.uid.clone();
    world.settings.fetch_image = "werkbank:0.2.0".into();
    world.come_to_rest();
    assert_eq!(world.children.records[&name].metadata.uid, uid);
}

#[test]
fn what_may_be_on_its_way_out_is_gone_before_it_is_tried_again() {
    let mut world = World::mid_canary();
    let name = format!("churn-{}", world.attempt().revision);
    world.request("abort", "n1");
    for _ in 0..3 {
        world.pass();
        world.gateway_accepts();
    }
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
    world.advance(30);
    let late = world.decide().ops;
    assert!(late.iter().any(|it| matches!(it, Op::Delete(ChildKind::Revision, gone, _) if *gone == name)), "{late:#?}");
    // It is sent, and arrives some time later.
    world.restart();
    world.request("retry", "n2");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
    assert!(!world.children.records.contains_key(&name), "its successor has sent it, too");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
}
