//! From a stable revision to the next, step by step, and back.

use serde_json::json;

use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::model_deployment::AttemptState;
use crate::decide::{Child, Measurement, Op};

#[test]
fn a_canary_walks_its_steps_and_is_promoted_without_restarting_pods() {
    let mut story = Story::of("A canary, from the change of modelRef to the end of the old revision", World::serving());
    story.world.deploy("churn-2");
    story.pass("another entry is named");
    story.pass("the candidate's record is there");
    story.pass("its pods are coming up");
    story.world.pods_ready();
    story.pass("the pod that 5% need is ready");
    story.pass("the gateway has not accepted the weight yet");
    story.world.advance(20);
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.world.advance(30);
    story.pass("first measurement of the step");
    story.world.advance(570);
    story.pass("ten minutes have passed, but 50% need one more pod");
    story.world.pods_ready();
    story.pass("it is ready");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.world.advance(600);
    story.pass("ten minutes have passed, but everything needs two more pods");
    story.world.pods_ready();
    story.pass("they are ready");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.world.gateway_accepts();
    story.pass("the route names only the new revision now");
    story.world.advance(30);
    story.pass("the old revision has drained");
    story.pass("its record is gone");
    story.pass("nothing happens");
    story.is("canary-promotion");
}

#[test]
fn a_gateway_that_rejects_the_weight_is_told_and_ends_in_rollback() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    world.pass();
    let mut story = Story::of("The gateway rejects the route", world);
    story.world.gateway_says("False", "NotAllowedByListeners", "no listener takes churn.internal");
    story.pass("the gateway rejects");
    story.world.advance(15 * 60);
    story.pass("the deadline has come");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.is("gateway-rejects");
}

#[test]
fn a_gateway_that_rejects_the_stable_route_makes_it_not_ready() {
    let mut story = Story::of("The gateway rejects the route of a revision that serves", World::serving());
    story.world.gateway_says("False", "NotAllowedByListeners", "no listener takes churn.internal");
    story.pass("the gateway rejects");
    story.world.gateway_accepts();
    story.pass("the gateway accepts");
    story.is("gateway-rejects-stable");
}

#[test]
fn pods_that_were_ready_in_time_are_not_too_late_because_the_operator_was() {
    let mut world = World::serving();
    world.deploy("churn-2");
    (0..2).for_each(|_| drop(world.pass()));
    world.pods_ready();
    let mut story = Story::of("The operator was away for longer than progressDeadline", world);
    story.world.advance(3600);
    story.pass("an hour later: the pods are ready since long");
    story.world.gateway_accepts();
    story.world.advance(3600);
    story.pass("another hour later: the weight was accepted since long");
    story.is("operator-away-longer-than-the-deadline");
}

#[test]
fn a_metric_that_turns_while_more_pods_come_up_stops_the_next_step() {
    let mut world = World::mid_canary();
    world.advance(570);
    world.pass();
    let mut story =
        Story::of("The step was proven, but while pods for the next one come up the metric goes silent", world);
    story.world.measure("error-rate", Measurement::NoData("no series".into()));
    story.world.advance(30);
    story.pass("no data; pods are still coming up");
    story.world.pods_ready();
    story.pass("pods are ready, the proof is gone");
    story.world.measure("error-rate", Measurement::of(0.001));
    story.world.advance(30);
    story.pass("a Pass again");
    story.is("proof-lost-while-pods-come-up");
}

#[test]
fn a_restart_neither_skips_nor_repeats_a_wait() {
    let mut world = World::mid_canary();
    world.advance(300);
    world.pass();
    let mut story = Story::of("A new leader, five minutes into a step of ten", world);
    story.world.memory = crate::decide::model_deployment::observed::Memory { lease_epoch: 8, ..Default::default() };
    story.pass("a new leader looks");
    story.world.advance(269);
    story.pass("9 min 59 s");
    story.world.advance(1);
    story.pass("10 min");
    story.is("new-leader-mid-step");
}

/// The list it starts from may be older than what the leader before it decided: its status write is refused then.
#[test]
fn a_new_leader_writes_the_status_before_it_repairs_a_child_and_nothing_else() {
    let mut world = World::mid_canary();
    world.come_to_rest();
    world.memory =
        crate::decide::model_deployment::observed::Memory { lease_epoch: 8, unconfirmed: true, ..Default::default() };
    assert!(is_nothing(&world.pass()), "what is as it should be is nobody's to take over");
    let candidate = world.attempt().revision;
    world.edit_deployment(&candidate, |spec| spec.replicas = Some(0));
    let plan = world.pass();
    assert_eq!(plan.status.as_ref().map(|it| it.lease_epoch), Some(8));
    assert_eq!(plan.ops.len(), 1, "{:?}", plan.ops);
    world.edit_deployment(&candidate, |spec| spec.replicas = Some(0));
    let plan = world.pass();
    assert_eq!((plan.status.is_some(), plan.ops.len()), (false, 1), "it has shown that it sees the newest status");
}

#[test]
fn steps_edited_live_go_on_at_the_first_weight_above_the_present_one() {
    let mut story = Story::of("Steps edited while the canary stands at 5%", World::mid_canary());
    story.world.steps(json!([{"weight": "2%"}, {"weight": "20%", "for": "1m"}]));
    story.pass("5% is no step any more: the next is 20%");
    story.world.pods_ready();
    story.world.gateway_accepts();
    story.pass("the gateway accepts 20%");
    story.is("steps-edited-live");
}

#[test]
fn max_step_time_takes_a_candidate_back() {
    let mut world = World::mid_canary();
    world.steps(json!([{"weight": "5%", "for": "10m", "maxStepTime": "20m"}]));
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(30);
    world.pass();
    let mut story = Story::of("The step does not end within maxStepTime", world);
    story.world.advance(1139);
    story.pass("a second before");
    story.world.advance(1);
    story.pass("now");
    story.is("max-step-time");
}

#[test]
fn reverting_mid_canary_goes_back_at_once() {
    let mut story = Story::of("Reverted mid-canary", World::mid_canary());
    story.world.deploy("churn-1");
    story.pass("the spec names the stable entry again");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.world.gateway_accepts();
    story.world.advance(30);
    story.pass("the candidate has drained");
    story.pass("its record is gone");
    story.world.deploy("churn-2");
    story.pass("the same entry again: reverting is no verdict, it may be tried");
    story.is("reverted-mid-canary");
}

#[test]
fn reverting_while_starting_goes_back_at_once() {
    let mut world = World::serving();
    world.deploy("churn-2");
    world.pass();
    let mut story = Story::of("Reverted while the candidate's pods come up", world);
    story.world.deploy("churn-1");
    story.pass("the spec names the stable entry again");
    story.pass("the gateway never had another weight");
    story.is("reverted-while-starting");
}

#[test]
fn a_new_candidate_supersedes_the_present_one() {
    let mut story = Story::of("Superseded mid-canary", World::mid_canary());
    story.world.deploy("churn-3");
    story.pass("a third entry is named");
    story.pass("the gateway has not taken weight 0 yet");
    story.world.gateway_accepts();
    story.pass("the gateway accepts weight 0");
    story.pass("the way is free");
    story.pass("its record is there");
    story.is("superseded-mid-canary");
}

#[test]
fn what_was_rolled_back_stays_so_until_somebody_says_retry() {
    let mut world = World::mid_canary();
    world.measure("error-rate", Measurement::of(0.2));
    (0..3).for_each(|_| {
        world.advance(30);
        world.pass();
    });
    world.gateway_accepts();
    world.pass();
    let mut story = Story::of("Rolled back is sticky", world);
    story.world.gateway_accepts();
    story.world.advance(30);
    story.pass("the candidate has drained");
    story.pass("its record is gone");
    story.world.steps(json!([{"weight": "1%"}]));
    story.pass("edited steps do not re-arm it");
    story.world.deploy("churn-1");
    story.pass("the spec returns to the stable entry");
    story.world.deploy("churn-2");
    story.pass("and names the refused one again");
    story.world.measure("error-rate", Measurement::of(0.001));
    story.world.request("retry", "n1");
    story.pass("somebody says retry");
    story.pass("the same request does nothing twice");
    story.is("rolled-back-is-sticky");
}

#[test]
fn what_was_rolled_back_stays_so_after_another_revision_was_promoted() {
    let mut world = World::mid_canary();
    world.request("abort", "n1");
    world.come_to_rest();
    world.deploy("churn-3");
    world.come_to_rest();
    let mut story = Story::of("The spec returns to a revision that an earlier attempt was taken back with", world);
    story.world.deploy("churn-2");
    story.pass("churn-2 was aborted before churn-3 was promoted");
    story.pass("nothing happens");
    story.world.request("retry", "n2");
    story.pass("somebody says retry");
    story.world.come_to_rest();
    assert!(story.world.status().taken_back.is_empty());
    story.is("rolled-back-earlier");
}

#[test]
fn of_many_that_were_rolled_back_those_are_refused_that_were_last() {
    let mut world = World::serving();
    let mut revisions = Vec::new();
    for port in 9000..9018 {
        world.edit(|spec| spec.port = port);
        world.until(
            |it| it.attempt().revision == it.target() && it.attempt().state == AttemptState::Observing,
            |it| {
                it.all_is_well();
                it.pass();
            },
        );
        revisions.push(world.attempt().revision);
        world.request("abort", &format!("n{port}"));
        world.come_to_rest();
    }
    let refused: Vec<String> = world.status().taken_back.into_iter().map(|it| it.revision).collect();
    assert_eq!(refused, revisions[2..], "the last sixteen");
    let attempts = world.status().attempts;
    world.edit(|spec| spec.port = 9016);
    world.come_to_rest();
    assert_eq!(world.status().attempts, attempts, "and so is one of them, when it is asked for again");
}

#[test]
fn with_a_long_drain_only_so_many_revisions_keep_their_pods() {
    let mut world = World::serving();
    world.rollout(json!({"drain": "24h"}));
    for replica in 0..30 {
        world.edit(|spec| spec.port = 9000 + replica);
        for _ in 0..8 {
            world.all_is_well();
            world.pass();
            world.advance(60);
        }
    }
    assert!(world.status().revisions.len() <= 10, "{:#?}", world.status().revisions);
    assert!(world.children.deployments.len() <= 10);
}

#[test]
fn falling_weights_hold_and_say_which_field() {
    let mut story = Story::of("Weights that fall", World::mid_canary());
    story.world.steps(json!([{"weight": "5%"}, {"weight": "3%"}]));
    story.pass("the second step is below the first");
    story.world.advance(1200);
    story.pass("nothing advances");
    story.is("falling-weights");
}

#[test]
fn replicas_lowered_together_with_a_new_model_leave_stable_as_it_was() {
    let mut story = Story::of("replicas and modelRef change in one edit", World::serving());
    story.world.edit(|spec| {
        spec.model_ref.name = "churn-2".into();
        spec.replicas = Some(2);
    });
    story.pass("two replicas of another entry");
    story.pass("its record is there");
    story.is("replicas-lowered-with-a-new-model");
}

#[test]
fn an_edited_port_leaves_the_stable_revision_on_its_own() {
    let mut story = Story::of("Another port is another revision", World::serving());
    story.world.edit(|spec| spec.port = 9090);
    story.pass("the port changes: an attempt starts, the route stays as it is");
    story.pass("the record is there");
    story.world.pods_ready();
    story.pass("the candidate's pods are ready: its Service has the new port, the stable one's the old");
    story.is("port-edited");
}

#[test]
fn on_the_way_back_weight_zero_comes_before_anything_that_could_be_refused() {
    let mut world = World::mid_canary();
    let stable = world.status().stable.unwrap().revision;
    world.children.deployments.remove(&format!("churn-{stable}"));
    world.deploy("churn-1");
    let plan = world.decide();
    assert!(matches!(plan.ops.first(), Some(Op::Apply(Child::HttpRoute(_), _))), "{:?}", plan.ops);
    assert!(plan.ops.iter().any(|op| matches!(op, Op::Create(Child::Deployment(_)))), "{:?}", plan.ops);
}
