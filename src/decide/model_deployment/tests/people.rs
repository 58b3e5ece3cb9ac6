//! Requests by people: what is asked for, what it is asked of, and what becomes of it.

use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, HandledRequest, RequestOutcome};

impl World {
    pub(super) fn handled(&self) -> HandledRequest {
        self.status().handled_request.expect("a request that was looked at")
    }

    /// One pass; why it refuses the request.
    #[track_caller]
    pub(super) fn refusal(&mut self) -> String {
        self.pass();
        let handled = self.handled();
        assert_eq!(handled.outcome, RequestOutcome::Refused, "{handled:?}");
        handled.message.unwrap()
    }
}

#[test]
fn abort_takes_the_candidate_back() {
    let mut story = Story::of("Abort", World::mid_canary());
    story.world.request_for("abort", "another-attempt", "n0");
    story.pass("abort of an attempt that is not this one: refused");
    story.world.request("abort", "n1");
    story.pass("abort");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.pass("the handled request does nothing more");
    story.is("abort");
}

#[test]
fn malformed_requests_do_nothing() {
    let mut world = World::mid_canary();
    let id = world.attempt().id;
    for text in [
        "abort".into(),
        format!("abort/{id}"),
        format!("Abort/{id}/0/n/jane"),
        format!("abort/{id}/0/n"),
        "////".into(),
    ] {
        world.resource.metadata.annotations = Some([("werkbank.dev/request".to_owned(), text)].into());
        assert!(super::world::is_nothing(&world.decide()));
    }
}

#[test]
fn a_retry_that_cannot_start_yet_is_not_forgotten() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    world.pass();
    world.gateway_accepts();
    world.pass();
    world.trail_is_down();
    world.request("retry", "n2");
    let mut story = Story::of("Retry while decisions cannot be recorded", world);
    story.pass("retry, but the trail does not answer");
    story.world.memory.trail_unavailable_since = None;
    story.pass("it answers again");
    story.is("retry-waits-for-the-trail");
}

#[test]
fn a_request_that_comes_with_the_object_does_nothing() {
    let mut world = World::new();
    world.annotate("retry/ab-1-11112222/-/n1/jane".into());
    let mut story = Story::of("An object is created with a request in its annotations", world);
    story.pass("the first pass");
    story.pass("the second");
    story.is("request-at-creation");
}

#[test]
fn a_request_for_an_attempt_that_ended_does_nothing_now_or_later() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.request("retry", "n1");
    assert!(world.refusal().contains("was not taken back (Starting)"));
    world.request("abort", "n2");
    world.pass();
    world.gateway_accepts();
    (0..4).for_each(|_| drop(world.pass()));
    assert_eq!(world.attempt().state, AttemptState::RolledBack);
    for (verb, why) in [
        ("abort", "nothing to abort; to go back, point spec.modelRef at the earlier entry"),
        ("pause", "has ended (RolledBack): there is nothing to pause"),
        ("promote", "has ended (RolledBack): there is nothing to promote"),
    ] {
        world.request(verb, verb);
        assert!(world.refusal().ends_with(why), "{:?}", world.handled());
        assert!(is_nothing(&world.pass()), "once");
    }
}

#[test]
fn a_retry_of_what_serves_is_refused() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    world.pass();
    world.gateway_accepts();
    world.come_to_rest();
    world.deploy("churn-1");
    world.pass();
    world.request("retry", "n2");
    assert!(world.refusal().contains("serves already"));
    world.deploy("churn-2");
    world.come_to_rest();
    assert_eq!(world.attempt().state, AttemptState::RolledBack, "and does nothing later");
}
