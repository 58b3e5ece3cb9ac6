//! What is known to go wrong with other tools, by the name that people know it by, and does not here.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::consents::at_five_percent;
use super::gates::{condition, wait, weight};
use super::traffic::{are_refused, dies_and_is_aborted};
use super::world::World;
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::Measurement;
use crate::decide::model_deployment::observed::Memory;

/// All of them; some are tests beside what they are about.
const NAMES: [&str; 12] = [
    "stuck_because_stable_is_broken",
    "abort_ignored_after_a_full_promotion_request",
    "revert_mid_canary_ignored",
    "editing_steps_re_arms_an_aborted_version",
    "progress_read_from_the_live_route_jumps_to_100_percent",
    "a_terminated_analysis_with_zero_measurements_counted_as_success",
    "a_40_s_metric_outage_kills_a_healthy_canary",
    "a_gate_waiting_for_a_person_masks_a_failing_guardrail",
    "restart_advances_a_step_early",
    "hpa_scales_the_wrong_revision_to_its_maximum",
    "a_paused_leader_wakes_and_applies_an_old_weight",
    "a_restored_object_promotes_what_had_been_rolled_back",
];

#[test]
fn each_has_a_test_of_its_name() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decide/model_deployment/tests");
    let files = std::fs::read_dir(place).unwrap().map(|it| it.unwrap().path()).filter(|it| it.is_file());
    let sources: String = files.map(|it| std::fs::read_to_string(it).unwrap()).collect();
    let tests: BTreeSet<&str> = sources.split("#[test]\nfn ").skip(1).filter_map(|it| it.split('(').next()).collect();
    let missing: Vec<&str> = NAMES.into_iter().filter(|it| !tests.contains(it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn outcome(world: &World) -> (AttemptState, Option<Cause>, String) {
    (world.attempt().state, world.attempt().cause, world.status().stable.unwrap().name)
}

#[test]
fn abort_ignored_after_a_full_promotion_request() {
    let mut world = World::mid_canary();
    world.request("promote", "n1");
    world.pass();
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoting);
    world.request("abort", "n2");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    world.come_to_rest();
    assert_eq!(outcome(&world), (AttemptState::RolledBack, Some(Cause::Aborted), "churn-1".into()));
}

#[test]
fn revert_mid_canary_ignored() {
    let mut world = World::mid_canary();
    world.deploy("churn-1");
    world.pass();
    assert_eq!((world.attempt().state, weight(&world).as_str()), (AttemptState::RollingBack, "0%"));
    world.come_to_rest();
    assert_eq!(outcome(&world), (AttemptState::RolledBack, Some(Cause::Reverted), "churn-1".into()));
}

#[test]
fn editing_steps_re_arms_an_aborted_version() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    world.come_to_rest();
    let attempts = world.status().attempts;
    for steps in
        [json!([{"weight": "1%"}]), json!([{"weight": "5%", "for": "10m"}, {"weight": "60%", "for": "1m"}]), json!([])]
    {
        world.steps(steps);
        world.come_to_rest();
        wait(&mut world, 3600);
        assert_eq!(outcome(&world), (AttemptState::RolledBack, Some(Cause::Aborted), "churn-1".into()));
    }
    assert_eq!(world.status().attempts, attempts);
}

/// Nothing was ever measured, or what was is judged by something else now.
#[test]
fn a_terminated_analysis_with_zero_measurements_counted_as_success() {
    let other = json!({"metrics": [{"name": "latency", "role": "Guardrail", "threshold": {"max": "0.3"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}}]});
    for (metric, nothing) in [
        ("error-rate", Measurement::NoData("no series".into())),
        ("error-rate", Measurement::of(f64::NAN)),
        ("error-rate", Measurement::ProviderError("connection refused".into())),
        ("latency", Measurement::NoData("no series".into())),
    ] {
        let mut world = World::mid_canary();
        world.measure(metric, nothing.clone());
        if metric == "latency" {
            world.analysis(other.clone());
        }
        (0..24).for_each(|_| {
            world.measure(metric, nothing.clone());
            world.advance(3600);
            world.pass();
        });
        assert_eq!((weight(&world).as_str(), world.attempt().state), ("5%", AttemptState::Observing), "{nothing:?}");
    }
}

/// Asked every ten seconds, with no failure tolerated, and with a declared end of patience.
#[test]
fn a_40_s_metric_outage_kills_a_healthy_canary() {
    let mut world = World::mid_canary();
    let mut analysis = serde_json::to_value(&world.resource.spec.analysis).unwrap();
    (analysis["interval"], analysis["failureLimit"]) = ("10s".into(), 0.into());
    world.analysis(analysis);
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "5m", "do": "Rollback"}}));
    world.measure("error-rate", Measurement::ProviderError("connection refused".into()));
    for _ in 0..4 {
        world.advance(10);
        world.pass();
        assert_eq!(weight(&world), "5%", "{:#?}", world.attempt());
    }
    world.until(|it| it.attempt().state == AttemptState::Promoted, |it| wait(it, 60));
}

#[test]
fn a_gate_waiting_for_a_person_masks_a_failing_guardrail() {
    let mut world = at_five_percent();
    wait(&mut world, 600);
    assert_eq!(condition(&world, "Reconciling"), (true, "AwaitingApproval".into()), "50 % is the owner's");
    for _ in 0..2 {
        world.measure("error-rate", Measurement::of(0.5));
        world.advance(30);
        world.pass();
    }
    world.come_to_rest();
    assert_eq!(outcome(&world), (AttemptState::RolledBack, Some(Cause::GuardrailBreached), "churn-1".into()));
}

#[test]
fn restart_advances_a_step_early() {
    let mut world = World::mid_canary();
    for _ in 0..9 {
        world.restart();
        world.memory = Memory { lease_epoch: world.memory.lease_epoch + 1, ..Memory::default() };
        world.advance(60);
        world.measure("error-rate", Measurement::of(0.001));
        world.pass();
        assert_eq!(weight(&world), "5%");
    }
    world.until(|it| it.attempt().state == AttemptState::Promoted, |it| wait(it, 60));
}

/// What it had decided is sent when another one leads and the attempt is aborted.
#[test]
fn a_paused_leader_wakes_and_applies_an_old_weight() {
    let mut world = World::serving();
    world.deploy("churn-2");
    let (world, late) = dies_and_is_aborted(world);
    assert!(are_refused(&world, &late), "{late:#?}");
    assert_eq!(world.attempt().taken_from.map(|it| it.to_string()).as_deref(), Some("5%"));
    assert!(world.weights().iter().all(|(name, weight)| (*weight == 10_000) == name.ends_with(&stable(&world))));
}

fn stable(world: &World) -> String {
    world.status().stable.unwrap().revision
}
