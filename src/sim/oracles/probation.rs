//! What has to hold of a revision on probation, and of a candidate whose pods are not one thing.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, Oracles, revocation, transition};
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{
    Attempt, AttemptState, Cause, EntryRef, ModelDeploymentStatus, Probation, RevisionRole, RevisionStatus,
};
use crate::sim::others;
use crate::sim::server::Cluster;
use crate::sim::view::{DEPLOYMENTS, MODELS, NAME, PODS, path};

/// All that a change of status shows, in the order of the decisions: of probation first.
pub(super) fn decisions(old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) -> Vec<Decision> {
    let about = |it: &Probation, decision: &str| {
        let weight = if decision == "RollBack" { Weight::NONE } else { Weight::FULL };
        (it.attempt.clone(), decision.to_owned(), weight.to_string())
    };
    let let_go = revocation::let_go(old, new);
    let stopped = revocation::stopped_beside(old, new);
    let goes_back = went_back(old, new);
    let other = old.attempt.as_ref().filter(|it| goes_up(it) && goes_back.is_some());
    let given_up = other.map(|it| (it.id.clone(), "RollBack".to_owned(), Weight::NONE.to_string()));
    let of_probation = old.probation.as_ref().filter(|_| let_go.is_none()).and_then(|before| match &new.probation {
        Some(after) if after.attempt == before.attempt && after.recall.is_some() && before.recall.is_none() => {
            Some(about(before, "Recall"))
        }
        None if goes_back.is_some() || !is_stable(new, &before.revision) => None,
        None if new.proven.iter().any(|it| it.revision == before.revision) => Some(about(before, "Prove")),
        None => Some(about(before, "EndProbation")),
        Some(_) => None,
    });
    // What is kept on traffic until something else can serve is called back as if it had been on probation.
    let recalled = new.probation.as_ref().filter(|it| it.recall.is_some() && old.probation.is_none());
    let first = let_go.map(|it| about(it, "EndProbation")).or(recalled.map(|it| about(it, "Recall"))).or(of_probation);
    first.into_iter().chain(stopped).chain(given_up).chain(transition(old, new)).chain(used_for(old, new)).collect()
}

/// What a revision was used for before this status, and is no more.
fn used_for(old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) -> Option<Decision> {
    let before = |revision: &str| old.revisions.iter().find(|it| it.revision == revision);
    let is_other = |it: &&RevisionStatus| {
        before(&it.revision).is_some_and(|before| before.used_for.is_some() && before.used_for != it.used_for)
    };
    let started = |it: &&RevisionStatus| {
        let of = |status: &ModelDeploymentStatus| status.attempt.as_ref().map(|it| it.id.clone());
        of(old) != of(new) && new.attempt.as_ref().is_some_and(|attempt| attempt.revision == it.revision)
    };
    let it = new.revisions.iter().filter(is_other).find(|it| !started(it))?;
    let attempt = new.attempt.as_ref().filter(|attempt| attempt.revision == it.revision);
    let (id, weight) = attempt.map_or((String::new(), Weight::FULL), |it| (it.id.clone(), it.weight));
    Some((id, "Use".to_owned(), weight.to_string()))
}

fn is_stable(status: &ModelDeploymentStatus, revision: &str) -> bool {
    status.stable.as_ref().is_some_and(|it| it.revision == revision)
}

fn goes_up(attempt: &Attempt) -> bool {
    attempt.state.is_active() && attempt.state != AttemptState::RollingBack
}

/// What traffic went back to from the stable revision, which is taken back now.
fn went_back<'a>(old: &ModelDeploymentStatus, new: &'a ModelDeploymentStatus) -> Option<&'a EntryRef> {
    let (before, after) = (old.stable.as_ref()?, new.stable.as_ref()?);
    let is_taken = |it: &Attempt| it.state == AttemptState::RollingBack && it.revision == before.revision;
    (before.revision != after.revision && new.attempt.as_ref().is_some_and(is_taken)).then_some(after)
}

impl Oracles {
    /// An outcome that arrives late was asked for.
    pub(in crate::sim) fn late_answer(&mut self, fails: bool, now: DateTime<Utc>) {
        self.late_failure = fails.then(|| self.late_failure.unwrap_or(now));
    }

    /// Whether a revision on probation has failed and nobody calls it back.
    pub(in crate::sim) fn called_back(
        &mut self,
        status: &ModelDeploymentStatus,
        promise: TimeDelta,
        now: DateTime<Utc>,
    ) {
        let open = status.probation.as_ref().filter(|it| it.recall.is_none());
        let Some((at, probation)) = self.late_failure.zip(open) else { return self.late_failure = None };
        if now - at > promise {
            self.broken(format!("{} failed at {at} and still serves unrecalled at {now}", probation.revision));
        }
    }

    /// What is on probation serves and is not proven; what is kept for it is there; back goes all of the traffic to
    /// pods that can take it, and while those are there nothing goes to what is called back.
    pub(super) fn on_probation(&mut self, cluster: &Cluster, old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) {
        if let Some(it) = &new.probation {
            if !is_stable(new, &it.revision) || new.proven.iter().any(|proven| proven.revision == it.revision) {
                self.broken(format!("{} is on probation, and does not serve or is proven", it.revision));
            }
            let kept = new.revisions.iter().find(|kept| kept.revision == it.fallback.revision).map(|it| it.role);
            if !matches!(kept, Some(RevisionRole::Kept | RevisionRole::Fallback)) {
                self.broken(format!("{}, which is to be gone back to, is {kept:?}", it.fallback.revision));
            }
        }
        // Proven it was once: whatever else is decided, it stays that which is gone back to, or serves.
        if let (Some(before), Some(after)) = (&old.probation, &new.probation)
            && before.fallback != after.fallback
            && !is_stable(new, &before.fallback.revision)
            && !old.proven.iter().any(|it| it.revision == after.fallback.revision)
        {
            self.broken(format!("{:?} is kept instead of {:?}, and is not proven", after.fallback, before.fallback));
        }
        let place = |revision: &str| path(DEPLOYMENTS, &labels::name(&[NAME, revision]));
        let ready = |revision: &str| cluster.get(&place(revision))["status"]["readyReplicas"].as_i64().unwrap_or(0);
        let wanted = cluster.get(&path(MODELS, NAME))["spec"]["replicas"].as_i64().unwrap_or(1);
        // What is revoked goes at once, whatever pods there are.
        let is_revoked = new.attempt.as_ref().is_some_and(|it| it.cause == Some(Cause::Revoked));
        if let Some(it) = went_back(old, new).filter(|_| !is_revoked) {
            let seen = self.most_ready.get(&place(&it.revision)).copied().unwrap_or(0);
            let most = ready(&it.revision).max(seen);
            if most < wanted {
                self.broken(format!("all traffic back to {most} of {wanted} pods"));
            }
        }
        // Of what it may not have seen yet, the operator knows nothing.
        let knows = !self.is_late && cluster.behind().is_empty();
        let all = |status: &ModelDeploymentStatus| {
            status.attempt.as_ref().is_some_and(|it| goes_up(it) && it.weight == Weight::FULL)
        };
        if let Some(it) = new.probation.as_ref().filter(|it| it.recall.is_some() && knows)
            && all(old)
            && !all(new)
            && ready(&it.fallback.revision) >= wanted
        {
            self.broken(format!("traffic goes to {}, which is called back, and not to what is proven", it.revision));
        }
        self.rises_as_one(cluster, old, new, knows);
    }

    /// No weight rises for a candidate whose pods run different images.
    fn rises_as_one(
        &mut self,
        cluster: &Cluster,
        old: &ModelDeploymentStatus,
        new: &ModelDeploymentStatus,
        knows: bool,
    ) {
        let weight = |it: &ModelDeploymentStatus| it.attempt.as_ref().filter(|it| goes_up(it)).map(|it| it.weight);
        let Some(attempt) = new.attempt.as_ref().filter(|_| knows && weight(new) > weight(old).or(Some(Weight::NONE)))
        else {
            return;
        };
        let pods = cluster.all(PODS).into_iter().filter(|(_, it)| others::revision(it) == attempt.revision);
        let mut images: Vec<_> =
            pods.map(|(_, it)| it["status"]["containerStatuses"][0]["imageID"].to_string()).collect();
        images.retain(|it| it != "null");
        images.dedup();
        if images.len() > 1 {
            self.broken(format!("{} rises, and its pods run {images:?}", attempt.revision));
        }
    }
}
