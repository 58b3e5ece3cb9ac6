//! People end a probation, one way or the other.

use super::*;

#[test]
fn a_person_can_end_a_probation_also_after_another_candidate_was_tried() {
    let mut world = asleep();
    let (old, late, promoted) = (first(&world), stable(&world), world.attempt().id);
    world.deploy("churn-3");
    (0..4).for_each(|_| {
        world.pass();
        world.all_is_well();
    });
    world.request("abort", "n1");
    settle(&mut world);
    world.deploy("churn-2");
    settle(&mut world);
    assert_eq!((stable(&world), world.attempt().state), (late, AttemptState::RolledBack));
    // An abort of the candidate that came too late takes nothing else back.
    let mut late_abort = world.clone();
    late_abort.request("abort", "n2");
    settle(&mut late_abort);
    assert_eq!(stable(&late_abort), stable(&world));
    world.request_for("abort", &promoted, "n3");
    settle(&mut world);
    assert_eq!(stable(&world), old);
}

#[test]
fn a_person_takes_back_what_is_on_probation_after_another_candidate_was_tried() {
    let mut world = asleep();
    let promoted = world.attempt().id;
    world.advance(1800);
    world.deploy("churn-3");
    (0..4).for_each(|_| {
        world.pass();
        world.all_is_well();
    });
    let mut story = Story::of("A candidate is aborted while another revision is on probation, then that", world);
    story.world.request("abort", "n1");
    story.pass("the candidate is aborted");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.world.request_for("abort", &promoted, "n2");
    story.pass("the revision on probation is aborted too: pods first");
    story.world.pods_ready();
    story.pass("they are ready: all traffic goes back");
    story.is("older-probation");
}

#[test]
fn promote_ends_a_probation_without_proof_unless_something_fails() {
    let mut world = asleep();
    let (revision, old) = (stable(&world), first(&world));
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(30);
    world.request_at("promote", "-", "n1");
    world.pass();
    let handled = world.status().handled_request.unwrap();
    assert_eq!(handled.outcome, RequestOutcome::Refused, "{handled:?}");
    world.measure("error-rate", Measurement::of(0.001));
    world.advance(30);
    world.pass();
    world.request_at("promote", "-", "n2");
    world.pass();
    assert_eq!(world.status().handled_request.unwrap().outcome, RequestOutcome::Done);
    assert!(world.status().probation.is_none() && !is_proven(&world, &revision));
    world.advance(60);
    settle(&mut world);
    assert_eq!((role_of(&world, &old), stable(&world)), (None, revision));
}

#[test]
fn nobody_is_asked_when_a_person_takes_a_revision_on_probation_back() {
    let asks = |world: &World| {
        let policy = Policy::read(&world.resource.spec, &world.shared_metrics);
        !measure::due(&world.resource, &policy, &world.status(), &Asked::default(), world.now).is_empty()
    };
    let mut aborted = asleep();
    aborted.advance(3600);
    let mut reverted = aborted.clone();
    assert!(asks(&aborted));
    aborted.request("abort", "n1");
    reverted.deploy("churn-1");
    assert!(!asks(&aborted) && !asks(&reverted), "a slow source would delay it");
}
