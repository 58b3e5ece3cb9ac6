//! What uses an entry, and that it stays as long as something does.
//!
//! An entry is in use while a revision of it is alive: serves, is on its way, drains, or is kept to go back to. It carries a
//! finalizer then: deleted, it stays until the last of its revisions is gone, so that it can still be revoked, and that
//! nobody registers something else under its name meanwhile. Nothing begins to roll out from it.
//!
//! A deployment that only names it in its spec does not use it.

use crate::api::ModelRegistryEntry;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::api::model_registry_entry::User;
use crate::decide::Finalizer;

/// Users in status: thousands of deployments can be of one entry, and each that comes or goes would be a write.
pub const MOST: usize = 10;

/// Reason: somebody deletes it, and something uses it.
pub const DELETED_IN_USE: &str = "DeletedInUse";

/// Names of the entries that a deployment uses.
pub fn used_by(status: &ModelDeploymentStatus) -> impl Iterator<Item = &str> {
    let attempt = status.attempt.as_ref().filter(|it| it.state.is_active()).map(|it| &it.entry);
    let fallback = status.probation.as_ref().map(|it| &it.fallback);
    let named = status.stable.iter().chain(attempt).chain(fallback).map(|it| it.name.as_str());
    named.chain(status.revisions.iter().filter_map(|it| it.entry.as_ref()).map(|it| it.name.as_str()))
}

/// As status shows them.
pub(super) fn users(names: &[String]) -> Vec<User> {
    let user = |name: &String| User { kind: "ModelDeployment".into(), name: name.clone() };
    names.iter().take(MOST).map(user).collect()
}

/// What to do with the finalizer. Nobody can hold what is on its way out.
pub(super) fn finalizer(resource: &ModelRegistryEntry, names: &[String]) -> Option<Finalizer> {
    match (names.is_empty(), resource.metadata.deletion_timestamp.is_some()) {
        (true, _) => Some(Finalizer::Release),
        (false, false) => Some(Finalizer::Hold),
        (false, true) => None,
    }
}

/// What people are told of one that is deleted in use.
pub(super) fn what_blocks(names: &[String]) -> String {
    let more = if names.len() > MOST { " and others" } else { "" };
    let named = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "somebody deletes it, and ModelDeployment {named}{more} runs revisions of it: it stays until those are gone, and nothing begins to roll out from it; deploy another entry there, or set lifecycle: Revoked"
    )
}
