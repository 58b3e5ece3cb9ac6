//! What has to hold in every run: some of it at every write, the rest when the run has come to rest.

mod approval;
mod artifact;
mod askers;
mod breach;
pub(super) mod log;
mod names;
mod pods;
mod probation;
mod revocation;
mod usage;
mod words;
mod writers;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use artifact::Looks;
use askers::Askers;
use breach::Breaches;
pub(super) use breach::PROMISE;
use pods::needed;

use super::others::copies::is_copy;
use super::others::jobs;
use super::server::Cluster;
use super::view::{DEPLOYMENTS, MODELS, NAME, ROUTES, SERVICES, path, status_of, weights};
use crate::api::labels;
use crate::api::model_deployment::{AttemptState, ModelDeploymentStatus, RevisionRole};
use crate::api::{Weight, model_deployment::TrailNote};
use crate::audit::{Entry, EntryKind};
use crate::build::job::{PURPOSE, Purpose};

/// A decision as status and trail both tell it: attempt, what, to which weight. Of what somebody says, the Approval instead of the attempt.
type Decision = (String, String, String);

/// What the operator's writes are held to.
#[derive(Default)]
pub(super) struct Oracles {
    pub(super) violations: Vec<String>,
    /// Intents that are on the trail, by uid and number.
    intents: BTreeMap<(String, i64), Decision>,
    /// Transitions that status has shown, in order, by uid.
    effects: BTreeMap<String, Vec<Decision>>,
    /// The most ready pods that each Deployment has had since all was told: what the operator may still see.
    most_ready: BTreeMap<String, i64>,
    breaches: Breaches,
    /// What arrives now was sent by a process that is dead.
    pub(super) is_late: bool,
    /// Since when an outcome that arrives late has been bad.
    late_failure: Option<DateTime<Utc>>,
    /// Whether artifacts are verified before anything rolls out.
    pub(super) verifies: bool,
    askers: Askers,
    looks: Looks,
    /// The epoch of who wrote an object last, by its path.
    writers: BTreeMap<String, i64>,
    /// Since when entries are revoked.
    revoked_since: BTreeMap<String, DateTime<Utc>>,
}

impl Oracles {
    /// Of a run in which artifacts are verified, or not.
    pub(super) fn of(verifies: bool) -> Self {
        Self { verifies, ..Self::default() }
    }

    pub(super) fn broken(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// An intent has reached the trail.
    pub(super) fn intended(&mut self, entry: &Entry) {
        let decision = decision_of(entry);
        self.intents.entry((entry.uid.clone(), entry.sequence)).or_insert(decision);
    }

    /// A Deployment's pods are about to change; whether the watch of Deployments lags.
    pub(super) fn pods(&mut self, path: &str, deployment: &Value, lags: bool) {
        let ready = deployment["status"]["readyReplicas"].as_i64().unwrap_or(0);
        let most = self.most_ready.get(path).copied().filter(|_| lags).unwrap_or(0);
        self.most_ready.insert(path.to_owned(), ready.max(most));
    }

    /// The operator's process of this epoch has changed an object.
    pub(super) fn written(&mut self, cluster: &Cluster, path_: &str, epoch: i64, before: &Value, after: &Value) {
        if is_copy(before) {
            self.broken(format!("{path_} is somebody's copy, and was written"));
        }
        self.writes_no_name(path_, after);
        self.writes_in_turn(path_, epoch, before, after);
        if before.is_null() && is_garbage(cluster, after) {
            // Made for what has been deleted meanwhile: it is collected, too.
            return;
        }
        self.has_taken_over(cluster, path_, epoch, before, after);
        if path_.starts_with(MODELS.rsplit_once('/').unwrap().0) && path_.contains("/modeldeployments/") {
            self.status(cluster, before, after);
        } else if path_ == path(ROUTES, NAME) && !after.is_null() {
            self.route(cluster, before, after);
        } else if path_ == path(SERVICES, NAME) && before["spec"]["selector"] != after["spec"]["selector"] {
            self.switch(cluster, &after["spec"]["selector"]);
        } else if path_.contains("/modelregistryentries/") {
            self.artifact(before, after);
            self.lets_go(cluster, before, after);
        } else if path_.contains("/deployments/") {
            self.leaves_pods(cluster, path_, before, after);
        } else if path_.contains("/jobs/") && before.is_null() && jobs::looks_at(after).is_some() {
            self.look(cluster, after);
        } else if path_.contains("/jobs/") && before.is_null() {
            self.job(cluster, after);
        }
    }

    /// Of each metric and side one Job at a time; and no Service selects its pods.
    fn job(&mut self, cluster: &Cluster, job: &Value) {
        let what = |it: &Value| {
            let text = it["metadata"]["annotations"][PURPOSE].as_str().unwrap_or_default();
            let it: Purpose = serde_json::from_str(text).unwrap();
            (it.attempt, it.on_probation, it.metric, it.digest, format!("{:?}", it.subject))
        };
        let same = jobs::all(cluster).into_iter().filter(|(_, it)| !jobs::is_over(it) && what(it) == what(job));
        if same.count() > 1 {
            self.broken(format!("two Jobs at a time for {:?}", what(job)));
        }
        if !job["spec"]["template"]["metadata"]["labels"][labels::REVISION].is_null() {
            self.broken("a Service selects the pods of a Job");
        }
    }

    /// The Service selects what is stable, or is to be; or nothing.
    fn switch(&mut self, cluster: &Cluster, selector: &Value) {
        let status = status_of(&cluster.get(&path(MODELS, NAME)));
        let Some(to) = selector[labels::REVISION].as_str().filter(|it| *it != "none") else { return };
        let stable = status.stable.as_ref().map(|it| it.revision.as_str());
        let promoted = status.attempt.as_ref().filter(|it| it.state == AttemptState::Promoting);
        if stable != Some(to) && promoted.is_none_or(|it| it.revision != to) {
            self.broken(format!("the Service switches to {to}, which is neither stable nor promoted"));
        }
    }

    fn status(&mut self, cluster: &Cluster, before: &Value, after: &Value) {
        let generation = after["metadata"]["generation"].as_i64().unwrap_or(0);
        let uid = after["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if before["spec"] != after["spec"] {
            self.broken("the operator wrote a spec");
        }
        let (old, new) = (status_of(before), status_of(after));
        if new.observed_generation > generation {
            self.broken(format!("observedGeneration {} is ahead of {generation}", new.observed_generation));
        }
        let queued: BTreeSet<i64> = new.unrecorded.iter().filter(|it| is_intent(it)).map(|it| it.sequence).collect();
        for number in old.sequence + 1..=new.sequence {
            if !self.intents.contains_key(&(uid.clone(), number)) && !queued.contains(&number) {
                self.broken(format!("decision {number} took effect before its intent was on the trail"));
            }
        }
        for note in new.unrecorded.iter().filter(|it| is_intent(it)) {
            // A probation without anything left to go back to ends whether or not there is a record.
            let lets_go = note.decision == "EndProbation" && revocation::is_any(&new);
            if !lets_go && !matches!(note.decision.as_str(), "RollBack" | "Withdraw" | "Pause" | "Recall") {
                self.broken(format!("{} did not wait for the trail", note.decision));
            }
        }
        let mut shown = probation::decisions(&old, &new);
        shown.extend(words::noted(&old, &new, shown.len()));
        self.effects.entry(uid).or_default().extend(shown);
        self.on_probation(cluster, &old, &new);
        self.revoked_status(cluster, &new);
        self.approved(cluster, &old, &new);
        self.hears(&new, after);
        self.replaces_asker(&old, after);
    }

    /// Requests are copied to nobody but a candidate that is shadowed.
    fn copies(&mut self, status: &ModelDeploymentStatus, before: &Value, after: &Value) {
        let shadowed = status.attempt.as_ref().filter(|it| it.state == AttemptState::Shadowing);
        let shadowed = shadowed.map(|it| labels::name(&[NAME, &it.revision]));
        let known = mirrors(before);
        for name in mirrors(after) {
            if Some(&name) != shadowed.as_ref() && !known.contains(&name) {
                self.broken(format!("requests are copied to {name}, which is not shadowed"));
            }
        }
    }

    /// Weights add up; none rises above what is ready, or for what was taken back.
    fn route(&mut self, cluster: &Cluster, before: &Value, after: &Value) {
        let deployment = cluster.get(&path(MODELS, NAME));
        if deployment.is_null() && self.is_late {
            // What it leaves is collected, and so is this.
            return;
        }
        let status = status_of(&deployment);
        self.copies(&status, before, after);
        let before: BTreeMap<String, i64> = weights(before).into_iter().collect();
        let stable = status.stable.as_ref().map(|it| labels::name(&[NAME, &it.revision]));
        let attempt = status.attempt.as_ref().filter(|it| it.state.is_active());
        let after = weights(after);
        let sum: i64 = after.iter().map(|(_, it)| it).sum();
        if sum != i64::from(Weight::TOTAL) && (sum != 0 || stable.is_some()) {
            self.broken(format!("weights add up to {sum}: {after:?}"));
        }
        self.revoked_weights(cluster, &status, &before, &after);
        for (name, weight) in after {
            if weight <= before.get(&name).copied().unwrap_or(0) || Some(&name) == stable.as_ref() {
                continue;
            }
            if status.taken_back.iter().any(|it| labels::name(&[NAME, &it.revision]) == name) {
                self.broken(format!("weight {weight} for {name}, which was taken back"));
            }
            let Some(attempt) = attempt.filter(|it| labels::name(&[NAME, &it.revision]) == name) else {
                self.broken(format!("weight {weight} for {name}, which is neither stable nor the candidate"));
                continue;
            };
            let place = path(DEPLOYMENTS, &name);
            let ready = cluster.get(&place)["status"]["readyReplicas"].as_i64().unwrap_or(0);
            let ready = ready.max(self.most_ready.get(&place).copied().unwrap_or(0));
            let needed = needed(cluster, attempt, weight);
            if ready < needed {
                self.broken(format!("weight {weight} for {name} with {ready} of {needed} pods"));
            }
        }
    }

    /// What holds once nothing is left to do.
    pub(super) fn at_rest(&mut self, cluster: &Cluster, trail: &[Entry]) {
        let deployment = cluster.get(&path(MODELS, NAME));
        let all = cluster.everything();
        let uids: BTreeSet<&str> = all.iter().filter_map(|(_, it)| it["metadata"]["uid"].as_str()).collect();
        for (path, object) in &all {
            for owner in object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
                if !uids.contains(owner["uid"].as_str().unwrap_or_default()) {
                    self.broken(format!("{path} is an orphan"));
                }
            }
        }
        self.held_while_used(cluster);
        if deployment.is_null() {
            return;
        }
        let status = status_of(&deployment);
        if Some(status.observed_generation) != deployment["metadata"]["generation"].as_i64() {
            self.broken(format!("observedGeneration {} at rest", status.observed_generation));
        }
        if !status.unrecorded.is_empty() {
            self.broken(format!("{} decisions are not recorded at rest", status.unrecorded.len()));
        }
        let is_judged = status.attempt.as_ref().is_some_and(|it| it.state.is_active()) || status.probation.is_some();
        if !is_judged && !jobs::all(cluster).is_empty() {
            self.broken("a Job is left that judges nobody");
        }
        if jobs::looks(cluster).iter().any(|(_, it)| jobs::is_over(it)) {
            self.broken("a Job is left that has said what it found");
        }
        let all_named = cluster.all(MODELS).into_iter().flat_map(|(_, it)| {
            let name = it["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            status_of(&it).revisions.into_iter().map(move |it| labels::name(&[&name, &it.revision]))
        });
        let named: BTreeSet<String> = all_named.collect();
        for (path, object) in &all {
            let is_of_a_revision = !object["metadata"]["labels"][labels::REVISION].is_null();
            let owner = object["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            if is_of_a_revision && !is_copy(object) && !named.contains(name) && !named.contains(owner) {
                self.broken(format!("{path} belongs to no revision that is alive"));
            }
        }
        if status.revisions.iter().any(|it| it.role == RevisionRole::Draining) {
            self.broken("a revision drains for ever");
        }
        self.words(cluster, &status);
        self.record(deployment["metadata"]["uid"].as_str().unwrap_or_default(), &status, trail);
    }

    /// Exactly one intent for each transition, in order; what did not take effect is void, and nothing else is.
    fn record(&mut self, uid: &str, status: &ModelDeploymentStatus, trail: &[Entry]) {
        let of = |kind| trail.iter().filter(move |it| it.uid == uid && it.kind == kind);
        let voids: BTreeSet<i64> = of(EntryKind::Void).map(|it| it.sequence).collect();
        let outcomes: BTreeSet<i64> = of(EntryKind::Outcome).map(|it| it.sequence).collect();
        let numbers: Vec<i64> = of(EntryKind::Intent).map(|it| it.sequence).collect();
        if numbers != (1..=status.sequence).collect::<Vec<_>>() {
            self.broken(format!("intents {numbers:?} of {} decisions", status.sequence));
        }
        if let Some(number) = voids.union(&outcomes).find(|it| !numbers.contains(it)) {
            self.broken(format!("{number} ended on the trail and never began"));
        }
        if let Some(number) = voids.intersection(&outcomes).next() {
            self.broken(format!("{number} took effect and was given up"));
        }
        if let Some(attempt) = &status.attempt {
            // What is held before it begins has nothing that could come of it.
            let held = self.intents.get(&(uid.to_owned(), attempt.decided)).is_some_and(|it| it.1 == "HoldBack");
            if outcomes.contains(&attempt.decided) == held {
                self.broken(format!("the last decision, {}: outcome on the trail: {}", attempt.decided, !held));
            }
        }
        let recorded = of(EntryKind::Intent).filter(|it| !voids.contains(&it.sequence));
        recorded.clone().for_each(|it| self.names_rightly(it));
        let recorded: Vec<Decision> = recorded.map(decision_of).collect();
        self.noted_once(&recorded);
        let effects = self.effects.get(uid).cloned().unwrap_or_default();
        if recorded != effects {
            self.broken(format!("the trail tells {recorded:#?}, status has shown {effects:#?}"));
        }
    }
}

/// Whether it has owners, and all of them are gone, or garbage themselves.
fn is_garbage(cluster: &Cluster, object: &Value) -> bool {
    let all = cluster.everything();
    let is_gone = |owner: &Value| {
        let owner = all.iter().find(|(_, it)| it["metadata"]["uid"] == owner["uid"]);
        owner.is_none_or(|(_, it)| is_garbage(cluster, it))
    };
    let owners = object["metadata"]["ownerReferences"].as_array();
    owners.is_some_and(|it| !it.is_empty() && it.iter().all(is_gone))
}

/// Whom a route copies requests to.
fn mirrors(route: &Value) -> BTreeSet<String> {
    let rules = route["spec"]["rules"].as_array().into_iter().flatten();
    let filters = rules.flat_map(|it| it["filters"].as_array().into_iter().flatten());
    filters.filter_map(|it| it["requestMirror"]["backendRef"]["name"].as_str().map(str::to_owned)).collect()
}

fn is_intent(note: &TrailNote) -> bool {
    note.kind == EntryKind::Intent
}

fn decision_of(entry: &Entry) -> Decision {
    let decision = || (entry.attempt.clone(), entry.decision.clone(), entry.weight.clone());
    words::of_entry(entry).unwrap_or_else(decision)
}

/// The decision about the present attempt that a change of status shows.
fn transition(old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) -> Option<Decision> {
    use AttemptState::{Promoting, RollingBack, Shadowing, Shifting};
    let after = new.attempt.as_ref()?;
    let decision = match old.attempt.as_ref().filter(|it| it.id == after.id) {
        None if after.state == RollingBack => "RollBack",
        None if after.state == AttemptState::Failed => "HoldBack",
        None => "Start",
        Some(before) if after.state == RollingBack && before.state != RollingBack => "RollBack",
        Some(before) if after.withdrawn_from.is_some() && before.withdrawn_from.is_none() => "Withdraw",
        Some(before) if after.state == Promoting && before.state != Promoting => "Promote",
        Some(before) if after.state == Shifting && (before.state != Shifting || before.weight != after.weight) => {
            "Shift"
        }
        Some(before) if after.state == Shadowing && before.state != Shadowing => "Shadow",
        Some(before) if after.paused_since.is_some() && before.paused_since.is_none() => "Pause",
        Some(before) if after.paused_since.is_none() && before.paused_since.is_some() => "Resume",
        Some(_) => return None,
    };
    Some((after.id.clone(), decision.to_owned(), after.weight.to_string()))
}
