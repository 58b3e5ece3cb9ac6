//! `onRevocation: Keep`: what serves goes on until something else can.

use super::*;

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
