//! What an entry may be used for: nothing begins, and no weight rises, for anything else.

use serde_json::{Value, json};

use super::gates::{condition, wait, weight};
use super::probation::{self, settle};
use super::story::Story;
use super::world::{World, is_nothing};
use crate::api::model_deployment::{AttemptState, Cause, Phase, RequestOutcome, RevisionStatus};

fn message(world: &World, type_: &str) -> String {
    probation::condition(world, type_).2
}

/// `churn-1` serves for retention mail, and `churn-2` allows that, too.
fn world() -> World {
    let mut world = World::serving();
    for entry in ["churn-1", "churn-2"] {
        world.registers(entry, json!({"governance": {"purposes": ["retention-email"]}}));
    }
    used_for(&mut world, Some("retention-email"));
    world
}

fn used_for(world: &mut World, purpose: Option<&str>) {
    world.edit(|spec| spec.purpose = purpose.map(Into::into));
}

/// `churn-2` is in its canary, watched at 5 %.
fn in_canary() -> World {
    let mut world = world();
    world.begins("churn-2");
    world.advance(30);
    world.pass();
    assert_eq!(weight(&world), "5%");
    world
}

#[test]
fn nothing_begins_that_the_entry_does_not_allow() {
    let mut story = Story::of("A new model, for a purpose that it does not allow", world());
    let said = json!({"governance": {"purposes": ["churn-report"], "regions": ["eu"]}});
    story.world.registers("churn-2", said);
    story.world.deploy("churn-2");
    story.pass("a new model, which may not be used for mail, and only in the EU");
    used_for(&mut story.world, Some("churn-report"));
    story.world.settings.regions = [("eu".to_owned(), [].into())].into();
    story.world.edit(|spec| spec.region = Some("eu".into()));
    story.pass("the deployment is for reports in the EU now");
    story.is("purpose-not-allowed");
}

#[test]
fn what_waits_for_a_purpose_needs_a_person_and_writes_nothing_more() {
    let mut world = world();
    used_for(&mut world, Some("ads"));
    world.deploy("churn-2");
    world.pass();
    assert_eq!((world.status().phase, world.status().attempts), (Phase::Gating, 1));
    assert_eq!(condition(&world, "Ready"), (false, "PurposeNotAllowed".into()));
    assert_eq!(condition(&world, "Stalled"), (true, "PurposeNotAllowed".into()));
    assert!(condition(&world, "Available").0);
    assert!(is_nothing(&world.pass()));
}

#[test]
fn everything_that_is_missing_is_said_in_one_message() {
    let mut world = world();
    world.asks_for("churn-2", &["technical"]);
    let source = json!({"name": "orders", "personalData": true});
    let said =
        json!({"dataSources": [source], "governance": {"approvals": ["technical"], "purposes": ["churn-report"]}});
    world.registers("churn-2", said);
    world.deploy("churn-2");
    world.pass();
    let message = message(&world, "Ready");
    let parts =
        ["orders", "legalBasis", "does not allow retention-email", "kubectl werkbank approve churn-2 --role technical"];
    parts.into_iter().for_each(|it| assert!(message.contains(it), "{it} is missing: {message}"));
    assert_eq!(condition(&world, "Ready").1, "GovernanceIncomplete");
}

#[test]
fn a_purpose_that_is_edited_on_the_way_holds_the_weight_and_nothing_else() {
    let mut world = in_canary();
    used_for(&mut world, Some("ads"));
    wait(&mut world, 600);
    wait(&mut world, 7200);
    assert_eq!((weight(&world).as_str(), world.status().phase), ("5%", Phase::Gating));
    assert_eq!(condition(&world, "Stalled"), (true, "PurposeNotAllowed".into()));
    used_for(&mut world, Some("retention-email"));
    wait(&mut world, 30);
    assert_eq!(weight(&world), "50%");
}

#[test]
fn whatever_protects_goes_on_for_what_is_not_allowed() {
    type Happens = fn(&mut World);
    let all: [(Happens, Cause); 3] = [
        (|world| world.request("abort", "n1"), Cause::Aborted),
        (|world| world.deploy("churn-1"), Cause::Reverted),
        (|world| world.revoke("churn-2"), Cause::Revoked),
    ];
    for (happens, cause) in all {
        let mut world = in_canary();
        used_for(&mut world, Some("ads"));
        world.pass();
        happens(&mut world);
        settle(&mut world);
        assert_eq!((world.attempt().cause, world.attempt().state), (Some(cause), AttemptState::RolledBack));
    }
}

#[test]
fn what_serves_serves_on_for_another_purpose_and_people_are_told() {
    let mut world = world();
    settle(&mut world);
    used_for(&mut world, Some("ads"));
    settle(&mut world);
    assert_eq!(condition(&world, "Ready"), (false, "PurposeNotAllowed".into()));
    assert_eq!(condition(&world, "Stalled"), (true, "PurposeNotAllowed".into()));
    assert!(condition(&world, "Available").0);
    assert!(message(&world, "Ready").starts_with("what serves goes on, for what it was rolled out for; spec.purpose"));
    assert!(is_nothing(&world.pass()));
    used_for(&mut world, Some("retention-email"));
    settle(&mut world);
    assert!(condition(&world, "Ready").0);
}

#[test]
fn consent_that_nobody_checks_keeps_a_model_from_its_rollout() {
    let mut world = world();
    let source = json!({"name": "clicks", "personalData": true, "legalBasis": "Consent", "consentSignals": ["ad_user_data"],
        "purposes": ["retention-email"], "retention": "90d", "ropaId": "R-3"});
    let said = json!({"dataSources": [source], "governance": {"purposes": ["retention-email"]}});
    world.registers("churn-2", said);
    world.deploy("churn-2");
    world.pass();
    assert_eq!(condition(&world, "Ready"), (false, "ConsentNotChecked".into()));
    world.edit(|spec| spec.consent_signals = vec!["ad_user_data".into()]);
    world.pass();
    assert_eq!(world.status().attempts, 2);
}

/// `churn-2` with data of noon, which may be an hour old when a rollout begins.
fn of_noon(as_of: &str) -> Value {
    json!({"dataSources": [{"name": "bids", "personalData": false, "asOf": as_of, "maxAge": "1h"}]})
}

#[test]
fn nothing_begins_on_data_that_is_too_old_though_nobody_wakes_it() {
    let mut world = world();
    let noon = world.now.format("%FT%TZ").to_string();
    world.registers("churn-2", of_noon(&noon));
    world.asks_for("churn-2", &["technical"]);
    world.edit(|spec| spec.purpose = None);
    world.deploy("churn-2");
    let plan = world.pass();
    assert_eq!(condition(&world, "Ready").1, "AwaitingApproval");
    assert!(plan.requeue.is_some_and(|it| it.as_secs() <= 3600), "{plan:?}");
    world.advance(3600);
    world.pass();
    assert_eq!(condition(&world, "Stalled"), (true, "DataTooOld".into()));
    assert!(message(&world, "Ready").contains("approve churn-2"), "and the rest is said, too");
    world.says("churn-2", "technical", "Approved", "ben");
    settle(&mut world);
    assert_eq!(world.status().attempts, 1);
}

#[test]
fn what_began_on_fresh_data_is_not_held_when_it_grows_old() {
    let mut world = world();
    let noon = world.now.format("%FT%TZ").to_string();
    world.registers("churn-2", of_noon(&noon));
    world.registers("churn-2", json!({"reviewBy": "2026-11-18"}));
    world.begins("churn-2");
    world.advance(86_400);
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
    assert!(condition(&world, "Ready").0, "what serves is not concerned");
}

#[test]
fn a_review_that_is_overdue_keeps_back_what_has_not_begun_until_it_is_moved() {
    let mut world = world();
    world.registers("churn-2", json!({"reviewBy": "2026-11-17"}));
    world.deploy("churn-2");
    world.pass();
    assert_eq!(condition(&world, "Stalled"), (true, "ReviewOverdue".into()));
    world.registers("churn-2", json!({"reviewBy": "2026-11-18"}));
    world.pass();
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn the_retry_of_what_is_not_allowed_any_more_is_refused() {
    let mut world = in_canary();
    world.request("abort", "n1");
    settle(&mut world);
    used_for(&mut world, Some("ads"));
    world.request("retry", "n2");
    settle(&mut world);
    let handled = world.status().handled_request.unwrap();
    assert_eq!((handled.outcome, world.status().attempts), (RequestOutcome::Refused, 2));
    assert!(handled.message.unwrap().contains("does not allow ads"));
}

#[test]
fn the_way_back_to_what_is_kept_is_open_for_any_purpose() {
    let mut world = super::kept::just_promoted(json!({"keepStable": "30m", "rollbackWindow": "1h"}));
    used_for(&mut world, Some("ads"));
    world.revoke("churn-2");
    settle(&mut world);
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-1"));
}

#[test]
fn the_record_says_what_for() {
    let mut world = world();
    world.deploy("churn-2");
    let plan = world.pass();
    let reason = plan.entries.iter().find(|it| it.decision == "Start").unwrap().reason.clone();
    assert!(reason.ends_with(", for retention-email"), "{reason}");
}

/// What the revisions of these entries are used for, by status.
fn uses(world: &World) -> Vec<(String, Option<String>)> {
    let name = |it: &RevisionStatus| it.entry.as_ref().map(|it| it.name.clone()).unwrap_or_default();
    let used_for = |it: &RevisionStatus| it.used_for.as_ref().map(ToString::to_string);
    world.status().revisions.iter().map(|it| (name(it), used_for(it))).collect()
}

#[test]
fn another_use_of_what_serves_is_a_decision_on_the_record() {
    let mut world = world();
    settle(&mut world);
    let used = |purpose: &str| vec![("churn-1".to_owned(), Some(purpose.to_owned()))];
    assert_eq!(uses(&world), used("for retention-email"));
    world.registers("churn-1", json!({"governance": {"purposes": ["retention-email", "churn-report"]}}));
    used_for(&mut world, Some("ads"));
    settle(&mut world);
    assert_eq!(uses(&world), used("for retention-email"), "what is not allowed is not what it is used for");
    world.edit(|spec| {
        (spec.purpose, spec.consent_signals) = (Some("churn-report".into()), vec!["b".into(), "a".into()])
    });
    let plan = world.pass();
    let [it] = plan.entries.as_slice() else { panic!("{:#?}", plan.entries) };
    let said = (it.decision.as_str(), it.reason.as_str(), it.revision == world.status().stable.unwrap().revision);
    let reason = "the spec says for churn-report, callers check a, b, and said for retention-email";
    assert_eq!((said, plan.events[0].reason.as_str()), (("Use", reason, true), "UseChanged"));
    assert_eq!(uses(&world), used("for churn-report, callers check a, b"));
    assert!(is_nothing(&world.pass()));
}

#[test]
fn what_serves_is_used_for_what_it_was_while_another_one_is_on_its_way_for_something_else() {
    let mut world = world();
    settle(&mut world);
    world.registers("churn-2", json!({"governance": {"purposes": ["churn-report", "ads"]}}));
    used_for(&mut world, Some("churn-report"));
    world.begins("churn-2");
    let expected = |purpose: &str| {
        vec![
            ("churn-1".to_owned(), Some("for retention-email".to_owned())),
            ("churn-2".to_owned(), Some(format!("for {purpose}"))),
        ]
    };
    assert_eq!(uses(&world), expected("churn-report"));
    used_for(&mut world, Some("ads"));
    settle(&mut world);
    assert_eq!(uses(&world), expected("ads"));
    used_for(&mut world, Some("retention-email"));
    world.deploy("churn-1");
    settle(&mut world);
    assert_eq!(uses(&world)[0], expected("ads")[0]);
}

#[test]
fn a_use_that_nobody_can_record_waits() {
    let mut world = world();
    world.memory.trail_unavailable_since = Some(world.now);
    settle(&mut world);
    assert_eq!(uses(&world), [("churn-1".to_owned(), Some(String::new()))], "it began for nothing said");
    world.memory.trail_unavailable_since = None;
    settle(&mut world);
    assert_eq!(uses(&world), [("churn-1".to_owned(), Some("for retention-email".to_owned()))]);
}

#[test]
fn a_use_that_is_not_known_is_filled_in_and_no_decision() {
    let mut world = world();
    settle(&mut world);
    world.resource.status.as_mut().unwrap().revisions[0].used_for = None;
    let plan = world.pass();
    assert_eq!((plan.entries.len(), plan.events.len()), (0, 0));
    assert_eq!(uses(&world), [("churn-1".to_owned(), Some("for retention-email".to_owned()))]);
}

#[test]
fn what_is_not_allowed_is_said_beside_what_else_is_wrong() {
    let mut world = world();
    settle(&mut world);
    used_for(&mut world, Some("ads"));
    world.memory.trail_unavailable_since = Some(world.now);
    settle(&mut world);
    assert_eq!(condition(&world, "Ready"), (false, "PurposeNotAllowed".into()));
    assert!(
        message(&world, "Stalled").contains("; decisions cannot be recorded since"),
        "{}",
        message(&world, "Stalled")
    );
}

#[test]
fn people_are_told_once_that_it_is_too_late_and_it_is_looked_at_again_when_it_is_early_enough() {
    let mut world = World::serving();
    let in_an_hour = (world.now + chrono::TimeDelta::hours(1)).format("%FT%TZ").to_string();
    world.registers("churn-2", of_noon(&in_an_hour));
    world.deploy("churn-2");
    let plan = world.pass();
    let told: Vec<&str> = plan.events.iter().map(|it| it.reason.as_str()).collect();
    assert_eq!((told, plan.requeue.map(|it| it.as_secs())), (vec!["DataAgeUnknown"], Some(50 * 60)));
    assert!(!condition(&world, "Stalled").0, "time will tell");
    assert!(world.pass().events.is_empty());
    world.advance(3600);
    settle(&mut world);
    assert_eq!(world.status().attempts, 2);
}

#[test]
fn everything_that_holds_an_attempt_is_said_of_its_entry_and_of_its_step() {
    let mut world = world();
    world.registers("churn-2", json!({"governance": {"purposes": ["retention-email"]}}));
    world.rollout(json!({"steps": [{"weight": "5%", "for": "30s", "approval": {"role": "business"}}]}));
    world.begins("churn-2");
    settle(&mut world);
    used_for(&mut world, Some("ads"));
    settle(&mut world);
    let message = message(&world, "Ready");
    assert!(message.contains("does not allow ads") && message.contains("--role business"), "{message}");
}

#[test]
fn no_more_requests_are_copied_to_what_is_not_allowed_and_fewer_may_be() {
    let mut world = super::shadow::shadowing();
    let copied = |world: &mut World, percent: i32| {
        world.rollout(json!({"shadow": {"percent": percent, "for": "10m"}, "steps": [{"weight": "5%", "for": "10m"}]}));
        settle(world);
        world.attempt().copied.unwrap().to_string()
    };
    used_for(&mut world, Some("ads"));
    assert_eq!(copied(&mut world, 80), "50%");
    assert_eq!(copied(&mut world, 20), "20%");
    used_for(&mut world, None);
    assert_eq!(copied(&mut world, 80), "80%");
}

#[test]
fn an_operator_that_is_told_to_rolls_out_nothing_that_says_nothing() {
    let mut world = World::serving();
    world.settings.require_governance = true;
    world.deploy("churn-2");
    world.pass();
    assert_eq!(condition(&world, "Ready"), (false, "GovernanceIncomplete".into()));
    assert!(message(&world, "Ready").contains("governance.riskClass"));
}

#[test]
fn nothing_begins_from_an_entry_that_is_being_deleted_and_what_runs_goes_on() {
    let mut world = in_canary();
    world.deletes("churn-2");
    world.come_to_rest();
    assert_eq!(world.status().stable.map(|it| it.name).as_deref(), Some("churn-2"));
    world.deletes("churn-3");
    world.edit(|spec| spec.purpose = None);
    world.deploy("churn-3");
    world.pass();
    assert_eq!(condition(&world, "Stalled"), (true, "EntryDeleted".into()));
    assert_eq!(world.status().attempts, 2);
}
