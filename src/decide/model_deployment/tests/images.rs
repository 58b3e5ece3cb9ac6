//! Pods of one revision that run different images: a tag was pushed over.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::story::Story;
use super::world::World;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, Cause, Phase};
use crate::decide::Measurement;

impl World {
    /// A revision's pods run these images, and of the other revision's nothing is known.
    pub(super) fn run(&mut self, revision: &str, digests: &[&str]) {
        let pod = |digest: &&str| -> Arc<Pod> {
            let id = format!("registry/scorer@sha256:{}", digest.repeat(32));
            let container = json!({"name": "server", "image": "", "imageID": id, "ready": true, "restartCount": 0});
            let pod = json!({"metadata": {"labels": {labels::REVISION: revision}}, "status": {"containerStatuses": [container]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        self.running = digests.iter().map(pod).collect();
    }

    fn said(&self, type_: &str) -> (String, String) {
        let it = self.status().conditions.into_iter().find(|it| it.type_ == type_).unwrap();
        (it.reason, it.message)
    }
}

fn candidate(world: &World) -> String {
    world.attempt().revision
}

#[test]
fn a_tag_that_was_pushed_over_holds_the_candidate_until_its_pods_are_one_again() {
    let mut story = Story::of("A tag is pushed over under a canary", World::mid_canary());
    let revision = candidate(&story.world);
    story.world.run(&revision, &["1a"]);
    story.pass("one pod, one image");
    story.world.advance(600);
    story.pass("the step is over: a second pod is asked for");
    story.world.run(&revision, &["1a", "2b"]);
    story.world.pods_ready();
    story.pass("it runs another image: no further weight");
    story.pass("nothing more is said");
    story.world.run(&revision, &["2b", "2b"]);
    story.pass("the older pod was replaced");
    story.is("images-differ");
}

#[test]
fn guardrails_abort_and_a_new_revision_take_a_candidate_back_whose_images_differ() {
    type Happens = fn(&mut World);
    let all: [(Happens, Cause); 4] = [
        (|world| world.measure("error-rate", Measurement::of(0.2)), Cause::GuardrailBreached),
        (|world| world.request("abort", "n1"), Cause::Aborted),
        (|world| world.deploy("churn-1"), Cause::Reverted),
        (|world| world.deploy("churn-3"), Cause::Superseded),
    ];
    for (happens, cause) in all {
        let mut world = World::mid_canary();
        let revision = candidate(&world);
        world.run(&revision, &["1a", "2b"]);
        world.pass();
        assert_eq!(world.said("Stalled").0, "ImagesDiffer");
        happens(&mut world);
        for _ in 0..2 {
            world.advance(30);
            world.pass();
        }
        let attempt = world.attempt();
        assert_eq!((attempt.state, attempt.cause), (AttemptState::RollingBack, Some(cause)));
        assert_ne!(world.said("Ready").0, "ImagesDiffer", "it goes back, whatever it runs");
    }
}

#[test]
fn a_candidate_whose_images_differ_is_not_promoted_by_request() {
    let mut world = World::mid_canary();
    let revision = candidate(&world);
    world.run(&revision, &["1a", "2b"]);
    world.pass();
    world.request("promote", "n1");
    assert!(
        world
            .refusal()
            .contains("run different images: sha256:1a1a1a1a1a1a and sha256:2b2b2b2b2b2b for container server")
    );
}

#[test]
fn an_image_that_is_pinned_by_digest_is_not_compared() {
    let mut world = World::serving();
    let pinned = format!("registry/scorer@sha256:{}", "ff".repeat(32));
    world.edit_template(|it| it["spec"]["containers"][0]["image"] = json!(pinned));
    (0..3).for_each(|_| {
        world.pass();
        world.all_is_well();
    });
    let revision = candidate(&world);
    world.run(&revision, &["1a", "2b"]);
    world.pass();
    assert_eq!(world.said("Stalled").0, "Progressing");
}

#[test]
fn a_stable_revision_whose_images_differ_is_told_and_does_not_block_its_repair() {
    let mut world = World::serving();
    let stable = world.status().stable.unwrap().revision;
    world.run(&stable, &["1a", "2b"]);
    world.pass();
    let (reason, message) = world.said("Available");
    assert_eq!(
        (world.status().phase, reason.as_str(), world.said("Ready").0.as_str()),
        (Phase::Stable, "PodsReady", "Stable")
    );
    assert!(message.contains("run different images") && message.contains("pin the image by digest"), "{message}");
    world.deploy("churn-2");
    (0..4).for_each(|_| {
        world.pass();
        world.all_is_well();
    });
    assert_eq!((world.attempt().state, world.attempt().weight.to_string().as_str()), (AttemptState::Observing, "5%"));
}

#[test]
fn a_first_deployment_whose_images_differ_gets_no_traffic() {
    let mut world = World::new();
    (0..2).for_each(|_| drop(world.pass()));
    let revision = candidate(&world);
    world.run(&revision, &["1a", "1a", "1a", "2b"]);
    for _ in 0..5 {
        world.all_is_well();
        world.pass();
    }
    assert_eq!((world.attempt().state, world.said("Ready").0.as_str()), (AttemptState::Starting, "ImagesDiffer"));
}
