//! Who asked is on the record, wherever that could be found out.

use serde::Deserialize;
use serde_json::Value;

use super::{Decision, Oracles, decision_of};
use crate::api::ModelDeployment;
use crate::api::model_deployment::{HandledRequest, ModelDeploymentStatus, RequestOutcome};
use crate::audit::{Entry, UNKNOWN_ACTOR};
use crate::decide::model_deployment::request;

impl Oracles {
    /// Who asked is found out from the request. While the log is silent another can take its place, and what was decided for the first and
    /// is not recorded yet has nobody who could be named.
    pub(super) fn replaces_asker(&mut self, old: &ModelDeploymentStatus, after: &Value) {
        let is_on = |it: &HandledRequest| request::is_on(&ModelDeployment::deserialize(after).unwrap(), it);
        let Some(asked) = old.handled_request.as_ref().filter(|it| is_unknown(it) && !is_on(it)) else { return };
        let notes = old.unrecorded.iter().filter(|it| it.attempt == asked.attempt && it.asked_by == UNKNOWN_ACTOR);
        self.never_named.extend(notes.map(|it| (it.attempt.clone(), it.decision.clone())));
        let probation = old.probation.as_ref().filter(|it| it.attempt == asked.attempt);
        let recall = probation.and_then(|it| it.recall.as_ref());
        let goes_back = recall.filter(|it| it.asked_by == UNKNOWN_ACTOR);
        self.never_named.extend(goes_back.map(|_| (asked.attempt.clone(), "RollBack".to_owned())));
    }

    /// What somebody has asked for says who.
    pub(super) fn asked_for(&mut self, it: &Entry) {
        if it.decision != "Pause" && !it.reason.starts_with("Aborted: aborted") {
            return;
        }
        let (attempt, decision, weight): Decision = decision_of(it);
        let can_be_named = !self.never_named.contains(&(attempt.clone(), decision.clone()));
        if it.asked_by.is_empty() || it.asked_by == UNKNOWN_ACTOR && can_be_named {
            self.broken(format!(
                "somebody has asked for {decision} {weight} of {attempt}, and who is {:?}",
                it.asked_by
            ));
        }
    }
}

fn is_unknown(handled: &HandledRequest) -> bool {
    handled.outcome == RequestOutcome::Done && handled.asked_by.as_deref() == Some(UNKNOWN_ACTOR)
}
