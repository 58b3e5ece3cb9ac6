//! What takes the place of a revision on probation without being watched beside it: nothing can prove it.

use serde_json::json;

use super::probation::{asleep, condition, first, is_proven, outcomes, pods, promote, role_of, settle, stable};
use super::world::World;
use crate::api::model_deployment::{AttemptState, Phase, RevisionRole};
use crate::decide::{EventType, Measurement};

/// `churn-3` gets all traffic without steps while `churn-2` is on probation.
fn replaced_without_steps() -> World {
    let mut world = asleep();
    world.rollout(json!({"keepStable": "10m", "progressDeadline": "15m"}));
    promote(&mut world, "churn-3");
    world
}

/// As that, because no pod of `churn-2` is ready any more.
fn replaced_in_an_emergency() -> World {
    let mut world = asleep();
    let late = stable(&world);
    world.edit(|spec| spec.rollout.as_mut().unwrap().emergency_promote = Some(true));
    world.deploy("churn-3");
    for _ in 0..60 {
        world.all_is_well();
        world.pods_ready_of(&late, 0);
        world.pass();
        if world.attempt().state == AttemptState::Promoted {
            assert!(world.attempt().emergency);
            return world;
        }
        world.advance(30);
    }
    panic!("not promoted: {:#?}", world.attempt());
}

#[test]
fn whatever_replaces_a_revision_on_probation_what_is_proven_stays_to_go_back_to() {
    for begin in [replaced_without_steps, replaced_in_an_emergency] {
        let old = first(&asleep());
        let mut world = begin();
        let third = stable(&world);
        assert_eq!((first(&world), role_of(&world, &old)), (old.clone(), Some(RevisionRole::Fallback)));
        assert!(!is_proven(&world, &third) && is_proven(&world, &old));
        // Days later nobody has been asked: there was nobody who could have been served by both.
        world.measure("hit-rate", Measurement::of(0.08));
        for _ in 0..3 {
            world.advance(24 * 3600);
            settle(&mut world);
        }
        assert_eq!((world.status().phase, first(&world), pods(&world, &old)), (Phase::Probation, old.clone(), Some(0)));
        assert!(world.status().probation.unwrap().verdicts.iter().all(|it| it.metric != "hit-rate"));
        let (ready, reason, message) = condition(&world, "Ready");
        assert!(ready && reason == "Probation" && message.contains("kubectl werkbank promote churn"), "{message}");
        assert!(message.contains("nobody was served by two revisions"), "{message}");
        let mut ended = world.clone();
        ended.request_at("promote", "-", "n1");
        settle(&mut ended);
        assert_eq!((ended.status().probation, stable(&ended)), (None, third));
        world.request("abort", "n1");
        settle(&mut world);
        assert_eq!(stable(&world), old);
    }
}

#[test]
fn that_nothing_can_prove_a_revision_is_told_when_it_is_promoted() {
    let mut world = asleep();
    world.rollout(json!({"keepStable": "10m"}));
    world.deploy("churn-3");
    let told = |plan: &crate::decide::Plan<_>| {
        plan.events.iter().filter(|it| it.reason == "OutcomeUnknown" && it.type_ == EventType::Warning).count()
    };
    let mut times = 0;
    for _ in 0..10 {
        world.all_is_well();
        times += told(&world.pass());
        world.advance(30);
    }
    assert_eq!((world.attempt().state, times), (AttemptState::Promoted, 1));
}

#[test]
fn the_next_one_that_walks_its_steps_is_judged_against_what_nothing_could_prove_and_goes_back_further() {
    let mut world = replaced_without_steps();
    let (old, third) = (first(&world), stable(&world));
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "keepStable": "10m"}));
    promote(&mut world, "churn-4");
    let probation = world.status().probation.unwrap();
    assert_eq!((probation.baseline, probation.fallback.revision), (third, old.clone()));
    outcomes(&mut world, 0.08);
    settle(&mut world);
    assert!(is_proven(&world, &stable(&world)) && world.status().probation.is_none());
}
