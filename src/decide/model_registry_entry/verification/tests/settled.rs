//! What nobody looks at any more, or cannot remember.

use super::*;

#[test]
fn nothing_is_looked_at_where_nothing_can_be_seen_or_nobody_wants_to_know() {
    let mut off = World::new();
    off.pass();
    off.observed.verification = None;
    off.pass();
    let status = off.entry.status.clone().unwrap();
    assert!(off.jobs() == 0 && status.artifact.is_none(), "{status:?}");
    assert!(condition::find(&status.conditions, CONDITION).is_none());
    let mut file = World::of("file:///models/churn.json");
    assert_eq!(file.pass().ops, []);
    assert!(file.reason("Ready").0 && missing("churn-1", &file.entry).is_none());
}

#[test]
fn of_what_is_revoked_stays_what_was_found_and_nobody_looks_any_more() {
    let mut world = World::new();
    world.verified();
    world.asks("now");
    world.pass();
    world.entry.spec.lifecycle = Some(Lifecycle::Revoked);
    world.pass();
    assert_eq!((world.jobs(), world.reason(CONDITION)), (0, (true, "Verified".to_owned())));
    assert_eq!(world.known().looks, 1);
    let mut unseen = World::new();
    unseen.pass();
    unseen.entry.spec.lifecycle = Some(Lifecycle::Revoked);
    unseen.pass();
    let status = unseen.entry.status.clone().unwrap();
    assert!(unseen.jobs() == 0 && condition::find(&status.conditions, CONDITION).is_none());
}

#[test]
fn what_is_being_deleted_and_used_stays_what_it_was_found_to_be() {
    let mut world = World::new();
    world.verified();
    world.deleted();
    world.later(2 * 86_400);
    world.pass();
    assert_eq!((world.jobs(), world.reason(CONDITION)), (0, (true, "Verified".to_owned())));
    assert_eq!(missing("churn-1", &world.entry), None, "what is under way is not held up");
}

#[test]
fn what_is_being_deleted_and_was_wrong_is_looked_at_until_it_is_right() {
    let mut world = World::new();
    world.looks_and_hears(false, &failure("ArtifactNotFound"));
    world.deleted();
    world.later(600);
    world.looks_and_hears(true, &report("f1", true));
    assert_eq!(missing("churn-1", &world.entry), None, "so that nothing waits for it for ever");
}

#[test]
fn what_is_being_deleted_and_nobody_has_seen_is_looked_at_still() {
    let mut world = World::new();
    world.pass();
    world.deleted();
    world.pass();
    world.ends(true, &report("f1", true));
    world.pass();
    assert_eq!(world.reason(CONDITION), (true, "Verified".to_owned()));
    let mut foreground = World::new();
    foreground.deleted();
    foreground.entry.metadata.finalizers = Some(vec!["foregroundDeletion".into()]);
    assert_eq!(foreground.pass().ops, [], "whoever collects garbage would take each");
}

#[test]
fn nobody_looks_for_ever_where_an_older_crd_drops_what_was_found() {
    let mut world = World::new();
    world.pass();
    let drop = |world: &mut World| world.entry.status.as_mut().unwrap().artifact = None;
    drop(&mut world);
    world.observed.jobs.live.clear();
    let plan = world.pass();
    assert_eq!((plan.ops, plan.requeue), (vec![], Some(UNSEEN_AGAIN.0)));
    assert_eq!(world.reason("Stalled"), (true, UNAVAILABLE.to_owned()));
    assert!(world.said(CONDITION).2.contains("the CRD of ModelRegistryEntry is older"));
    drop(&mut world);
    assert_eq!(world.pass().ops, []);
    // The CRD is upgraded, and what is written stays.
    world.later(60);
    assert_eq!(world.pass().ops.len(), 1);
    world.ends(true, &report("f1", true));
    world.pass();
    assert!(world.reason(CONDITION).0);
}

#[test]
fn what_an_older_crd_drops_half_of_is_not_right_and_nobody_looks_for_ever() {
    let mut world = World::new();
    world.verified();
    world.asks("now");
    world.looks_and_hears(false, &failure("ArtifactDigestMismatch"));
    for _ in 0..3 {
        // It knows `checkedAt`, and neither `wrong` nor `unseen`.
        let known = world.entry.status.as_mut().unwrap().artifact.as_mut().unwrap();
        (known.wrong, known.unseen) = (None, None);
        world.later(60);
        assert_eq!(world.pass().ops, []);
        assert_eq!(world.reason(CONDITION), (false, UNAVAILABLE.to_owned()));
        assert!(missing("churn-1", &world.entry).is_some());
    }
}

#[test]
fn an_older_operator_that_knew_nothing_of_it_is_no_older_crd() {
    let mut world = World::new();
    world.verified();
    world.entry.status.as_mut().unwrap().artifact = None;
    assert_eq!(world.pass().ops.len(), 1);
    assert_eq!(world.reason(CONDITION), (false, AWAITED.to_owned()));
}
