//! The way back from a revision on probation to the last proven one.

use serde_json::json;

use super::consents::intent;
use super::probation::{asleep, condition, first, outcomes, pods, promoted, served, settle, stable};
use super::story::Story;
use super::world::World;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, Cause, Phase};
use crate::decide::Measurement;

#[test]
fn a_late_failure_brings_back_the_old_revision_that_was_scaled_to_zero_and_then_its_traffic() {
    let mut story = Story::of("Late outcomes, and they are bad", asleep());
    outcomes(&mut story.world, 0.02);
    story.pass("the outcomes are bad: pods first");
    story.world.advance(20);
    story.pass("none of them is ready: the promoted revision goes on serving");
    story.world.pods_ready();
    story.pass("they are ready: all traffic goes back");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.pass("it drains");
    story.world.advance(30);
    story.pass("drained");
    story.is("late-outcomes-bad");
}

#[test]
fn a_late_failure_is_sticky_and_only_a_retry_leaves_it() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    outcomes(&mut world, 0.02);
    settle(&mut world);
    assert_eq!((stable(&world), world.attempt().state), (old.clone(), AttemptState::RolledBack));
    assert_eq!(served(&world), [labels::name(&["churn", &old])]);
    assert!(world.status().taken_back.iter().any(|it| it.revision == late && it.cause == Cause::ObjectiveMissed));
    assert!(!condition(&world, "Ready").0 && condition(&world, "Stalled").0 && condition(&world, "Available").0);
    world.request("retry", "n1");
    world.pass();
    assert_eq!((world.attempt().revision, world.attempt().state), (late, AttemptState::Starting));
}

#[test]
fn who_called_it_back_while_the_record_was_silent_is_named_for_the_recall_and_for_what_comes_of_it() {
    let mut world = asleep();
    world.trail_is_down();
    world.request("abort", "n1");
    world.pass();
    world.advance(20);
    world.pods_ready();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    world.memory.trail_unavailable_since = None;
    settle(&mut world);
    let asked_by = ["Recall", "RollBack"].map(|it| intent(&world, it).asked_by);
    assert_eq!(asked_by, ["actor of jane", "actor of jane"]);
}

#[test]
fn who_asks_once_more_and_is_refused_is_not_named_for_what_another_called_back() {
    let mut world = asleep();
    let attempt = world.attempt().id;
    world.trail_is_down();
    world.annotate(format!("abort/{attempt}/-/n1/max"));
    world.pass();
    world.annotate(format!("abort/{attempt}/-/n2/olga"));
    assert!(world.refusal().contains("back"), "{:?}", world.handled());
    world.memory.trail_unavailable_since = None;
    world.pass();
    world.advance(20);
    settle(&mut world);
    let asked_by = ["Recall", "RollBack"].map(|it| intent(&world, it).asked_by);
    assert_eq!(asked_by, ["unknown", "unknown"]);
}

#[test]
fn a_fallback_that_does_not_come_up_is_said_to_and_is_taken_as_soon_as_it_does() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    outcomes(&mut world, 0.02);
    world.pass();
    assert_eq!((world.status().phase, condition(&world, "Ready").1), (Phase::RollingBack, "ObjectiveMissed".into()));
    assert!(!condition(&world, "Stalled").0 && condition(&world, "Reconciling").0);
    world.advance(15 * 60);
    world.pass();
    assert_eq!(condition(&world, "Stalled").1, "ProgressDeadlineExceeded");
    assert_eq!(stable(&world), late, "something has to serve");
    world.advance(3600);
    settle(&mut world);
    assert_eq!(stable(&world), old);
}

#[test]
fn a_revision_that_is_taken_back_says_so_whatever_else_is_wrong() {
    type Wrong = fn(&mut World);
    let wrong: [(Wrong, &str); 4] = [
        (|world| world.trail_is_down(), "Progressing"),
        (|world| drop(world.entries.remove("churn-2")), "EntryNotFound"),
        (|world| world.memory.foreign_children.push("Service/churn".into()), "ChildNameTaken"),
        (|world| world.rollout(json!({"steps": [{"weight": "many", "for": "10m"}]})), "InvalidSpec"),
    ];
    for (happens, stalled) in wrong {
        let mut world = asleep();
        let old = first(&world);
        outcomes(&mut world, 0.02);
        world.pass();
        happens(&mut world);
        world.pass();
        let (ready, reason, message) = condition(&world, "Ready");
        assert!(!ready && reason == "ObjectiveMissed", "{stalled}: {reason}: {message}");
        assert!(message.contains(&format!("waiting for revision {old}: 0 of 4 pods are ready")), "{message}");
        let (reconciling, reason, _) = condition(&world, "Reconciling");
        assert!(reconciling && reason == "RollingBack", "{stalled}: it waits for pods, and not in vain: {reason}");
        assert_eq!(condition(&world, "Stalled").1, stalled);
        world.advance(15 * 60);
        world.pass();
        assert!(!condition(&world, "Reconciling").0, "{stalled}: nobody is to wait for ever");
        assert_eq!(condition(&world, "Ready").1, "ObjectiveMissed");
    }
}

#[test]
fn a_fallback_that_does_not_come_up_does_not_block_the_repair() {
    let mut world = asleep();
    outcomes(&mut world, 0.02);
    world.pass();
    world.deploy("churn-3");
    world.pass();
    assert_eq!(world.status().attempts, 2, "the fallback is awaited first");
    world.advance(15 * 60);
    world.pass();
    assert_eq!((world.status().attempts, world.attempt().state), (3, AttemptState::Starting));
}

#[test]
fn the_spec_names_the_old_revision_again_and_it_is_back_at_once_without_an_attempt() {
    let mut world = promoted();
    let (old, late) = (first(&world), stable(&world));
    world.deploy("churn-1");
    world.trail_is_down();
    world.edit(|spec| spec.suspend = Some(true));
    world.pass();
    assert_eq!((stable(&world), world.attempt().state), (old.clone(), AttemptState::RollingBack), "its pods are there");
    assert_eq!(served(&world), [labels::name(&["churn", &old])]);
    world.memory.trail_unavailable_since = None;
    settle(&mut world);
    assert_eq!(world.attempt().cause, Some(Cause::Reverted));
    assert!(condition(&world, "Ready").0 && world.status().taken_back.is_empty());
    assert_ne!(stable(&world), late);
}

#[test]
fn reverted_and_reverted_again_before_the_pods_were_there() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    world.deploy("churn-1");
    world.pass();
    assert_eq!((pods(&world, &old), stable(&world)), (Some(4), late.clone()));
    world.deploy("churn-2");
    world.pass();
    assert_eq!((world.status().phase, stable(&world)), (Phase::Probation, late));
    world.all_is_well();
    world.advance(600);
    world.pass();
    world.pass();
    assert_eq!(pods(&world, &old), Some(0), "asleep again, after keepStable");
}

#[test]
fn an_entry_that_vanishes_does_not_change_where_it_goes_back_to() {
    let mut world = asleep();
    let old = first(&world);
    world.deploy("churn-1");
    world.pass();
    world.entries.remove("churn-1");
    settle(&mut world);
    assert_eq!(stable(&world), old);
}

#[test]
fn a_candidate_without_pods_loses_its_weight_in_the_very_pass_in_which_the_revision_before_it_fails_late() {
    let mut world = asleep();
    world.advance(1800);
    world.begins("churn-3");
    let candidate = world.attempt().revision;
    world.measure("hit-rate", Measurement::of(0.02));
    world.pods_ready_of(&candidate, 0);
    world.advance(1800);
    world.pass();
    assert!(world.status().probation.unwrap().recall.is_some());
    assert_eq!(served(&world), [labels::name(&["churn", &stable(&world)])]);
}

#[test]
fn a_late_failure_takes_a_new_candidate_back_too_and_it_begins_anew_from_what_is_proven() {
    let mut story = Story::of("A late failure while the next candidate is on its way", asleep());
    story.world.advance(1800);
    story.world.begins("churn-3");
    story.world.measure("hit-rate", Measurement::of(0.02));
    story.world.advance(1800);
    story.pass("the outcomes of the stable revision are bad: pods first, and nothing advances");
    story.world.advance(600);
    story.pass("the candidate's step would be over, but it waits");
    story.world.all_is_well();
    story.pass("all of it goes back in one write of the route");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.pass("the candidate begins anew");
    story.is("late-failure-mid-canary");
}

#[test]
fn a_candidate_that_has_all_of_the_traffic_when_the_revision_before_it_fails_late_stays() {
    let mut world = asleep();
    let old = first(&world);
    world.advance(1400);
    world.deploy("churn-3");
    while world.attempt().state != AttemptState::Promoting {
        world.advance(60);
        world.all_is_well();
        world.pass();
    }
    let third = world.attempt().revision;
    world.measure("hit-rate", Measurement::of(0.02));
    world.advance(600);
    world.pass();
    assert_eq!(world.status().phase, Phase::RollingBack, "called back, and the gateway has not accepted 100 % yet");
    settle(&mut world);
    assert_eq!((stable(&world), world.status().phase), (third, Phase::Probation));
    assert_eq!((first(&world), pods(&world, &old)), (old.clone(), Some(0)), "asleep again");
}

#[test]
fn abort_on_probation_goes_back() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!((stable(&world), world.attempt().cause), (old, Some(Cause::Aborted)));
    assert!(world.status().taken_back.iter().any(|it| it.revision == late));
}

#[test]
fn a_restored_object_holds_what_had_failed_late_also_if_traffic_had_not_gone_back_yet() {
    let mut world = asleep();
    outcomes(&mut world, 0.02);
    world.pass();
    world.pass();
    assert!(world.status().probation.unwrap().recall.is_some() && world.status().unrecorded.is_empty());
    world.restore();
    world.come_to_rest();
    assert_eq!(world.attempt().cause, Some(Cause::PreviouslyRolledBack));
}
