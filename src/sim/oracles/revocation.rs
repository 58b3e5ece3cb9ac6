//! What is revoked gets no traffic: not more than it has, and what it has only for a moment.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Decision, Oracles};
use crate::api::Weight;
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, Cause, EntryRef, ModelDeploymentStatus, Probation};
use crate::sim::server::Cluster;
use crate::sim::view::{ENTRIES, MODELS, NAME, NAMESPACE, RECORDS, path};

/// Whether anything was taken back because it is revoked.
pub(super) fn is_any(status: &ModelDeploymentStatus) -> bool {
    status.taken_back.iter().any(|it| it.cause == Cause::Revoked)
}

fn is_taken_back(status: &ModelDeploymentStatus, revision: &str) -> bool {
    status.taken_back.iter().any(|it| it.revision == revision && it.cause == Cause::Revoked)
}

/// The probation that ended because what it would go back to is revoked.
pub(super) fn let_go<'a>(old: &'a ModelDeploymentStatus, new: &ModelDeploymentStatus) -> Option<&'a Probation> {
    let goes = |it: &&Probation| {
        let revision = &it.fallback.revision;
        is_taken_back(new, revision) && !is_taken_back(old, revision)
    };
    old.probation.as_ref().filter(goes)
}

/// The stable revision that stopped to serve beside an attempt which goes on.
pub(super) fn stopped_beside(old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) -> Option<Decision> {
    let stable = old.stable.as_ref()?;
    let goes_on = |it: &ModelDeploymentStatus| it.attempt.as_ref().map(|it| (it.id.clone(), it.state.is_active()));
    let beside = goes_on(old).is_some_and(|it| it.1) && goes_on(old).map(|it| it.0) == goes_on(new).map(|it| it.0);
    let newly = is_taken_back(new, &stable.revision) && !is_taken_back(old, &stable.revision);
    let left = new.stable.as_ref().is_none_or(|it| it.revision != stable.revision);
    if !beside || !newly || !left {
        return None;
    }
    // Under the id of the attempt that promoted it, or one of its own.
    let about = |revision: &str| new.unrecorded.iter().find(|it| it.revision == revision && it.decision == "RollBack");
    let id = about(&stable.revision).map(|it| it.attempt.clone()).unwrap_or_default();
    Some((id, "RollBack".into(), Weight::NONE.to_string()))
}

fn is_revoked(cluster: &Cluster, entry: &str) -> bool {
    cluster.get(&path(ENTRIES, entry))["spec"]["lifecycle"] == "Revoked"
}

impl Oracles {
    /// Whether the operator has been told of everything there is.
    pub(super) fn knows(&self, cluster: &Cluster) -> bool {
        !self.is_late && cluster.behind().is_empty()
    }

    /// Nothing that is revoked is on its way, serves, or is kept to go back to, unless the spec wants that.
    pub(super) fn revoked_status(&mut self, cluster: &Cluster, new: &ModelDeploymentStatus) {
        if !self.knows(cluster) {
            return;
        }
        let keeps = cluster.get(&path(MODELS, NAME))["spec"]["onRevocation"] == "Keep";
        let goes_up = new.attempt.as_ref().filter(|it| it.state.is_active() && it.state != AttemptState::RollingBack);
        let stable = new.stable.as_ref().filter(|_| !keeps);
        let fallback = new.probation.as_ref().map(|it| &it.fallback);
        let named: Vec<EntryRef> =
            goes_up.map(|it| &it.entry).into_iter().chain(stable).chain(fallback).cloned().collect();
        for it in named.iter().filter(|it| is_revoked(cluster, &it.name)) {
            self.broken(format!("entry {} is revoked, and its revision stays", it.name));
        }
    }

    /// No weight rises for what is revoked; what is kept on traffic may get back what a candidate had.
    pub(super) fn revoked_weights(
        &mut self,
        cluster: &Cluster,
        status: &ModelDeploymentStatus,
        before: &BTreeMap<String, i64>,
        after: &[(String, i64)],
    ) {
        if !self.knows(cluster) {
            return;
        }
        let keeps = cluster.get(&path(MODELS, NAME))["spec"]["onRevocation"] == "Keep";
        let stable = status.stable.as_ref().filter(|_| keeps).map(|it| labels::name(&[NAME, &it.revision]));
        for (name, weight) in after.iter().filter(|(name, _)| Some(name) != stable.as_ref()) {
            let record = cluster.get(&path(RECORDS, name));
            let entry = record["data"]["entry"]["name"].as_str().unwrap_or_default();
            if *weight > before.get(name).copied().unwrap_or(0) && is_revoked(cluster, entry) {
                self.broken(format!("weight {weight} for {name}, whose entry is revoked"));
            }
        }
    }

    /// Nothing goes to what has been revoked for longer than this; `weight_of` an entry, in percent.
    pub(in crate::sim) fn off_traffic(
        &mut self,
        cluster: &Cluster,
        weight_of: impl Fn(&str) -> f64,
        promise: TimeDelta,
        now: DateTime<Utc>,
    ) {
        if cluster.get(&path(MODELS, NAME))["spec"]["onRevocation"] == "Keep" {
            return self.revoked_since.clear();
        }
        for (place, it) in cluster.all(ENTRIES) {
            let name = place.rsplit('/').next().unwrap_or_default();
            let here = it["metadata"]["namespace"] == NAMESPACE && it["spec"]["lifecycle"] == "Revoked";
            if !here || weight_of(name) == 0.0 {
                self.revoked_since.remove(name);
                continue;
            }
            let since = *self.revoked_since.entry(name.to_owned()).or_insert(now);
            if now - since > promise {
                self.broken(format!("{name} is revoked since {since} and still has traffic at {now}"));
            }
        }
    }
}
