//! The stable revision, watched between rollouts.

use std::time::Duration;

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail, is_nothing};
use crate::api::condition::{self, ConditionStatus};
use crate::api::model_deployment::{Cause, Phase, RevisionRole, VerdictKind};
use crate::decide::{EventType, Measurement};

/// `serving`, with the guardrail watching between rollouts.
fn watched() -> World {
    let mut world = World::serving();
    world.analysis(json!({"metrics": [guardrail()], "onStableBreach": "Alert"}));
    world.measure("error-rate", Measurement::of(0.001));
    for _ in 0..3 {
        world.pass();
        world.all_is_well();
    }
    world
}

fn reason_of(world: &World, type_: &str) -> (bool, String) {
    let status = world.status();
    let found = condition::find(&status.conditions, type_).unwrap();
    (found.status == ConditionStatus::True, found.reason.clone())
}

/// As long as a guardrail takes to say so with `failureLimit: 1`.
fn two_looks(world: &mut World) {
    for _ in 0..2 {
        world.advance(30);
        world.pass();
    }
}

#[test]
fn a_stable_revision_that_breaks_a_guardrail_is_told_of_until_it_keeps_it_again() {
    let mut story = Story::of("stable-breach", watched());
    story.world.advance(30);
    story.pass("it keeps its guardrail");
    story.world.measure("error-rate", Measurement::of(0.5));
    story.world.advance(30);
    story.pass("a database is slow");
    story.world.advance(30);
    story.pass("and still is");
    story.world.advance(30);
    story.pass("that is no news");
    story.world.measure("error-rate", Measurement::NoData("no series".into()));
    story.world.advance(30);
    story.pass("nobody knows");
    story.world.measure("error-rate", Measurement::of(0.001));
    story.world.advance(30);
    story.pass("it is quick again");
    story.is("stable-breach");
}

#[test]
fn at_rest_nothing_is_written_and_every_interval_is_looked_at() {
    let mut world = watched();
    two_looks(&mut world);
    let before = world.status();
    for look in 0..20 {
        world.advance(30);
        world.measure("error-rate", Measurement::of(0.001 + 0.0001 * f64::from(look)));
        let plan = world.pass();
        assert!(is_nothing(&plan), "{plan:#?}");
        assert_eq!(plan.requeue, Some(Duration::from_secs(30)));
    }
    assert_eq!(world.status(), before);
}

#[test]
fn without_on_stable_breach_nothing_is_measured_between_rollouts() {
    let mut world = World::serving();
    world.measure("error-rate", Measurement::of(0.5));
    world.advance(600);
    let plan = world.pass();
    assert!(is_nothing(&plan) && plan.requeue.is_none(), "{plan:#?}");
    assert_eq!(world.status().stable_watch, None);
}

#[test]
fn a_breach_that_goes_on_is_written_once() {
    let mut world = watched();
    world.measure("error-rate", Measurement::of(0.5));
    two_looks(&mut world);
    assert_eq!(reason_of(&world, "Stalled"), (true, "StableBreached".into()));
    assert_eq!(reason_of(&world, "Ready"), (false, "StableBreached".into()));
    assert!(reason_of(&world, "Available").0, "its pods are ready");
    for look in 0..10 {
        world.measure("error-rate", Measurement::of(0.5 + 0.01 * f64::from(look)));
        world.advance(30);
        assert!(is_nothing(&world.pass()));
    }
}

#[test]
fn a_breach_of_the_stable_revision_is_in_no_way_of_its_repair() {
    let mut world = watched();
    world.measure("error-rate", Measurement::of(0.5));
    two_looks(&mut world);
    world.deploy("churn-2");
    world.pass();
    assert!(world.attempt().state.is_active());
    assert_eq!(reason_of(&world, "Stalled").1, "Progressing", "its metrics are about the candidate now");
    world.measure("error-rate", Measurement::of(0.001));
    for _ in 0..30 {
        world.all_is_well();
        world.advance(60);
        world.pass();
    }
    assert_eq!(world.status().stable.unwrap().name, "churn-2");
    let watch = world.status().stable_watch.unwrap();
    assert_eq!(watch.revision, world.status().stable.unwrap().revision);
    assert!(watch.verdicts.iter().all(|it| it.verdict == VerdictKind::Pass && it.failures == 0), "{watch:#?}");
    assert_eq!(reason_of(&world, "Ready"), (true, "Stable".into()));
}

#[test]
fn a_candidate_that_is_taken_back_leaves_what_was_said_of_the_stable_revision() {
    let mut world = watched();
    world.measure("error-rate", Measurement::of(0.5));
    two_looks(&mut world);
    let before = world.status().stable_watch;
    world.deploy("churn-2");
    for _ in 0..20 {
        world.all_is_well();
        world.measure("error-rate", Measurement::of(0.5));
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
    assert!(!world.attempt().state.is_active());
    assert_eq!(world.status().stable_watch, before);
    assert_eq!(reason_of(&world, "Stalled"), (true, "StableBreached".into()));
}

#[test]
fn only_what_can_judge_a_revision_alone_and_now_watches() {
    let compared = json!({"name": "latency", "role": "Guardrail", "compare": {"to": "Stable", "maxRatio": "1.2"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}});
    let objective = json!({"name": "clicks", "role": "Objective", "threshold": {"min": "5%"},
        "prometheus": {"query": "clicks{revision=\"{{ revision }}\"}"}});
    let mut world = watched();
    world.analysis(json!({"metrics": [guardrail(), compared, objective], "onStableBreach": "Alert"}));
    world.measure("clicks", Measurement::of(0.0));
    world.measure("latency", Measurement::of(9.0));
    two_looks(&mut world);
    let watch = world.status().stable_watch.unwrap();
    let names: Vec<&str> = watch.verdicts.iter().map(|it| it.metric.as_str()).collect();
    assert_eq!(names, ["error-rate"]);
    world.analysis(json!({"metrics": [objective], "onStableBreach": "Alert"}));
    world.pass();
    assert_eq!(reason_of(&world, "Stalled"), (true, "InvalidSpec".into()));
    assert_eq!(world.status().stable_watch, None);
}

#[test]
fn nobody_is_measured_who_is_scaled_to_zero() {
    let mut world = watched();
    world.edit(|spec| spec.replicas = Some(0));
    for _ in 0..3 {
        world.pass();
        world.all_is_well();
    }
    world.measure("error-rate", Measurement::of(0.5));
    two_looks(&mut world);
    assert!(!reason_of(&world, "Stalled").0);
}

/// `serving`, where a breach within an hour of a promotion goes back; the old pods stay for a minute.
fn falling_back() -> World {
    let mut world = World::serving();
    world.rollout(json!({"steps": [{"weight": "50%", "for": "1m"}], "keepStable": "1m", "rollbackWindow": "1h"}));
    world.analysis(json!({"metrics": [guardrail()], "onStableBreach": "Fallback"}));
    rest(&mut world);
    world.deploy("churn-2");
    for _ in 0..10 {
        rest(&mut world);
    }
    assert_eq!(world.status().phase, Phase::Probation, "{:#?}", world.status());
    world
}

fn rest(world: &mut World) {
    world.pass();
    world.all_is_well();
    world.advance(30);
}

#[test]
fn a_breach_soon_after_a_promotion_goes_back_to_the_revision_before_which_has_no_pods_by_then() {
    let mut world = falling_back();
    world.advance(600);
    for _ in 0..3 {
        rest(&mut world);
    }
    let first = world.status().probation.unwrap().fallback.revision;
    assert!(world.status().revisions.iter().any(|it| it.revision == first && it.role == RevisionRole::Fallback));
    let mut story = Story::of("stable-fallback", world);
    story.world.measure("error-rate", Measurement::of(0.5));
    story.pass("a breach is one more Fail than is tolerated");
    story.world.advance(30);
    story.pass("pods first");
    story.world.all_is_well();
    story.pass("and then the traffic");
    story.world.all_is_well();
    story.pass("the gateway has accepted it");
    story.is("stable-fallback");
}

#[test]
fn whatever_keeps_its_guardrails_for_the_window_is_proven_and_watched_on() {
    let mut world = falling_back();
    let second = world.status().stable.unwrap().revision;
    assert!(world.status().proven.iter().all(|it| it.revision != second));
    let message = |world: &World| condition::find(&world.status().conditions, "Ready").unwrap().message.clone();
    assert!(message(&world).contains("its guardrails may take it back until"), "{}", message(&world));
    world.advance(3600);
    // Whoever says nothing at the end proves nothing.
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.pass();
    assert!(message(&world).contains("error-rate is NoData: no series"), "{}", message(&world));
    assert_eq!(world.status().phase, Phase::Probation);
    for _ in 0..3 {
        rest(&mut world);
    }
    assert_eq!((world.status().probation, reason_of(&world, "Ready")), (None, (true, "Stable".into())));
    assert!(world.status().proven.iter().any(|it| it.revision == second));
    world.measure("error-rate", Measurement::of(0.5));
    two_looks(&mut world);
    assert_eq!(reason_of(&world, "Stalled"), (true, "StableBreached".into()), "now it is told of");
}

#[test]
fn what_guardrails_said_before_the_window_was_over_proves_nothing() {
    let mut world = falling_back();
    world.measure("error-rate", Measurement::of(0.001));
    rest(&mut world);
    // Nobody looked for hours; what is there is from before.
    world.advance(9000);
    world.measure("error-rate", Measurement::of(0.5));
    let mut silent = world.clone();
    silent.measure("error-rate", Measurement::ProviderError("it is away".into()));
    for (it, expected) in [(&mut world, "error-rate is Fail"), (&mut silent, "error-rate is ProviderError")] {
        it.pass();
        assert_eq!(it.status().phase, Phase::Probation);
        let message = condition::find(&it.status().conditions, "Ready").unwrap().message.clone();
        assert!(message.contains(expected), "{message}");
    }
    // A Pass that is no news while it is watched is news once the window is over.
    world.measure("error-rate", Measurement::of(0.001));
    for _ in 0..2 {
        rest(&mut world);
    }
    assert_eq!(world.status().probation, None);
}

#[test]
fn a_pass_that_says_the_same_as_before_proves_it_when_the_window_is_over() {
    let mut world = falling_back();
    world.measure("error-rate", Measurement::of(0.001));
    for _ in 0..140 {
        rest(&mut world);
        if world.status().probation.is_none() {
            return;
        }
    }
    panic!("{:#?}", world.status().probation);
}

#[test]
fn a_spec_without_fallback_ends_the_time_in_which_guardrails_may_call_back() {
    let mut world = falling_back();
    world.analysis(json!({"metrics": [guardrail()], "onStableBreach": "Alert"}));
    for _ in 0..3 {
        rest(&mut world);
    }
    let status = world.status();
    assert_eq!(
        (status.probation, status.stable_watch.map(|it| it.revision)),
        (None, status.stable.map(|it| it.revision))
    );
}

#[test]
fn a_mistake_in_the_spec_ends_no_probation_and_lets_nothing_go() {
    let mut world = falling_back();
    let before = world.status().probation.unwrap();
    let objective = json!({"name": "clicks", "role": "Objective", "threshold": {"min": "5%"},
        "prometheus": {"query": "clicks{revision=\"{{ revision }}\"}"}});
    world.analysis(json!({"metrics": [objective], "onStableBreach": "Fallback"}));
    for _ in 0..3 {
        rest(&mut world);
    }
    assert_eq!(reason_of(&world, "Stalled"), (true, "InvalidSpec".into()));
    assert_eq!(world.status().probation.map(|it| it.fallback), Some(before.fallback));
}

#[test]
fn an_event_tells_when_a_breach_begins_and_when_it_ends() {
    let mut world = watched();
    let mut told = Vec::new();
    for value in [0.001, 0.5, 0.5, 0.5, 0.001, 0.001] {
        world.measure("error-rate", Measurement::of(value));
        world.advance(30);
        told.extend(world.pass().events.into_iter().map(|it| (it.type_, it.reason)));
    }
    assert_eq!(told, [(EventType::Warning, "StableBreached".into()), (EventType::Normal, "StableRecovered".into())]);
}
