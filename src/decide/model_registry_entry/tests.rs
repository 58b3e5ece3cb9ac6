//! What is said of an entry, and when it is looked at again.

mod vendors;

use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::api::condition::ConditionStatus;
use crate::api::governance::Governance;
use crate::api::model_registry_entry::ModelRegistryEntrySpec;
use crate::decide::Finalizer;

fn entry(uri: &str) -> ModelRegistryEntry {
    let spec = json!({
        "model": {"name": "churn", "version": "1", "kind": "Predictor"},
        "artifact": {"uri": uri, "sha256": "0".repeat(64)},
    });
    let mut entry = ModelRegistryEntry::new("churn-1", serde_json::from_value(spec).unwrap());
    entry.metadata.generation = Some(1);
    entry
}

/// The status that is written, if one is.
fn pass(entry: &mut ModelRegistryEntry, seconds: i64) -> Option<ModelRegistryEntryStatus> {
    let now = DateTime::from_timestamp(1_795_003_200 + seconds, 0).unwrap();
    let plan = decide(entry, &Observed { lease_epoch: 7, ..Observed::default() }, now);
    assert!(plan.ops.is_empty() && plan.entries.is_empty());
    if plan.status.is_some() {
        entry.status.clone_from(&plan.status);
    }
    plan.status
}

fn said(status: &ModelRegistryEntryStatus) -> Vec<String> {
    status.conditions.iter().map(|it| format!("{} {:?} {}", it.type_, it.status, it.reason)).collect()
}

#[test]
fn an_entry_is_registered_once_and_written_again_only_when_something_changed() {
    let mut entry = entry("s3://models/churn/1/");
    let status = pass(&mut entry, 0).unwrap();
    assert_eq!(said(&status), ["Ready True Registered", "Reconciling False Registered", "Stalled False Registered"]);
    assert_eq!((status.observed_generation, status.lease_epoch), (1, 7));
    assert!(status.spec_digest.starts_with("sha256:") && status.spec_digest.len() == 71, "{}", status.spec_digest);
    assert_eq!(pass(&mut entry, 60), None);
    entry.metadata.generation = Some(2);
    let later = pass(&mut entry, 120).unwrap();
    assert_eq!((later.observed_generation, &later.spec_digest), (2, &status.spec_digest));
    assert_eq!(later.conditions[0].last_transition_time, status.conditions[0].last_transition_time);
}

/// An entry that says all that can be said.
fn full() -> Value {
    let text = include_str!("../../../examples/modelregistryentry/full.yaml");
    serde_yaml::from_str::<Value>(text).unwrap()["spec"].take()
}

fn digest(spec: &Value) -> String {
    serde_json::from_value::<ModelRegistryEntrySpec>(spec.clone()).unwrap().digest()
}

#[test]
fn the_digest_is_of_everything_that_cannot_be_changed() {
    let (full, original) = (full(), digest(&full()));
    for field in full.as_object().unwrap().keys() {
        let mut other = full.clone();
        match field.as_str() {
            "model" => other["model"]["version"] = json!("other"),
            "artifact" => other["artifact"]["sha256"] = json!("f".repeat(64)),
            _ => drop(other.as_object_mut().unwrap().remove(field)),
        }
        let changes = !["lifecycle", "reviewBy", "owners"].contains(&field.as_str());
        assert_eq!(digest(&other) != original, changes, "{field}");
    }
}

/// Every list with two items or more the other way round, and how many there are.
fn reverse(value: &mut Value) -> usize {
    match value {
        Value::Array(items) => {
            items.reverse();
            usize::from(items.len() > 1) + items.iter_mut().map(reverse).sum::<usize>()
        }
        Value::Object(fields) => fields.values_mut().map(reverse).sum(),
        _ => 0,
    }
}

#[test]
fn the_order_of_lists_says_nothing_for_the_api_server_accepts_another_one() {
    let mut it = full();
    let original = digest(&it);
    assert!(reverse(&mut it) > 3, "the example has too few lists to show it: {it}");
    assert_eq!(digest(&it), original);
}

/// The lists in a schema that are neither sets nor maps.
fn ordered_lists(path: &str, schema: &Value, found: &mut Vec<String>) {
    if schema["type"] == "array" && !["set", "map"].map(Some).contains(&schema["x-kubernetes-list-type"].as_str()) {
        found.push(path.to_owned());
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        ordered_lists(&format!("{path}.{name}"), property, found);
    }
    if schema["items"].is_object() {
        ordered_lists(&format!("{path}[]"), &schema["items"], found);
    }
}

#[test]
fn no_list_of_the_spec_has_an_order_that_the_digest_would_have_to_keep() {
    let crd = serde_json::to_value(ModelRegistryEntry::crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    ordered_lists("spec", schema, &mut found);
    assert_eq!(found, [""; 0]);
}

#[test]
fn one_that_is_not_to_be_deployed_is_what_its_spec_asks_for_and_the_same_version() {
    for (lifecycle, reason) in [(Lifecycle::Deprecated, "Deprecated"), (Lifecycle::Revoked, "Revoked")] {
        let mut entry = entry("s3://models/churn/1/");
        let registered = pass(&mut entry, 0).unwrap();
        entry.spec.lifecycle = Some(lifecycle);
        entry.metadata.generation = Some(2);
        let status = pass(&mut entry, 60).unwrap();
        assert_eq!(status.spec_digest, registered.spec_digest);
        let holds = |type_: &str, status: &str| format!("{type_} {status} {reason}");
        let expected = [holds("Ready", "True"), holds("Reconciling", "False"), holds("Stalled", "False")];
        assert_eq!(said(&status), expected);
    }
}

#[test]
fn a_uri_that_nobody_can_open_needs_a_person() {
    let status = pass(&mut entry("ftp://models/churn"), 0).unwrap();
    let said = said(&status);
    assert_eq!(
        (said[0].as_str(), said[2].as_str()),
        ("Ready False ArtifactInvalidUri", "Stalled True ArtifactInvalidUri")
    );
    let ready = status.conditions.iter().find(|it| it.status == ConditionStatus::False).unwrap();
    assert!(ready.message.starts_with("spec.artifact.uri: "), "{}", ready.message);
}

/// `entry`, which a role has to approve.
fn asking(role: &str) -> ModelRegistryEntry {
    let mut it = entry("s3://models/churn/1/");
    it.spec.submitted_by = Some("anna@example.com".into());
    it.spec.governance = Some(Governance { approvals: vec![role.into()], ..Governance::default() });
    it.metadata.uid = Some("uid-1".into());
    it
}

fn word(entry: &ModelRegistryEntry, decision: &str) -> Arc<Approval> {
    let digest = entry.spec.digest();
    let subject = json!({"kind": "ModelRegistryEntry", "name": "churn-1", "uid": "uid-1", "digest": digest});
    let name = crate::api::approval::name_of("churn-1", "technical", &digest);
    let spec = json!({"subject": subject, "role": "technical", "decision": decision, "approver": "ben@example.com"});
    let it =
        json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval", "metadata": {"name": name}, "spec": spec});
    Arc::new(serde_json::from_value(it).unwrap())
}

/// What is said of it, and when it is looked at again.
fn told(entry: &ModelRegistryEntry, approvals: Vec<Arc<Approval>>, guard: Guard) -> (Vec<String>, bool) {
    let observed = Observed { lease_epoch: 7, approvals, guard, ..Observed::default() };
    let plan = decide(entry, &observed, DateTime::from_timestamp(1_795_003_200, 0).unwrap());
    let status = plan.status.unwrap();
    let text = serde_json::to_string(&status).unwrap();
    assert!(!text.contains("example.com"), "a status names a person: {text}");
    (said(&status), plan.requeue.is_some())
}

#[test]
fn one_that_has_to_be_approved_is_ready_when_it_is() {
    let it = asking("technical");
    let (waits, again) = told(&it, vec![], Guard::Ready(DateTime::UNIX_EPOCH));
    assert_eq!(
        waits,
        [
            "ApprovalGuardReady True PoliciesInForce",
            "Approved False AwaitingApproval",
            "Ready False AwaitingApproval",
            "Reconciling True AwaitingApproval",
            "Stalled False Registered"
        ]
    );
    assert!(!again, "an Approval wakes it");
    let (approved, _) = told(&it, vec![word(&it, "Approved")], Guard::Ready(DateTime::UNIX_EPOCH));
    assert!(
        approved.contains(&"Approved True Approved".to_owned())
            && approved.contains(&"Ready True Registered".to_owned())
    );
    let mut delivered = it.clone();
    delivered.spec.delivered_by = Some("system:serviceaccount:argocd:argocd-application-controller".into());
    let observed = Observed {
        approvals: vec![word(&delivered, "Approved")],
        guard: Guard::Ready(DateTime::UNIX_EPOCH),
        ..Observed::default()
    };
    let status = decide(&delivered, &observed, DateTime::UNIX_EPOCH).status.unwrap();
    let message = &condition::find(&status.conditions, "Approved").unwrap().message;
    assert!(message.contains("nobody has verified it"), "{message}");
    let (rejected, _) = told(&it, vec![word(&it, "Rejected")], Guard::Ready(DateTime::UNIX_EPOCH));
    assert!(rejected.contains(&"Stalled True ApprovalRejected".to_owned()), "{rejected:?}");
    let (unguarded, again) = told(&it, vec![word(&it, "Approved")], Guard::NotReady("gone".into()));
    assert!(unguarded.contains(&"ApprovalGuardReady False ApprovalGuardNotReady".to_owned()), "{unguarded:?}");
    assert!(unguarded.contains(&"Ready False ApprovalGuardNotReady".to_owned()) && again);
}

#[test]
fn of_one_that_is_revoked_nothing_is_left_to_be_approved() {
    let mut it = asking("technical");
    it.spec.lifecycle = Some(Lifecycle::Revoked);
    let (revoked, _) = told(&it, vec![], Guard::Ready(DateTime::UNIX_EPOCH));
    assert!(revoked.contains(&"Ready True Revoked".to_owned()), "{revoked:?}");
}

#[test]
fn what_is_asked_for_no_more_is_said_no_more() {
    let mut it = entry("s3://models/churn/1/");
    it.spec.submitted_by = Some("anna@example.com".into());
    let asked = Observed {
        approval_roles: approval::Roles { of_all: vec!["technical".into()], known: None },
        guard: Guard::Ready(DateTime::UNIX_EPOCH),
        ..Observed::default()
    };
    let now = DateTime::from_timestamp(1_795_003_200, 0).unwrap();
    it.status = decide(&it, &asked, now).status;
    assert!(said(it.status.as_ref().unwrap()).contains(&"Approved False AwaitingApproval".to_owned()));
    let status = decide(&it, &Observed::default(), now).status.unwrap();
    assert_eq!(said(&status), ["Ready True Registered", "Reconciling False Registered", "Stalled False Registered"]);
    assert!(status.approvals.is_empty());
}

/// Used by so many deployments.
fn used_by(number: usize) -> Observed {
    let names = (0..number).map(|it| format!("churn-{it:02}")).collect();
    Observed { users: Users { names, ..Users::default() }, ..Observed::default() }
}

fn decided(entry: &ModelRegistryEntry, observed: &Observed) -> Plan<ModelRegistryEntryStatus> {
    decide(entry, observed, DateTime::from_timestamp(1_795_003_200, 0).unwrap())
}

fn deleted(mut entry: ModelRegistryEntry) -> ModelRegistryEntry {
    entry.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-20T00:00:00Z")).unwrap();
    entry
}

#[test]
fn one_that_is_used_is_held_and_says_by_whom_up_to_ten() {
    let it = entry("s3://models/churn/1/");
    let plan = decided(&it, &used_by(2));
    let status = plan.status.unwrap();
    let names: Vec<&str> = status.used_by.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        (plan.finalizer, names, status.used_by_more),
        (Some(Finalizer::Hold), vec!["churn-00", "churn-01"], false)
    );
    let mut many = used_by(11);
    many.users.names.reverse();
    let status = decided(&it, &many).status.unwrap();
    assert_eq!((status.used_by.len(), status.used_by_more), (10, true));
    assert!(status.used_by.is_sorted_by_key(|it| it.name.clone()), "{:?}", status.used_by);
    assert_eq!(decided(&it, &used_by(0)).finalizer, Some(Finalizer::Release));
}

#[test]
fn one_that_is_deleted_stays_while_it_is_used_and_says_who_uses_it() {
    let it = deleted(entry("s3://models/churn/1/"));
    let plan = decided(&it, &used_by(1));
    let status = plan.status.unwrap();
    assert_eq!(plan.finalizer, None, "what is on its way out cannot be held anew");
    assert_eq!(said(&status)[0], "Ready False DeletedInUse");
    let stalled = condition::find(&status.conditions, "Stalled").unwrap();
    assert!(stalled.message.contains("ModelDeployment churn-00 runs revisions of it"), "{}", stalled.message);
    let gone = decided(&it, &used_by(0));
    assert_eq!(gone, Plan { finalizer: Some(Finalizer::Release), ..Plan::default() });
}

/// The API server does not let the operator hold it.
fn refused() -> Option<Refusal> {
    let (kind, name) = ("ModelRegistryEntry".to_owned(), "churn-1".to_owned());
    Some(Refusal { kind, name, message: "patch is forbidden".into() })
}

#[test]
fn one_that_cannot_be_held_says_so_and_all_else_and_is_tried_again() {
    let it = entry("s3://models/churn/1/");
    let plan = decided(&it, &Observed { refused: refused(), ..used_by(1) });
    let status = plan.status.unwrap();
    assert_eq!((plan.finalizer, plan.requeue.map(|it| it.as_secs())), (None, Some(60)), "what was refused goes last");
    assert!(said(&status).contains(&"KeptInUse False FinalizerRefused".to_owned()), "{:?}", said(&status));
    assert!(said(&status).contains(&"Ready True Registered".to_owned()));
    let message = &condition::find(&status.conditions, "KeptInUse").unwrap().message;
    assert!(message.contains("patch is forbidden") && message.contains("helm upgrade"), "{message}");
    let again = decided(&it, &used_by(1));
    assert_eq!(again.finalizer, Some(Finalizer::Hold));
    assert!(!said(&again.status.unwrap()).iter().any(|it| it.starts_with("KeptInUse")));
    let mut held = it.clone();
    held.metadata.finalizers = Some(vec!["werkbank.dev/in-use".into()]);
    let status = decided(&held, &Observed { refused: refused(), ..used_by(1) }).status.unwrap();
    assert!(!said(&status).iter().any(|it| it.starts_with("KeptInUse")), "it was another write that was refused");
    let unused = decided(&it, &Observed { refused: refused(), ..used_by(0) });
    assert_eq!((unused.finalizer, unused.requeue), (Some(Finalizer::Release), None));
}

/// So many use it, and there is a deployment that cannot be read.
fn unreadable(name: &str, users: usize) -> Observed {
    let mut observed = used_by(users);
    observed.users.unreadable = Some(name.into());
    observed
}

/// So many use it, and that is what the API server has said, or not.
fn asked(asked: Asked, users: usize) -> Observed {
    let mut observed = used_by(users);
    observed.users.asked = asked;
    observed
}

#[test]
fn nothing_is_let_go_of_while_the_api_server_does_not_say_that_nothing_uses_it() {
    let lives = entry("s3://models/churn/1/");
    let deleted = deleted(lives.clone());
    for it in [&lives, &deleted] {
        let silent = decided(it, &asked(Asked::Unanswered, 0));
        assert_eq!((silent.finalizer, silent.requeue.map(|it| it.as_secs())), (None, Some(60)));
        let answered = decided(it, &asked(Asked::Answered, 0));
        assert_eq!((answered.finalizer, answered.requeue), (Some(Finalizer::Release), None));
        let behind = decided(it, &asked(Asked::Answered, 1));
        assert_ne!(behind.finalizer, Some(Finalizer::Release));
        assert_eq!(behind.requeue.map(|it| it.as_secs()), Some(60), "no watch may tell");
    }
    let status = decided(&deleted, &asked(Asked::Unanswered, 0)).status.unwrap();
    let message = &condition::find(&status.conditions, "Stalled").unwrap().message;
    assert!(message.contains("the API server does not say"), "{message}");
}

#[test]
fn nothing_is_let_go_of_while_a_deployment_of_the_namespace_cannot_be_read() {
    let it = entry("s3://models/churn/1/");
    assert_eq!(decided(&it, &unreadable("churn", 0)).finalizer, None, "nor is anything held that may not be used");
    let it = deleted(it);
    let plan = decided(&it, &unreadable("churn", 0));
    assert_eq!((plan.finalizer, plan.requeue.map(|it| it.as_secs())), (None, Some(60)));
    let status = plan.status.unwrap();
    let message = &condition::find(&status.conditions, "Stalled").unwrap().message;
    assert!(message.contains("ModelDeployment churn of its namespace cannot be read"), "{message}");
    let both = unreadable("other", 1);
    let status = decided(&it, &both).status.unwrap();
    assert!(condition::find(&status.conditions, "Stalled").unwrap().message.contains("churn-00 runs revisions"));
}

/// `churn-1` with this in its spec besides.
fn saying(said: serde_json::Value) -> ModelRegistryEntry {
    let mut it = entry("s3://models/churn/1/");
    let mut spec = serde_json::to_value(&it.spec).unwrap();
    spec.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    it.spec = serde_json::from_value(spec).unwrap();
    it
}

/// What is said of it at a time, and in how many seconds it is looked at again.
fn at(entry: &ModelRegistryEntry, now: &str) -> (Vec<String>, Option<u64>) {
    let plan = decide(entry, &Observed::default(), now.parse().unwrap());
    (said(&plan.status.unwrap()), plan.requeue.map(|it| it.as_secs()))
}

#[test]
fn one_that_is_not_complete_says_what_is_missing_and_needs_a_person() {
    let source = json!({"name": "orders", "personalData": true});
    let (said, _) = at(&saying(json!({"dataSources": [source]})), "2026-11-20T00:00:00Z");
    for it in ["GovernanceComplete False", "Ready False", "Stalled True"] {
        assert!(said.contains(&format!("{it} PersonalDataUndocumented")), "{said:?}");
    }
    let (said, _) = at(&saying(json!({"governance": {"purposes": ["report"]}})), "2026-11-20T00:00:00Z");
    assert!(said.contains(&"GovernanceComplete True Documented".to_owned()), "{said:?}");
}

#[test]
fn one_whose_review_is_due_asks_for_it_at_the_end_of_the_day() {
    let it = saying(json!({"reviewBy": "2026-11-20"}));
    let (before, wait) = at(&it, "2026-11-20T23:00:00Z");
    assert_eq!((before.contains(&"Ready True Registered".to_owned()), wait), (true, Some(3600)));
    let (after, wait) = at(&it, "2026-11-21T00:00:00Z");
    assert!(after.contains(&"Ready False ReviewOverdue".to_owned()), "{after:?}");
    assert!(after.contains(&"Stalled True ReviewOverdue".to_owned()) && wait.is_none(), "{after:?}");
    let revoked = saying(json!({"reviewBy": "2026-11-20", "lifecycle": "Revoked"}));
    assert!(at(&revoked, "2026-11-21T00:00:00Z").0.contains(&"Ready True Revoked".to_owned()));
}

#[test]
fn one_whose_data_grows_old_is_as_it_should_be_and_says_so() {
    let source = json!({"name": "bids", "personalData": false, "asOf": "2026-11-20", "maxAge": "1d"});
    let it = saying(json!({"dataSources": [source]}));
    assert!(at(&it, "2026-11-20T12:00:00Z").0.contains(&"Ready True Registered".to_owned()));
    let (old, _) = at(&it, "2026-11-21T00:00:00Z");
    assert!(old.contains(&"Ready True DataTooOld".to_owned()), "{old:?}");
    assert!(old.contains(&"Stalled False DataTooOld".to_owned()), "{old:?}");
}

#[test]
fn what_can_be_changed_is_not_what_people_approve() {
    let digest = |said| saying(said).spec.digest();
    let plain = digest(json!({}));
    let changed = json!({"lifecycle": "Deprecated", "reviewBy": "2027-05-01", "owners": {"business": "crm"}});
    assert_eq!(digest(changed), plain);
    let mut who_looks = saying(json!({}));
    who_looks.spec.artifact.as_mut().unwrap().service_account_name = Some("model-reader".into());
    assert_eq!(who_looks.spec.digest(), plain);
    assert_ne!(digest(json!({"governance": {"purposes": ["ads"]}})), plain);
    assert_ne!(digest(json!({"dataSources": [{"name": "orders", "personalData": false}]})), plain);
}

#[test]
fn an_entry_is_used_as_long_as_a_revision_of_it_has_pods_whatever_they_are_for() {
    for role in ["Stable", "Candidate", "Kept", "Fallback", "Draining"] {
        let revision = json!({"revision": "a", "role": role, "entry": {"name": "churn-1", "uid": "e"}});
        let status: crate::api::model_deployment::ModelDeploymentStatus =
            serde_json::from_value(json!({"revisions": [revision]})).unwrap();
        assert_eq!(usage::used_by(&status).collect::<Vec<_>>(), ["churn-1"], "{role}");
    }
}
