//! Requests by people.

use super::story::Story;
use super::world::World;

#[test]
fn abort_takes_the_candidate_back() {
    let mut story = Story::of("Abort", World::mid_canary());
    story.world.request_for("abort", "another-attempt", "n0");
    story.pass("abort of an attempt that is not this one: nothing");
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
