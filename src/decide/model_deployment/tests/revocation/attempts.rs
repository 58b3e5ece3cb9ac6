//! The entry of the stable revision is revoked while something else is under way.

use super::*;

#[test]
fn a_candidate_that_is_left_alone_gets_all_of_the_traffic_when_it_has_the_pods() {
    let mut world = World::mid_canary();
    let (bad, candidate) = (stable(&world), world.attempt().revision);
    world.revoke("churn-1");
    world.pass();
    assert_eq!(weights(&world), [], "its pods are few: {:?}", world.attempt());
    assert_eq!(role_of(&world, &bad), Some(RevisionRole::Draining));
    world.come_to_rest();
    assert_eq!(stable(&world), candidate);
    assert_eq!(weights(&world), [(labels::name(&["churn", &candidate]), 10_000)]);
    assert_eq!(role_of(&world, &bad), None);
}

#[test]
fn a_candidate_that_is_left_alone_and_never_has_the_pods_is_taken_back_in_time() {
    let mut world = World::mid_canary();
    let candidate = world.attempt().revision;
    world.revoke("churn-1");
    world.pass();
    world.pods_ready_of(&candidate, 1);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.advance(15 * 60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
    assert_eq!(weights(&world), []);
}

#[test]
fn a_candidate_that_is_shadowed_has_nothing_to_copy_any_more_and_goes_on_without() {
    let mut world = shadowing();
    world.revoke("churn-1");
    world.pass();
    world.gateway_accepts();
    world.pass();
    assert_eq!((world.attempt().state, weights(&world)), (AttemptState::Starting, vec![]));
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn a_person_who_holds_the_candidate_holds_it_also_when_nothing_else_serves() {
    let mut world = World::mid_canary();
    world.request("pause", "n1");
    world.pass();
    world.revoke("churn-1");
    settle(&mut world);
    assert_eq!((world.status().phase, weights(&world)), (Phase::Paused, vec![]));
    assert_eq!(condition(&world, "Available").1, "Revoked");
    world.request_at("resume", "-", "n2");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
}

#[test]
fn a_candidate_begins_anew_from_what_was_kept() {
    let mut world = kept();
    let old = first(&world);
    world.begins("churn-3");
    assert_eq!(world.attempt().weight.to_string(), "5%");
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), [(labels::name(&["churn", &old]), 10_000)]);
    for _ in 0..6 {
        world.all_is_well();
        world.pass();
    }
    assert_eq!((world.attempt().entry.name.as_str(), world.attempt().weight.to_string().as_str()), ("churn-3", "5%"));
    assert_eq!(stable(&world), old);
}

#[test]
fn a_candidate_with_all_of_the_traffic_keeps_it_and_goes_back_to_what_was_kept() {
    for (mut world, back) in [(kept(), Some("churn-1")), (World::serving(), None)] {
        world.steps(json!([{"weight": "50%"}]));
        world.deploy("churn-3");
        for _ in 0..60 {
            world.all_is_well();
            world.pass();
            if world.attempt().state == AttemptState::Promoting {
                break;
            }
            world.advance(60);
        }
        let serves = world.status().stable.unwrap().name;
        world.revoke(&serves);
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoting);
        assert_eq!(world.status().stable.map(|it| it.name).as_deref(), back);
        world.request("abort", "n1");
        world.pass();
        let expected: Vec<_> = back.map(|_| (labels::name(&["churn", &stable(&world)]), 10_000)).into_iter().collect();
        assert_eq!(weights(&world), expected);
    }
}

#[test]
fn a_rollback_under_way_ends_at_what_was_kept_or_at_nobody() {
    for (mut world, back) in [(kept(), Some("churn-1")), (World::serving(), None)] {
        world.begins("churn-3");
        world.request("abort", "n1");
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::RollingBack);
        let serves = world.status().stable.unwrap().name;
        world.revoke(&serves);
        world.pass();
        let expected: Vec<_> = back.map(|_| (labels::name(&["churn", &stable(&world)]), 10_000)).into_iter().collect();
        assert_eq!(weights(&world), expected);
        settle(&mut world);
        assert_eq!(world.status().stable.map(|it| it.name).as_deref(), back);
    }
}

#[test]
fn stable_and_candidate_are_revoked_at_once_and_neither_gets_anything() {
    let mut world = World::mid_canary();
    world.revoke("churn-1");
    world.revoke("churn-2");
    world.pass();
    assert_eq!(weights(&world), []);
    settle(&mut world);
    assert_eq!((world.status().stable, weights(&world)), (None, vec![]));
    assert_eq!(world.status().taken_back.len(), 2);
}

#[test]
fn the_route_comes_first_when_nothing_else_may_stand_before_it() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    assert_eq!(world.attempt().weight.to_string(), "0%");
    world.revoke("churn-1");
    let plan = world.pass();
    let first = plan.ops.first().expect("a write");
    assert!(matches!(first, Op::Apply(Child::HttpRoute(_), _)), "{:#?}", plan.ops);
    assert_eq!(weights(&world), []);
}

#[test]
fn a_process_that_dies_between_decision_and_route_leaves_that_to_the_next() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    world.revoke("churn-1");
    let plan = world.decide();
    world.carry_out(&plan, plan.entries.len() + 1);
    assert_eq!((world.status().stable, weights(&world).len()), (None, 1));
    let plan = world.pass();
    assert!(plan.urgent && matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:#?}", plan.ops);
    assert_eq!(weights(&world), []);
}

// ── longer than it should have to wait, or with an edit that nobody has accepted ──

#[test]
fn an_edit_of_the_gateway_that_nobody_has_accepted_is_not_what_weight_0_is_written_from() {
    for mut world in [World::serving(), kept()] {
        let accepted = route::gateway(world.children.route.as_ref().unwrap());
        world.gateway(json!({"parentRefs": [{"name": "internal", "sectionName": "nowhere"}]}));
        settle(&mut world);
        let entry = world.status().stable.unwrap().name;
        world.revoke(&entry);
        settle(&mut world);
        assert_eq!(route::gateway(world.children.route.as_ref().unwrap()), accepted);
        assert!(!world.attempt().state.is_active(), "{:?}", world.attempt());
    }
}

#[test]
fn a_candidate_that_was_held_for_long_has_all_of_its_time_when_it_is_left_alone() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    world.request_at("pause", "-", "n1");
    for _ in 0..3 {
        world.pass();
        world.pods_ready();
    }
    world.advance(3600);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.revoke("churn-1");
    world.pass();
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
}

#[test]
fn a_shadow_that_has_lasted_for_long_does_not_end_the_candidate() {
    let mut world = shadowing();
    for _ in 0..40 {
        world.advance(60);
        world.measure("error-rate", Measurement::NoData("no series".into()));
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
    world.revoke("churn-1");
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Starting, None));
}

#[test]
fn what_got_all_of_the_traffic_because_it_was_left_alone_is_not_proven() {
    let mut world = World::mid_canary();
    let candidate = world.attempt().revision;
    world.revoke("churn-1");
    world.come_to_rest();
    assert_eq!(stable(&world), candidate);
    assert!(world.status().proven.iter().all(|it| it.revision != candidate), "{:?}", world.status().proven);
}

#[test]
fn what_was_gone_back_to_without_pods_and_does_not_come_up_is_an_emergency() {
    let mut world = asleep();
    let old = first(&world);
    world.edit(|spec| spec.rollout.get_or_insert_default().emergency_promote = Some(true));
    world.revoke("churn-2");
    world.pass();
    world.gateway_accepts();
    world.pass();
    world.deploy("churn-3");
    for _ in 0..20 {
        world.advance(10);
        world.pods_ready();
        world.pods_ready_of(&old, 0);
        world.gateway_accepts();
        world.pass();
    }
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-3"));
    assert!(world.attempt().emergency);
}
