//! What is not approved, or not allowed, does not begin and gets no more weight, as far as the operator can know.

use serde::Deserialize;
use serde_json::Value;

use super::Oracles;
use crate::api::approval::{ApprovalDecision, name_of};
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus};
use crate::api::{Approval, ModelRegistryEntry};
use crate::sim::server::Cluster;
use crate::sim::view::{APPROVALS, ENTRIES, MODELS, NAME, path};

/// Whether the API server has this word, and it is yes.
fn is_approved(cluster: &Cluster, subject: &str, role: &str, digest: &str) -> bool {
    let object = cluster.get(&path(APPROVALS, &name_of(subject, role, digest)));
    Approval::deserialize(object.as_ref()).is_ok_and(|it| it.spec.decision == ApprovalDecision::Approved)
}

/// What the deployment does and the entry does not allow, or does not say: of the objects as they are, apart from how the operator
/// reads them.
fn not_allowed(entry: &Value, deployment: &Value) -> Vec<&'static str> {
    let words = |it: &Value| -> Vec<String> {
        it.as_array().into_iter().flatten().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let (governance, spec) = (&entry["spec"]["governance"], &deployment["spec"]);
    let is_outside = |allowed: &Value, said: &Value| {
        let allowed = words(allowed);
        match said.as_str() {
            Some(said) => !allowed.iter().any(|it| it == said),
            None => !allowed.is_empty(),
        }
    };
    let mut wrong = Vec::new();
    if is_outside(&governance["purposes"], &spec["purpose"]) {
        wrong.push("a purpose");
    }
    if !words(&governance["regions"]).is_empty() && is_outside(&governance["regions"], &spec["region"]) {
        wrong.push("a region");
    }
    for source in entry["spec"]["dataSources"].as_array().into_iter().flatten() {
        let is_consented = source["legalBasis"] == "Consent";
        if is_consented
            && words(&source["consentSignals"]).iter().any(|it| !words(&spec["consentSignals"]).contains(it))
        {
            wrong.push("an unchecked consent");
        }
        let undocumented = ["legalBasis", "purposes", "retention", "ropaId"].iter().any(|it| source[it].is_null());
        if source["personalData"] == true && undocumented {
            wrong.push("undocumented data about people");
        }
    }
    wrong
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
        let Ok(entry) = ModelRegistryEntry::deserialize(cluster.get(&path(ENTRIES, named)).as_ref()) else {
            return;
        };
        if self.verifies && old.proven.iter().all(|it| it.revision != attempt.revision) {
            self.rolled_out_verified(cluster, named);
        }
        for wrong in not_allowed(&cluster.get(&path(ENTRIES, named)), &deployment) {
            self.broken(format!("{} at {}: {wrong} of {named}", attempt.id, attempt.weight));
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
