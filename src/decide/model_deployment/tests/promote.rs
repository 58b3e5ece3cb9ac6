//! `promote`: time and steps are skipped, proof is not.

use serde_json::json;

use super::story::Story;
use super::world::{World, guardrail};
use crate::api::model_deployment::{AttemptState, Cause, RequestOutcome};
use crate::decide::Measurement;

fn condition(world: &World, type_: &str) -> String {
    world.status().conditions.into_iter().find(|it| it.type_ == type_).unwrap().message
}

/// As [`World::mid_canary`], with the newest answer of the metric source.
fn measured(answer: Measurement) -> World {
    let mut world = World::mid_canary();
    world.measure("error-rate", answer);
    world.advance(30);
    world.pass();
    world
}

#[test]
fn promote_goes_to_all_traffic_with_proof_and_pods() {
    let mut story = Story::of("Promote from the first step", World::mid_canary());
    story.world.request("promote", "n1");
    story.pass("promote, 30 s into a step of 10 minutes");
    story.world.pods_ready();
    story.world.advance(30);
    story.pass("pods for all traffic are ready");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.is("promote");
}

#[test]
fn promote_without_proof_is_refused_and_not_done_later() {
    let mut world = measured(Measurement::NoData("no series".into()));
    world.request("promote", "n1");
    let why = world.refusal();
    assert_eq!(why, "error-rate is NoData: no series; ask again when it is Pass");
    for type_ in ["Ready", "Reconciling"] {
        assert!(condition(&world, type_).ends_with(&format!("promote was refused: {why}")));
    }
    world.all_is_well();
    world.advance(30);
    (0..3).for_each(|_| drop(world.pass()));
    assert_eq!((world.attempt().state, world.attempt().weight.to_string().as_str()), (AttemptState::Observing, "5%"));
    world.request("promote", "n2");
    world.pass();
    assert_eq!(world.handled().outcome, RequestOutcome::Done, "asked again");
}

#[test]
fn promote_skips_no_min_samples() {
    let mut world = World::mid_canary();
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m", "minSamples": 2000}]}));
    world.analysis(
        json!({"metrics": [guardrail()], "samples": {"prometheus": {"query": "n{revision=\"{{ revision }}\"}"}}}),
    );
    world.measure("samples", Measurement::of(1999.0));
    world.advance(30);
    world.request("promote", "n1");
    assert!(world.refusal().contains("1999 of 2000 requests seen"));
    world.measure("samples", Measurement::of(2000.0));
    world.advance(30);
    world.request("promote", "n2");
    world.pass();
    assert_eq!(world.handled().outcome, RequestOutcome::Done);
}

#[test]
fn promote_skips_no_failing_guardrail_and_no_pods_that_are_missing() {
    let mut failing = measured(Measurement::of(0.2));
    failing.request("promote", "n1");
    assert!(failing.refusal().starts_with("error-rate is Fail"));
    failing.advance(30);
    failing.pass();
    assert_eq!(failing.attempt().cause, Some(Cause::GuardrailBreached));

    let mut short = World::mid_canary();
    short.analysis(json!({"none": "checked by hand"}));
    short.advance(600);
    (0..3).for_each(|_| drop(short.pass()));
    short.all_is_well();
    (0..2).for_each(|_| drop(short.pass()));
    short.all_is_well();
    short.pass();
    let revision = short.attempt().revision;
    short.pods_ready_of(&revision, 1);
    short.pass();
    short.request_at("promote", "1", "n1");
    assert_eq!(short.refusal(), "1 of 2 pods are ready");
}

#[test]
fn promote_is_for_the_step_that_was_seen() {
    let mut world = World::mid_canary();
    world.request_at("promote", "1", "n1");
    assert_eq!(world.refusal(), "it is for step 1; the attempt is at step 0");
    let mut starting = World::serving();
    starting.deploy("churn-2");
    starting.pass();
    starting.request_at("promote", "-", "n1");
    assert_eq!(starting.refusal(), "nothing is proven at 0% yet: ask again when it is being watched");
}

#[test]
fn a_pause_comes_before_a_promotion() {
    let mut world = World::mid_canary();
    world.request("pause", "n1");
    world.pass();
    world.request("promote", "n2");
    assert!(world.refusal().contains("resume it first, then promote"));
    let mut promoted = World::mid_canary();
    promoted.request("promote", "n1");
    promoted.pass();
    assert!(promoted.attempt().skip_steps, "pods for all of the traffic are awaited");
    promoted.request("pause", "n2");
    promoted.pass();
    promoted.all_is_well();
    promoted.pass();
    assert_eq!((promoted.attempt().skip_steps, promoted.attempt().weight.to_string().as_str()), (false, "5%"));
}

#[test]
fn a_promotion_lapses_with_its_proof() {
    let mut story = Story::of("The proof is lost while pods for all traffic come up", World::mid_canary());
    story.world.request("promote", "n1");
    story.pass("promote");
    story.world.measure("error-rate", Measurement::NoData("no series".into()));
    story.world.advance(30);
    story.pass("the metric has no data any more");
    story.world.all_is_well();
    story.world.advance(30);
    story.pass("it has again, and all pods are ready");
    story.is("promote-lapses");
}

#[test]
fn guardrails_watch_a_promotion_that_was_asked_for() {
    let mut world = World::mid_canary();
    world.request("promote", "n1");
    world.pass();
    world.all_is_well();
    world.pass();
    world.measure("error-rate", Measurement::of(0.2));
    for _ in 0..3 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().cause, Some(Cause::GuardrailBreached));
}

#[test]
fn pods_for_all_of_the_traffic_are_awaited_from_the_request_on() {
    let mut world = measured(Measurement::of(0.001));
    world.steps(json!([{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m"}]));
    // The step ends, and pods for the next one do not come.
    world.advance(600);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.advance(14 * 60);
    world.request("promote", "n1");
    world.pass();
    assert_eq!((world.handled().outcome, world.attempt().cause), (RequestOutcome::Done, None));
    world.advance(14 * 60);
    world.pass();
    assert_eq!(world.attempt().cause, None, "nobody had asked for all of them before");
    world.advance(60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
}
