//! A candidate that is on its way, or has all of the traffic, when the revision before it is called back.

use super::probation::{asleep, condition, first, served, settle, stable};
use super::world::World;
use crate::api::model_deployment::{AttemptState, Cause, RequestOutcome};
use crate::api::{Weight, labels};
use crate::decide::Measurement;

/// `churn-3` has all of the traffic when `churn-2`, which it began from, fails late; somebody suspends it before the
/// promotion ends. The pods of `churn-1` are there.
fn recalled_under_a_candidate_with_all_traffic() -> World {
    let mut world = asleep();
    world.advance(1400);
    world.deploy("churn-3");
    while world.attempt().state != AttemptState::Promoting {
        world.advance(60);
        world.all_is_well();
        world.pass();
    }
    world.edit(|spec| spec.suspend = Some(true));
    world.measure("hit-rate", Measurement::of(0.02));
    world.advance(600);
    (0..2).for_each(|_| {
        world.pass();
        world.all_is_well();
    });
    world.pass();
    assert!(world.status().probation.is_some_and(|it| it.recall.is_some()));
    assert_eq!(served(&world), [labels::name(&["churn", &world.attempt().revision])]);
    world
}

#[test]
fn a_candidate_that_has_all_of_the_traffic_is_what_a_recall_waits_for_and_not_pods() {
    let mut world = recalled_under_a_candidate_with_all_traffic();
    let (old, third) = (first(&world), world.attempt().revision);
    let (_, reason, message) = condition(&world, "Ready");
    assert_eq!(reason, "ObjectiveMissed");
    assert!(message.contains(&format!("revision {third} has all of the traffic and takes its place")), "{message}");
    assert!(
        message.contains("spec.suspend is true") && !message.contains(&format!("waiting for revision {old}")),
        "{message}"
    );
    world.advance(3600);
    world.pass();
    assert_eq!(condition(&world, "Stalled").1, "Progressing", "no pods are awaited: a person holds it");
    world.measure("hit-rate", Measurement::of(0.08));
    world.edit(|spec| spec.suspend = None);
    settle(&mut world);
    assert_eq!(stable(&world), third);
}

#[test]
fn whoever_loses_all_of_the_traffic_while_the_revision_before_it_is_called_back_loses_it_to_what_is_proven() {
    type Happens = fn(&mut World);
    let all: [(Happens, Option<Cause>); 5] = [
        (|world| world.request("abort", "n1"), Some(Cause::Aborted)),
        (
            |world| {
                world.measure("error-rate", Measurement::of(0.5));
                world.edit(|spec| spec.analysis.failure_limit = Some(0));
                world.advance(30);
            },
            Some(Cause::GuardrailBreached),
        ),
        (|world| world.deploy("churn-4"), None),
        (|world| world.deploy("churn-2"), None),
        (
            |world| {
                let candidate = world.attempt().revision;
                world.pods_ready_of(&candidate, 0);
            },
            None,
        ),
    ];
    for (happens, cause) in all {
        let mut world = recalled_under_a_candidate_with_all_traffic();
        let (old, late, third) = (first(&world), stable(&world), world.attempt().revision);
        happens(&mut world);
        world.pass();
        assert_eq!(served(&world), [labels::name(&["churn", &old])], "{cause:?}: not for one pass to what has failed");
        let status = world.status();
        assert_eq!((stable(&world), status.attempt.as_ref().map(|it| &it.revision)), (old, Some(&late)));
        let refused = |revision: &str| status.taken_back.iter().find(|it| it.revision == revision).map(|it| it.cause);
        assert_eq!((refused(&third), refused(&late)), (cause, Some(Cause::ObjectiveMissed)));
        let told = format!("{:?}", cause.unwrap_or(Cause::Superseded));
        let note = status.unrecorded.iter().find(|it| it.revision == third).expect("it is on the record");
        assert!(note.decision == "RollBack" && note.weight == Weight::NONE, "{note:?}");
        assert!(cause.is_none() || note.reason.starts_with(&told), "{}", note.reason);
        if cause == Some(Cause::Aborted) {
            let handled = status.handled_request.expect("a request");
            assert_eq!((handled.verb.as_str(), handled.outcome), ("abort", RequestOutcome::Done));
        }
    }
}

#[test]
fn a_candidate_that_is_aborted_when_the_fallback_has_just_come_up_does_not_begin_anew() {
    let mut world = asleep();
    world.advance(1800);
    world.begins("churn-3");
    let (old, third) = (first(&world), world.attempt().revision);
    world.measure("hit-rate", Measurement::of(0.02));
    world.advance(1800);
    world.pass();
    world.all_is_well();
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!((stable(&world), world.status().handled_request.unwrap().outcome), (old, RequestOutcome::Done));
    assert_ne!(world.attempt().revision, third, "a person has taken it back");
    assert!(world.status().taken_back.iter().any(|it| it.revision == third && it.cause == Cause::Aborted));
}

#[test]
fn without_its_pods_what_is_proven_gets_nothing_and_what_is_called_back_goes_on_serving() {
    let mut world = recalled_under_a_candidate_with_all_traffic();
    let (old, late) = (first(&world), stable(&world));
    world.pods_ready_of(&old, 1);
    world.request("abort", "n1");
    world.pass();
    assert_eq!(served(&world), [labels::name(&["churn", &late])], "one pod cannot take it all");
    settle(&mut world);
    assert_eq!(stable(&world), old);
}
