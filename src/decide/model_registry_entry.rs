//! What to do about a ModelRegistryEntry: say whether it can be deployed.
//!
//! The spec is immutable and CEL has checked its form. What is left:
//! the digest that decisions refer to, a URI that the fetching side can open, whether it says all that has to be said of it
//! ([`governance`]), whether those who have to approve it have ([`approval`]), and whether it is not too late for it
//! ([`time`]), whether its artifact is the registered one ([`verification`]), and whether a vendor can be left ([`exit`]). And that it stays while something runs revisions of it ([`usage`]).

pub mod exit;
pub mod usage;
pub mod verification;

pub use usage::{Asked, Users};

use std::sync::Arc;

use chrono::{DateTime, Utc};
use kube::ResourceExt;

use super::approval::guard::{self, Guard};
use super::approval::{self, Word};
use super::governance::{self, time};
use super::{Missing, Plan, Refusal, confirms_first};
use crate::api::artifact::ArtifactUri;
use crate::api::condition;
use crate::api::model_registry_entry::{
    Lifecycle, ModelRegistryEntrySpec, ModelRegistryEntryStatus, RoleWord, RoleWordKind,
};
use crate::api::{Approval, Condition, ModelRegistryEntry};

/// What is known besides the entry.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// Epoch of this leader.
    pub lease_epoch: i64,
    /// No write of this leader has shown yet that the status is the newest.
    pub unconfirmed: bool,
    /// Approvals that are about an entry of this name.
    pub approvals: Vec<Arc<Approval>>,
    /// Whether they count.
    pub guard: Guard,
    /// Which roles there are.
    pub approval_roles: approval::Roles,
    /// Who runs revisions of it.
    pub users: Users,
    /// The write that the API server would not have last time.
    pub refused: Option<Refusal>,
    /// Whether every entry has to say what it is for, how risky it is, and who answers for it.
    pub require_governance: bool,
    /// How its artifact is verified, if it is.
    pub verification: Option<verification::Settings>,
    /// What looks at it.
    pub jobs: verification::Jobs,
    /// Of a vendor's model, the entries that its exit leads through.
    pub way_out: exit::Way,
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
    let finalizer = usage::finalizer(resource, observed);
    if resource.metadata.deletion_timestamp.is_some() && observed.users.are_none() {
        return Plan { finalizer, ..Plan::default() };
    }
    let generation = resource.metadata.generation.unwrap_or_default();
    let old = resource.status.as_ref();
    let mut status = old.cloned().unwrap_or_default();
    status.observed_generation = generation;
    status.spec_digest = resource.spec.digest();
    status.used_by = usage::users(&observed.users.names);
    status.used_by_more = observed.users.names.len() > usage::MOST;
    status.approvals = words(resource, observed);
    let verified = verification::verify(resource, observed, &mut status, now);
    for (type_, said) in conclude(resource, observed, &verified, now) {
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
    let unguarded =
        condition::find(&status.conditions, "ApprovalGuardReady").is_some_and(|it| it.status != true.into());
    let ages = time::next_change(&resource.spec, now).and_then(|at| (at - now).to_std().ok());
    let changed = old != Some(&status) || confirms_first(observed.unconfirmed, &verified.ops);
    if changed {
        status.lease_epoch = observed.lease_epoch;
    }
    // Nobody tells when a policy is there again, nor what time it is.
    let untold = usage::look_again(resource, observed);
    let times = [unguarded.then_some(guard::RETRY), ages, untold, verified.requeue];
    let requeue = times.into_iter().flatten().min();
    Plan { status: changed.then_some(status), ops: verified.ops, finalizer, requeue, ..Plan::default() }
}

/// All conditions: what each says, or that it says nothing.
fn conclude(
    resource: &ModelRegistryEntry,
    observed: &Observed,
    verified: &verification::Outcome,
    now: DateTime<Utc>,
) -> [(&'static str, Option<Said>); 9] {
    let incomplete = governance::incomplete(&resource.spec, observed.require_governance);
    let governed = governance::concerns(&resource.spec, observed.require_governance);
    let governed = governed.then(|| said_of_governance(incomplete.as_ref()));
    let approvals = approvals(resource, observed);
    let approved = approvals.as_ref().map(|it| said_of_approvals(resource, it.as_ref()));
    let guarded = approvals.as_ref().map(|_| said_of_guard(&observed.guard));
    let late = standing(resource, now).err();
    let deleted = usage::what_blocks(resource, observed);
    let held = usage::refused(resource, observed).map(|message| (false, (usage::REFUSED, message)));
    let unverified = verified.missing.clone();
    let exit = exit::look(resource, &observed.way_out);
    // An exit that only waits says less than what the entry itself waits for.
    let captive = exit.clone().and_then(Result::err);
    let (lost, awaited) = (captive.clone().filter(|it| it.is_final), captive.filter(|it| !it.is_final));
    let all = [deleted, incomplete, late, unverified, lost, approvals.flatten(), awaited];
    let missing = Missing::together(all.into_iter().flatten());
    let [ready, reconciling, stalled] = progress(resource, missing, now);
    [
        ("Ready", Some(ready)),
        ("Reconciling", Some(reconciling)),
        ("Stalled", Some(stalled)),
        ("GovernanceComplete", governed),
        ("Approved", approved),
        ("ApprovalGuardReady", guarded),
        ("KeptInUse", held),
        (verification::CONDITION, verified.said.clone()),
        (exit::CONDITION, exit.map(said_of_exit)),
    ]
}

/// `Ready`, `Reconciling`, `Stalled`.
fn progress(resource: &ModelRegistryEntry, missing: Option<Missing>, now: DateTime<Utc>) -> [Said; 3] {
    let (reason, message) = standing(resource, now).unwrap_or_else(|it| (it.reason, it.message));
    let calm = |reason| (false, (reason, "nothing is under way".to_owned()));
    if let Some((reason, error)) = malformed(&resource.spec) {
        let remedy = "the spec is immutable: delete this entry and register a corrected one".to_owned();
        return [(false, (reason, error)), calm(reason), (true, (reason, remedy))];
    }
    let well = |reason| (false, (reason, "nothing needs a person".to_owned()));
    // Of one that is revoked nothing is left to be done.
    let Some(missing) = missing.filter(|_| resource.spec.lifecycle() != Lifecycle::Revoked) else {
        return [(true, (reason, message)), calm(reason), well(reason)];
    };
    let is_final = missing.is_final;
    let said = (missing.reason, missing.message);
    if is_final {
        [(false, said.clone()), calm(said.0), (true, said)]
    } else {
        [(false, said.clone()), (true, said), well(reason)]
    }
}

/// What nobody can run.
fn malformed(spec: &ModelRegistryEntrySpec) -> Option<(&'static str, String)> {
    let artifact = match (&spec.artifact, &spec.vendor) {
        (Some(artifact), None) => artifact,
        (None, Some(_)) => return None,
        (None, None) => return Some(("ModelMissing", "spec has neither artifact nor vendor".to_owned())),
        (Some(_), Some(_)) => return Some(("ModelAmbiguous", "spec has both artifact and vendor".to_owned())),
    };
    let error = artifact.uri.parse::<ArtifactUri>().err()?;
    Some(("ArtifactInvalidUri", format!("spec.artifact.uri: {error}")))
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

fn said_of_exit(exit: Result<String, Missing>) -> Said {
    match exit {
        Ok(message) => (true, (exit::READY, message)),
        Err(missing) => (false, (missing.reason, missing.message)),
    }
}

fn said_of_governance(incomplete: Option<&Missing>) -> Said {
    match incomplete {
        Some(it) => (false, (it.reason, format!("{}; {}", it.message, governance::REMEDY))),
        None => (true, ("Documented", "what it may be used for is said, and its data allows it".into())),
    }
}

/// Reason and message of an entry that is what its spec says: also one that may not be deployed, because that is what
/// the spec asks for, and nothing is left to be done. An error: somebody was to look at it by now.
fn standing(resource: &ModelRegistryEntry, now: DateTime<Utc>) -> Result<(&'static str, String), Missing> {
    let plain = |reason, message: &str| Ok((reason, message.to_owned()));
    match resource.spec.lifecycle() {
        Lifecycle::Deprecated => plain("Deprecated", "nothing begins to roll out from it; what serves goes on serving"),
        Lifecycle::Revoked => {
            plain("Revoked", "nothing may serve it any more: its ModelDeployments say what has become of it there")
        }
        Lifecycle::Active => match time::too_late(&resource.name_any(), &resource.spec, now) {
            // Data grows old, and that is as it should be.
            Some(late) if late.reason == time::TOO_OLD => Ok((late.reason, late.message)),
            Some(late) => Err(late),
            None if resource.spec.vendor.is_some() => plain("Registered", "its vendor runs it; no ModelDeployment can"),
            None => plain("Registered", "can be deployed; the artifact is verified where it is fetched"),
        },
    }
}

#[cfg(test)]
mod tests;
