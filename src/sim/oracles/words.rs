//! What people say of what is on its way is on the record, and so is what they take back.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{Decision, Oracles};
use crate::api::Approval;
use crate::api::approval::ApprovalDecision;
use crate::api::model_deployment::{ModelDeploymentStatus, RecordedApproval};
use crate::api::{ModelDeployment, ModelRegistryEntry};
use crate::audit::{Entry, RETRACT, is_of_words};
use crate::sim::server::Cluster;
use crate::sim::view::{APPROVALS, ENTRIES, MODELS, NAME, path};

/// The word that an entry notes, if it notes one.
pub(super) fn of_entry(entry: &Entry) -> Option<Decision> {
    let noted = entry.consents.first().filter(|_| is_of_words(&entry.decision))?;
    Some((noted.uid.clone(), entry.decision.clone(), String::new()))
}

/// The word that a change of status shows. What is forgotten because it has no effect any more takes no number.
pub(super) fn noted(old: &ModelDeploymentStatus, new: &ModelDeploymentStatus, others: usize) -> Option<Decision> {
    if new.sequence - old.sequence != i64::try_from(others).unwrap_or(i64::MAX) + 1 {
        return None;
    }
    let not_in = |there: &'_ ModelDeploymentStatus| {
        let known: BTreeSet<String> = there.recorded_approvals.iter().flatten().map(|it| it.uid.clone()).collect();
        move |it: &&RecordedApproval| !known.contains(&it.uid)
    };
    let said = |it: &RecordedApproval, what: &str| (it.uid.clone(), what.to_owned(), String::new());
    let is_no = |it: &&RecordedApproval| it.decision == ApprovalDecision::Rejected;
    let gone = old.recorded_approvals.iter().flatten().find(not_in(new)).map(|it| said(it, "Retract"));
    gone.or_else(|| {
        new.recorded_approvals.iter().flatten().filter(is_no).find(not_in(old)).map(|it| said(it, "Reject"))
    })
}

impl Oracles {
    /// Nothing is told to be gone that is there.
    pub(in crate::sim) fn retracts(&mut self, cluster: &Cluster, entry: &Entry) {
        let (RETRACT, Some(noted)) = (entry.decision.as_str(), entry.consents.first()) else { return };
        if cluster.all(APPROVALS).iter().any(|(_, it)| it["metadata"]["uid"] == noted.uid.as_str()) {
            self.broken(format!("{} is there, and retracted", noted.uid));
        }
    }

    /// Each word is noted once.
    pub(super) fn noted_once(&mut self, recorded: &[Decision]) {
        let words = || recorded.iter().filter(|(_, decision, _)| is_of_words(decision));
        if let Some((uid, decision, _)) = words().find(|it| words().filter(|other| other == it).count() > 1) {
            self.broken(format!("{decision} of {uid} twice"));
        }
    }

    /// At rest, status knows of each no that counts, and of nothing that is gone.
    pub(super) fn words(&mut self, cluster: &Cluster, status: &ModelDeploymentStatus) {
        let all: Vec<Approval> =
            cluster.all(APPROVALS).into_iter().filter_map(|(_, it)| Approval::deserialize(it.as_ref()).ok()).collect();
        let uid = |it: &Approval| it.metadata.uid.clone().unwrap_or_default();
        for word in status.recorded_approvals.iter().flatten() {
            if all.iter().all(|it| uid(it) != word.uid) {
                self.broken(format!("{word:?} is gone, and not noted"));
            }
        }
        let in_question = in_question(cluster, status);
        let counts = |it: &&Approval| {
            it.spec.decision == ApprovalDecision::Rejected && in_question.contains(&it.spec.subject.digest)
        };
        for word in all.iter().filter(counts) {
            if status.recorded_approvals.iter().flatten().all(|it| it.uid != uid(word)) {
                self.broken(format!("{:?} is not on the record", word.spec));
            }
        }
    }
}

/// Digests of what is on its way: of the entry that the spec names, if it does not serve, and of the attempt's steps.
fn in_question(cluster: &Cluster, status: &ModelDeploymentStatus) -> BTreeSet<String> {
    let active = status.attempt.as_ref().filter(|it| it.state.is_active());
    let mut digests: BTreeSet<String> =
        active.iter().flat_map(|it| &it.approvals).map(|it| it.digest.clone()).collect();
    let Ok(deployment) = ModelDeployment::deserialize(cluster.get(&path(MODELS, NAME)).as_ref()) else {
        return digests;
    };
    let named = &deployment.spec.model_ref.name;
    let serves = active.is_none() && status.stable.as_ref().is_some_and(|it| it.name == *named);
    let entry = ModelRegistryEntry::deserialize(cluster.get(&path(ENTRIES, named)).as_ref());
    digests.extend(entry.ok().filter(|_| !serves).map(|it| it.spec.digest()));
    digests
}
