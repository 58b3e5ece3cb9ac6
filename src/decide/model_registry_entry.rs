//! What to do about a ModelRegistryEntry: say whether it can be deployed.
//!
//! The spec is immutable and CEL has checked its form, so there is little left:
//! the digest that decisions refer to, a URI that the fetching side can open, and whether those who have to approve it have.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::Plan;
use super::approval::guard::{self, Guard};
use super::approval::{self, Missing, Word};
use crate::api::artifact::ArtifactUri;
use crate::api::condition;
use crate::api::model_registry_entry::{Lifecycle, ModelRegistryEntryStatus, RoleWord, RoleWordKind};
use crate::api::{Approval, Condition, ModelRegistryEntry};

/// What is known besides the entry.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Epoch of this leader.
    pub lease_epoch: i64,
    /// Approvals that are about an entry of this name.
    pub approvals: Vec<Arc<Approval>>,
    /// Whether they count.
    pub guard: Guard,
    /// Roles that have to approve every entry.
    pub approval_roles: Vec<String>,
}

fn words(resource: &ModelRegistryEntry, observed: &Observed) -> Vec<RoleWord> {
    let words = approval::words_of_entry(resource, &observed.approval_roles, &observed.approvals, &observed.guard);
    let kind = |word: Word| match word {
        Word::Approved => RoleWordKind::Approved,
        Word::Missing => RoleWordKind::Missing,
        Word::Rejected => RoleWordKind::Rejected,
        Word::Void(_) => RoleWordKind::Void,
    };
    words.into_iter().map(|(role, word)| RoleWord { role, word: kind(word) }).collect()
}

/// A conclusion: whether it holds, a reason, and a sentence.
type Said = (bool, (&'static str, String));

/// Decides. Pure and total.
#[must_use]
pub fn decide(
    resource: &ModelRegistryEntry,
    observed: &Observed,
    now: DateTime<Utc>,
) -> Plan<ModelRegistryEntryStatus> {
    if resource.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    let generation = resource.metadata.generation.unwrap_or_default();
    let old = resource.status.as_ref();
    let mut status = old.cloned().unwrap_or_default();
    status.observed_generation = generation;
    status.spec_digest = resource.spec.digest();
    status.approvals = words(resource, observed);
    for (type_, said) in conclude(resource, observed) {
        let Some((holds, (reason, message))) = said else {
            status.conditions.retain(|it| it.type_ != type_);
            continue;
        };
        let (status_, reason) = (holds.into(), reason.into());
        let it = Condition {
            type_: type_.into(),
            status: status_,
            reason,
            message,
            last_transition_time: now,
            observed_generation: generation,
        };
        condition::set(&mut status.conditions, it);
    }
    let again = condition::find(&status.conditions, "ApprovalGuardReady").is_some_and(|it| it.status != true.into());
    let changed = old != Some(&status);
    if changed {
        status.lease_epoch = observed.lease_epoch;
    }
    // Nobody tells when a policy is there again.
    Plan { status: changed.then_some(status), requeue: again.then_some(guard::RETRY), ..Plan::default() }
}

/// All conditions: what each says, or that it says nothing.
fn conclude(resource: &ModelRegistryEntry, observed: &Observed) -> [(&'static str, Option<Said>); 5] {
    let approvals = approvals(resource, observed);
    let approved = approvals.as_ref().map(|it| said_of_approvals(resource, it.as_ref()));
    let guarded = approvals.as_ref().map(|_| said_of_guard(&observed.guard));
    let [ready, reconciling, stalled] = progress(resource, approvals.flatten());
    [
        ("Ready", Some(ready)),
        ("Reconciling", Some(reconciling)),
        ("Stalled", Some(stalled)),
        ("Approved", approved),
        ("ApprovalGuardReady", guarded),
    ]
}

/// `Ready`, `Reconciling`, `Stalled`.
fn progress(resource: &ModelRegistryEntry, missing: Option<Missing>) -> [Said; 3] {
    let (reason, message) = standing(resource.spec.lifecycle());
    let calm = |reason| (false, (reason, "nothing is under way".to_owned()));
    if let Err(error) = resource.spec.artifact.uri.parse::<ArtifactUri>() {
        let reason = "ArtifactInvalidUri";
        let remedy = "the spec is immutable: delete this entry and register a corrected one".to_owned();
        return [(false, (reason, format!("spec.artifact.uri: {error}"))), calm(reason), (true, (reason, remedy))];
    }
    let well = |reason| (false, (reason, "nothing needs a person".to_owned()));
    // Of one that is revoked nothing is left to be approved.
    let Some(missing) = missing.filter(|_| resource.spec.lifecycle() != Lifecycle::Revoked) else {
        return [(true, (reason, message.into())), calm(reason), well(reason)];
    };
    let is_final = missing.is_final();
    let said = (missing.reason, missing.message);
    if is_final {
        [(false, said.clone()), calm(said.0), (true, said)]
    } else {
        [(false, said.clone()), (true, said), well(reason)]
    }
}

/// What is missing of the approvals, where some are asked for.
fn approvals(resource: &ModelRegistryEntry, observed: &Observed) -> Option<Option<Missing>> {
    let asked = !approval::roles_of(resource, &observed.approval_roles).is_empty();
    asked.then(|| approval::missing_of_entry(resource, &observed.approval_roles, &observed.approvals, &observed.guard))
}

fn said_of_approvals(resource: &ModelRegistryEntry, missing: Option<&Missing>) -> Said {
    if let Some(missing) = missing {
        return (false, (missing.reason, missing.message.clone()));
    }
    let mut message = "every role that is asked for has approved it".to_owned();
    if resource.spec.delivered_by.is_some() {
        message.push_str("; whose work it is was said by the account that delivered it (spec.deliveredBy), and nobody has verified it");
    }
    (true, ("Approved", message))
}

fn said_of_guard(guard: &Guard) -> Said {
    match guard {
        Guard::Ready(_) => (true, ("PoliciesInForce", "the admission policies are the shipped ones".into())),
        Guard::NotReady(why) => (false, (approval::UNGUARDED, why.clone())),
        Guard::NotAsked => (false, (approval::UNGUARDED, "the admission policies have not been looked at".into())),
    }
}

/// Reason and message of an entry that is what its spec says: also one that may not be deployed, because that is what
/// the spec asks for, and nothing is left to be done.
fn standing(lifecycle: Lifecycle) -> (&'static str, &'static str) {
    match lifecycle {
        Lifecycle::Active => ("Registered", "can be deployed; the artifact is verified where it is fetched"),
        Lifecycle::Deprecated => ("Deprecated", "nothing begins to roll out from it; what serves goes on serving"),
        Lifecycle::Revoked => {
            ("Revoked", "nothing may serve it any more: its ModelDeployments say what has become of it there")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::condition::ConditionStatus;
    use crate::api::model_registry_entry::Governance;

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
        assert_eq!(
            said(&status),
            ["Ready True Registered", "Reconciling False Registered", "Stalled False Registered"]
        );
        assert_eq!((status.observed_generation, status.lease_epoch), (1, 7));
        assert!(status.spec_digest.starts_with("sha256:") && status.spec_digest.len() == 71, "{}", status.spec_digest);
        assert_eq!(pass(&mut entry, 60), None);
        entry.metadata.generation = Some(2);
        let later = pass(&mut entry, 120).unwrap();
        assert_eq!((later.observed_generation, &later.spec_digest), (2, &status.spec_digest));
        assert_eq!(later.conditions[0].last_transition_time, status.conditions[0].last_transition_time);
    }

    #[test]
    fn the_digest_is_of_everything_in_the_spec_but_its_lifecycle() {
        let [one, other] = ["s3://models/churn/1/", "s3://models/churn/2/"].map(|uri| entry(uri).spec.digest());
        assert_ne!(one, other);
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
        it.spec.governance = Some(Governance { approvals: vec![role.into()] });
        it.metadata.uid = Some("uid-1".into());
        it
    }

    fn word(entry: &ModelRegistryEntry, decision: &str) -> Arc<Approval> {
        let digest = entry.spec.digest();
        let subject = json!({"kind": "ModelRegistryEntry", "name": "churn-1", "uid": "uid-1", "digest": digest});
        let name = crate::api::approval::name_of("churn-1", "technical", &digest);
        let spec =
            json!({"subject": subject, "role": "technical", "decision": decision, "approver": "ben@example.com"});
        let it = json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval", "metadata": {"name": name}, "spec": spec});
        Arc::new(serde_json::from_value(it).unwrap())
    }

    /// What is said of it, and when it is looked at again.
    fn told(entry: &ModelRegistryEntry, approvals: Vec<Arc<Approval>>, guard: Guard) -> (Vec<String>, bool) {
        let observed = Observed { lease_epoch: 7, approvals, guard, approval_roles: Vec::new() };
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
            approval_roles: vec!["technical".into()],
            guard: Guard::Ready(DateTime::UNIX_EPOCH),
            ..Observed::default()
        };
        let now = DateTime::from_timestamp(1_795_003_200, 0).unwrap();
        it.status = decide(&it, &asked, now).status;
        assert!(said(it.status.as_ref().unwrap()).contains(&"Approved False AwaitingApproval".to_owned()));
        let status = decide(&it, &Observed::default(), now).status.unwrap();
        assert_eq!(
            said(&status),
            ["Ready True Registered", "Reconciling False Registered", "Stalled False Registered"]
        );
        assert!(status.approvals.is_empty());
    }

    #[test]
    fn one_that_is_being_deleted_is_left_alone() {
        let mut entry = entry("s3://models/churn/1/");
        entry.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-20T00:00:00Z")).unwrap();
        assert_eq!(pass(&mut entry, 0), None);
    }
}
