//! Screens as files, for a reviewer to read: `screens/<situation>.txt`. `UPDATE=1` rewrites them.

use serde_json::{Value, json};

use super::*;

pub(in crate::cli) fn now() -> DateTime<Utc> {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

pub(in crate::cli) fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-11-24T08:00:00Z", "observedGeneration": 3})
}

pub(in crate::cli) fn deployment(status: Value) -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm", "generation": 3},
        "spec": {"modelRef": {"name": "churn-2026-12"}, "port": 8080, "template": {}, "analysis": {"none": "a test"},
            "rollout": {"steps": [{"weight": "5%"}, {"weight": "25%"}]}},
        "status": status,
    }))
    .unwrap()
}

pub(in crate::cli) fn attempt(state: &str, weight: &str) -> Value {
    json!({"id": "acdfghjklm-2-0a1b2c3d", "revision": "acdfghjklm", "state": state, "weight": weight,
        "entry": {"revision": "acdfghjklm", "name": "churn-2026-12", "uid": "e2"},
        "startedAt": "2026-11-24T08:00:00Z", "enteredAt": "2026-11-24T08:58:30Z"})
}

pub(in crate::cli) fn stable() -> Value {
    json!({"revision": "abbbbbbbbb", "name": "churn-2026-11", "uid": "e1"})
}

pub(in crate::cli) fn both(candidate: &str) -> Value {
    json!([{"revision": "abbbbbbbbb", "role": "Stable"}, {"revision": "acdfghjklm", "role": candidate}])
}

#[track_caller]
fn screen(name: &str, status: Value) {
    is_on_screen(name, &render(&deployment(status), None, now()));
}

/// Without its colours.
#[track_caller]
pub(in crate::cli) fn is_on_screen(name: &str, coloured: &str) {
    let screen = anstream::adapter::strip_str(coloured).to_string();
    let path = format!("{}/src/cli/screens/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{path} is not what is shown:\n{screen}");
}

#[test]
fn a_step_being_watched_shows_every_verdict_and_what_is_awaited() {
    let mut attempt = attempt("Observing", "5%");
    attempt["step"] = json!(0);
    attempt["samples"] = json!(1234);
    let awaited = "watching 5%: latency-p95 is Inconclusive: 1234 of 2000 requests seen";
    screen(
        "observing",
        json!({"observedGeneration": 3, "phase": "Observing", "stable": stable(), "attempt": attempt, "revisions": both("Candidate"),
            "conditions": [condition("Ready", "False", "Observing", awaited), condition("Available", "True", "PodsReady", ""),
                condition("Reconciling", "True", "Observing", awaited)],
            "verdicts": [
                {"metric": "error-rate", "verdict": "Pass", "value": "0.002", "message": "within bounds", "time": "2026-11-24T08:59:30Z"},
                {"metric": "latency-p95", "verdict": "Inconclusive", "value": "0.12", "stableValue": "0.11",
                    "message": "1234 of 2000 requests seen", "time": "2026-11-24T08:59:30Z", "failures": 1}]}),
    );
}

#[test]
fn a_pause_is_shown_and_a_request_that_did_nothing() {
    let mut attempt = attempt("Observing", "5%");
    attempt["step"] = json!(0);
    attempt["pausedSince"] = json!("2026-11-24T08:59:00Z");
    let held =
        "paused at 5% since 2026-11-24T08:59:00Z, by request: it goes on with kubectl werkbank resume; watching 5%";
    screen(
        "paused",
        json!({"observedGeneration": 3, "phase": "Paused", "stable": stable(), "attempt": attempt, "revisions": both("Candidate"),
            "handledRequest": {"verb": "promote", "attempt": "acdfghjklm-2-0a1b2c3d", "step": "1", "nonce": "n", "outcome": "Refused",
                "message": "it is for step 1; the attempt is at step 0"},
            "conditions": [condition("Ready", "False", "Paused", held), condition("Available", "True", "PodsReady", ""),
                condition("Reconciling", "True", "Paused", held)],
            "verdicts": [
                {"metric": "error-rate", "verdict": "Pass", "value": "0.002", "message": "within bounds", "time": "2026-11-24T08:59:30Z"}]}),
    );
}

#[test]
fn what_is_revoked_is_not_to_be_tried_again() {
    let mut attempt = attempt("Failed", "0%");
    attempt["cause"] = json!("Revoked");
    let shown = render(&deployment(json!({"phase": "Failed", "attempt": attempt})), None, now());
    assert!(shown.contains("Revoked; point spec.modelRef at another entry"), "{shown}");
    assert!(!shown.contains("retry"), "{shown}");
}

#[test]
fn a_rolled_back_revision_says_why_and_how_to_try_again() {
    let mut attempt = attempt("RolledBack", "0%");
    attempt["cause"] = json!("GuardrailBreached");
    let mut revisions = both("Draining");
    revisions[1]["drainingSince"] = json!("2026-11-24T08:59:50Z");
    let why = "revision acdfghjklm was taken back: error-rate: 0.05 above the maximum 0.01 (2 times in a row)";
    screen(
        "rolled-back",
        json!({"observedGeneration": 3, "phase": "RolledBack", "stable": stable(), "attempt": attempt, "revisions": revisions,
            "conditions": [condition("Ready", "False", "GuardrailBreached", why), condition("Available", "True", "PodsReady", ""),
                condition("Stalled", "True", "GuardrailBreached", "revision acdfghjklm was taken back and is not tried again by itself")]}),
    );
}

#[test]
fn a_stable_deployment_is_three_lines() {
    screen(
        "stable",
        json!({"observedGeneration": 3, "phase": "Stable", "stable": {"revision": "acdfghjklm", "name": "churn-2026-12", "uid": "e2"},
            "attempt": attempt("Promoted", "100%"), "revisions": [{"revision": "acdfghjklm", "role": "Stable"}],
            "conditions": [condition("Ready", "True", "Stable", "revision acdfghjklm serves"), condition("Available", "True", "PodsReady", "")]}),
    );
}

#[test]
fn a_missing_entry_is_said_and_an_outdated_status_too() {
    let missing = "spec.modelRef: there is no ModelRegistryEntry churn-2026-12 in this namespace; register it, or correct the name";
    screen(
        "pending",
        json!({"observedGeneration": 2, "phase": "Pending", "conditions": [
            condition("Ready", "False", "EntryNotFound", missing), condition("Stalled", "True", "EntryNotFound", missing)]}),
    );
}

#[test]
fn nothing_is_known_before_the_operator_has_looked() {
    screen("unseen", Value::Null);
}

#[test]
fn what_others_say_cannot_steer_the_terminal() {
    let status = json!({"conditions": [condition("Ready", "False", "RouteRejected", "\u{1b}[2Jno\nsuch listener")]});
    let screen = anstream::adapter::strip_str(&render(&deployment(status), None, Utc::now())).to_string();
    assert!(screen.contains("[2Jno such listener"), "{screen}");
    assert!(screen.chars().all(|letter| letter == '\n' || !letter.is_control()), "{screen}");
}

#[test]
fn a_revision_on_probation_shows_what_judges_it_and_what_is_gone_back_to() {
    let proven = json!({"revision": "abbbbbbbbb", "name": "churn-2026-11", "uid": "e1"});
    let promoted = json!({"revision": "acdfghjklm", "name": "churn-2026-12", "uid": "e2"});
    let serves = "revision acdfghjklm serves, on probation: kept-customers is judged at 2026-11-25T08:58:30Z; revision abbbbbbbbb is kept to go back to";
    screen(
        "probation",
        json!({"observedGeneration": 3, "phase": "Probation", "stable": promoted, "attempt": attempt("Promoted", "100%"),
            "revisions": [{"revision": "abbbbbbbbb", "role": "Fallback"}, {"revision": "acdfghjklm", "role": "Stable"}],
            "conditions": [condition("Ready", "True", "Probation", serves), condition("Available", "True", "PodsReady", "")],
            "probation": {"attempt": "acdfghjklm-2-0a1b2c3d", "revision": "acdfghjklm", "baseline": "abbbbbbbbb", "fallback": proven,
                "since": "2026-11-24T08:58:30Z",
                "exposed": [{"weight": "5%", "since": "2026-11-24T08:30:00Z", "until": "2026-11-24T08:58:30Z"}],
                "verdicts": [{"metric": "error-rate", "verdict": "Pass", "value": "0.0012", "message": "within bounds",
                    "time": "2026-11-24T08:59:30Z"}]}}),
    );
}
