//! A fresh object: nothing serves yet.

use serde_json::json;

use super::story::Story;
use super::verdicts::hit_rate;
use super::world::{World, from, guardrail};
use crate::api::Weight;
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason};
use crate::api::model_deployment::{AttemptState, Cause};
use crate::decide::{Child, ChildKind, Measurement, Op};

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
    story.world.measure("error-rate", Measurement::of(0.001));
    story.pass("the gateway accepts");
    story.pass("its guardrail passes");
    story.pass("nothing happens");
    story.is("first-deployment");
}

/// All of the traffic goes to it, and this is what there is to measure.
fn with_all_traffic(answer: Measurement) -> World {
    let mut world = World::new();
    world.measure("error-rate", answer);
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    world.gateway_accepts();
    world
}

#[test]
fn first_deployment_that_breaks_a_guardrail_loses_all_of_the_traffic_and_has_failed() {
    let mut story = Story::of("First deployment: it breaks a guardrail", with_all_traffic(Measurement::of(0.2)));
    story.pass("the gateway accepts");
    story.pass("its guardrail fails");
    story.world.advance(30);
    story.pass("and fails again: weight 0");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.pass("nothing happens");
    story.is("first-deployment-breaches");
}

/// Nobody may have sent it a request, and a source that is silent makes nobody bad: to take it back would be an outage.
#[test]
fn first_deployment_of_which_nothing_is_known_is_stable_when_a_breach_would_have_shown() {
    for unknown in [Measurement::of(f64::NAN), Measurement::ProviderError("no route to host".into())] {
        let mut world = with_all_traffic(unknown);
        world.rollout(
            json!({"steps": [{"weight": "5%", "for": "10m"}], "onOutage": {"after": "20s", "do": "Rollback"}}),
        );
        for _ in 0..2 {
            world.pass();
        }
        assert_eq!(world.attempt().state, AttemptState::Promoting);
        // Two intervals of 30 s: failureLimit is 1.
        world.advance(59);
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoting);
        world.advance(1);
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoted);
    }
}

#[test]
fn first_deployment_that_fails_now_is_not_stable_however_long_it_was_watched() {
    let mut world = with_all_traffic(Measurement::of(f64::NAN));
    world.pass();
    world.pass();
    world.advance(60);
    world.measure("error-rate", Measurement::of(0.2));
    world.pass();
    assert_eq!((world.attempt().state, world.status().verdicts[0].failures), (AttemptState::Promoting, 1));
    // Not knowing does not acquit.
    world.measure("error-rate", Measurement::of(f64::NAN));
    world.advance(30);
    world.pass();
    assert_eq!((world.attempt().state, world.status().verdicts[0].failures), (AttemptState::Promoting, 1));
    world.measure("error-rate", Measurement::of(0.2));
    world.advance(30);
    world.pass();
    let attempt = world.attempt();
    assert_eq!((attempt.state, attempt.cause), (AttemptState::RollingBack, Some(Cause::GuardrailBreached)));
}

/// It serves alone, and nobody knows yet how well.
fn watched() -> World {
    let mut world = with_all_traffic(Measurement::of(f64::NAN));
    world.pass();
    world.pass();
    assert_eq!((world.attempt().state, world.attempt().weight), (AttemptState::Promoting, Weight::FULL));
    world
}

#[test]
fn first_deployment_that_another_is_to_follow_serves_on_while_that_one_is_a_canary() {
    let mut world = watched();
    let first = world.attempt().revision;
    // What could not begin ends no watch.
    world.deploy("churn-9");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoting);
    world.deploy("churn-2");
    let plan = world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoted, "{plan:#?}");
    assert_eq!(world.status().stable.map(|it| it.revision), Some(first.clone()));
    assert_eq!(world.status().proven, [], "it was not watched for long enough to prove anything");
    world.measure("error-rate", Measurement::of(0.001));
    for _ in 0..6 {
        world.pass();
        world.all_is_well();
        assert!(world.weights().iter().any(|(name, weight)| name.ends_with(&first) && *weight > 0));
    }
    assert_eq!(world.attempt().weight.to_string(), "5%");
}

#[test]
fn first_deployment_goes_on_serving_while_pods_are_away_or_the_route_is_looked_at_anew() {
    for is_long in [false, true] {
        let mut world = watched();
        let revision = world.attempt().revision;
        world.pods_ready_of(&revision, 0);
        world.gateway_says("Unknown", "Pending", "");
        world.pass();
        assert_eq!(world.attempt().weight, Weight::FULL);
        world.advance(if is_long { 3600 } else { 5 });
        world.pass();
        assert_eq!((world.attempt().weight, world.attempt().state), (Weight::FULL, AttemptState::Promoting));
        world.all_is_well();
        world.advance(60);
        world.pass();
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoted);
    }
}

#[test]
fn first_deployment_that_a_person_holds_is_watched_and_waits_for_them() {
    let mut world = with_all_traffic(Measurement::of(0.001));
    world.request_at("pause", "-", "1");
    for _ in 0..4 {
        world.pass();
        world.advance(30);
    }
    assert_eq!((world.attempt().state, world.status().verdicts.len()), (AttemptState::Promoting, 1));
    let mut breaks = world.clone();
    breaks.measure("error-rate", Measurement::of(0.2));
    for _ in 0..3 {
        breaks.pass();
        breaks.advance(30);
    }
    assert_eq!(breaks.attempt().cause, Some(Cause::GuardrailBreached));
    world.request_at("resume", "-", "2");
    world.pass();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

/// Its only guardrail is in a list that is gone: not knowing does not acquit.
#[test]
fn first_deployment_is_not_stable_while_its_guardrails_cannot_be_read() {
    let mut world = World::new();
    world.analysis(json!({"metricsFrom": [{"configMapRef": {"name": "shared"}}]}));
    world.shared_metrics.insert("shared".into(), Ok(json!([guardrail()]).to_string()));
    world.measure("error-rate", Measurement::of(0.2));
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    world.gateway_accepts();
    (0..2).for_each(|_| drop(world.pass()));
    assert_eq!(world.status().verdicts[0].failures, 1);
    world.shared_metrics.insert("shared".into(), Err("ConfigMap shared does not exist".into()));
    for _ in 0..5 {
        world.advance(60);
        world.pass();
        assert_eq!((world.attempt().state, world.attempt().weight), (AttemptState::Promoting, Weight::FULL));
    }
}

/// An edit that was refused is not written over what is taken back.
#[test]
fn an_edit_that_waits_does_not_come_into_effect_by_a_rollback_of_what_serves_alone() {
    let mut world = watched();
    world.gateway(json!({"parentRefs": [{"name": "internal", "namespace": "infra", "sectionName": "nowhere"}],
        "hostnames": ["churn.internal"]}));
    world.pass();
    world.gateway_accepts();
    world.request_at("abort", "-", "1");
    for _ in 0..4 {
        world.pass();
        world.gateway_accepts();
    }
    assert_eq!(world.attempt().state, AttemptState::Failed, "the Gateway has accepted weight 0");
}

#[test]
fn first_deployment_that_is_watched_wakes_nobody_in_vain() {
    let mut world = watched();
    world.advance(60);
    world.measure("error-rate", Measurement::of(0.2));
    let plan = world.pass();
    assert_eq!(plan.requeue, Some(std::time::Duration::from_secs(30)), "until it is measured again");
}

#[test]
fn an_edit_of_the_gateway_is_proposed_before_it_touches_what_serves_alone() {
    let mut world = watched();
    world
        .gateway(json!({"parentRefs": [{"name": "elsewhere", "namespace": "infra"}], "hostnames": ["churn.internal"]}));
    let plan = world.pass();
    let route = |op: &Op| matches!(op, Op::Apply(Child::HttpRoute(_), _));
    assert!(!plan.ops.iter().any(route) && !plan.ops.is_empty(), "{:?}", plan.ops);
}

/// What compares, counts, judges a step or judges later says nothing of one that is alone.
#[test]
fn first_deployment_is_held_only_by_what_can_judge_it_by_itself() {
    let compared = json!({"name": "latency", "role": "Guardrail", "compare": {"to": "Stable", "maxRatio": "1.2"},
        "prometheus": {"query": "latency{revision=\"{{ revision }}\"}"}});
    let objective =
        json!({"name": "hits", "role": "Objective", "threshold": {"min": "90%"}, "prometheus": {"query": "hits"}});
    let late = json!({"name": "churned", "role": "Guardrail", "threshold": {"max": "5%"}, "delay": "7d",
        "prometheus": {"query": "churned{revision=\"{{ revision }}\", from=\"{{ windowStart }}\", to=\"{{ windowEnd }}\"}"}});
    for metric in [compared, objective, late, hit_rate("Guardrail")] {
        let mut world = World::new();
        world.analysis(json!({"metrics": [metric]}));
        (0..2).for_each(|_| drop(world.pass()));
        world.pods_ready();
        world.pass();
        world.gateway_accepts();
        world.pass();
        assert_eq!(world.attempt().state, AttemptState::Promoted, "{metric}");
        assert_eq!(world.status().verdicts, [], "{metric}");
    }
}

/// Only what is in effect can be watched, and what was watched before says nothing.
#[test]
fn first_deployment_is_watched_from_when_the_gateway_has_accepted_it() {
    let mut world = World::new();
    world.analysis(json!({"failureLimit": 0, "metrics": [guardrail()]}));
    world.measure("error-rate", Measurement::of(0.2));
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    for _ in 0..3 {
        world.pass();
        world.advance(60);
    }
    assert_eq!((world.attempt().state, world.status().verdicts), (AttemptState::Promoting, vec![]));
    world.gateway_accepts();
    world.pass();
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
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
