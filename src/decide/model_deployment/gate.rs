//! What stands before a rollout and its steps: nothing begins, and no weight rises, for what is not allowed, or not approved.
//!
//! | what has to be | before |
//! |---|---|
//! | the artifact of the entry verified, where it can be before a pod serves it ([`verification`]), unless the revision has proven itself here before | an attempt begins, and each rise |
//! | everything said of the entry that has to be ([`governance`]) | an attempt begins, and each rise |
//! | its purpose, region and consent such as the entry allows ([`allowed_use`]) | an attempt begins, and each rise |
//! | the entry approved, by the roles that it and the operator ask for | an attempt begins, and each rise |
//! | its review not overdue, its data not too old ([`time`]), and it neither deprecated nor being deleted | an attempt begins |
//! | a step with `approval` approved by its role, in each attempt anew | the candidate gets its weight, or a greater one |
//!
//! All that is missing is said in one message.
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
use crate::api::approval::{SubjectKind, digest_of};
use crate::api::condition;
use crate::api::duration::after;
use crate::api::model_deployment::RevisionRole;
use crate::api::model_deployment::{Attempt, AttemptState, Phase, StepToApprove};
use crate::api::model_registry_entry::Lifecycle;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry, Weight};
use crate::audit::{Consent, REJECT, Said};
use crate::decide::approval::guard::Guard;
use crate::decide::approval::{self, Question, Word, guard};
use crate::decide::governance::{self, allowed_use, time};
use crate::decide::model_registry_entry::verification;
use crate::decide::{EventType, Missing};

/// Reason: the entry that the spec names is on its way out.
const DELETED: &str = "EntryDeleted";
/// Reason: nothing begins to roll out from the entry that the spec names.
const DEPRECATED: &str = "EntryDeprecated";

/// What keeps an entry from being rolled out as this revision: all of it.
pub(super) fn of_entry(resource: &ModelDeployment, observed: &Observed, revision: &str) -> Option<Missing> {
    let entry = observed.entry.as_ref()?;
    let name = &resource.spec.model_ref.name;
    let incomplete = governance::incomplete(&entry.spec, observed.settings.require_governance);
    let incomplete = incomplete.map(|it| Missing {
        reason: governance::INCOMPLETE,
        message: format!(
            "entry {name} is not complete: {}; its condition GovernanceComplete says what to do",
            it.message
        ),
        ..it
    });
    // The way back waits for no store.
    let has_proven_itself = resource.status.iter().flat_map(|it| &it.proven).any(|it| it.revision == revision);
    let verifies = observed.settings.verify_artifacts && !has_proven_itself;
    let unverified = verifies.then(|| verification::missing(name, entry)).flatten();
    let roles = &observed.settings.approval_roles;
    let unapproved = approval::missing_of_entry(entry, roles, &observed.approvals, &observed.guard);
    let misused = allowed_use::not_allowed(name, &entry.spec, &resource.spec);
    Missing::together([unverified, incomplete, misused, unapproved].into_iter().flatten())
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

    /// What the entry does not allow of the deployment, although what serves is of it: it goes on, and people are told.
    pub(super) fn misused(&self) -> Option<Missing> {
        let serves = self.status.stable.as_ref() == Some(&self.target.as_ref().ok()?.entry);
        let (entry, spec) = (self.observed.entry.as_ref().filter(|_| serves)?, &self.resource.spec);
        let misused = allowed_use::not_allowed(&spec.model_ref.name, &entry.spec, spec)?;
        let message = format!("what serves goes on, for what it was rolled out for; {}", misused.message);
        Some(Missing { message, ..misused })
    }

    /// Why nothing begins for the entry that the spec names, at this time. What serves, or is kept to go back to, has begun before.
    pub(super) fn begins_no_more(&self) -> Option<Missing> {
        let revision = &self.target.as_ref().ok()?.entry.revision;
        let stays = [RevisionRole::Stable, RevisionRole::Kept, RevisionRole::Fallback];
        let has_served = self.status.revisions.iter().any(|it| it.revision == *revision && stays.contains(&it.role));
        let entry = self.observed.entry.as_ref().filter(|_| !has_served && self.proven_until(revision).is_none())?;
        let name = &self.resource.spec.model_ref.name;
        let deprecated = (entry.spec.lifecycle() == Lifecycle::Deprecated).then(|| Missing {
            reason: DEPRECATED,
            message: format!("spec.modelRef: entry {name} is deprecated: nothing begins to roll out from it; point spec.modelRef at another entry"),
            is_final: true,
        });
        let deleted = entry.metadata.deletion_timestamp.is_some().then(|| Missing {
            reason: DELETED,
            message: format!("spec.modelRef: entry {name} is being deleted, and stays only for what runs: nothing begins to roll out from it; point spec.modelRef at another entry"),
            is_final: true,
        });
        let late = time::too_late(name, &entry.spec, self.now);
        Missing::together([deleted, deprecated, late].into_iter().flatten())
    }

    /// The roles that have approved the entry, for the record.
    pub(super) fn approved_by(&self) -> Option<String> {
        let roles = approval::roles_of(self.observed.entry.as_ref()?, &self.observed.settings.approval_roles);
        (!roles.is_empty()).then(|| roles.join(", "))
    }

    /// The steps that have to be approved, those behind it, too: what was said of them can be taken back.
    pub(super) fn steps_to_approve(&self, attempt: &Attempt) -> Vec<StepToApprove> {
        let goes_up = attempt.state.goes_up() && !attempt.fast_return;
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
        Missing::together([self.entry_gate(), self.gate_up_to(attempt, weight)].into_iter().flatten())
    }

    /// What keeps it from that, of the steps.
    fn gate_up_to(&self, attempt: &Attempt, weight: Weight) -> Option<Missing> {
        let missing = |it: StepToApprove| {
            let question = self.question_of_step(&it);
            let command =
                |role: &str| format!("kubectl werkbank approve modeldeployment/{} --role {role}", self.name());
            let missing = approval::missing(&question, &self.observed.approvals, &self.observed.guard, command)?;
            Some(Missing { message: format!("before {}: {}", it.weight, missing.message), ..missing })
        };
        self.steps_to_approve(attempt).into_iter().filter(|it| it.weight <= weight).find_map(missing)
    }

    fn question_of_step<'a>(&'a self, step: &'a StepToApprove) -> Question<'a> {
        Question {
            kind: SubjectKind::ModelDeployment,
            name: self.name(),
            uid: self.resource.metadata.uid.as_deref().unwrap_or_default(),
            digest: &step.digest,
            roles: std::slice::from_ref(&step.role),
            known: self.observed.settings.approval_roles.known.as_deref(),
            submitted_by: self.observed.entry.as_ref().and_then(|it| it.spec.submitted_by.as_deref()),
        }
    }

    /// The approvals that the attempt's present share of traffic rests on, for the record: of its entry, and of the steps up to there.
    pub(super) fn consents(&self) -> Vec<Consent> {
        let Some(attempt) = self.active() else { return Vec::new() };
        let is_target = self.target.as_ref().is_ok_and(|it| it.entry == attempt.entry);
        let entry = self.observed.entry.as_deref().filter(|_| is_target);
        let mut given = entry.map(|it| self.said_of_entry(it, &Word::Approved)).unwrap_or_default();
        for step in self.steps_to_approve(attempt).into_iter().filter(|it| it.weight <= attempt.weight) {
            given.extend(self.said_of_step(&step, &Word::Approved));
        }
        given.into_iter().filter_map(|it| self.consent(it)).collect()
    }

    /// The approvals of an entry that say this.
    pub(super) fn said_of_entry(&self, entry: &ModelRegistryEntry, word: &Word) -> Vec<&Approval> {
        let Observed { approvals, guard, settings, .. } = self.observed;
        approval::said_of_entry(entry, &settings.approval_roles, approvals, guard, word)
    }

    /// The approvals of a step that say this.
    pub(super) fn said_of_step(&self, step: &StepToApprove, word: &Word) -> Vec<&Approval> {
        approval::said(&self.question_of_step(step), &self.observed.approvals, &self.observed.guard, word)
    }

    /// What the record has of an approval, if it is known whose it is.
    pub(super) fn consent(&self, approval: &Approval) -> Option<Consent> {
        let uid = approval.metadata.uid.clone()?;
        let Said { actor, comment } = self.observed.said.get(&uid)?.clone();
        Some(Consent { actor, comment, role: approval.spec.role.clone(), uid })
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
        let of_step = self.step_gate(attempt).filter(|_| could_go_on);
        Missing::together([self.entry_gate(), of_step].into_iter().flatten())
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

    /// Tells people once what is waited for.
    pub(super) fn tell_of_gate(&mut self, before: Phase) {
        let Some(closed) = self.closed_gate() else { return };
        let old = self.resource.status.as_ref().and_then(|it| condition::find(&it.conditions, "Ready"));
        let said = old.map(|it| it.reason.as_str()).filter(|it| is_reason(it));
        let is_told = closed.reason == approval::REJECTED && self.is_told(REJECT);
        if is_told || before == Phase::Gating && said.is_none_or(|it| it == closed.reason) {
            return;
        }
        let awaited = [approval::AWAITED, verification::AWAITED].contains(&closed.reason);
        let type_ = if awaited { EventType::Normal } else { EventType::Warning };
        self.tell(type_, closed.reason, "Gate", closed.message);
    }

    /// Nobody tells when an admission policy is there again, nor what time it is: when the data of what waits is too old, or no longer
    /// of a time to come.
    pub(super) fn watch_gate(&mut self) {
        let closed = self.closed_gate().is_some();
        if closed && matches!(self.observed.guard, Guard::NotReady(_)) {
            self.look_again(after(self.now, guard::RETRY));
        }
        let waits = self.active().is_none() && (closed || self.begins_no_more().is_some());
        let waits = self.observed.entry.as_ref().filter(|_| waits);
        let ends = waits.and_then(|it| time::next_change(&it.spec, self.now));
        ends.into_iter().for_each(|at| self.look_again(at));
    }
}

/// Whether it is the reason of a gate.
fn is_reason(reason: &str) -> bool {
    let of_use = [governance::INCOMPLETE, allowed_use::PURPOSE, allowed_use::REGION, allowed_use::CONSENT];
    approval::REASONS.contains(&reason) || of_use.contains(&reason) || verification::is_reason(reason)
}

/// What an Approval of a step refers to.
pub(super) fn digest(attempt: &str, weight: Weight) -> String {
    digest_of(&json!({"attempt": attempt, "weight": weight.to_string()}))
}
