//! Entries and steps that somebody has to approve, whatever else is going on.

use serde_json::{Value, json};

use super::super::scenario::{
    Scenario, approve, approve_step, delete, deploy, edit, guard_goes, guard_is_back, reject, request, revoke,
    take_back,
};
use super::super::view::{MODELS, NAME, View};
use crate::api::model_deployment::AttemptState::{Observing, RolledBack, Starting};
use crate::api::model_deployment::Phase;

/// `churn-5` is registered, which two roles have to approve, and the policies are in force.
fn asking(name: &'static str) -> Scenario {
    Scenario::named(name).guarded()
}

/// And it is deployed once `churn-1` serves.
fn gated(name: &'static str) -> Scenario {
    asking(name).when(|it| it.serves("churn-1"), deploy("churn-5"))
}

/// The same, and both roles have approved it.
fn approved(name: &'static str) -> Scenario {
    gated(name).when(is_gating, approve("technical", "ben")).when(|_| true, approve("business", "carla"))
}

fn is_gating(view: &View) -> bool {
    view.status().phase == Phase::Gating
}

/// `churn-2` is deployed, and an owner has to approve its second step.
fn before_a_step(name: &'static str) -> Scenario {
    let edited = json!({"modelRef": {"name": "churn-2"}, "rollout": steps()});
    Scenario::named(name).guarded().when(|it| it.serves("churn-1"), edit(edited))
}

fn steps() -> Value {
    json!({"steps": [{"weight": "5%", "for": "2m"}, {"weight": "50%", "for": "2m", "approval": {"role": "owner"}}]})
}

pub(super) fn all() -> Vec<Scenario> {
    [of_entries(), of_steps()].into_iter().flatten().collect()
}

fn of_entries() -> Vec<Scenario> {
    vec![
        approved("approved_after_it_is_deployed").until(|it| it.serves("churn-5")),
        asking("approved_before_it_is_deployed")
            .when(|_| true, approve("technical", "ben"))
            .when(|_| true, approve("business", "carla"))
            .when(|it| it.serves("churn-1"), deploy("churn-5"))
            .until(|it| it.serves("churn-5")),
        asking("first_deployment_approved")
            .spec(json!({"modelRef": {"name": "churn-5"}}))
            .when(is_gating, approve("technical", "ben"))
            .when(|_| true, approve("business", "carla"))
            .until(|it| it.serves("churn-5")),
        gated("deleted_while_it_waits_for_approval").when(is_gating, delete(MODELS, NAME)),
        gated("approved_by_one_alone")
            .when(is_gating, approve("technical", "ben"))
            .until(|it| !it.says("Ready").contains("technical") && is_gating(it)),
        gated("approved_by_whoever_submitted_it")
            .when(is_gating, approve("technical", "anna"))
            .when(|_| true, approve("business", "carla"))
            .until(|it| it.says("Ready").contains("their own work")),
        gated("rejected_and_another_is_deployed")
            .when(is_gating, approve("technical", "ben"))
            .when(|_| true, reject("business", "carla"))
            .when(|it| it.is_stalled_by("ApprovalRejected"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
        gated("rejected_and_left")
            .when(is_gating, reject("business", "carla"))
            .until(|it| it.is_stalled_by("ApprovalRejected")),
        gated("rejected_and_taken_back_and_left")
            .when(is_gating, reject("business", "carla"))
            .when(|it| it.is_stalled_by("ApprovalRejected"), take_back("business"))
            .until(|it| !it.is_stalled_by("ApprovalRejected")),
        gated("rejected_and_taken_back")
            .when(is_gating, approve("technical", "ben"))
            .when(|_| true, reject("business", "carla"))
            .when(|it| it.is_stalled_by("ApprovalRejected"), take_back("business"))
            .when(|it| !it.is_stalled_by("ApprovalRejected"), approve("business", "carla"))
            .until(|it| it.serves("churn-5")),
        approved("rejected_on_the_way_by_one_who_had_approved")
            .when(|it| it.is_at(Observing, "5%"), take_back("technical"))
            .when(|_| true, reject("technical", "ben"))
            .when(|it| it.is_stalled_by("ApprovalRejected") || it.serves("churn-5"), take_back("technical"))
            .when(|_| true, approve("technical", "ben"))
            .until(|it| it.serves("churn-5")),
        approved("approval_taken_back_on_the_way")
            .when(|it| it.is_at(Observing, "5%"), take_back("technical"))
            .when(|it| is_gating(it) || it.serves("churn-5"), approve("technical", "ben"))
            .until(|it| it.serves("churn-5")),
        approved("approval_taken_back_while_starting")
            .when(|it| it.is_in(Starting), take_back("business"))
            .when(|it| is_gating(it) || it.serves("churn-5"), approve("business", "carla"))
            .until(|it| it.serves("churn-5")),
        approved("aborted_while_an_approval_is_awaited")
            .when(|it| it.is_at(Observing, "5%"), take_back("technical"))
            .when(|_| true, request("abort"))
            .until(|it| it.is_in(RolledBack)),
        approved("policies_gone_for_a_while")
            .when(|it| it.is_at(Observing, "5%"), guard_goes())
            .when(|it| is_gating(it) || it.serves("churn-5"), guard_is_back())
            // What was said before may be anybody's word now.
            .when(|_| true, take_back("technical"))
            .when(|_| true, take_back("business"))
            .when(|_| true, approve("technical", "ben"))
            .when(|_| true, approve("business", "carla"))
            .until(|it| it.serves("churn-5")),
        gated("revoked_while_an_approval_is_awaited")
            .when(is_gating, revoke("churn-5"))
            .when(|it| it.is_stalled_by("EntryRevoked"), deploy("churn-3"))
            .until(|it| it.serves("churn-3")),
    ]
}

fn of_steps() -> Vec<Scenario> {
    vec![
        before_a_step("step_approved").when(is_gating, approve_step("Approved")).until(|it| it.serves("churn-2")),
        before_a_step("step_approved_before_its_time")
            .when(|it| it.is_in(Starting) && it.asks_for_a_step(), approve_step("Approved"))
            .until(|it| it.serves("churn-2")),
        before_a_step("step_rejected_and_aborted")
            .when(is_gating, approve_step("Rejected"))
            .when(|it| it.is_stalled_by("ApprovalRejected"), request("abort"))
            .until(|it| it.is_in(RolledBack)),
        before_a_step("reverted_while_a_step_is_awaited")
            .when(is_gating, deploy("churn-1"))
            .until(|it| it.is_in(RolledBack)),
        Scenario::named("first_deployment_with_a_step_to_approve")
            .guarded()
            .spec(json!({"rollout": steps()}))
            .when(is_gating, approve_step("Approved"))
            .until(|it| it.serves("churn-1")),
    ]
}
