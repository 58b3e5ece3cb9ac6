//! Who asked is on the record, wherever that could be found out, and who approved; and nobody else is.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::{Decision, Oracles, decision_of};
use crate::api::model_deployment::{HandledRequest, ModelDeploymentStatus, RequestOutcome};
use crate::api::{ModelDeployment, labels};
use crate::audit::{Consent, Entry, UNKNOWN_ACTOR, is_of_words};
use crate::decide::model_deployment::request;
use crate::sim::server::Cluster;
use crate::sim::view::APPROVALS;

/// A request: verb, attempt, nonce.
type Asked = (String, String, String);

/// Who has asked for what.
#[derive(Default)]
pub(super) struct Askers {
    /// What was carried out, and by whom it was asked for.
    done: BTreeMap<Asked, String>,
    /// Role and name of who has said something, by the Approval's uid.
    said: BTreeMap<String, (String, String)>,
    /// The name of each actor.
    names: BTreeMap<String, String>,
    /// What somebody had decided whom nobody can name any more: attempt and decision.
    never_named: BTreeSet<(String, String)>,
}

impl Oracles {
    /// Everybody whose request was carried out, or who has said something.
    pub(in crate::sim) fn people(&self) -> BTreeSet<String> {
        let said = self.askers.said.values().map(|(_, name)| name);
        self.askers.done.values().chain(said).cloned().collect()
    }

    /// Somebody has perhaps said something.
    pub(in crate::sim) fn listens(&mut self, cluster: &Cluster) {
        let said = cluster.all(APPROVALS).into_iter().map(|(_, it)| {
            let text = |at: &str| it.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("/metadata/uid"), (text("/spec/role"), text("/spec/approver")))
        });
        self.askers.said.extend(said);
    }

    /// The record calls them so.
    pub(in crate::sim) fn are_called(&mut self, names: BTreeMap<String, String>) {
        self.askers.names = names;
    }

    /// What is carried out by this write, and what comes to nothing after all.
    pub(super) fn hears(&mut self, new: &ModelDeploymentStatus, after: &Value) {
        let Some(handled) = &new.handled_request else { return };
        let asked = (handled.verb.clone(), handled.attempt.clone(), handled.nonce.clone());
        let text = after["metadata"]["annotations"][labels::REQUEST].as_str().unwrap_or_default();
        match text.splitn(5, '/').collect::<Vec<_>>()[..] {
            _ if handled.outcome == RequestOutcome::Refused => drop(self.askers.done.remove(&asked)),
            [verb, attempt, _, nonce, by] if (verb, attempt, nonce) == (&asked.0, &asked.1, &asked.2) => {
                self.askers.done.entry(asked).or_insert_with(|| by.to_owned());
            }
            _ => {}
        }
    }

    /// Who asked is found out from the request. While the log is silent another can take its place, and what was decided for the first and
    /// is not recorded yet has nobody who could be named.
    pub(super) fn replaces_asker(&mut self, old: &ModelDeploymentStatus, after: &Value) {
        let is_on = |it: &HandledRequest| request::is_on(&ModelDeployment::deserialize(after).unwrap(), it);
        let Some(asked) = old.handled_request.as_ref().filter(|it| is_unknown(it) && !is_on(it)) else { return };
        let notes = old.unrecorded.iter().filter(|it| it.attempt == asked.attempt && it.asked_by == UNKNOWN_ACTOR);
        let never_named = &mut self.askers.never_named;
        never_named.extend(notes.map(|it| (it.attempt.clone(), it.decision.clone())));
        let attempt = old.attempt.as_ref().filter(|it| it.id == asked.attempt);
        let promotion = attempt.and_then(|it| it.skip_asked_by.as_ref()).filter(|it| *it == UNKNOWN_ACTOR);
        never_named.extend(promotion.map(|_| (asked.attempt.clone(), "Promote".to_owned())));
        let probation = old.probation.as_ref().filter(|it| it.attempt == asked.attempt);
        let recall = probation.and_then(|it| it.recall.as_ref());
        let goes_back = recall.filter(|it| it.asked_by == UNKNOWN_ACTOR);
        never_named.extend(goes_back.map(|_| (asked.attempt.clone(), "RollBack".to_owned())));
    }

    /// What somebody has asked for says who; and whom it names, it names rightly.
    pub(super) fn names_rightly(&mut self, it: &Entry) {
        let (attempt, decision, weight): Decision = decision_of(it);
        let told = format!("{decision} {weight} of {attempt} ({})", it.reason);
        if let Some(consent) = it.consents.iter().find(|it| !self.askers.has_said(it)) {
            let name = self.askers.names.get(&consent.actor);
            self.broken(format!("{told} rests on {consent:?} by {name:?}, who did not say so"));
        }
        let is_named = !it.asked_by.is_empty() && it.asked_by != UNKNOWN_ACTOR;
        let is_excused = it.asked_by == UNKNOWN_ACTOR && self.askers.never_named.contains(&(attempt, decision));
        if is_by_request(it) && !is_named && !is_excused {
            self.broken(format!("somebody has asked for {told}, and who is {:?}", it.asked_by));
        }
        if is_named && !self.askers.has_asked(it) {
            let name = self.askers.names.get(&it.asked_by);
            self.broken(format!("{told} is named for {name:?}, who did not ask for it"));
        }
    }
}

impl Askers {
    /// Whether it is the word of the actor who is named.
    fn has_said(&self, consent: &Consent) -> bool {
        let name = self.names.get(&consent.actor);
        self.said.get(&consent.uid).is_some_and(|(role, by)| *role == consent.role && Some(by) == name)
    }

    /// Whether it is what the actor who is named has asked for, and was carried out. Who says something asks for its being noted.
    fn has_asked(&self, entry: &Entry) -> bool {
        if is_of_words(&entry.decision) {
            return entry.consents.iter().any(|it| it.actor == entry.asked_by);
        }
        let Some(name) = self.names.get(&entry.asked_by).filter(|_| is_by_request(entry)) else { return false };
        self.done.iter().filter(|(_, by)| *by == name).any(|((verb, attempt, _), _)| {
            // What is tried again is another attempt.
            let again = verb == "retry" && entry.reason.contains(&format!("retry of attempt {attempt} "));
            means(verb, &entry.decision) && (again || *attempt == entry.attempt)
        })
    }
}

/// Whether what was decided is what this verb asks for.
fn means(verb: &str, decision: &str) -> bool {
    match verb {
        "abort" => matches!(decision, "RollBack" | "Recall"),
        "pause" => decision == "Pause",
        "resume" => decision == "Resume",
        "promote" => matches!(decision, "Promote" | "EndProbation"),
        "retry" => decision == "Start",
        _ => false,
    }
}

/// Whether its reason is that somebody asked for it.
fn is_by_request(entry: &Entry) -> bool {
    entry.reason.contains(" was requested") || entry.reason.starts_with("Aborted: aborted")
}

fn is_unknown(handled: &HandledRequest) -> bool {
    handled.outcome == RequestOutcome::Done && handled.asked_by.as_deref() == Some(UNKNOWN_ACTOR)
}
