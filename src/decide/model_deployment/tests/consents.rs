//! Whose word a decision rests on: on the record as actors, and nowhere by name.

use serde_json::json;

use super::gates::{condition, wait, weight};
use super::world::{World, is_nothing};
use crate::api::model_deployment::AttemptState;
use crate::audit::{Consent, Entry, EntryKind};

fn consent(role: &str, by: &str) -> Consent {
    let comment = format!("digest of {} characters", format!("{by} has seen it").len());
    Consent { actor: format!("actor of {by}"), comment, role: role.into(), uid: format!("approval-by-{by}") }
}

/// What has been recorded of a decision.
pub(super) fn intent(world: &World, decision: &str) -> Entry {
    let newest = world.trail.newest_first().into_iter();
    let is_meant = |it: &Entry| it.kind == EntryKind::Intent && it.decision == decision;
    newest.into_iter().find(is_meant).unwrap_or_else(|| panic!("no {decision}"))
}

/// `churn-1` serves; two roles are to approve `churn-2`, and the owner 50 % of it.
pub(super) fn to_be_approved() -> World {
    let mut world = World::serving();
    world
        .steps(json!([{"weight": "5%", "for": "10m"}, {"weight": "50%", "for": "10m", "approval": {"role": "owner"}}]));
    world.asks_for("churn-2", &["technical", "business"]);
    world
}

/// Two roles have approved the entry, and the owner is to approve 50 %.
pub(super) fn at_five_percent() -> World {
    let mut world = to_be_approved();
    world.says("churn-2", "technical", "Approved", "ben");
    world.says("churn-2", "business", "Approved", "carla");
    world.begins("churn-2");
    world.advance(30);
    world.pass();
    world
}

#[test]
fn what_rests_on_approvals_names_each_by_role_and_actor() {
    let mut world = at_five_percent();
    let of_entry = [consent("technical", "ben"), consent("business", "carla")];
    assert_eq!(intent(&world, "Start").consents, of_entry);
    assert_eq!(intent(&world, "Shift").consents, of_entry, "the step's own is not needed for 5 %");
    world.says_of_step("Approved", "olga");
    wait(&mut world, 600);
    assert_eq!(weight(&world), "50%");
    let [technical, business] = of_entry;
    assert_eq!(intent(&world, "Shift").consents, [technical, business, consent("owner", "olga")]);
}

#[test]
fn what_takes_weight_away_rests_on_nobodys_word() {
    let mut world = at_five_percent();
    world.request("abort", "n1");
    world.pass();
    world.pass();
    let back = intent(&world, "RollBack");
    assert_eq!((back.consents, back.asked_by.as_str()), (Vec::new(), "actor of jane"));
}

/// The start is on the record when the process dies; then Ben takes his approval back, and Bob gives his.
#[test]
fn who_has_taken_an_approval_back_is_not_named_for_what_rests_on_anothers() {
    let mut world = to_be_approved();
    world.says("churn-2", "technical", "Approved", "ben");
    world.says("churn-2", "business", "Approved", "carla");
    world.deploy("churn-2");
    let is_due = |it: &World| it.decide().entries.iter().any(|it| it.decision == "Start");
    world.until(is_due, |it| drop(it.pass()));
    world.dies_before_its_status_write();
    assert_eq!(intent(&world, "Start").consents[0], consent("technical", "ben"));
    world.approvals.retain(|it| it.spec.approver != "ben");
    world.says("churn-2", "technical", "Approved", "bob");
    (0..4).for_each(|_| drop(world.pass()));
    let id = world.attempt().id;
    let starts = world.trail.effective("Start").into_iter().filter(|it| it.attempt == id);
    let rests_on: Vec<_> = starts.map(|it| it.consents.clone()).collect();
    assert_eq!(rests_on, [vec![consent("technical", "bob"), consent("business", "carla")]]);
}

#[test]
fn while_nobody_can_say_who_has_approved_nothing_advances_and_the_way_back_does_not_wait() {
    let mut world = at_five_percent();
    world.says_of_step("Approved", "olga");
    world.people_unknown_since = Some(world.now);
    (0..3).for_each(|_| wait(&mut world, 600));
    assert_eq!(weight(&world), "5%");
    let (holds, reason) = condition(&world, "Ready");
    assert_eq!((holds, reason.as_str()), (false, "AuditUnavailable"));
    world.people_unknown_since = Some(world.now);
    world.request("abort", "n1");
    world.pass();
    assert_eq!(world.attempt().state, AttemptState::RollingBack);
    world.advance(30);
    world.pass();
    assert!(
        world.trail.told().iter().all(|it| !it.contains("RollBack")),
        "the log takes entries: who asked may be known soon"
    );
    world.advance(30);
    world.pass();
    assert_eq!(intent(&world, "RollBack").asked_by, "unknown");
}

#[test]
fn what_serves_is_not_concerned_by_that() {
    let mut world = at_five_percent();
    world.says_of_step("Approved", "olga");
    (0..4).for_each(|_| wait(&mut world, 600));
    world.come_to_rest();
    world.people_unknown_since = Some(world.now);
    let plan = world.pass();
    assert!(is_nothing(&plan), "{plan:#?}");
    assert!(condition(&world, "Ready").0);
}

#[test]
fn no_name_and_no_word_is_in_status_events_or_entries() {
    let mut world = at_five_percent();
    world.says_of_step("Approved", "olga");
    for verb in ["pause", "resume", "abort"] {
        world.request_at(verb, "0", verb);
        let plan = world.pass();
        let said = format!("{:?} {:?}", plan.events, serde_json::to_value(world.status()).unwrap());
        let entries = serde_json::to_string(&world.trail.newest_first()).unwrap();
        // An actor is a pseudonym where there is a real log; here it says whose it is.
        let all = (said + &entries).replace("actor of ", "@").replace("approval-by-", "@");
        for name in ["ben", "carla", "olga", "jane", "has seen it"] {
            assert!(!all.replace(&format!("@{name}"), "").contains(name), "{name}: {all}");
        }
    }
}
