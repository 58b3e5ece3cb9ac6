//! Whose the bytes are, and entries that are deprecated.

use super::*;

#[test]
fn the_same_bytes_under_an_entry_that_stands_serve_on() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    std::sync::Arc::make_mut(world.entries.get_mut("churn-again").unwrap()).metadata.uid = Some("entry-again".into());
    world.deploy("churn-again");
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-again"));
    assert!(condition(&world, "Ready").0 && weights(&world).len() == 1);
}

#[test]
fn a_spec_that_names_a_revoked_entry_takes_nothing_from_the_same_bytes_under_one_that_stands() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    std::sync::Arc::make_mut(world.entries.get_mut("churn-again").unwrap()).metadata.uid = Some("entry-again".into());
    world.revoke("churn-again");
    world.deploy("churn-again");
    settle(&mut world);
    assert_eq!((weights(&world).len(), condition(&world, "Ready").1.as_str()), (1, "EntryRevoked"));
}

#[test]
fn an_entry_that_was_replaced_by_force_is_revoked_like_any_other() {
    let mut world = World::mid_canary();
    std::sync::Arc::make_mut(world.entries.get_mut("churn-2").unwrap()).metadata.uid = Some("entry-new".into());
    world.revoke("churn-2");
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::Revoked));
}

#[test]
fn whose_the_bytes_are_is_remembered_when_the_spec_has_moved_on() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "6h"}));
    world.deploy("churn-again");
    settle(&mut world);
    world.begins("churn-2");
    let served = stable(&world);
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.revision), Some(served), "it is churn-again's");
    world.revoke("churn-again");
    world.pass();
    assert!(world.status().stable.is_none());
}

#[test]
fn what_an_earlier_version_of_the_operator_began_is_known_by_its_record() {
    let mut world = kept();
    let old = first(&world);
    world.resource.status.as_mut().unwrap().revisions.iter_mut().for_each(|it| it.entry = None);
    world.pass();
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), [(labels::name(&["churn", &old]), 10_000)]);
}

// ── deprecated ──

#[test]
fn a_deprecated_entry_begins_nothing_and_what_serves_goes_on() {
    let mut world = World::serving();
    world.lifecycle("churn-1", Lifecycle::Deprecated);
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.come_to_rest();
    assert!(condition(&world, "Ready").0, "what serves is as it was");
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!((world.status().attempts, weights(&world).len()), (1, 1));
    let (stalled, reason, message) = condition(&world, "Stalled");
    assert!(
        stalled && reason == "EntryDeprecated" && message.contains("point spec.modelRef at another entry"),
        "{message}"
    );
    assert_eq!(condition(&world, "Ready").1, "EntryDeprecated");
    world.lifecycle("churn-2", Lifecycle::Active);
    world.come_to_rest();
    assert!(condition(&world, "Ready").0 && !condition(&world, "Stalled").0);
}

#[test]
fn what_is_on_its_way_when_its_entry_is_deprecated_goes_on() {
    let mut world = World::mid_canary();
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn the_retry_of_a_deprecated_entry_is_refused() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    settle(&mut world);
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.request("retry", "n2");
    world.pass();
    let handled = world.status().handled_request.expect("a request");
    assert_eq!(handled.outcome, RequestOutcome::Refused);
    assert!(handled.message.unwrap().contains("entry churn-2 is deprecated"));
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn the_way_back_to_what_is_kept_is_open_though_its_entry_is_deprecated() {
    let mut world = kept();
    let old = first(&world);
    world.lifecycle("churn-1", Lifecycle::Deprecated);
    world.deploy("churn-1");
    world.come_to_rest();
    assert_eq!(stable(&world), old);
}
