use serde_json::json;

use super::*;

const DIGEST: &str = "sha256:9f2c41aa00000000000000000000000000000000000000000000000000000000";

fn roles(names: &[&str]) -> Vec<String> {
    names.iter().map(|it| (*it).to_owned()).collect()
}

fn of_all(names: &[&str]) -> Roles {
    Roles { of_all: roles(names), known: None }
}

/// As `kubectl werkbank` writes it.
fn said(role: &str, decision: &str, approver: &str) -> Approval {
    let subject = json!({"kind": "ModelRegistryEntry", "name": "churn-2", "uid": "uid-2", "digest": DIGEST});
    serde_json::from_value(json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": format!("churn-2-{role}-9f2c41aa")},
        "spec": {"subject": subject, "role": role, "decision": decision, "approver": approver},
    }))
    .unwrap()
}

fn approved(role: &str, approver: &str) -> Approval {
    said(role, "Approved", approver)
}

/// What is missing of the approvals of `churn-2`, which anna has submitted.
fn missing_of(asked: &[&str], given: Vec<Approval>, guard: &Guard) -> Option<Missing> {
    let roles = roles(asked);
    let question = Question {
        kind: SubjectKind::ModelRegistryEntry,
        name: "churn-2",
        uid: "uid-2",
        digest: DIGEST,
        roles: &roles,
        known: None,
        submitted_by: Some("anna@example.com"),
    };
    let given: Vec<Arc<Approval>> = given.into_iter().map(Arc::new).collect();
    missing(&question, &given, guard, |role| format!("approve as {role}"))
}

fn guarded(asked: &[&str], given: Vec<Approval>) -> Option<String> {
    missing_of(asked, given, &Guard::Ready(DateTime::UNIX_EPOCH)).map(|it| it.message)
}

#[test]
fn each_role_that_is_asked_for_has_to_approve_and_what_is_missing_is_named_with_what_to_do() {
    assert_eq!(guarded(&[], vec![]), None);
    let both = ["technical", "business"];
    assert_eq!(
        guarded(&both, vec![]).unwrap(),
        "waiting for approval by role technical: approve as technical; waiting for approval by role business: approve as business"
    );
    let one = vec![approved("technical", "ben@example.com")];
    assert_eq!(guarded(&both, one.clone()).unwrap(), "waiting for approval by role business: approve as business");
    assert_eq!(guarded(&both, [one, vec![approved("business", "carla@example.com")]].concat()), None);
}

#[test]
fn nobody_approves_their_own_work_nor_in_two_roles_and_no_account_does() {
    let own = guarded(&["technical"], vec![approved("technical", "anna@example.com")]).unwrap();
    assert!(own.contains("role technical counts for nothing: it is by the person who submitted it"), "{own}");
    let ben = ["technical", "business"].map(|role| approved(role, "ben@example.com")).to_vec();
    let twice = guarded(&["technical", "business"], ben).unwrap();
    assert!(twice.starts_with(
        "the approval by role business counts for nothing: it is by the person who approved as technical"
    ));
    for account in ["system:serviceaccount:argocd:argocd-server", "system:admin"] {
        let said = guarded(&["technical"], vec![approved("technical", account)]).unwrap();
        assert!(said.contains("by an account"), "{said}");
    }
    for message in [own, twice] {
        assert!(!message.contains("example.com"), "no status names a person: {message}");
    }
}

#[test]
fn a_rejection_counts_whatever_others_say_and_whether_or_not_the_policies_are_in_force() {
    let given = || vec![approved("technical", "ben@example.com"), said("business", "Rejected", "carla@example.com")];
    for guard in [Guard::Ready(DateTime::UNIX_EPOCH), Guard::NotReady("gone".into())] {
        let missing = missing_of(&["technical", "business"], given(), &guard).unwrap();
        assert_eq!(missing.reason, REJECTED);
        assert!(missing.is_final && missing.message.contains("kubectl delete approval churn-2-business-9f2c41aa"));
    }
    // One that nobody asked is not heard.
    assert_eq!(guarded(&["technical"], given()), None);
}

#[test]
fn while_the_policies_are_not_in_force_no_approval_counts() {
    let given = || vec![approved("technical", "ben@example.com")];
    for guard in [Guard::NotReady("the policy is not there".into()), Guard::NotAsked] {
        let missing = missing_of(&["technical"], given(), &guard);
        assert_eq!(missing.map(|it| it.reason), Some(UNGUARDED), "{guard:?}");
    }
    assert_eq!(missing_of(&[], vec![], &Guard::NotAsked), None);
}

#[test]
fn an_approval_of_anything_else_is_none_of_this() {
    let changes: [fn(&mut Approval); 7] = [
        |it| it.spec.subject.kind = SubjectKind::ModelDeployment,
        |it| it.spec.subject.name = "churn-3".into(),
        |it| it.spec.subject.uid = "uid-1".into(),
        |it| it.spec.subject.digest = DIGEST.replace('9', "8"),
        |it| it.spec.role = "business".into(),
        |it| it.metadata.name = Some("churn-2-technical".into()),
        |it| {
            it.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-20T00:00:00Z")).unwrap();
        },
    ];
    let original = approved("technical", "ben@example.com");
    assert_eq!(guarded(&["technical"], vec![original.clone()]), None);
    for (number, change) in changes.into_iter().enumerate() {
        let mut other = original.clone();
        change(&mut other);
        assert!(guarded(&["technical"], vec![other]).is_some(), "change {number}");
    }
}

fn entry(spec: serde_json::Value) -> ModelRegistryEntry {
    let mut whole = json!({
        "model": {"name": "churn", "version": "2", "kind": "Predictor"},
        "artifact": {"uri": "s3://models/churn/2/", "sha256": "0".repeat(64)},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    ModelRegistryEntry::new("churn-2", serde_json::from_value(whole).unwrap())
}

#[test]
fn an_entry_is_approved_by_the_roles_that_it_asks_for_and_by_those_of_the_operator() {
    let it = entry(json!({"submittedBy": "anna@example.com", "governance": {"approvals": ["technical", "business"]}}));
    assert_eq!(roles_of(&it, &of_all(&["data-protection", "technical"])), ["technical", "business", "data-protection"]);
    assert_eq!(roles_of(&entry(json!({})), &Roles::default()), [""; 0]);
    assert_eq!(missing_of_entry(&entry(json!({})), &Roles::default(), &[], &Guard::NotAsked), None);
    let missing = missing_of_entry(&it, &Roles::default(), &[], &Guard::Ready(DateTime::UNIX_EPOCH)).unwrap();
    assert!(missing.message.contains("kubectl werkbank approve churn-2 --role technical"), "{}", missing.message);
}

#[test]
fn a_role_that_nobody_has_is_told_where_it_is_said_which_there_are() {
    let submitted =
        |roles: &[&str]| entry(json!({"submittedBy": "anna@example.com", "governance": {"approvals": roles}}));
    let known = |names: &[&str]| Roles { of_all: Vec::new(), known: Some(roles(names)) };
    let of = |it: &ModelRegistryEntry, there_are: &Roles, given: Vec<Approval>, guard: &Guard| {
        let given: Vec<Arc<Approval>> = given.into_iter().map(Arc::new).collect();
        missing_of_entry(it, there_are, &given, guard)
    };
    let (it, ready) = (submitted(&["data-protecton", "technical"]), Guard::Ready(DateTime::UNIX_EPOCH));
    let there_are = known(&["technical", "data-protection"]);
    for guard in [&ready, &Guard::NotReady("no policies".into())] {
        let missing = of(&it, &there_are, vec![], guard).unwrap();
        assert_eq!((missing.reason, missing.is_final), (ROLE_UNKNOWN, true));
        assert!(missing.message.contains("nobody here has role data-protecton, "), "{}", missing.message);
        assert!(missing.message.contains("ask for one of technical, data-protection"), "{}", missing.message);
    }
    assert_eq!(of(&it, &Roles::default(), vec![], &ready).unwrap().reason, AWAITED, "where it is not said");
    assert_eq!(of(&submitted(&["technical"]), &there_are, vec![], &ready).unwrap().reason, AWAITED);
    // Approved while it was one: it stays approved.
    let it = submitted(&["legal"]);
    let mut word = approved("legal", "lena@example.com");
    let digest = it.spec.digest();
    word.metadata.name = Some(approval::name_of("churn-2", "legal", &digest));
    (word.spec.subject.digest, word.spec.subject.uid) = (digest, String::new());
    assert_eq!(of(&it, &there_are, vec![word], &ready), None);
    assert_eq!(of(&it, &there_are, vec![], &ready).unwrap().reason, ROLE_UNKNOWN);
}

#[test]
fn where_nobody_knows_whose_work_it_is_nobody_can_approve_it() {
    let missing =
        missing_of_entry(&entry(json!({})), &of_all(&["technical"]), &[], &Guard::Ready(DateTime::UNIX_EPOCH)).unwrap();
    assert_eq!(missing.reason, SUBMITTER_UNKNOWN);
    assert!(missing.is_final && missing.message.contains("submittedBy"), "{}", missing.message);
}

#[test]
fn a_word_that_is_older_than_the_policies_may_be_anybodys() {
    let at = |second| DateTime::from_timestamp(second, 0).unwrap();
    let mut word = approved("technical", "ben@example.com");
    word.metadata.creation_timestamp = serde_json::from_value(json!("2026-11-20T00:00:00Z")).unwrap();
    let written = guard::time_of(&word.metadata).unwrap().timestamp();
    assert_eq!(missing_of(&["technical"], vec![word.clone()], &Guard::Ready(at(written))), None);
    let missing = missing_of(&["technical"], vec![word], &Guard::Ready(at(written + 1))).unwrap();
    assert_eq!(missing.reason, AWAITED);
    let remedy = "take it back: kubectl delete approval churn-2-technical-9f2c41aa";
    assert!(missing.message.contains("older than the admission policies") && missing.message.contains(remedy));
}
