//! Who asked is on the record, wherever that could be found out.

use super::{Decision, Oracles};
use crate::api::model_deployment::{HandledRequest, ModelDeploymentStatus};
use crate::audit::{Entry, UNKNOWN_ACTOR};

impl Oracles {
    /// Whoever is replaced as the last who asked, while the record does not say who that is, can never be named.
    pub(super) fn replaces_asker(&mut self, old: &ModelDeploymentStatus, new: &ModelDeploymentStatus) {
        let unknown = old.handled_request.as_ref().filter(|it| it.asked_by.as_deref() == Some(UNKNOWN_ACTOR));
        let is_same = |it: &HandledRequest, new: &HandledRequest| {
            (&it.verb, &it.attempt, &it.nonce) == (&new.verb, &new.attempt, &new.nonce)
        };
        let is_replaced = |it: &&HandledRequest| new.handled_request.as_ref().is_none_or(|new| !is_same(it, new));
        if let Some(it) = unknown.filter(is_replaced) {
            self.never_named.insert((it.verb.clone(), it.attempt.clone()));
        }
    }

    /// What somebody has asked for says who.
    pub(super) fn asked_for(&mut self, it: &Entry) {
        let verb = match it.decision.as_str() {
            "Pause" => "pause",
            _ if it.reason.starts_with("Aborted: aborted") => "abort",
            _ => return,
        };
        let can_be_named = !self.never_named.contains(&(verb.to_owned(), it.attempt.clone()));
        if it.asked_by.is_empty() || it.asked_by == UNKNOWN_ACTOR && can_be_named {
            let (attempt, decision, weight): Decision = super::decision_of(it);
            self.broken(format!(
                "somebody has asked for {decision} {weight} of {attempt}, and who is {:?}",
                it.asked_by
            ));
        }
    }
}
