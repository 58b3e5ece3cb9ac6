//! The last proven revision comes up with other images than it went to sleep with.

use serde_json::json;

use super::probation::{asleep_with, condition, first, is_proven, outcomes, pods, promote, settle, stable};
use super::world::World;
use crate::api::model_deployment::{Cause, Phase};
use crate::decide::{Event, EventType, Measurement};

/// `churn-1` ran image `1a` and sleeps; `churn-2` is on probation.
fn asleep() -> World {
    let world = asleep_with(|world, old| world.run(old, &["1a", "1a"]));
    let kept = world.status().probation.unwrap().fallback_images;
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [("server".into(), format!("@sha256:{}", "1a".repeat(32)))]);
    world
}

/// Passes in a healthy cluster; its pods run this image as soon as they come up.
fn wakes(world: &mut World, image: &str) -> Vec<Event> {
    let old = first(world);
    let mut events = Vec::new();
    for _ in 0..8 {
        events.extend(world.pass().events);
        world.all_is_well();
        if world.status().probation.is_some() && pods(world, &old) > Some(0) {
            world.run(&old, &[image, image]);
        }
    }
    events
}

fn warned(events: &[Event]) -> usize {
    events.iter().filter(|it| it.type_ == EventType::Warning && it.reason == "ImagesDiffer").count()
}

#[test]
fn what_has_failed_goes_back_to_other_images_too_and_they_are_told_and_not_proven() {
    let mut world = asleep();
    let old = first(&world);
    outcomes(&mut world, 0.02);
    world.pass();
    world.run(&old, &["2b"]);
    world.pass();
    let (_, reason, message) = condition(&world, "Ready");
    assert!(
        reason == "ObjectiveMissed" && message.contains("run sha256:2b2b2b2b2b2b for container server"),
        "{message}"
    );
    let events = wakes(&mut world, "2b");
    assert_eq!((stable(&world), warned(&events)), (old.clone(), 1));
    assert!(!is_proven(&world, &old));
    let attempt = world.attempt();
    assert_eq!(attempt.cause, Some(Cause::ObjectiveMissed));
    assert!(attempt.message.unwrap().contains("ran sha256:1a1a1a1a1a1a when it was proven"));
}

#[test]
fn with_the_same_images_nothing_is_said() {
    let mut world = asleep();
    let old = first(&world);
    world.deploy("churn-1");
    let events = wakes(&mut world, "1a");
    assert_eq!((stable(&world), warned(&events)), (old.clone(), 0));
    assert!(is_proven(&world, &old) && condition(&world, "Ready").0);
}

#[test]
fn a_spec_that_names_it_again_is_not_followed_to_other_images() {
    let mut world = asleep();
    let (old, late) = (first(&world), stable(&world));
    world.deploy("churn-1");
    let events = wakes(&mut world, "2b");
    assert_eq!((stable(&world), world.status().phase, warned(&events)), (late.clone(), Phase::Probation, 1));
    let (stalled, reason, message) = condition(&world, "Stalled");
    assert!(stalled && reason == "ImagesDiffer" && message.contains("kubectl werkbank abort churn"), "{message}");
    assert_eq!(condition(&world, "Ready").1, "ImagesDiffer");
    world.running.clear();
    for _ in 0..3 {
        world.advance(600);
        settle(&mut world);
    }
    assert_eq!(
        (stable(&world), pods(&world, &old)),
        (late.clone(), Some(0)),
        "it sleeps again, and is not called again"
    );

    let mut aborted = world.clone();
    aborted.request("abort", "n1");
    wakes(&mut aborted, "2b");
    assert_eq!((stable(&aborted), aborted.attempt().cause), (old.clone(), Some(Cause::Aborted)), "a person insists");

    let mut failed = world.clone();
    failed.measure("hit-rate", Measurement::of(0.02));
    failed.advance(3600);
    wakes(&mut failed, "2b");
    assert_eq!((stable(&failed), failed.attempt().cause), (old.clone(), Some(Cause::ObjectiveMissed)));

    let mut pinned = world.clone();
    pinned.edit_template(|it| {
        it["spec"]["containers"][0]["image"] = json!(format!("registry/scorer@sha256:{}", "1a".repeat(32)))
    });
    settle(&mut pinned);
    assert_ne!(pinned.attempt().revision, old);
    assert!(pinned.attempt().state.is_active(), "another revision takes its steps: {:#?}", pinned.attempt());

    world.deploy("churn-2");
    settle(&mut world);
    assert!(condition(&world, "Ready").0);
    world.deploy("churn-1");
    wakes(&mut world, "1a");
    assert_eq!(stable(&world), old, "the tag was pushed back");
}

#[test]
fn what_is_kept_of_it_outlives_another_promotion() {
    let mut world = asleep();
    let kept = world.status().probation.unwrap().fallback_images;
    promote(&mut world, "churn-3");
    assert_eq!(world.status().probation.unwrap().fallback_images, kept);
}

#[test]
fn a_revision_whose_pods_differ_is_not_proven_before_they_are_one() {
    let mut world = asleep();
    let late = stable(&world);
    outcomes(&mut world, 0.08);
    world.run(&late, &["1a", "2b"]);
    (0..3).for_each(|_| drop(world.pass()));
    assert!(world.status().phase == Phase::Probation && !is_proven(&world, &late));
    let (ready, _, message) = condition(&world, "Ready");
    assert!(ready && message.contains("not proven before its pods are one"), "{message}");
    world.run(&late, &["2b", "2b"]);
    settle(&mut world);
    assert!(world.status().probation.is_none() && is_proven(&world, &late));
}
