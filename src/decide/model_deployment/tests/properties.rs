//! What holds in every world, however users, cluster and metric source behave.

mod happening;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use self::happening::{Happening, happen, happening, late, metrics};
use super::world::{World, guardrail, is_nothing};
use crate::api::Weight;
use crate::api::model_deployment::{AttemptState, Cause, Recall};
use crate::api::model_registry_entry::Lifecycle;
use crate::build::route;
use crate::decide::model_deployment::{hold, observed::Observed};

pub(super) use self::happening::late_by;
pub(super) use self::rules::checked_pass;

/// Most of them begin with a revision on probation, or called back: few get there by themselves.
fn story() -> impl Strategy<Value = Vec<Happening>> {
    let called_back = Just(Some(Happening::CalledBack));
    let begin = prop_oneof![2 => Just(None), 2 => Just(Some(Happening::OnProbation)), 1 => called_back];
    let stories = (begin, prop::collection::vec(happening(), 0..60));
    stories.prop_map(|(begin, story)| begin.into_iter().chain(story).collect())
}

fn world_after(story: &[Happening]) -> World {
    let mut world = World::new();
    story.iter().for_each(|it| happen(&mut world, it));
    world
}

/// Everything is available again, and the spec is one that can be carried out.
pub(super) fn healed(mut world: World) -> World {
    (1..5).for_each(|version| world.register(&format!("churn-{version}"), version));
    world.memory.trail_unavailable_since = None;
    metrics(&mut world, 0);
    world.steps(json!([{"weight": "10%", "for": "1m"}]));
    if world.resource.spec.traffic.is_some() {
        world.resource.spec.traffic = World::new().resource.spec.traffic;
    }
    // Nobody asks for anything any more, but to go on.
    world.edit(|spec| (spec.suspend, spec.purpose) = (None, None));
    world.resource.metadata.annotations = None;
    if world.status().attempt.is_some_and(|it| hold::of(&it).is_some()) {
        world.request_at("resume", "-", "heal");
        world.pass();
    }
    // Nothing rolls out from an entry that is revoked or deprecated: people name another.
    if world.entries[&world.resource.spec.model_ref.name].spec.lifecycle() != Lifecycle::Active {
        world.register("churn-5", 5);
        world.deploy("churn-5");
    }
    world.come_to_rest();
    world
}

/// A world without the times and counters that depend on how it got there.
/// How many attempts it took depends on how it got there, too, where pods of a fallback may come up before or after
/// the next candidate has begun: `counted` says that it does not.
fn essence(world: &World, counted: bool) -> String {
    let status = world.status();
    let replicas = |it: &k8s_openapi::api::apps::v1::Deployment| it.spec.as_ref().and_then(|spec| spec.replicas);
    let pods: BTreeMap<_, _> = world.children.deployments.iter().map(|(name, it)| (name, replicas(it))).collect();
    let selects: Vec<_> =
        world.children.services.iter().map(|(name, it)| (name, it.spec.as_ref().map(|spec| &spec.selector))).collect();
    let attempt = status.attempt.map(|it| (if counted { it.id } else { it.revision }, it.state, it.weight, it.cause));
    let roles: Vec<_> = status.revisions.iter().map(|it| (&it.revision, it.role)).collect();
    format!("{:?} {attempt:?} {roles:?} {pods:?} {selects:?} {:?}", status.stable, world.weights())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_healed_world_comes_to_rest_and_stays_there(story in story()) {
        let mut world = healed(world_after(&story));
        for _ in 0..3 {
            world.advance(3600);
            prop_assert!(is_nothing(&world.pass()));
        }
        let status = world.status();
        prop_assert!(world.children.proposed.is_none());
        if let (Some(route), Some(traffic)) = (&world.children.route, &world.resource.spec.traffic) {
            prop_assert_eq!(route::gateway(route), Some(traffic.gateway.clone()));
        }
        let served = status.stable.as_ref().is_some_and(|it| it.revision == world.target());
        // Perhaps in an earlier attempt: one that was superseded since refuses nothing.
        let refused = status.taken_back.iter().any(|it| it.revision == world.target());
        prop_assert!(served || refused, "{status:#?}");
        prop_assert!(status.unrecorded.is_empty());
    }

    #[test]
    fn a_world_that_stands_still_is_looked_at_again_only_when_something_is_due(story in story(), later in 0_i64..9000) {
        let mut world = world_after(&story);
        for wait in [0, later] {
            world.advance(wait);
            let still = (0..50).map(|_| world.pass()).find(is_nothing);
            // The times of stories are whole seconds, or half ones: an outcome that is late by up to 30 minutes is asked for 48 times.
            let again = still.expect("nothing more to write").requeue;
            prop_assert!(again.is_none_or(|it| it >= Duration::from_millis(500)), "{again:?}: {:#?}", world.status());
        }
    }

    #[test]
    fn every_decision_that_took_effect_is_on_the_record_once_and_in_order(story in story()) {
        let world = healed(world_after(&story));
        prop_assert_eq!(world.trail.recorded(), world.trail.effects());
        prop_assert!(world.trail.open().is_empty(), "{:#?}", world.trail.open());
        let numbers: Vec<i64> = (1..=world.status().sequence).collect();
        prop_assert_eq!(world.trail.numbers(), numbers);
        for word in world.status().recorded_approvals.into_iter().flatten() {
            prop_assert!(world.trail.names(&word.uid), "{word:#?} is not on the record");
        }
    }

    #[test]
    fn dying_after_any_write_of_a_pass_ends_in_the_same_world(story in story(), writes in 0_usize..10) {
        let world = world_after(&story);
        let whole = world.clone();
        let plan = world.decide();
        let [mut died, mut whole] = [world, whole];
        died.carry_out(&plan, writes);
        died.restart();
        whole.carry_out(&plan, usize::MAX);
        // Time stands still, and nothing else happens, until both have nothing more to write.
        for world in [&mut died, &mut whole] {
            (0..50).map(|_| world.pass()).find(is_nothing);
        }
        let counted = !matches!(story.first(), Some(Happening::OnProbation | Happening::CalledBack));
        prop_assert_eq!(essence(&healed(died), counted), essence(&healed(whole), counted));
    }

    #[test]
    fn decide_never_panics_whatever_the_status_says(story in story(), times in prop::collection::vec(any::<i64>(), 6), state in 0_usize..8, now in any::<i64>()) {
        let mut world = world_after(&story);
        if let Some(status) = world.resource.status.as_mut() {
            let at = |index: usize| chrono::DateTime::from_timestamp_millis(times[index]).unwrap_or(chrono::DateTime::<chrono::Utc>::MAX_UTC);
            let states = [AttemptState::Starting, AttemptState::Shifting, AttemptState::Observing, AttemptState::Promoting,
                AttemptState::RollingBack, AttemptState::Promoted, AttemptState::RolledBack, AttemptState::Failed];
            status.sequence = times[0];
            status.attempts = times[1];
            for revision in &mut status.revisions {
                revision.draining_since = Some(at(2));
            }
            for verdict in &mut status.verdicts {
                (verdict.time, verdict.silent_since, verdict.failures) = (at(3), Some(at(4)), i32::MAX);
            }
            if let Some(it) = status.probation.as_mut() {
                it.exposed.iter_mut().for_each(|it| (it.since, it.until) = (at(1), (now % 2 == 0).then_some(at(2))));
                it.verdicts.iter_mut().for_each(|it| it.time = at(3));
                it.recall = (now % 3 == 0).then(|| Recall { cause: Cause::Reverted, message: String::new(), at: at(4), asked_by: String::new() });
            }
            if let Some(attempt) = status.attempt.as_mut() {
                (attempt.state, attempt.entered_at) = (states[state], at(5));
                (attempt.observing_since, attempt.measured_at) = (Some(at(0)), Some(at(1)));
                (attempt.paused_since, attempt.held_until) = ((now % 2 == 0).then_some(at(2)), Some(at(3)));
                attempt.suspended_since = (now % 5 == 0).then_some(at(4));
                attempt.skip_steps = now % 3 == 0;
                (attempt.stable_replicas, attempt.weight) = (i32::MIN, Weight::from_hundredths(times[2].unsigned_abs() as u16));
            }
        }
        world.now = chrono::DateTime::from_timestamp_millis(now).unwrap_or(chrono::DateTime::<chrono::Utc>::MIN_UTC);
        drop(world.decide());
        drop(super::super::decide(&world.resource, &Observed::default(), world.now));
        world.analysis(json!({"metrics": [guardrail()], "failureLimit": 100}));
        drop(world.decide());
        world.analysis(json!({"metrics": [guardrail(), late()]}));
        drop(world.decide());
    }
}
