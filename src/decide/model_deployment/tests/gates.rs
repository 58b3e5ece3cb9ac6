//! Approvals of entries and of steps: nothing begins, and no weight rises, without them.

use chrono::DateTime;
use serde_json::json;

use super::kept::just_promoted;
use super::probation::{self, settle};
use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause, Phase, RequestOutcome};
use crate::api::model_registry_entry::Lifecycle;
use crate::decide::Measurement;
use crate::decide::approval::guard::Guard;

/// Whether a condition holds, and its reason.
pub(super) fn condition(world: &World, type_: &str) -> (bool, String) {
    let (holds, reason, _) = probation::condition(world, type_);
    (holds, reason)
}

/// `churn-1` serves, and `churn-2`, which two roles have to approve, is deployed.
fn gated() -> World {
    let mut world = World::serving();
    world.asks_for("churn-2", &["technical", "business"]);
    world.deploy("churn-2");
    world.pass();
    world
}

fn approve(world: &mut World) {
    world.says("churn-2", "technical", "Approved", "ben");
    world.says("churn-2", "business", "Approved", "carla");
}

/// In the canary of `churn-2`, which has been approved: watched at 5 %.
fn approved() -> World {
    let mut world = gated();
    approve(&mut world);
    world.begins("churn-2");
    world.advance(30);
    world.pass();
    assert_eq!(weight(&world), "5%");
    world
}

pub(super) fn weight(world: &World) -> String {
    world.attempt().weight.to_string()
}

/// With an owner's approval asked for before 50 %, in the canary: watched at 5 %.
fn before_a_step() -> World {
    let mut world = World::serving();
    world
        .steps(json!([{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m", "approval": {"role": "owner"}}]));
    world.begins("churn-2");
    world.advance(30);
    world.pass();
    world
}

pub(super) fn wait(world: &mut World, seconds: i64) {
    world.advance(seconds);
    world.pass();
    world.all_is_well();
    world.pass();
}

#[test]
fn nothing_begins_before_every_role_has_approved_the_entry() {
    let mut story = Story::of("A new model that has to be approved", World::serving());
    story.world.asks_for("churn-2", &["technical", "business"]);
    story.world.deploy("churn-2");
    story.pass("a new model, which two roles have to approve");
    story.world.says("churn-2", "technical", "Approved", "ben");
    story.pass("one has");
    story.world.says("churn-2", "business", "Approved", "carla");
    story.pass("the other has, too");
    story.is("approved-by-two");
}

#[test]
fn what_waits_for_an_approval_says_so_and_writes_nothing_more() {
    let mut world = gated();
    let status = world.status();
    assert_eq!((status.phase, status.attempts), (Phase::Gating, 1));
    assert_eq!(condition(&world, "Ready"), (false, "AwaitingApproval".into()));
    assert!(!condition(&world, "Stalled").0);
    assert!(is_nothing(&world.pass()));
    world.says("churn-2", "technical", "Approved", "anna");
    world.pass();
    let ready = world.status().conditions.into_iter().find(|it| it.type_ == "Ready").unwrap().message;
    assert!(ready.contains("nobody approves their own work") && !ready.contains("anna"), "{ready}");
}

#[test]
fn an_entry_that_is_rejected_needs_a_person() {
    let mut world = gated();
    approve(&mut world);
    world.approvals.pop();
    world.says("churn-2", "business", "Rejected", "carla");
    settle(&mut world);
    assert_eq!(condition(&world, "Stalled"), (true, "ApprovalRejected".into()));
    assert_eq!(world.status().attempts, 1);
    world.approvals.pop();
    world.says("churn-2", "business", "Approved", "carla");
    settle(&mut world);
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn an_approval_that_is_taken_back_holds_the_weight_and_nothing_else() {
    let mut world = approved();
    world.approvals.pop();
    wait(&mut world, 600);
    wait(&mut world, 3600);
    assert_eq!((weight(&world).as_str(), world.status().phase), ("5%", Phase::Gating));
    assert_eq!(condition(&world, "Reconciling"), (true, "AwaitingApproval".into()));
    world.says("churn-2", "business", "Approved", "carla");
    wait(&mut world, 30);
    assert_eq!(weight(&world), "50%");
}

#[test]
fn whatever_protects_goes_on_while_an_approval_is_awaited() {
    type Happens = fn(&mut World);
    let bad: Happens = |world| {
        for _ in 0..2 {
            world.measure("error-rate", Measurement::of(0.5));
            world.advance(30);
            world.pass();
        }
    };
    let all: [(Happens, Cause); 4] = [
        (bad, Cause::GuardrailBreached),
        (|world| world.request("abort", "n1"), Cause::Aborted),
        (|world| world.deploy("churn-1"), Cause::Reverted),
        (|world| world.revoke("churn-2"), Cause::Revoked),
    ];
    for (happens, cause) in all {
        let mut world = approved();
        world.approvals.clear();
        world.pass();
        happens(&mut world);
        settle(&mut world);
        assert_eq!((world.attempt().cause, world.attempt().state), (Some(cause), AttemptState::RolledBack));
    }
}

#[test]
fn while_the_policies_are_not_in_force_nothing_rises_and_it_is_looked_again() {
    let mut world = approved();
    world.guard = Guard::NotReady("the ValidatingAdmissionPolicy is not there".into());
    wait(&mut world, 600);
    wait(&mut world, 600);
    assert_eq!((weight(&world).as_str(), condition(&world, "Reconciling").1.as_str()), ("5%", "ApprovalGuardNotReady"));
    let plan = world.pass();
    assert!(plan.requeue.is_some_and(|it| it.as_secs() <= 30), "{plan:?}");
    world.guard = Guard::Ready(DateTime::UNIX_EPOCH);
    wait(&mut world, 30);
    assert_eq!(weight(&world), "50%");
}

#[test]
fn pods_that_come_back_get_no_traffic_without_an_approval() {
    let mut world = approved();
    let candidate = world.attempt().revision;
    world.pods_ready_of(&candidate, 0);
    world.pass();
    assert_eq!(weight(&world), "0%");
    world.approvals.clear();
    world.pass();
    wait(&mut world, 30);
    assert_eq!((weight(&world).as_str(), condition(&world, "Reconciling").1.as_str()), ("0%", "AwaitingApproval"));
}

#[test]
fn a_retry_is_refused_while_an_approval_is_missing() {
    let mut world = approved();
    world.request("abort", "n1");
    settle(&mut world);
    world.approvals.clear();
    world.request("retry", "n2");
    settle(&mut world);
    let handled = world.status().handled_request.unwrap();
    assert_eq!((handled.verb.as_str(), handled.outcome), ("retry", RequestOutcome::Refused));
    assert!(handled.message.unwrap().contains("waiting for approval by role technical"));
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn the_way_back_to_what_is_kept_needs_no_approval() {
    let mut world = just_promoted(json!({"keepStable": "30m", "rollbackWindow": "1h"}));
    world.asks_for("churn-1", &["technical"]);
    world.revoke("churn-2");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-1"));
}

#[test]
fn what_serves_and_is_approved_no_more_serves_on() {
    let mut world = World::serving();
    world.asks_for("churn-1", &["technical"]);
    settle(&mut world);
    let status = world.status();
    assert_eq!((status.phase, condition(&world, "Ready")), (Phase::Stable, (true, "Stable".into())));
}

#[test]
fn what_is_deprecated_says_that_first() {
    let mut world = gated();
    world.lifecycle("churn-2", Lifecycle::Deprecated);
    world.pass();
    assert_eq!(condition(&world, "Ready").1, "EntryDeprecated");
}

// ── steps ──

#[test]
fn a_step_waits_for_its_approval_and_says_what_is_to_be_approved() {
    let mut story = Story::of("A step that has to be approved", before_a_step());
    story.world.advance(600);
    story.pass("the step's time has passed, and it is measured");
    story.world.advance(30);
    story.pass("later");
    story.world.says_of_step("Approved", "olga");
    story.pass("the owner approves");
    story.is("step-approved");
}

#[test]
fn the_approval_of_a_step_may_come_before_its_time() {
    let mut world = before_a_step();
    world.says_of_step("Approved", "olga");
    world.pass();
    assert_eq!((weight(&world).as_str(), world.status().phase), ("5%", Phase::Observing));
    wait(&mut world, 600);
    assert_eq!(weight(&world), "50%");
}

#[test]
fn the_approval_of_a_step_is_of_one_attempt() {
    let mut world = before_a_step();
    world.says_of_step("Approved", "olga");
    world.request("abort", "n1");
    settle(&mut world);
    assert!(world.attempt().approvals.is_empty());
    world.request("retry", "n2");
    settle(&mut world);
    wait(&mut world, 600);
    wait(&mut world, 600);
    assert_eq!((world.status().attempts, weight(&world).as_str()), (3, "5%"));
}

#[test]
fn a_step_that_is_rejected_needs_a_person() {
    let mut world = before_a_step();
    world.says_of_step("Rejected", "olga");
    wait(&mut world, 600);
    assert_eq!(weight(&world), "5%");
    assert_eq!(condition(&world, "Stalled"), (true, "ApprovalRejected".into()));
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!(world.attempt().cause, Some(Cause::Aborted));
}

#[test]
fn nobody_approves_a_step_of_their_own_entry() {
    let mut world = before_a_step();
    std::sync::Arc::make_mut(world.entries.get_mut("churn-2").unwrap()).spec.submitted_by = Some("anna".into());
    world.says_of_step("Approved", "anna");
    wait(&mut world, 600);
    assert_eq!((weight(&world).as_str(), condition(&world, "Reconciling").1.as_str()), ("5%", "AwaitingApproval"));
}

#[test]
fn a_promotion_that_is_asked_for_skips_no_approval() {
    let mut world = before_a_step();
    world.request_at("promote", "0", "n1");
    world.pass();
    let handled = world.status().handled_request.unwrap();
    assert_eq!(handled.outcome, RequestOutcome::Refused);
    assert!(handled.message.unwrap().starts_with("before 50%: waiting for approval by role owner"));
    world.says_of_step("Approved", "olga");
    world.request_at("promote", "0", "n2");
    settle(&mut world);
    assert_eq!(world.attempt().state, AttemptState::Promoted);
}

#[test]
fn an_emergency_and_a_first_deployment_pass_every_step_that_has_to_be_approved() {
    let steps = json!({"steps": [{"weight": "50%", "approval": {"role": "owner"}}], "emergencyPromote": true});
    let mut first = World::new();
    first.rollout(steps.clone());
    settle(&mut first);
    assert_eq!((first.status().phase, weight(&first).as_str()), (Phase::Gating, "0%"));
    first.says_of_step("Approved", "olga");
    settle(&mut first);
    assert!(first.status().stable.is_some());

    let mut world = World::serving();
    world.rollout(steps);
    world.begins("churn-2");
    let stable = world.status().stable.unwrap().revision;
    for _ in 0..4 {
        world.pods_ready();
        world.pods_ready_of(&stable, 0);
        world.pass();
        world.advance(30);
    }
    assert_eq!((weight(&world).as_str(), condition(&world, "Reconciling").1.as_str()), ("0%", "AwaitingApproval"));
    world.says_of_step("Approved", "olga");
    world.pass();
    assert_eq!(weight(&world), "100%");
}

#[test]
fn an_edited_weight_is_another_step() {
    let mut world = before_a_step();
    world.says_of_step("Approved", "olga");
    world
        .steps(json!([{"weight": "5%", "for": "10m"}, {"weight": "60%", "for": "10m", "approval": {"role": "owner"}}]));
    wait(&mut world, 600);
    assert_eq!(weight(&world), "5%");
}

#[test]
fn the_approval_of_a_step_can_be_taken_back_when_it_is_behind() {
    let mut world = before_a_step();
    world.says_of_step("Approved", "olga");
    wait(&mut world, 600);
    wait(&mut world, 30);
    assert_eq!(weight(&world), "50%");
    world.approvals.clear();
    wait(&mut world, 3600);
    assert_eq!((weight(&world).as_str(), condition(&world, "Reconciling").1.as_str()), ("50%", "AwaitingApproval"));
}

#[test]
fn a_promotion_is_not_completed_for_what_is_rejected_meanwhile() {
    let mut world = approved();
    world.until(|it| it.attempt().state == AttemptState::Promoting, |it| wait(it, 600));
    let before = world.status().stable;
    world.approvals.pop();
    world.says("churn-2", "business", "Rejected", "carla");
    wait(&mut world, 30);
    assert_eq!((world.status().stable, world.attempt().state), (before, AttemptState::Promoting));
    assert_eq!(condition(&world, "Stalled"), (true, "ApprovalRejected".into()));
    world.request("abort", "n1");
    settle(&mut world);
    assert_eq!(world.attempt().cause, Some(Cause::Aborted));
}

#[test]
fn the_same_bytes_under_an_entry_that_is_not_approved_are_still_the_other_entrys() {
    let mut world = World::serving();
    world.register("churn-again", 1);
    world.asks_for("churn-again", &["technical"]);
    world.deploy("churn-again");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-1"));
    assert_eq!((world.status().phase, condition(&world, "Ready")), (Phase::Gating, (false, "AwaitingApproval".into())));
    let mut revoked = world.clone();
    revoked.revoke("churn-1");
    settle(&mut revoked);
    assert!(revoked.status().stable.is_none(), "nobody else answers for it");
    world.says("churn-again", "technical", "Approved", "ben");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-again"));
    assert_eq!((world.status().attempts, condition(&world, "Ready").0), (1, true));
}

#[test]
fn who_waits_for_an_approval_has_all_of_its_time_when_it_comes() {
    let steps =
        json!([{"weight": "5%", "for": "10m", "maxStepTime": "1h"}, {"weight": "50%", "approval": {"role": "owner"}}]);
    let mut world = World::serving();
    world.steps(steps);
    world.begins("churn-2");
    wait(&mut world, 600);
    assert_eq!(world.status().phase, Phase::Gating);
    world.advance(7200);
    // A night later, and the source has nothing for a moment.
    world.measure("error-rate", Measurement::NoData("no series".into()));
    for _ in 0..3 {
        world.pass();
        world.advance(30);
    }
    assert_eq!((world.status().phase, weight(&world).as_str()), (Phase::Gating, "5%"));
    world.says_of_step("Approved", "olga");
    world.pass();
    assert!(world.attempt().state.is_active(), "{:?}", world.attempt().cause);
    world.advance(3500);
    world.pass();
    assert!(world.attempt().state.is_active());
    world.advance(200);
    world.pass();
    assert_eq!(world.attempt().cause, Some(Cause::StepTimeExceeded));
}

#[test]
fn a_pod_that_restarts_takes_nothing_back_that_waits_for_an_approval() {
    let mut world = World::serving();
    world.steps(json!([{"weight": "50%", "approval": {"role": "owner"}}]));
    world.begins("churn-2");
    wait(&mut world, 7200);
    let candidate = world.attempt().revision;
    world.pods_ready_of(&candidate, 1);
    world.pass();
    assert_eq!((world.status().phase, weight(&world).as_str()), (Phase::Gating, "0%"));
    world.says_of_step("Approved", "olga");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::Starting, "{:?}", world.attempt().cause);
    world.all_is_well();
    world.pass();
    assert_eq!(weight(&world), "50%");
}

#[test]
fn people_are_told_once_that_something_is_to_be_approved_and_once_that_it_is_rejected() {
    let mut world = before_a_step();
    world.advance(600);
    let told = |world: &mut World| {
        let plan = world.pass();
        plan.events.into_iter().map(|it| it.reason).filter(|it| it.contains("Approval")).collect::<Vec<_>>()
    };
    assert_eq!(told(&mut world), ["AwaitingApproval"]);
    world.measure("error-rate", Measurement::NoData("no series".into()));
    world.advance(30);
    assert_eq!(told(&mut world), [""; 0]);
    world.all_is_well();
    world.advance(30);
    assert_eq!(told(&mut world), [""; 0]);
    world.says_of_step("Rejected", "olga");
    assert_eq!(told(&mut world), ["ApprovalRejected"]);
    assert_eq!(told(&mut world), [""; 0]);
}

#[test]
fn what_is_taken_back_is_held_by_no_gate() {
    let mut world = approved();
    world.approvals.clear();
    world.request("abort", "n1");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    assert_eq!(condition(&world, "Reconciling"), (true, "RollingBack".into()));
    assert_eq!(world.status().phase, Phase::RollingBack);
}

#[test]
fn what_waits_for_the_policies_is_looked_at_again_though_nothing_else_is_due() {
    let mut world = gated();
    world.guard = Guard::NotReady("the ValidatingAdmissionPolicy is not there".into());
    settle(&mut world);
    let wait = world.pass().requeue;
    assert!(wait.is_some_and(|it| it.as_secs() <= 30), "{wait:?}");
}
