//! What uses an entry, and that it stays as long as something does.
//!
//! An entry is in use while a revision of it is alive: serves, is on its way, drains, or is kept to go back to. It carries a
//! finalizer then: deleted, it stays until the last of its revisions is gone, so that it can still be revoked, and that
//! nobody registers something else under its name meanwhile. Nothing begins to roll out from it.
//!
//! A deployment that only names it in its spec does not use it. One that the operator cannot read may: nothing of its namespace is
//! let go of until it can.
//!
//! It is let go of only when the API server itself says that nothing uses it: caches can be behind. The hold follows the first use by a
//! moment, and the first use what was seen of the entry: whoever deletes an entry in just that moment is not held up, and the revision
//! runs on without it.

use std::time::Duration;

use kube::ResourceExt;

use super::Observed;
use crate::api::ModelRegistryEntry;
use crate::api::labels;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::model_registry_entry::User;
use crate::decide::{Finalizer, Missing, Refusal};

/// Users in status: thousands of deployments can be of one entry, and each that comes or goes would be a write.
pub const MOST: usize = 10;

/// Reason: somebody deletes it, and something uses it, or may.
pub const DELETED_IN_USE: &str = "DeletedInUse";
/// Reason: it is in use, and nothing keeps it if somebody deletes it.
pub const REFUSED: &str = "FinalizerRefused";

/// When it is looked again at what nobody tells.
const RETRY: Duration = Duration::from_mins(1);

/// Names of the entries that a deployment uses.
pub fn used_by(status: &ModelDeploymentStatus) -> impl Iterator<Item = &str> {
    let attempt = status.attempt.as_ref().filter(|it| it.state.is_active()).map(|it| &it.entry);
    let fallback = status.probation.as_ref().map(|it| &it.fallback);
    let named = status.stable.iter().chain(attempt).chain(fallback).map(|it| it.name.as_str());
    named.chain(status.revisions.iter().filter_map(|it| it.entry.as_ref()).map(|it| it.name.as_str()))
}

/// As status shows them.
pub(super) fn users(names: &[String]) -> Vec<User> {
    let mut users: Vec<User> =
        names.iter().take(MOST).map(|name| User { kind: "ModelDeployment".into(), name: name.clone() }).collect();
    users.sort_by(|one, other| one.name.cmp(&other.name));
    users
}

/// Whether the operator keeps it while somebody deletes it.
#[must_use]
pub fn is_held(resource: &ModelRegistryEntry) -> bool {
    resource.finalizers().iter().any(|it| it == labels::IN_USE)
}

fn is_deleted(resource: &ModelRegistryEntry) -> bool {
    resource.metadata.deletion_timestamp.is_some()
}

/// Whether the API server was asked who runs revisions of an entry: only before it is let go of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Asked {
    /// What the caches know is enough.
    #[default]
    Not,
    /// It has said what names there are.
    Answered,
    /// It has said nothing.
    Unanswered,
}

/// Who runs revisions of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Names of deployments that do, at least one more than [`MOST`] if there are so many; by the caches, first those that status names.
    pub names: Vec<String>,
    /// A deployment of its namespace that the operator cannot read, if there is one: it may.
    pub unreadable: Option<String>,
    /// What the API server has said.
    pub asked: Asked,
}

impl Users {
    /// Whether it is known that there are none.
    #[must_use]
    pub fn are_none(&self) -> bool {
        self.names.is_empty() && self.unreadable.is_none() && self.asked != Asked::Unanswered
    }
}

/// What to do with the finalizer. Nobody can hold what is on its way out. What was refused is said before it is tried again: a plan is
/// carried out to its first refusal.
pub(super) fn finalizer(resource: &ModelRegistryEntry, observed: &Observed) -> Option<Finalizer> {
    if observed.users.are_none() {
        return Some(Finalizer::Release);
    }
    let holds = !observed.users.names.is_empty() && !is_deleted(resource) && refusal(resource, observed).is_none();
    holds.then_some(Finalizer::Hold)
}

/// When to look again: nobody tells when a write would be accepted, nor when somebody deletes what cannot be read.
pub(super) fn look_again(resource: &ModelRegistryEntry, observed: &Observed) -> Option<Duration> {
    let users = &observed.users;
    let is_asked_again = users.asked != Asked::Not && !users.are_none();
    let waits = is_deleted(resource) && users.unreadable.is_some() || is_asked_again;
    (waits || refusal(resource, observed).is_some()).then_some(RETRY)
}

/// That the API server did not let the operator hold it.
fn refusal<'a>(resource: &ModelRegistryEntry, observed: &'a Observed) -> Option<&'a Refusal> {
    let of_it = |it: &&Refusal| it.kind == "ModelRegistryEntry" && it.name == resource.name_any();
    observed.refused.as_ref().filter(of_it).filter(|_| !observed.users.names.is_empty() && !is_held(resource))
}

/// The same, as people are told.
pub(super) fn refused(resource: &ModelRegistryEntry, observed: &Observed) -> Option<String> {
    let said = &refusal(resource, observed)?.message;
    Some(format!(
        "the API server refuses the finalizer that keeps it while it is in use: {said}; nothing keeps it if somebody deletes it: give the operator's account the verb patch on modelregistryentries and the chart's admission policies of this version (helm upgrade)"
    ))
}

/// What people are told of one that is deleted in use.
pub(super) fn what_blocks(resource: &ModelRegistryEntry, observed: &Observed) -> Option<Missing> {
    let Users { names, unreadable, asked } = &observed.users;
    let message = match (names.as_slice(), unreadable, asked) {
        ([], None, Asked::Unanswered) => {
            "somebody deletes it, and the API server does not say whether a ModelDeployment of its namespace runs revisions of it: it stays until that is known; the operator's log has the API server's words".to_owned()
        }
        ([], Some(unreadable), _) => format!(
            "somebody deletes it, and ModelDeployment {unreadable} of its namespace cannot be read, and may run revisions of it: it stays until that one is corrected (its Events say what is wrong) or deleted"
        ),
        _ => {
            let more = if names.len() > MOST { " and others" } else { "" };
            let named = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!(
                "somebody deletes it, and ModelDeployment {named}{more} runs revisions of it: it stays until those are gone, and nothing begins to roll out from it; deploy another entry there, or set lifecycle: Revoked"
            )
        }
    };
    is_deleted(resource).then_some(Missing { reason: DELETED_IN_USE, message, is_final: true })
}
