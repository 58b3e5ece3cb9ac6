//! What stands before a rollout and its steps: nothing begins, and no weight rises, for what is not approved.
//!
//! | to be approved | before |
//! |---|---|
//! | the entry, by the roles that it and the operator ask for | an attempt begins, and each rise |
//! | a step with `approval`, by its role, in each attempt anew | the candidate gets its weight, or a greater one |
//!
//! So whatever skips steps (a first deployment, `promote`, an emergency) passes the approvals of all of them; only the way back to
//! what is proven does not, because it has.
//!
//! A gate that is closed again while an attempt is under way holds it, as a person's `pause` does: what has weight keeps it,
//! guardrails go on, and the way back is always open. To take away what an entry has is another decision, of a person:
//! `lifecycle: Revoked` (see [`super::revocation`]).

use serde_json::json;

use super::capacity::is_short;
use super::observed::Observed;
use super::pass::Pass;
use crate::api::Weight;
use crate::api::approval::{SubjectKind, digest_of};
use crate::api::condition;
use crate::api::duration::after;
use crate::api::model_deployment::{Attempt, AttemptState, Phase, StepToApprove};
use crate::decide::EventType;
use crate::decide::approval::{self, Missing, Question, guard};

/// What keeps an entry from being rolled out.
pub(super) fn of_entry(observed: &Observed) -> Option<Missing> {
    let roles = &observed.settings.approval_roles;
    approval::missing_of_entry(observed.entry.as_ref()?, roles, &observed.approvals, &observed.guard)
}

impl Pass<'_> {
    /// Why nothing begins for the entry that the spec names, if something would: what serves has been through its gates. The same
    /// bytes under another entry have not.
    pub(super) fn gated(&self) -> Option<Missing> {
        let target = &self.target.as_ref().ok()?.entry;
        let serves = self.status.stable.as_ref() == Some(target);
        let waits = !serves && self.active().is_none() && self.refusal().is_none();
        self.entry_gate().filter(|_| waits)
    }

    /// The roles that have approved the entry, for the record.
    pub(super) fn approved_by(&self) -> Option<String> {
        let roles = approval::roles_of(self.observed.entry.as_ref()?, &self.observed.settings.approval_roles);
        (!roles.is_empty()).then(|| roles.join(", "))
    }

    /// The steps that have to be approved, those behind it, too: what was said of them can be taken back.
    pub(super) fn steps_to_approve(&self, attempt: &Attempt) -> Vec<StepToApprove> {
        let goes_up = attempt.state.is_active() && attempt.state != AttemptState::RollingBack && !attempt.fast_return;
        let to_approve = self.policy.steps.iter().filter(|_| goes_up).filter_map(|it| {
            let (weight, role) = (it.weight, it.approval.clone()?);
            Some(StepToApprove { weight, role, digest: digest(&attempt.id, weight) })
        });
        to_approve.collect()
    }

    /// What keeps the candidate from its next share of traffic.
    pub(super) fn step_gate(&self, attempt: &Attempt) -> Option<Missing> {
        self.gate_up_to(attempt, self.next_share(attempt))
    }

    /// What keeps the candidate from so much traffic, of its entry and of the steps.
    pub(super) fn gates_up_to(&self, attempt: &Attempt, weight: Weight) -> Option<Missing> {
        self.entry_gate().or_else(|| self.gate_up_to(attempt, weight))
    }

    /// What keeps it from that, of the steps.
    fn gate_up_to(&self, attempt: &Attempt, weight: Weight) -> Option<Missing> {
        let submitted_by = self.observed.entry.as_ref().and_then(|it| it.spec.submitted_by.as_deref());
        let missing = |it: StepToApprove| {
            let question = Question {
                kind: SubjectKind::ModelDeployment,
                name: self.name(),
                uid: self.resource.metadata.uid.as_deref().unwrap_or_default(),
                digest: &it.digest,
                roles: std::slice::from_ref(&it.role),
                submitted_by,
            };
            let command =
                |role: &str| format!("kubectl werkbank approve modeldeployment/{} --role {role}", self.name());
            let missing = approval::missing(&question, &self.observed.approvals, &self.observed.guard, command)?;
            Some(Missing { message: format!("before {}: {}", it.weight, missing.message), ..missing })
        };
        self.steps_to_approve(attempt).into_iter().filter(|it| it.weight <= weight).find_map(missing)
    }

    /// Whether the last pass found that it could go on but for a gate. It stays so until the gate opens: a measurement without
    /// data, or a pod that is away for a moment, makes it nothing else.
    fn was_held_by_gate(&self, attempt: &Attempt) -> bool {
        let before = self.resource.status.as_ref().filter(|it| it.phase == Phase::Gating);
        let before = before.and_then(|it| it.attempt.as_ref());
        before.is_some_and(|it| (&it.id, it.state, it.weight) == (&attempt.id, attempt.state, attempt.weight))
    }

    /// A gate that has held an attempt is open: what it could not end meanwhile has all of its time again.
    pub(super) fn watch_gate_open(&mut self) {
        let now = self.now;
        let opens = |it: &&Attempt| self.was_held_by_gate(it) && self.gates_up_to(it, self.next_share(it)).is_none();
        if self.active().filter(opens).is_some() {
            self.change(|it| {
                it.held_until = Some(now);
                it.entered_at = if it.state == AttemptState::Starting { now } else { it.entered_at };
            });
        }
    }

    /// What holds an attempt that could go on otherwise.
    pub(super) fn held_by_gate(&self, attempt: &Attempt) -> Option<Missing> {
        let state = attempt.state;
        if state == AttemptState::RollingBack || is_short(attempt) {
            return None;
        }
        let could_go_on = match state {
            AttemptState::Starting => {
                self.shadow_due(attempt).is_none() && self.has_capacity(attempt, self.next_weight(attempt))
            }
            AttemptState::Observing => self.step_is_over(attempt),
            AttemptState::Promoting => self.traffic_is_in_effect(),
            _ => false,
        };
        let could_go_on = could_go_on || self.was_held_by_gate(attempt);
        self.entry_gate().or_else(|| self.step_gate(attempt).filter(|_| could_go_on))
    }

    /// Says what has to be approved, so that it can be.
    pub(super) fn ask_for_approvals(&mut self) {
        let steps = self.status.attempt.as_ref().map(|it| self.steps_to_approve(it)).unwrap_or_default();
        self.change(|it| it.approvals = steps);
    }

    /// What is waited for, of the approvals.
    fn closed_gate(&self) -> Option<Missing> {
        self.active().and_then(|it| self.held_by_gate(it)).or_else(|| self.gated())
    }

    /// Tells people once that something is to be approved.
    pub(super) fn tell_of_gate(&mut self, before: Phase) {
        let Some(closed) = self.closed_gate() else { return };
        let old = self.resource.status.as_ref().and_then(|it| condition::find(&it.conditions, "Ready"));
        let said = old.map(|it| it.reason.as_str()).filter(|it| approval::REASONS.contains(it));
        if before == Phase::Gating && said.is_none_or(|it| it == closed.reason) {
            return;
        }
        let type_ = if closed.reason == approval::AWAITED { EventType::Normal } else { EventType::Warning };
        self.tell(type_, closed.reason, "Gate", closed.message);
    }

    /// Nobody tells when an admission policy is there again.
    pub(super) fn watch_gate(&mut self) {
        if self.closed_gate().is_some_and(|it| it.reason == approval::UNGUARDED) {
            self.look_again(after(self.now, guard::RETRY));
        }
    }
}

/// What an Approval of a step refers to.
pub(super) fn digest(attempt: &str, weight: Weight) -> String {
    digest_of(&json!({"attempt": attempt, "weight": weight.to_string()}))
}
