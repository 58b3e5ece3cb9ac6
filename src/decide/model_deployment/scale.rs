//! How many pods each revision has, or has at least.
//!
//! With `replicas` the operator says how many there are. With `autoscaling` each revision has an autoscaler
//! that does, and the operator says how many there are at least: what stable had when the attempt began, and
//! what the candidate's weight takes of that. A Deployment that an autoscaler has in hand is left alone, unless it
//! says 0: that, an autoscaler leaves alone.

use super::children::Work;
use super::pass::Pass;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, RevisionRole, RevisionStatus};
use crate::build::{self, Owner};
use crate::decide::{Child, ChildKind};

impl Pass<'_> {
    /// Pods that all of the traffic takes: a weight takes its share of them.
    pub(super) fn full(&self) -> i32 {
        let Some(most) = self.policy.most_replicas else { return self.policy.replicas };
        let began_with = self.active().map_or(0, |attempt| attempt.stable_replicas);
        self.stable_has().max(began_with).min(most).max(self.policy.replicas)
    }

    /// How many pods the stable revision is told to have at this moment.
    pub(super) fn stable_has(&self) -> i32 {
        let name = self.status.stable.as_ref().map(|it| labels::name(&[self.name(), &it.revision]));
        let live = name.and_then(|name| self.observed.children.deployments.get(&name)?.spec.as_ref()?.replicas);
        live.unwrap_or(0)
    }
}

impl Work<'_> {
    /// The number of pods that a revision's Deployment is to say.
    pub(super) fn replicas(&self, it: &RevisionStatus, live: Option<i32>) -> i32 {
        self.in_hand(it, live).unwrap_or_else(|| self.at_least(it, live))
    }

    /// How many it says, if that is an autoscaler's to say: one that says 0 is left alone by it.
    pub(super) fn in_hand(&self, it: &RevisionStatus, live: Option<i32>) -> Option<i32> {
        self.pass.policy.most_replicas.and(live).filter(|pods| *pods > 0 && !self.pass.sleeps(it))
    }

    /// How many pods a revision should have, or have at least. A candidate is never scaled down on its
    /// way, and what drains stays as it is until it is gone.
    fn at_least(&self, it: &RevisionStatus, live: Option<i32>) -> i32 {
        let full = self.pass.full();
        let attempt = self.pass.status.attempt.as_ref().filter(|attempt| attempt.state.is_active());
        match (it.role, attempt) {
            // More are given at once, fewer when the attempt has ended: until then all traffic may come back.
            // None means that nothing is to run.
            (RevisionRole::Stable, Some(attempt)) if full > 0 => attempt.stable_replicas.max(full),
            (RevisionRole::Stable, _) => full,
            (RevisionRole::Candidate, Some(attempt)) => {
                let carries = if attempt.state == AttemptState::Starting {
                    self.pass.next_weight(attempt)
                } else {
                    self.pass.carried(attempt)
                };
                carries.capacity(full).max(live.unwrap_or(0).min(full))
            }
            // All that it had: it may be called back any moment.
            (RevisionRole::Kept, _) if full > 0 => live.filter(|it| *it > 0).unwrap_or(full),
            (RevisionRole::Kept, _) => 0,
            (RevisionRole::Fallback, _) if self.pass.sleeps(it) => 0,
            (RevisionRole::Fallback, _) => full,
            (RevisionRole::Candidate, None) if self.pass.sleeps(it) => 0,
            (RevisionRole::Candidate | RevisionRole::Draining, _) => live.unwrap_or(0),
        }
    }

    /// Brings all autoscalers to what they should be; the candidate's first, whose weight waits for it.
    pub(super) fn autoscalers(&mut self) {
        let is_candidate = |it: &&RevisionStatus| it.role == RevisionRole::Candidate;
        let (candidate, others): (Vec<_>, Vec<_>) = self.pass.status.revisions.iter().partition(is_candidate);
        let staying: Vec<_> = candidate.into_iter().chain(others).filter(|it| !self.is_leaving(it)).collect();
        for it in staying {
            let name = labels::name(&[self.pass.name(), &it.revision]);
            let record = self.children.records.get(&name).filter(|it| it.metadata.deletion_timestamp.is_none());
            let Some(uid) = record.and_then(|it| it.metadata.uid.clone()) else { continue };
            let pods = self.children.deployments.get(&name).and_then(|it| it.spec.as_ref()?.replicas);
            self.autoscaler(it, &Owner { name, uid }, pods);
        }
    }

    fn autoscaler(&mut self, it: &RevisionStatus, owner: &Owner, pods: Option<i32>) {
        let live = self.children.autoscalers.get(&owner.name);
        let Some(asked) = &self.pass.resource.spec.autoscaling else {
            if let Some(live) = live {
                self.delete(ChildKind::Autoscaler, &live.metadata);
            }
            return;
        };
        // The old revision keeps what it had in the attempt that replaced it; without pods, an autoscaler rests.
        if (it.role == RevisionRole::Kept || self.pass.sleeps(it)) && live.is_some() {
            return;
        }
        let told = live.map(|it| build::autoscaler::min(it));
        let min = self.floor(it, told, pods);
        let wanted = match build::autoscaler::write(self.pass.resource, asked, &it.revision, owner, min) {
            Ok(wanted) => wanted,
            Err(message) => return self.blocked("InvalidAutoscaling", message),
        };
        match live {
            None => self.create(Child::Autoscaler(Box::new(wanted))),
            Some(live) if build::autoscaler::same(live, &wanted) => {}
            Some(live) => self.write_over(&live.metadata, Child::Autoscaler(Box::new(wanted))),
        }
    }

    /// How many pods the autoscaler keeps at least. `told` is what it was told last.
    fn floor(&self, it: &RevisionStatus, told: Option<i32>, pods: Option<i32>) -> i32 {
        let attempt = self.pass.active();
        match (it.role, attempt) {
            // All traffic may come back until the attempt has ended.
            (RevisionRole::Stable, Some(attempt)) => attempt.stable_replicas.max(self.pass.policy.replicas),
            // An autoscaler has seen nothing yet of what it is to go by: until the old revision goes, it takes nothing away.
            (RevisionRole::Stable, None) if self.keeps_another() => told.unwrap_or(0).max(self.pass.policy.replicas),
            (RevisionRole::Kept, _) => pods.unwrap_or(0).max(self.pass.policy.replicas),
            (RevisionRole::Candidate | RevisionRole::Fallback, _) => self.at_least(it, told),
            (RevisionRole::Stable | RevisionRole::Draining, _) => self.pass.policy.replicas,
        }
        .max(1)
    }

    fn keeps_another(&self) -> bool {
        self.pass.status.revisions.iter().any(|it| it.role == RevisionRole::Kept)
    }
}
