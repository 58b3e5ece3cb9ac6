//! A fresh object: nothing serves yet.

use serde_json::json;

use super::story::Story;
use super::world::{World, from};
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::{Child, ChildKind, Op};

/// A story in which the first deployment waits for its pods.
fn starting(title: &str) -> Story {
    let mut story = Story::of(title, World::new());
    story.pass("the object is created");
    story.pass("its record is there");
    story
}

#[test]
fn first_deployment_starts_waits_for_pods_then_route_and_serves() {
    let mut story = starting("First deployment: pods, then the route, then it serves");
    let revision = story.world.attempt().revision;
    story.world.advance(10);
    story.world.pods_ready_of(&revision, 3);
    story.pass("three of four pods are ready");
    story.world.pods_ready();
    story.pass("all are");
    story.pass("the gateway has not looked at the route yet");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.pass("nothing happens");
    story.is("first-deployment");
}

#[test]
fn first_deployment_fails_on_its_deadline_and_keeps_its_pods_to_look_at() {
    let mut story = starting("First deployment: no pod in 15 minutes");
    story.world.advance(15 * 60);
    story.pass("the deadline has come");
    story.pass("no traffic to take back");
    story.pass("nothing happens");
    story.world.request("retry", "n1");
    story.pass("somebody asks to try again");
    story.is("first-deployment-deadline");
}

#[test]
fn first_deployment_that_failed_is_replaced_by_another_revision() {
    let mut story = starting("A failed first deployment is given up for another revision");
    story.world.advance(15 * 60);
    story.pass("the deadline has come");
    story.pass("no traffic to take back");
    story.world.deploy("churn-2");
    story.pass("another entry is named");
    story.pass("its record is there");
    story.world.advance(30);
    story.pass("the old one has drained");
    story.pass("its record is gone");
    story.is("first-deployment-replaced-after-failure");
}

#[test]
fn first_deployment_superseded_while_starting_starts_the_other_revision() {
    let mut story = starting("First deployment: another entry is named before the first one is up");
    story.world.deploy("churn-2");
    story.pass("another entry is named");
    story.pass("there is no traffic to take back");
    story.pass("the way is free");
    story.is("first-deployment-superseded");
}

#[test]
fn first_deployment_aborted_is_failed_not_tried_again() {
    let mut story = starting("First deployment, aborted");
    story.world.request("abort", "n1");
    story.pass("somebody aborts");
    story.pass("there is no traffic to take back");
    story.pass("nothing happens");
    story.is("first-deployment-aborted");
}

#[test]
fn an_image_that_crashes_is_told_in_ready() {
    let mut story = starting("The model server crashes");
    story.world.pod(json!({"containerStatuses": [{
        "name": "server", "image": "registry/scorer:1.4", "imageID": "", "ready": false, "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
        "lastState": {"terminated": {"exitCode": 2}},
    }]}));
    story.pass("the container is in CrashLoopBackOff");
    story.world.advance(15 * 60);
    story.pass("the deadline has come");
    story.pass("there is no traffic to take back");
    story.is("crash-loop");
}

#[test]
fn an_artifact_of_another_digest_is_refused_at_once() {
    let mut story = starting("The artifact's bytes are not the registered ones");
    let failure = ArtifactFailure::new(
        ArtifactFailureReason::ArtifactDigestMismatch,
        "s3://models/churn/1/ has the digest ab…; register what is there, or restore the bytes",
    );
    story.world.pod(json!({"initContainerStatuses": [{
        "name": "werkbank-fetch", "image": "werkbank:0.1.0", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 12, "message": failure.to_line()}},
    }]}));
    story.pass("the init container refuses the artifact");
    story.pass("there is no traffic to take back");
    story.is("artifact-digest-mismatch");
}

#[test]
fn a_region_without_a_node_waits_and_says_so() {
    let mut story = starting("No node in the region");
    story.world.pod(json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector",
    }]}));
    story.pass("no node takes the pod");
    story.is("region-unschedulable");
}

#[test]
fn a_region_the_chart_does_not_map_is_refused() {
    let mut story = Story::of("A region nobody knows", World::new());
    story.world.settings.regions = from(json!({"eu": {"topology.kubernetes.io/region": ["eu-1"]}}));
    story.world.edit(|spec| spec.region = Some("mars".into()));
    story.pass("spec.region is mars");
    story.is("region-unknown");
}

#[test]
fn without_a_gateway_the_service_switches_at_promotion_and_back() {
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    world.come_to_rest();
    let mut story = Story::of("Blue-green: no gateway, the Service switches", world);
    story.world.deploy("churn-2");
    story.pass("another entry is named");
    story.pass("its record is there");
    story.world.pods_ready();
    story.pass("its pods are ready");
    story.pass("the Service has switched");
    story.world.advance(30);
    story.pass("the old revision has drained");
    story.pass("nothing happens");
    story.is("blue-green-promotion");
}

#[test]
fn without_a_gateway_a_candidate_that_does_not_come_up_never_gets_the_service() {
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    world.come_to_rest();
    world.deploy("churn-2");
    world.pass();
    world.pass();
    let mut story = Story::of("Blue-green: the candidate does not come up", world);
    story.world.advance(15 * 60);
    story.pass("the deadline has come");
    story.pass("the Service never left the stable revision");
    story.world.advance(30);
    story.pass("the candidate has drained");
    story.pass("nothing happens");
    story.is("blue-green-rollback");
}

#[test]
fn without_a_gateway_a_first_deployment_that_is_taken_back_loses_the_service() {
    let mut world = World::new();
    world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    let mut story = Story::of("Blue-green: the first deployment is aborted while the Service switches", world);
    story.world.request("abort", "n1");
    story.pass("abort");
    story.pass("the Service selects nothing");
    story.pass("nothing happens");
    story.is("blue-green-first-aborted");
}

#[test]
fn what_cannot_come_into_being_is_not_awaited_when_a_first_deployment_is_taken_back() {
    for refused in [false, true] {
        let mut world = World::new();
        world.edit(|spec| (spec.traffic, spec.rollout) = (None, None));
        if refused {
            world.refuses(ChildKind::Service, "churn", "admission webhook denied the request");
        } else {
            world.memory.foreign_children.push("Service/churn".into());
        }
        (0..2).for_each(|_| drop(world.pass()));
        world.pods_ready();
        for _ in 0..3 {
            // It is refused each time it is tried.
            world.children.services.remove("churn");
            world.pass();
        }
        world.request("abort", "n1");
        for _ in 0..3 {
            world.children.services.remove("churn");
            world.pass();
        }
        assert_eq!((world.attempt().state, world.attempt().cause), (AttemptState::Failed, Some(Cause::Aborted)));
    }
}

#[test]
fn scaled_to_zero_waits_for_no_pods_and_is_available() {
    let mut world = World::new();
    world.edit(|spec| spec.replicas = Some(0));
    let mut story = Story::of("replicas: 0", world);
    story.pass("the object is created");
    story.pass("its record is there");
    story.pass("its Deployment is there");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.pass("nothing happens");
    story.is("scaled-to-zero");
}

/// A status from before the first deployment had any traffic, beside the route that it has since.
fn with_an_old_status() -> World {
    let mut world = World::new();
    world.pass();
    let old = world.status();
    let revision = old.attempt.as_ref().unwrap().revision.clone();
    assert_eq!(old.attempt.as_ref().map(|it| it.state), Some(AttemptState::Starting));
    world.come_to_rest();
    world.resource.status = Some(old);
    world.pods_ready_of(&revision, 0);
    world
}

fn writes_the_route(world: &World) -> bool {
    let is_route = |op: &Op| matches!(op, Op::Apply(Child::HttpRoute(_), _));
    world.decide().ops.iter().any(is_route)
}

#[test]
fn a_process_that_reads_an_old_status_takes_no_traffic_from_what_serves_since() {
    assert!(!writes_the_route(&with_an_old_status()));
}

#[test]
fn traffic_that_somebody_gives_to_what_waits_for_its_first_is_taken_back() {
    let mut world = with_an_old_status();
    world.edit_route(|route| route.hostnames = vec!["elsewhere.internal".into()]);
    assert!(writes_the_route(&world), "it is not as the operator wrote it");
}
