//! Edits of `spec.traffic.gateway`: nothing is served by what was not accepted, and nothing waits for it.

use serde_json::{Value, json};

use super::story::Story;
use super::world::World;
use crate::decide::{Child, ChildKind, Measurement, Op};

/// What all worlds begin with, in another section of the Gateway.
fn section(name: &str) -> Value {
    json!({"parentRefs": [{"name": "internal", "namespace": "infra", "sectionName": name}], "hostnames": ["churn.internal"]})
}

fn gateway(name: &str) -> Value {
    json!({"parentRefs": [{"name": name, "namespace": "infra"}], "hostnames": ["churn.internal"]})
}

fn filter(kind: &str) -> Value {
    let mut it = gateway("internal");
    it["rules"] = json!([{"filters": [{"type": kind}]}]);
    it
}

/// One pass, and what the Gateway says to what it wrote.
fn answered(story: &mut Story, what: &str) {
    story.pass(what);
    story.world.gateway_accepts();
}

#[test]
fn an_accepted_edit_comes_into_effect() {
    let mut story = Story::of("spec.traffic.gateway is edited", World::serving());
    story.world.gateway(section("http"));
    answered(&mut story, "another section is named");
    answered(&mut story, "the Gateway accepts the proposal");
    story.pass("the proposal has served its purpose");
    story.pass("nothing happens");
    story.is("gateway-edit-accepted");
}

#[test]
fn a_wrong_section_name_at_rest_takes_no_request_away() {
    let mut story = Story::of("spec.traffic.gateway names a section that is not there", World::serving());
    story.world.gateway(section("nowhere"));
    answered(&mut story, "the section is named");
    story.pass("the Gateway refuses the proposal");
    story.world.advance(3600);
    story.pass("an hour later");
    story.world.gateway(section("http"));
    story.pass("the edit is corrected");
    answered(&mut story, "the old proposal is gone");
    answered(&mut story, "the Gateway accepts");
    story.pass("the proposal has served its purpose");
    story.is("gateway-edit-wrong-section");
}

#[test]
fn a_wrong_section_name_mid_canary_stops_no_step() {
    let mut story = Story::of("A section that is not there, named mid-canary", World::mid_canary());
    story.world.gateway(section("nowhere"));
    answered(&mut story, "the section is named");
    story.pass("the Gateway refuses the proposal");
    story.world.advance(570);
    story.pass("the step ends");
    story.world.pods_ready();
    answered(&mut story, "pods for 50% are ready");
    story.pass("the Gateway accepts 50% on what it had accepted before");
    story.is("gateway-edit-mid-canary");
}

#[test]
fn a_rollback_does_not_wait_for_an_edit() {
    let mut world = World::mid_canary();
    world.gateway(section("nowhere"));
    world.pass();
    world.gateway_accepts();
    world.pass();
    let mut story = Story::of("A guardrail is breached while an edit is refused", world);
    story.world.measure("error-rate", Measurement::of(0.2));
    story.world.advance(30);
    story.pass("breached");
    story.world.advance(30);
    let plan = story.pass("breached twice: weight 0 is the first write");
    let [Op::Apply(Child::HttpRoute(route), _), ..] = plan.ops.as_slice() else { panic!("{:?}", plan.ops) };
    assert_eq!(route.metadata.name.as_deref(), Some("churn"));
    assert_eq!(route.spec.parent_refs.list(), [json!({"name": "internal", "namespace": "infra"})]);
    story.world.gateway_accepts();
    story.pass("the Gateway accepts weight 0");
    story.is("gateway-edit-rollback");
}

#[test]
fn a_filter_the_gateway_refuses_never_reaches_the_route() {
    let mut story = Story::of("A filter that the Gateway does not have", World::serving());
    story.world.gateway(filter("Unheard"));
    answered(&mut story, "the filter is asked for");
    story.pass("the Gateway refuses the proposal");
    story.world.deploy("churn-2");
    story.pass("meanwhile another revision is asked for");
    story.world.gateway(gateway("internal"));
    story.pass("the edit is taken back");
    story.is("gateway-edit-refused-filter");
}

#[test]
fn a_gateway_that_is_made_later_is_taken_then() {
    let mut story = Story::of("spec.traffic.gateway names a Gateway that does not exist", World::serving());
    story.world.gateway(gateway("tomorrow"));
    answered(&mut story, "the Gateway is named");
    answered(&mut story, "nobody answers");
    story.world.advance(15 * 60);
    story.pass("nobody has answered for as long as progressDeadline");
    let proposed = story.world.children.proposed.as_mut().map(std::sync::Arc::make_mut).unwrap();
    proposed.spec.parent_refs = vec![json!({"name": "internal"})].into();
    story.world.gateway_accepts();
    let proposed = story.world.children.proposed.as_mut().map(std::sync::Arc::make_mut).unwrap();
    proposed.spec.parent_refs = vec![json!({"name": "tomorrow", "namespace": "infra"})].into();
    proposed.status.as_mut().unwrap().parents[0].parent_ref =
        super::world::from(json!({"name": "tomorrow", "namespace": "infra"}));
    story.pass("the Gateway is created and accepts");
    story.is("gateway-edit-missing-gateway");
}

#[test]
fn an_edit_the_api_server_refuses_is_told_and_lets_weights_through() {
    let mut world = World::mid_canary();
    world.gateway(filter("None/such"));
    let mut story = Story::of("An edit that the API server refuses (422)", world);
    let plan = story.world.decide();
    assert!(matches!(plan.ops.as_slice(), [Op::Create(Child::HttpRoute(_))]), "{:?}", plan.ops);
    let said = "spec.rules[0].filters[0].type: Unsupported value";
    story.world.refuses(ChildKind::HttpRoute, "churn.proposed", said);
    story.pass("the proposal was refused");
    story.world.children.proposed = None;
    story.world.request("abort", "1");
    let plan = story.pass("aborted");
    let names: Vec<&str> = plan
        .ops
        .iter()
        .map(|it| match it {
            Op::Create(child) | Op::Apply(child, _) => child.name(),
            Op::Delete(_, name, _) => name,
        })
        .collect();
    assert_eq!(names, ["churn"], "what is refused stands in nobody's way");
    story.is("gateway-edit-refused-by-api-server");
}

#[test]
fn a_first_deployment_has_nothing_to_keep() {
    let mut world = World::new();
    world.gateway(section("nowhere"));
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    world.gateway_accepts();
    let mut story = Story::of("A first deployment names a section that is not there", world);
    story.pass("the Gateway refuses the route");
    story.world.gateway(section("http"));
    answered(&mut story, "the section is corrected: nothing serves that could be taken away");
    story.pass("the Gateway accepts");
    story.is("gateway-edit-first-deployment");
}

#[test]
fn a_rollback_that_the_gateway_refuses_needs_a_person() {
    let mut world = World::mid_canary();
    world.request("abort", "1");
    let mut story = Story::of("The Gateway refuses weight 0: its listener is gone", world);
    story.pass("aborted");
    story.world.gateway_says("False", "NoMatchingParent", "no listener");
    story.pass("the Gateway refuses the route");
    story.world.gateway_accepts();
    story.pass("the listener is back");
    story.is("gateway-rejects-rollback");
}
