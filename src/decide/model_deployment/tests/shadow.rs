//! `rollout.shadow`: copied requests, before the first step.

use serde_json::{Value, json};

use super::story::Story;
use super::verdicts::hit_rate;
use super::world::{World, guardrail};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::{Measurement, Op};

fn rollout() -> Value {
    json!({"shadow": {"percent": 50, "for": "10m"}, "steps": [{"weight": "5%", "for": "10m"}]})
}

/// `churn-2` is deployed; half of the requests are to be copied to it first.
fn shadowed() -> World {
    let mut world = World::serving();
    world.rollout(rollout());
    world.deploy("churn-2");
    world
}

/// As far as the copies, in a healthy cluster.
pub(super) fn shadowing() -> World {
    let mut world = shadowed();
    for _ in 0..6 {
        world.pass();
        world.all_is_well();
    }
    let attempt = world.attempt();
    assert!(attempt.state == AttemptState::Shadowing && attempt.observing_since.is_some(), "{attempt:#?}");
    world
}

/// Of each backend that copies go to, how many percent.
fn copies(world: &World) -> Vec<i64> {
    let rules = world.children.route.as_ref().unwrap().spec.rules.list();
    let filters = rules[0]["filters"].as_array().into_iter().flatten();
    filters.filter_map(|it| it["requestMirror"]["percent"].as_i64()).collect()
}

#[test]
fn half_of_the_requests_are_copied_to_a_candidate_before_it_gets_any() {
    let mut story = Story::of("Shadowing: half of the requests for ten minutes", shadowed());
    story.pass("another entry is named");
    story.pass("the candidate's record is there");
    story.world.pods_ready();
    story.pass("pods for half of the requests are ready");
    story.pass("the mirror is proposed");
    story.world.gateway_accepts();
    story.pass("the gateway has such a filter");
    story.world.gateway_accepts();
    story.pass("the gateway copies requests");
    story.world.advance(30);
    story.world.measure("error-rate", Measurement::of(0.001));
    story.pass("first measurement");
    story.world.advance(570);
    story.pass("ten minutes have passed");
    story.world.gateway_accepts();
    story.pass("there are pods enough for the first step");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.is("shadow");
}

#[test]
fn a_guardrail_that_fails_on_copies_takes_the_candidate_back_before_anybody_was_answered_by_it() {
    let mut world = shadowing();
    world.measure("error-rate", Measurement::of(0.5));
    for _ in 0..2 {
        world.advance(30);
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    world.gateway_accepts();
    world.pass();
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.cause), (AttemptState::RolledBack, Some(Cause::GuardrailBreached)));
    assert_eq!(copies(&world), Vec::<i64>::new(), "copies end with it");
}

#[test]
fn without_a_verdict_there_is_no_first_step() {
    let mut world = shadowing();
    world.measure("error-rate", Measurement::NoData("no series".into()));
    for _ in 0..30 {
        world.advance(60);
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
}

#[test]
fn a_gateway_without_such_a_filter_loses_no_request() {
    let mut world = shadowed();
    world.has_no_mirrors = true;
    for _ in 0..8 {
        world.pass();
        world.all_is_well();
        assert_eq!(copies(&world), Vec::<i64>::new(), "the route that serves is never written with it");
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
    let ready = world.status().conditions.into_iter().find(|it| it.type_ == "Ready").unwrap();
    assert!(ready.message.starts_with("rollout.shadow is refused by Gateway infra/internal"), "{}", ready.message);
    world.advance(15 * 60);
    world.pass();
    world.all_is_well();
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
    world.pass();
    assert!(world.children.proposed.is_none());
}

#[test]
fn a_shadow_that_is_taken_out_of_the_spec_ends_and_one_that_is_changed_is_changed() {
    let mut world = shadowing();
    world.rollout(json!({"shadow": {"percent": 10, "for": "10m"}, "steps": [{"weight": "5%", "for": "10m"}]}));
    for _ in 0..4 {
        world.pass();
        assert_ne!(copies(&world), [10], "it is proposed first");
        world.all_is_well();
        if world.children.proposed.is_some() {
            break;
        }
    }
    world.pass();
    assert_eq!(copies(&world), [10]);
    world.rollout(json!({"steps": [{"weight": "5%", "for": "10m"}]}));
    for _ in 0..3 {
        world.pass();
        world.all_is_well();
    }
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.weight.to_string()), (AttemptState::Observing, "5%".into()));
    assert_eq!(copies(&world), Vec::<i64>::new());
}

#[test]
fn pods_that_die_under_copies_take_nothing_away_from_anybody_and_are_awaited_for_a_while() {
    let mut world = shadowing();
    let revision = world.attempt().revision;
    world.pods_ready_of(&revision, 0);
    world.advance(600);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Shadowing, "it is not over while there is nobody to judge");
    world.advance(15 * 60);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::CapacityLost));
}

#[test]
fn a_first_deployment_has_nothing_to_shadow() {
    let mut world = World::new();
    world.rollout(rollout());
    for _ in 0..10 {
        world.all_is_well();
        let plan = world.pass();
        let proposes = plan.ops.iter().any(|op| matches!(op, Op::Create(child) if child.name() == "churn.proposed"));
        assert!(!proposes && world.attempt().state != AttemptState::Shadowing);
    }
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn a_pause_keeps_copies_where_they_are_and_they_go_on_being_judged() {
    let mut world = shadowing();
    world.request_at("pause", "-", "p1");
    world.pass();
    for _ in 0..12 {
        world.advance(300);
        world.all_is_well();
        world.pass();
    }
    assert_eq!(world.attempt().state, AttemptState::Shadowing);
    world.request_at("promote", "-", "n1");
    assert!(world.refusal().contains("resume it first"));
    world.request_at("resume", "-", "r1");
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().state, AttemptState::Starting);
    world.request_at("promote", "-", "n2");
    assert!(world.refusal().starts_with("nothing is proven at 0% yet"));
}

#[test]
fn more_copies_wait_for_more_pods() {
    let mut world = shadowing();
    world.rollout(json!({"shadow": {"percent": 100, "for": "10m"}, "steps": [{"weight": "5%", "for": "10m"}]}));
    for _ in 0..4 {
        world.pass();
        world.gateway_accepts();
        assert_eq!(copies(&world), [50], "pods for half of the requests are ready");
    }
    for _ in 0..4 {
        world.all_is_well();
        world.pass();
    }
    assert_eq!(copies(&world), [100]);
}

#[test]
fn an_edit_of_the_gateway_is_tried_together_with_the_mirror() {
    let mut world = shadowing();
    world.has_no_mirrors = true;
    world.gateway(json!({"parentRefs": [{"name": "internal", "namespace": "infra"}], "hostnames": ["other.internal"]}));
    for _ in 0..4 {
        world.pass();
        let hosts = &world.children.route.as_ref().unwrap().spec.hostnames;
        assert_eq!(*hosts, ["churn.internal"], "what was accepted serves");
    }
    let proposed = world.children.proposed.as_ref().expect("a proposal");
    assert!(json!(proposed.spec).to_string().contains("RequestMirror"));
}

#[test]
fn a_gateway_that_copies_no_more_gets_its_route_back_without_the_mirror() {
    let mut world = shadowing();
    world.has_no_mirrors = true;
    world.gateway_accepts();
    world.pass();
    world.gateway_accepts();
    world.pass();
    assert_eq!((copies(&world), world.attempt().state), (vec![], AttemptState::Shadowing));
    world.advance(15 * 60);
    world.gateway_accepts();
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::ProgressDeadlineExceeded));
}

#[test]
fn copies_are_not_drawn_so_a_guardrail_that_counts_neither_judges_them_nor_waits_for_them() {
    let mut world = shadowing();
    world.analysis(json!({"metrics": [guardrail(), hit_rate("Guardrail")]}));
    world.count("hit-rate", (0.0, 20_000.0), (5_000.0, 20_000.0));
    world.advance(600);
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting, "{:#?}", world.status().verdicts);
    assert!(world.status().verdicts.iter().all(|it| it.metric != "hit-rate"));
}
