//! What is not approved, or not allowed, does not begin and gets no more weight, as far as the operator can know.

use super::Oracles;
use crate::api::approval::{ApprovalDecision, name_of};
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus};
use crate::api::{Approval, ModelRegistryEntry};
use crate::sim::server::Cluster;
use crate::sim::view::{APPROVALS, ENTRIES, MODELS, NAME, path};

/// Whether the API server has this word, and it is yes.
fn is_approved(cluster: &Cluster, subject: &str, role: &str, digest: &str) -> bool {
    let object = cluster.get(&path(APPROVALS, &name_of(subject, role, digest)));
    serde_json::from_value(object).is_ok_and(|it: Approval| it.spec.decision == ApprovalDecision::Approved)
}

impl Oracles {
    /// Of a status that makes an attempt begin, or its weight rise, each role has said yes.
    pub(super) fn approved(&mut self, cluster: &Cluster, old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) {
        if !self.knows(cluster) {
            return;
        }
        let goes_up = new.attempt.as_ref().filter(|it| it.state.is_active() && it.state != AttemptState::RollingBack);
        let Some(attempt) = goes_up else { return };
        let before = old.attempt.as_ref().filter(|it| it.id == attempt.id);
        if before.is_some_and(|it| it.weight >= attempt.weight) {
            return;
        }
        let deployment = cluster.get(&path(MODELS, NAME));
        let named = deployment["spec"]["modelRef"]["name"].as_str().unwrap_or_default();
        let Ok(entry) = serde_json::from_value::<ModelRegistryEntry>(cluster.get(&path(ENTRIES, named))) else {
            return;
        };
        let allowed = entry.spec.governance.as_ref().map(|it| it.purposes.clone()).unwrap_or_default();
        let purpose = deployment["spec"]["purpose"].as_str();
        if purpose.map_or(!allowed.is_empty(), |it| !allowed.iter().any(|allowed| allowed == it)) {
            self.broken(format!(
                "{} at {}, used for {purpose:?}, which {named} does not allow",
                attempt.id, attempt.weight
            ));
        }
        let digest = entry.spec.digest();
        for role in entry.spec.governance.iter().flat_map(|it| &it.approvals) {
            if !is_approved(cluster, named, role, &digest) {
                self.broken(format!("{} at {}, and role {role} has not approved {named}", attempt.id, attempt.weight));
            }
        }
        let passed = before.filter(|it| !it.fast_return).into_iter().flat_map(|it| &it.approvals);
        for step in passed.filter(|it| it.weight <= attempt.weight) {
            if !is_approved(cluster, NAME, &step.role, &step.digest) {
                self.broken(format!("{} at {}, and {} is not approved", attempt.id, attempt.weight, step.weight));
            }
        }
    }
}
