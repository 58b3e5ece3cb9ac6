//! What people say of what is on its way, on the record: a no, and what is taken back.

use kube::ResourceExt;
use serde_json::json;

use super::consents::{at_five_percent, to_be_approved};
use super::gates::{condition, wait, weight};
use super::probation::settle;
use super::world::{World, is_nothing};
use crate::audit::{Entry, EntryKind};
use crate::decide::approval::guard::Guard;

/// `churn-1` serves, and `churn-2`, which two roles have to approve, is deployed; `ben` has, and 50 % is to be approved, too.
fn gated() -> World {
    let mut world = to_be_approved();
    world.says("churn-2", "technical", "Approved", "ben");
    world.deploy("churn-2");
    world.pass();
    world
}

/// Somebody takes back what they have said.
fn takes_back(world: &mut World, by: &str) {
    let before = world.approvals.len();
    world.approvals.retain(|it| it.spec.approver != by);
    assert_eq!(world.approvals.len() + 1, before);
}

/// What is not seen is missed, and gone when it was missed for a while.
fn notices(world: &mut World) {
    for _ in 0..2 {
        (0..3).for_each(|_| drop(world.pass()));
        world.advance(10);
    }
    (0..3).for_each(|_| drop(world.pass()));
}

fn remembered(world: &World) -> Vec<String> {
    world.status().recorded_approvals.into_iter().flatten().map(|it| it.uid).collect()
}

/// What is noted of people, in order: what, whose, of which revision's weight.
fn noted(world: &World) -> Vec<String> {
    let told = |it: &Entry| format!("{} {} {}", it.decision, it.consents[0].uid, it.weight);
    let all = world.trail.newest_first().into_iter().rev();
    let is_noted = |it: &Entry| it.kind == EntryKind::Intent && ["Reject", "Retract"].contains(&it.decision.as_str());
    all.filter(is_noted).map(|it| told(&it)).collect()
}

#[test]
fn a_rejection_is_on_the_record_once_with_who_as_what_and_why() {
    let mut world = gated();
    world.says("churn-2", "business", "Rejected", "carla");
    let plan = world.pass();
    let [entry] = plan.entries.as_slice() else { panic!("{:#?}", plan.entries) };
    assert_eq!(
        (entry.decision.as_str(), entry.reason.as_str()),
        ("Reject", "role business has rejected entry churn-2")
    );
    assert_eq!((entry.revision.clone(), entry.weight.as_str(), entry.attempt.as_str()), (world.target(), "0%", ""));
    assert_eq!(entry.asked_by, "actor of carla");
    let [consent] = entry.consents.as_slice() else { panic!("{:#?}", entry.consents) };
    assert_eq!((consent.role.as_str(), consent.comment.as_str()), ("business", "digest of 17 characters"));
    let told = plan.events.iter().find(|it| it.action == "Reject").unwrap();
    assert_eq!((told.reason.as_str(), told.entry.clone()), ("ApprovalRejected", Some(entry.id())));
    assert!(
        told.note.ends_with(&format!("kubectl delete approval {}", world.approvals[1].name_any())),
        "{}",
        told.note
    );
    settle(&mut world);
    world.advance(86400);
    assert!(is_nothing(&world.pass()));
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%"]);
}

#[test]
fn a_step_that_is_rejected_is_noted_with_its_attempt() {
    let mut world = at_five_percent();
    world.says_of_step("Rejected", "olga");
    wait(&mut world, 30);
    assert_eq!(noted(&world), ["Reject rejection-by-olga 5%"]);
    let entry = world.trail.newest_first().into_iter().find(|it| it.decision == "Reject").unwrap();
    assert_eq!((entry.attempt, entry.reason.as_str()), (world.attempt().id, "role owner has rejected the step to 50%"));
}

#[test]
fn an_approval_is_noted_when_it_is_taken_back_if_a_decision_rests_on_it() {
    let mut world = gated();
    takes_back(&mut world, "ben");
    notices(&mut world);
    assert!(noted(&world).is_empty(), "nothing rests on it");

    let mut world = at_five_percent();
    takes_back(&mut world, "carla");
    world.pass();
    assert!(noted(&world).is_empty(), "a watch may be behind");
    notices(&mut world);
    assert_eq!(noted(&world), ["Retract approval-by-carla 5%"]);
    let entry = world.trail.newest_first().into_iter().find(|it| it.decision == "Retract").unwrap();
    assert_eq!(
        (entry.asked_by.as_str(), entry.consents[0].actor.as_str()),
        ("", "actor of carla"),
        "nobody says who did"
    );
    world.says("churn-2", "business", "Approved", "carla");
    world.says_of_step("Approved", "olga");
    wait(&mut world, 600);
    assert_eq!(weight(&world), "50%");
    assert!(remembered(&world).contains(&"approval-by-carla".to_owned()), "it rests on it again");
}

#[test]
fn a_rejection_is_noted_when_it_is_taken_back() {
    let mut world = gated();
    world.says("churn-2", "business", "Rejected", "carla");
    settle(&mut world);
    takes_back(&mut world, "carla");
    notices(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%", "Retract rejection-by-carla 0%"]);
    assert!(remembered(&world).is_empty());
}

#[test]
fn what_is_said_while_the_record_does_not_answer_holds_at_once_and_is_noted_afterwards() {
    let mut world = at_five_percent();
    world.trail_is_down();
    world.says_of_step("Rejected", "olga");
    takes_back(&mut world, "carla");
    wait(&mut world, 600);
    assert_eq!((weight(&world).as_str(), condition(&world, "Ready").1.as_str()), ("5%", "AuditUnavailable"));
    assert!(noted(&world).is_empty());
    world.memory.trail_unavailable_since = None;
    notices(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-olga 5%", "Retract approval-by-carla 5%"]);
}

#[test]
fn nothing_is_noted_while_nobody_can_say_who_said_it() {
    let mut world = gated();
    world.people_unknown_since = Some(world.now);
    world.says("churn-2", "business", "Rejected", "carla");
    settle(&mut world);
    assert!(noted(&world).is_empty());
    world.people_unknown_since = None;
    settle(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%"]);
}

#[test]
fn what_has_no_effect_any_more_is_forgotten_without_a_word() {
    for (what, entry) in [("another is deployed", "churn-3"), ("what serves is named again", "churn-1")] {
        let mut world = gated();
        world.says("churn-2", "business", "Rejected", "carla");
        settle(&mut world);
        world.deploy(entry);
        settle(&mut world);
        takes_back(&mut world, "carla");
        notices(&mut world);
        assert_eq!(noted(&world), ["Reject rejection-by-carla 0%"], "{what}");
    }
}

#[test]
fn a_rejection_that_comes_to_count_again_is_on_the_record_already() {
    let mut world = gated();
    world.says("churn-2", "business", "Rejected", "carla");
    settle(&mut world);
    for entry in ["churn-3", "churn-2", "churn-1", "churn-2"] {
        world.deploy(entry);
        settle(&mut world);
        notices(&mut world);
    }
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%"]);
    takes_back(&mut world, "carla");
    notices(&mut world);
    assert_eq!(noted(&world).len(), 2, "and that it is taken back is, too");
}

/// Of what the spec said before, and of an entry of the same content.
#[test]
fn what_was_said_of_another_entry_is_not_taken_back_because_the_spec_names_this_one() {
    let mut world = at_five_percent();
    let mut twin = world.entries["churn-2"].as_ref().clone();
    (twin.metadata.name, twin.metadata.uid) = (Some("churn-2b".into()), Some("uid-of-churn-2b".into()));
    world.entries.insert("churn-2b".into(), std::sync::Arc::new(twin));
    world.deploy("churn-2b");
    world.approvals.clear();
    notices(&mut world);
    assert!(noted(&world).is_empty(), "{:?}", noted(&world));
}

/// Also while nobody knows which revision the spec names.
#[test]
fn what_serves_is_not_on_its_way_whatever_else_is_missing() {
    let mut world = World::serving();
    world.asks_for("churn-1", &["business"]);
    world.says("churn-1", "business", "Rejected", "carla");
    settle(&mut world);
    world.edit_template(|it| it["spec"]["volumes"] = json!([{"name": "c", "configMap": {"name": "gone"}}]));
    settle(&mut world);
    assert!(noted(&world).is_empty(), "{:?}", noted(&world));
    let mut world = World::mid_canary();
    world.asks_for("churn-1", &["business"]);
    world.says("churn-1", "business", "Rejected", "carla");
    world.deploy("churn-1");
    settle(&mut world);
    assert!(noted(&world).is_empty(), "{:?}", noted(&world));
}

#[test]
fn a_rejection_that_nobody_was_held_to_holds_and_is_nobodys() {
    let mut world = gated();
    let ready = std::mem::replace(&mut world.guard, Guard::NotReady("a policy is gone".into()));
    world.says("churn-2", "business", "Rejected", "carla");
    settle(&mut world);
    assert_eq!(condition(&world, "Stalled").1, "ApprovalRejected");
    assert!(noted(&world).is_empty());
    world.guard = ready;
    settle(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%"]);
}

/// A finalizer of somebody's, say.
#[test]
fn an_approval_that_takes_long_to_be_deleted_is_gone_once() {
    let mut world = at_five_percent();
    let carla = world.approvals.iter_mut().find(|it| it.spec.approver == "carla").unwrap();
    let now = k8s_openapi::jiff::Timestamp::from_second(world.now.timestamp()).unwrap();
    std::sync::Arc::make_mut(carla).metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    (0..5).for_each(|_| notices(&mut world));
    assert_eq!(noted(&world), ["Retract approval-by-carla 5%"]);
}

/// However many there are: what is in question is never forgotten.
#[test]
fn twenty_steps_that_are_rejected_are_noted_once_each() {
    let mut world = World::serving();
    let step = |it: u8| json!({"weight": format!("{}%", it + 1), "approval": {"role": format!("role-{}", char::from(b'a' + it))}});
    world.steps((0..20).map(step).collect());
    world.deploy("churn-2");
    (0..4).for_each(|_| drop(world.pass()));
    let asked = world.attempt().approvals;
    assert_eq!(asked.len(), 20);
    for (at, step) in asked.iter().enumerate() {
        world.says_of(step, "Rejected", &format!("person-{at}"));
    }
    (0..12).for_each(|_| notices(&mut world));
    assert_eq!((noted(&world).len(), remembered(&world).len()), (20, 20));
}

/// The field of a CRD that is older than the operator.
#[test]
fn what_is_not_remembered_is_not_recorded_again_and_again() {
    let mut world = gated();
    for _ in 0..10 {
        if let Some(status) = world.resource.status.as_mut() {
            status.recorded_approvals = None;
        }
        if world.approvals.len() == 1 {
            world.says("churn-2", "business", "Rejected", "carla");
        }
        world.pass();
    }
    assert!(noted(&world).is_empty());
}

#[test]
fn what_serves_rests_on_nobodys_word_any_more() {
    let mut world = at_five_percent();
    world.says_of_step("Approved", "olga");
    (0..4).for_each(|_| wait(&mut world, 600));
    settle(&mut world);
    assert!(remembered(&world).is_empty());
    takes_back(&mut world, "carla");
    world.says("churn-2", "business", "Rejected", "carla");
    assert!(is_nothing(&world.pass()));
}

#[test]
fn while_an_entry_is_away_nobody_has_taken_anything_back() {
    let mut world = at_five_percent();
    let (entry, approvals) = (world.entries.remove("churn-2").unwrap(), std::mem::take(&mut world.approvals));
    notices(&mut world);
    world.entries.insert("churn-2".into(), entry);
    world.approvals = approvals;
    notices(&mut world);
    assert!(noted(&world).is_empty(), "{:?}", noted(&world));
}

#[test]
fn dying_at_any_write_notes_each_word_once() {
    for writes in 0..6 {
        let mut world = at_five_percent();
        world.says_of_step("Rejected", "olga");
        takes_back(&mut world, "carla");
        for _ in 0..8 {
            let plan = world.decide();
            world.carry_out(&plan, writes);
            world.restart();
            world.advance(5);
        }
        notices(&mut world);
        assert_eq!(
            noted(&world),
            ["Reject rejection-by-olga 5%", "Retract approval-by-carla 5%"],
            "after {writes} writes"
        );
    }
}

/// An intent is on the record, its status write is not, and by then somebody else has said no instead.
#[test]
fn another_word_under_the_number_of_one_that_was_lost_is_another_decision() {
    let mut world = gated();
    world.says("churn-2", "business", "Rejected", "carla");
    let plan = world.decide();
    world.carry_out(&plan, 1);
    world.restart();
    takes_back(&mut world, "carla");
    world.says("churn-2", "business", "Rejected", "dora");
    settle(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%", "Reject rejection-by-dora 0%"]);
    let voids = world.trail.newest_first().into_iter().filter(|it| it.kind == EntryKind::Void);
    assert_eq!(voids.map(|it| it.decision).collect::<Vec<_>>(), ["Reject"], "nothing held because of the first");
}

/// Nothing of what people say lets a revision go that was taken back for its own fault.
#[test]
fn what_was_said_since_a_rollback_lets_nothing_go() {
    let mut world = at_five_percent();
    for _ in 0..2 {
        world.advance(30);
        world.measure("error-rate", crate::decide::Measurement::of(0.5));
        world.pass();
    }
    settle(&mut world);
    takes_back(&mut world, "carla");
    world.says("churn-2", "business", "Rejected", "carla");
    notices(&mut world);
    assert_eq!(noted(&world), ["Reject rejection-by-carla 0%", "Retract approval-by-carla 0%"]);
    world.approvals.pop();
    world.says("churn-2", "business", "Approved", "carla");
    world.restore();
    settle(&mut world);
    assert_eq!(world.attempt().cause, Some(crate::api::model_deployment::Cause::PreviouslyRolledBack));
}
