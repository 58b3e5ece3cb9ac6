//! What is said of a vendor's entry as a whole; of its way out alone: [`exit`]'s own tests.

use serde_json::json;

use super::*;
use crate::api::model_registry_entry::ModelKind;

/// A vendor's, which asks this role to approve it and falls back on the entries of this way.
fn vendors(role: Option<&str>, way: &[&ModelRegistryEntry]) -> (ModelRegistryEntry, Observed) {
    let text = include_str!("../../../../examples/modelregistryentry/vendor.yaml");
    let mut it: ModelRegistryEntry = serde_yaml::from_str(text).unwrap();
    it.metadata.generation = Some(1);
    it.spec.submitted_by = Some("anna".into());
    it.spec.governance.as_mut().unwrap().approvals = role.into_iter().map(Into::into).collect();
    let behind = way.iter().map(|it| Arc::new((*it).clone())).collect();
    (it, Observed { way_out: exit::Way { behind, is_unreadable: false }, ..Observed::default() })
}

/// What it falls back on, after a pass.
fn fallback() -> ModelRegistryEntry {
    let exit = vendors(None, &[]).0.spec.vendor.unwrap().exit;
    let mut it = entry("s3://models/texts/7/");
    it.metadata.name = Some(exit.fallback_ref.name);
    it.spec.model.kind = ModelKind::Generator;
    it.spec.governance = serde_json::from_value(json!({"purposes": ["retention-email"], "regions": ["eu"]})).unwrap();
    let sha256 = exit.evidence.trim_start_matches("sha256:");
    it.spec.evaluations = serde_json::from_value(json!([{"name": "briefs", "sha256": sha256}])).unwrap();
    pass(&mut it, 0);
    it
}

#[track_caller]
fn says(all: &[String], expected: &[&str]) {
    for it in expected {
        assert!(all.iter().any(|said| said == it), "{it:?} is not in {all:?}");
    }
}

fn said_by((it, observed): (ModelRegistryEntry, Observed)) -> Vec<String> {
    said(&decide(&it, &observed, DateTime::UNIX_EPOCH).status.unwrap())
}

#[test]
fn a_vendors_entry_is_ready_when_it_can_be_left_and_a_person_is_needed_when_that_is_lost() {
    let all = said_by(vendors(None, &[&fallback()]));
    says(
        &all,
        &[
            "Ready True Registered",
            "Reconciling False Registered",
            "Stalled False Registered",
            "ExitReady True FallbackReady",
        ],
    );
    let all = said_by(vendors(None, &[]));
    says(&all, &["Ready False FallbackNotFound", "Stalled True FallbackNotFound", "ExitReady False FallbackNotFound"]);
    let mut own = entry("s3://models/churn/1/");
    assert!(!said(&pass(&mut own, 0).unwrap()).iter().any(|it| it.starts_with("ExitReady")));
}

#[test]
fn an_entry_says_first_what_it_waits_for_itself_and_then_what_its_way_out_does() {
    let mut waiting = fallback();
    waiting.status = None;
    let all = said_by(vendors(Some("technical"), &[&waiting]));
    says(&all, &["Ready False ApprovalGuardNotReady", "ExitReady False FallbackNotReady"]);
    let all = said_by(vendors(None, &[&waiting]));
    says(&all, &["Ready False FallbackNotReady", "Reconciling True FallbackNotReady", "Stalled False Registered"]);
    let all = said_by(vendors(Some("technical"), &[]));
    says(&all, &["Ready False FallbackNotFound", "Stalled True FallbackNotFound"]);
}

#[test]
fn of_a_vendors_entry_that_is_revoked_nothing_is_left_to_be_done_whatever_its_way_out() {
    let (mut it, observed) = vendors(None, &[]);
    it.spec.lifecycle = Some(Lifecycle::Revoked);
    says(
        &said_by((it, observed)),
        &["Ready True Revoked", "Stalled False Revoked", "ExitReady False FallbackNotFound"],
    );
}

#[test]
fn what_is_nobodys_and_what_is_two_peoples_needs_a_person() {
    let mut nobodys = entry("s3://models/churn/1/");
    nobodys.spec.artifact = None;
    says(&said(&pass(&mut nobodys, 0).unwrap()), &["Ready False ModelMissing", "Stalled True ModelMissing"]);
    let (mut both, observed) = vendors(None, &[&fallback()]);
    both.spec.artifact = entry("s3://models/churn/1/").spec.artifact;
    says(&said_by((both, observed)), &["Ready False ModelAmbiguous", "Stalled True ModelAmbiguous"]);
}
