//! Explanations as files, for a reviewer to read: `screens/why-<situation>.txt`. `UPDATE=1` rewrites them.

use serde_json::{Value, json};

use super::*;
use crate::api::approval::name_of;
use crate::api::model_registry_entry::User;

fn deployment(status: Value) -> ModelDeployment {
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
        "metadata": {"name": "churn", "namespace": "crm"},
        "spec": {"modelRef": {"name": "churn-2026-12"}, "purpose": "retention-email", "region": "eu", "port": 8080,
            "template": {}, "analysis": {"none": "a test"}},
        "status": status,
    }))
    .unwrap()
}

/// The fullest example, as registered.
fn entry() -> ModelRegistryEntry {
    let text = include_str!("../../examples/modelregistryentry/full.yaml");
    let mut it: ModelRegistryEntry = serde_yaml::from_str(text).unwrap();
    let words = json!({"approvals": [{"role": "technical", "word": "Approved"}, {"role": "data-protection", "word": "Missing"}]});
    it.status = Some(serde_json::from_value(words).unwrap());
    it.metadata.uid = Some("e".into());
    it
}

fn approval(entry: &ModelRegistryEntry, role: &str, by: &str) -> Approval {
    let digest = entry.spec.digest();
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": name_of("churn-2026-12", role, &digest)},
        "spec": {"role": role, "decision": "Approved", "approver": by, "comment": "backtest\u{1b}[2J looked at",
            "subject": {"kind": "ModelRegistryEntry", "name": "churn-2026-12", "uid": "e", "digest": digest}},
    }))
    .unwrap()
}

fn serving(entry: &str) -> Value {
    json!({"revision": "abbbbbbbbb", "name": entry, "uid": "e"})
}

#[track_caller]
fn screen(name: &str, status: Value, entries: &[ModelRegistryEntry], approvals: &[Approval]) {
    is_on_screen(name, &explain(&deployment(status), entries, approvals));
}

#[track_caller]
fn is_on_screen(name: &str, screen: &str) {
    let path = format!("{}/src/cli/screens/why-{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, screen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(screen == expected, "{path} is not what is shown:\n{screen}");
}

#[test]
fn what_serves_is_explained_by_its_model_its_data_its_approvals_and_the_last_decision() {
    let entry = entry();
    let said = approval(&entry, "technical", "ben@example.com");
    let attempt = json!({"id": "abbbbbbbbb-2-0a1b2c3d", "revision": "abbbbbbbbb", "state": "Promoted", "weight": "100%",
        "entry": serving("churn-2026-12"), "decided": 9, "startedAt": "2026-11-24T08:00:00Z", "enteredAt": "2026-11-24T09:00:00Z"});
    let verdict = json!({"metric": "error-rate", "verdict": "Pass", "value": "0.002", "stableValue": "0.003", "message": "",
        "time": "2026-11-24T08:59:30Z"});
    let ready = json!({"type": "Ready", "status": "True", "reason": "Stable", "message": "revision abbbbbbbbb serves",
        "lastTransitionTime": "2026-11-24T09:00:00Z"});
    let status = json!({"stable": serving("churn-2026-12"), "attempt": attempt, "verdicts": [verdict], "conditions": [ready],
            "revisions": [{"revision": "abbbbbbbbb", "role": "Stable", "usedFor": {"purpose": "churn-report", "region": "eu",
                "consentSignals": ["ad_user_data"]}}]});
    screen("serves", status, &[entry], &[said]);
}

#[test]
fn what_is_on_its_way_is_explained_beside_what_serves_though_an_entry_is_gone() {
    let attempt = json!({"id": "acccccccccc-3-0a1b2c3d", "revision": "accccccccc", "state": "Observing", "weight": "5%",
        "entry": {"revision": "accccccccc", "name": "churn-2026-12", "uid": "e"}, "decided": 12,
        "startedAt": "2026-11-24T08:00:00Z", "enteredAt": "2026-11-24T09:00:00Z"});
    let status = json!({"stable": serving("churn-2026-11"), "attempt": attempt});
    screen("on-its-way", status, &[entry()], &[]);
}

#[test]
fn what_was_registered_again_under_its_name_says_nothing_of_what_serves() {
    let mut other = entry();
    other.metadata.uid = Some("another".into());
    let screen = explain(&deployment(json!({"stable": serving("churn-2026-12")})), &[other], &[]);
    assert!(
        screen.contains("entry churn-2026-12 was deleted, and another one") && !screen.contains("s3://"),
        "{screen}"
    );
}

#[test]
fn where_nothing_serves_that_is_said() {
    assert_eq!(entries_of(&deployment(json!({}))), Vec::<String>::new());
    screen("nothing", json!({}), &[], &[]);
}

#[test]
fn an_entry_that_nothing_serves_is_explained_to_those_who_are_to_approve_it() {
    let text = include_str!("../../examples/modelregistryentry/vendor.yaml");
    let mut vendors: ModelRegistryEntry = serde_yaml::from_str(text).unwrap();
    let said = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({"type": type_, "status": status,
        "reason": reason, "message": message, "lastTransitionTime": "2026-11-24T09:00:00Z"})
    };
    let waits = "waiting for approval by role technical";
    vendors.status = serde_json::from_value(json!({"approvals": [{"role": "technical", "word": "Missing"}], "conditions": [
        said("Ready", "False", "AwaitingApproval", waits), said("Reconciling", "True", "AwaitingApproval", waits),
        said("Stalled", "False", "AwaitingApproval", "nothing needs a person"),
        said("ExitReady", "True", "FallbackReady", "entry texts-own-7 can take its place: it is ready, and examined")]}))
    .unwrap();
    is_on_screen("entry-of-a-vendor", &explain_entry(&vendors, &[]));
    let mut own = entry();
    own.status.as_mut().unwrap().used_by = vec![User { kind: "ModelDeployment".into(), name: "churn".into() }];
    own.status.as_mut().unwrap().artifact = serde_json::from_value(
        json!({"reading": {"bytes": 1_289_748_480_i64, "of": 5_368_709_120_i64, "at": "2026-11-24T09:00:00Z"}}),
    )
    .unwrap();
    let said = approval(&own, "technical", "ben@example.com");
    is_on_screen("entry", &explain_entry(&own, &[said]));
}
