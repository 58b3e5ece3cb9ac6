//! The overview as files, for a reviewer to read: `screens/status*.txt`. `UPDATE=1` rewrites them.

use serde_json::json;

use super::*;
use crate::cli::tree::tests::{attempt, both, condition, deployment, is_on_screen, now, stable};

fn observing() -> ModelDeployment {
    let mut attempt = attempt("Observing", "5%");
    attempt["step"] = json!(0);
    attempt["samples"] = json!(1234);
    attempt["approvals"] = json!([{"weight": "25%", "role": "owner", "digest": "sha256:00"}]);
    let verdict = json!({"metric": "error-rate", "verdict": "Pass", "value": "0.002", "stableValue": "0.003",
        "message": "within bounds", "time": "2026-11-24T08:59:30Z"});
    let request = json!({"verb": "promote", "attempt": "acdfghjklm-2-0a1b2c3d", "step": "1", "nonce": "n1",
        "outcome": "Refused", "message": "it is for step 1; the attempt is at step 0"});
    deployment(json!({"observedGeneration": 3, "phase": "Observing", "stable": stable(), "attempt": attempt,
        "revisions": both("Candidate"), "replicas": 5, "sequence": 12, "attempts": 2, "handledRequest": request,
        "conditions": [condition("Ready", "False", "Observing", "watching 5%"), condition("Available", "True", "PodsReady", "4 pods are ready")],
        "verdicts": [verdict]}))
}

fn facts() -> Facts {
    let said = |type_: &str, status: &str, message: &str| condition(type_, status, "Reason", message);
    let status = json!({"conditions": [
        said("ArtifactVerified", "True", "all 42 bytes are the registered ones"),
        said("Approved", "False", "waiting for approval by role technical"),
    ]});
    let entry = json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry", "metadata": {"name": "churn-2026-12"},
        "spec": {"model": {"name": "churn", "version": "1", "kind": "Predictor"}, "artifact": {"uri": "s3://m/c", "sha256": "00"}},
        "status": status});
    let told = |at: &str, is_warning, note: &str, times| Told {
        at: at.parse().unwrap(),
        is_warning,
        reason: "Gate".into(),
        note: note.into(),
        times,
    };
    Facts {
        entry: Some(serde_json::from_value(entry).unwrap()),
        objects: vec![
            ("deployment/churn-abbbbbbbbb".into(), "4 of 4 ready, registry/scorer:1.4".into()),
            ("httproute/churn".into(), "churn-abbbbbbbbb 9500, churn-acdfghjklm 500: accepted".into()),
        ],
        told: vec![
            told("2026-11-24T08:59:00Z", true, "a \u{1b}[2Jgate", 3),
            told("2026-11-24T08:58:00Z", false, "begins", 1),
        ],
    }
}

#[test]
fn the_more_often_it_is_asked_the_more_it_says() {
    for (name, verbosity) in [("status", 0), ("status-v", 1), ("status-v-v", 2)] {
        is_on_screen(name, &render(&observing(), &facts(), verbosity, now()));
    }
}

#[test]
fn colours_are_around_what_matters() {
    let shown = render(&observing(), &facts(), 0, now());
    for word in ["\u{1b}[33mObserving", "\u{1b}[32mPass", "\u{1b}[32mopen", "\u{1b}[33mclosed", "\u{1b}[33m[5%"] {
        assert!(shown.contains(word), "{word:?} is not in {shown:?}");
    }
}
