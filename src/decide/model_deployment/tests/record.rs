//! Which number a decision has on the trail, whatever came between its intent and its status.

use super::world::{World, is_nothing};
use crate::api::approval::digest_of;
use crate::api::model_deployment::AttemptState;
use crate::audit::EntryKind;
use crate::decide::Measurement;

/// At 5 % with the step over: the next pass shifts to 50 %.
fn about_to_shift() -> World {
    let mut world = World::mid_canary();
    world.advance(600);
    for _ in 0..10 {
        world.all_is_well();
        if world.decide().entries.iter().any(|it| it.decision == "Shift") {
            return world;
        }
        world.pass();
        world.advance(30);
    }
    panic!("no shift is decided: {:#?}", world.status());
}

impl World {
    /// What it decides next is on the record, and the process dies.
    pub(super) fn dies_before_its_status_write(&mut self) {
        let plan = self.decide();
        self.carry_out(&plan, plan.entries.len());
        self.restart();
    }
}

/// Its intent is stored, and the operator dies before the status write.
fn killed_after_the_intent(world: &mut World) {
    assert_eq!(world.decide().entries.last().unwrap().decision, "Shift");
    world.dies_before_its_status_write();
}

fn settled(world: &mut World) -> Vec<String> {
    for _ in 0..6 {
        world.gateway_accepts();
        world.pass();
    }
    assert!(is_nothing(&world.decide()), "{:#?}", world.status());
    assert!(world.status().unrecorded.is_empty());
    world.trail.told().split_off(5)
}

#[test]
fn an_intent_whose_status_write_was_lost_is_stored_once_when_the_decision_stands() {
    let mut world = about_to_shift();
    killed_after_the_intent(&mut world);
    world.pass();
    assert_eq!(world.attempt().weight.to_string(), "50%");
    assert_eq!(world.trail.told().split_off(5), ["Outcome 4 Shift 5%", "Intent 5 Shift 50%"]);
}

#[test]
fn a_rollback_that_took_a_lost_intents_number_gets_another_and_the_lost_one_is_closed() {
    let mut world = about_to_shift();
    killed_after_the_intent(&mut world);
    world.request("abort", "n1");
    world.pass();
    assert_eq!(world.status().unrecorded[0].sequence, 5, "it does not ask the trail");
    let expected = [
        "Outcome 4 Shift 5%",
        "Intent 5 Shift 50%",
        "Void 5 Shift 50%",
        "Intent 6 RollBack 0%",
        "Outcome 6 RollBack 0%",
    ];
    assert_eq!(settled(&mut world), expected);
    assert_eq!(world.attempt().decided, 6);
}

#[test]
fn another_weight_after_a_lost_intent_is_another_decision() {
    let mut world = about_to_shift();
    killed_after_the_intent(&mut world);
    world.steps(serde_json::json!([{"weight": "5%", "for": "10m"}, {"weight": "20%", "for": "10m"}]));
    (0..4).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().weight.to_string(), "20%");
    let expected = ["Outcome 4 Shift 5%", "Intent 5 Shift 50%", "Void 5 Shift 50%", "Intent 6 Shift 20%"];
    assert_eq!(world.trail.told().split_off(5), expected);
}

#[test]
fn an_intent_that_nothing_follows_is_closed_too() {
    let mut world = about_to_shift();
    world.conflict();
    world.measure("error-rate", Measurement::NoData("gone".into()));
    world.advance(30);
    (0..3).for_each(|_| drop(world.pass()));
    let expected = ["Outcome 4 Shift 5%", "Intent 5 Shift 50%", "Void 5 Shift 50%"];
    assert_eq!(world.trail.told().split_off(5)[..3], expected);
}

#[test]
fn what_was_decided_later_keeps_a_later_number() {
    let mut world = about_to_shift();
    killed_after_the_intent(&mut world);
    world.trail_is_down();
    world.request("abort", "n1");
    world.pass();
    world.gateway_accepts();
    world.pass();
    let queued: Vec<i64> = world.status().unrecorded.iter().map(|it| it.sequence).collect();
    assert_eq!(queued, [5, 5], "intent and outcome");
    world.memory.trail_unavailable_since = None;
    let told = settled(&mut world);
    assert_eq!(told[2..], ["Void 5 Shift 50%", "Intent 6 RollBack 0%", "Outcome 6 RollBack 0%"]);
}

#[test]
fn dying_while_numbers_are_settled_records_everything_once() {
    for writes in 0..8 {
        let mut world = about_to_shift();
        killed_after_the_intent(&mut world);
        world.request("abort", "n1");
        for _ in 0..4 {
            let plan = world.decide();
            world.carry_out(&plan, writes);
            world.restart();
            world.gateway_accepts();
            world.pass();
        }
        settled(&mut world);
        assert_eq!(world.trail.recorded(), world.trail.effects(), "after {writes} writes");
    }
}

/// The backup is of the time when a rollback waited under a number that was another decision's, and is closed by now.
#[test]
fn a_queue_of_an_earlier_time_whose_number_is_closed_gets_other_numbers() {
    let mut world = about_to_shift();
    killed_after_the_intent(&mut world);
    world.trail_is_down();
    world.request("abort", "n1");
    world.pass();
    let backup = world.status();
    assert_eq!(backup.unrecorded[0].sequence, 5);
    world.memory.trail_unavailable_since = None;
    settled(&mut world);
    world.resource.status = Some(backup);
    world.restart();
    let told = settled(&mut world);
    assert_eq!(told[1..4], ["Intent 5 Shift 50%", "Void 5 Shift 50%", "Intent 6 RollBack 0%"], "{told:#?}");
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
}

#[test]
fn conflicts_one_after_the_other_leave_one_note_at_a_time() {
    let mut world = World::serving();
    world.deploy("churn-2");
    for _ in 0..20 {
        world.conflict();
        world.pass();
        let waiting = world.status().unrecorded;
        assert!(waiting.len() <= 1, "{waiting:#?}");
    }
    world.come_to_rest();
    assert_eq!(world.trail.recorded(), world.trail.effects());
    assert!(world.trail.open().is_empty(), "{:#?}", world.trail.open());
}

#[test]
fn two_decisions_that_did_not_wait_for_the_record_keep_their_order_and_leave_out_no_number() {
    let mut world = World::mid_canary();
    // An intent that never took effect: another process stores the next step, and dies before its status write.
    world.advance(600);
    world.pass();
    world.all_is_well();
    let plan = world.decide();
    assert_eq!(plan.entries.len(), 1, "{:?}", plan.entries);
    world.carry_out(&plan, 1);
    world.restart();
    // Two that do not wait, one after the other, before the record is asked.
    world.trail_is_down();
    world.request("pause", "n1");
    world.pass();
    world.request("abort", "n2");
    world.pass();
    world.memory.trail_unavailable_since = None;
    world.come_to_rest();
    assert_eq!(world.trail.recorded(), world.trail.effects());
    assert_eq!(world.trail.numbers(), (1..=world.status().sequence).collect::<Vec<_>>(), "{:#?}", world.trail.told());
}

#[test]
fn people_are_told_which_entry_has_the_decision_whether_or_not_it_waited_for_the_record() {
    let mut world = about_to_shift();
    let plan = world.pass();
    let shift = plan.entries.iter().find(|it| it.decision == "Shift").unwrap().id();
    assert_eq!(plan.events.iter().map(|it| it.entry.clone()).collect::<Vec<_>>(), [Some(shift)]);
    // The way back is told before it is on the record, under the id that it will have there.
    world.request("abort", "1");
    let plan = world.pass();
    assert!(plan.entries.iter().all(|it| it.decision != "Abort"));
    let told = plan.events.into_iter().filter_map(|it| it.entry).collect::<Vec<_>>();
    let plan = world.pass();
    let abort = plan.entries.iter().find(|it| it.kind == EntryKind::Intent).unwrap();
    assert!(!told.is_empty() && told.iter().all(|it| *it == abort.id()), "{told:?}: {abort:?}");
}

#[test]
fn a_decision_names_the_measurements_that_it_rests_on_also_when_it_is_recorded_later() {
    let mut world = World::mid_canary();
    world.measure("error-rate", Measurement::of(0.2));
    world.until(
        |it| !it.status().unrecorded.is_empty(),
        |it| {
            it.pass();
            it.advance(30);
        },
    );
    let note = world.status().unrecorded.first().cloned().unwrap();
    assert_eq!((note.decision.as_str(), note.measurements.clone()), ("RollBack", digest_of(&world.status().verdicts)));
    world.all_is_well();
    assert_eq!(world.pass().entries.first().map(|it| it.measurements.clone()), Some(note.measurements));
}
