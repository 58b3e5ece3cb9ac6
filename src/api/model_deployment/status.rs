//! Where a ModelDeployment stands.
//!
//! Everything the state machine needs to go on after a restart is here: which
//! revision is stable, the attempt with its state, weight and the times its waits
//! count from. Weights are computed from here, never from the live route.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exposure, Probation, StableWatch, UsedFor, Verdict};
use crate::api::approval::{ApprovalDecision, ApprovalSubject, SubjectKind};
use crate::api::{Condition, Weight};
use crate::audit::EntryKind;

/// What the operator found out and decided.
// Atomic: one writer, who always writes all of it. So the API server keeps no owner for each of its fields,
// which would be as large as the status itself, and be worked out anew with every write.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct ModelDeploymentStatus {
    /// The `metadata.generation` this status speaks of.
    #[serde(default)]
    pub observed_generation: i64,
    /// A summary for people; the conditions are the contract.
    #[serde(default)]
    pub phase: Phase,
    /// The revision that serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<EntryRef>,
    /// The revision on its way, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The candidate's share of traffic, as decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// The present attempt, or how the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Every revision that has pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionStatus>,
    /// Revisions that are not tried again unless asked for, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_back: Vec<TakenBack>,
    /// Revisions that served as the stable one, the newest last: see `rollout.rollbackWindow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proven: Vec<Proven>,
    /// What the stable revision still has to prove by outcomes that arrive late; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probation: Option<Probation>,
    /// What guardrails say of the stable revision between rollouts: see `analysis.onStableBreach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_watch: Option<StableWatch>,
    /// The newest verdict of each metric in this attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// `Available`, `Ready`, `Reconciling`, `Stalled`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Ready pods of all revisions.
    #[serde(default)]
    pub replicas: i32,
    /// Label selector of the pods of all revisions.
    #[serde(default)]
    pub selector: String,
    /// Since when no pod of the stable revision, which served before, has been ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_down_since: Option<DateTime<Utc>>,
    /// Edits of the route by others that were reset of late.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_contest: Option<RouteContest>,
    /// Attempts so far.
    #[serde(default)]
    pub attempts: i64,
    /// Decisions so far; each has one sequence number.
    #[serde(default)]
    pub sequence: i64,
    /// Approvals and rejections of what is on its way, as the audit log has them: what is taken back is recorded, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_approvals: Option<Vec<RecordedApproval>>,
    /// Decisions that could not wait for the record (a rollback never does); appended as soon as possible.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unrecorded: Vec<TrailNote>,
    /// The person's request that was looked at last, and what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handled_request: Option<HandledRequest>,
    /// Epoch of the leader that wrote this. A new leader writes it before it changes the first child.
    #[serde(default)]
    pub lease_epoch: i64,
}

/// A summary for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Nothing decided yet, or something in the spec or its references is missing.
    #[default]
    Pending,
    /// Something has to be approved before anything begins, or before it goes on.
    Gating,
    /// The candidate's pods are coming up.
    Starting,
    /// Requests are copied to the candidate, and its answers thrown away.
    Shadowing,
    /// A weight is on its way to the gateway.
    Shifting,
    /// The candidate is being watched at its weight.
    Observing,
    /// A person holds the weight; guardrails go on.
    Paused,
    /// All traffic is on its way to the candidate.
    Promoting,
    /// Traffic is on its way back to the stable revision.
    RollingBack,
    /// The spec's revision was taken back; the stable one serves.
    RolledBack,
    /// The first deployment did not come up, or broke a guardrail.
    Failed,
    /// `spec.suspend`, or the namespace's annotation `werkbank.dev/suspend`, holds what is there.
    Suspended,
    /// The spec's revision serves; outcomes that arrive late may still take it back.
    Probation,
    /// The spec's revision serves.
    Stable,
}

/// One walk of a candidate towards full traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Revision, ordinal and the first characters of the deployment's uid: an old
    /// request never fits a new attempt.
    pub id: String,
    /// The candidate.
    pub revision: String,
    /// The registry entry it serves.
    pub entry: EntryRef,
    /// Where it stands.
    pub state: AttemptState,
    /// Its share of traffic, as decided.
    pub weight: Weight,
    /// Which step of `rollout.steps` that is, from 0; absent outside the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it entered its state (or its present weight).
    pub entered_at: DateTime<Utc>,
    /// When observation of the present weight began: route accepted, pods ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observing_since: Option<DateTime<Utc>>,
    /// When the metrics were last measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<DateTime<Utc>>,
    /// Since when fewer of its pods are ready than its weight needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_of_capacity_since: Option<DateTime<Utc>>,
    /// Since when a shared list of metrics has not been there to judge it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unjudged_since: Option<DateTime<Utc>>,
    /// The weight it had when it lost its last ready pod; it gets it back when they are ready again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_from: Option<Weight>,
    /// The weight it had, or was about to get, when it was taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<Weight>,
    /// How often it has lost its last ready pod in this step.
    #[serde(default)]
    pub losses: i32,
    /// Pods of the stable revision when it began; kept until it ends.
    #[serde(default)]
    pub stable_replicas: i32,
    /// Why it is being, or was, taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// One sentence about `cause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Requests served by the candidate since observation began, when last counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<i64>,
    /// The same of the stable revision, at the same time, where a metric compares the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_samples: Option<i64>,
    /// Share of the requests that is copied to it, as decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied: Option<Weight>,
    /// It has been judged by copied requests (`rollout.shadow`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadowed: bool,
    /// It goes back to a revision that is proven, and skips the steps (`rollout.rollbackWindow`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fast_return: bool,
    /// It got all traffic because no pod of the stable revision was ready (`rollout.emergencyPromote`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// Since when a person holds its weight (`pause`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_since: Option<DateTime<Utc>>,
    /// Since when `spec.suspend`, or the namespace's annotation `werkbank.dev/suspend`, holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended_since: Option<DateTime<Utc>>,
    /// When its weight was last let go again: `maxStepTime` counts from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<DateTime<Utc>>,
    /// A person asked for all traffic (`promote`): what is left of `for` and of the steps is skipped, proof is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_steps: bool,
    /// Which actor of the audit log asked for that; `unknown` if the log has not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_asked_by: Option<String>,
    /// The weights that it was watched at, if a metric with `delay` is to judge them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exposed: Vec<Exposure>,
    /// Steps that have to be approved, whether they are already or not, and whether it is past them or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<StepToApprove>,
    /// Sequence number of the decision whose effect is awaited.
    #[serde(default)]
    pub decided: i64,
}

/// A step that has to be approved before the candidate enters it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepToApprove {
    /// The step's share of traffic.
    pub weight: Weight,
    /// Who has to approve it.
    pub role: String,
    /// What an Approval refers to: SHA-256 of attempt and weight, `sha256:…`.
    pub digest: String,
}

/// States of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AttemptState {
    /// Pods are coming up, for the first traffic, for more, or for traffic that was withdrawn.
    Starting,
    /// Requests are copied to it, or are about to be.
    Shadowing,
    /// Waiting for capacity, then for the gateway to accept the weight.
    Shifting,
    /// The weight is in effect and watched.
    Observing,
    /// As Shifting, to all traffic.
    Promoting,
    /// Weight 0 is on its way to the gateway.
    RollingBack,
    /// Ended: the candidate is the stable revision.
    Promoted,
    /// Ended: taken back. The revision is not tried again unless asked for.
    RolledBack,
    /// Ended: a first deployment that did not come up, or broke a guardrail.
    Failed,
}

impl AttemptState {
    /// Whether the attempt goes on.
    #[must_use]
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Promoted | Self::RolledBack | Self::Failed)
    }

    /// Whether the attempt goes on, and is not being taken back.
    #[must_use]
    pub fn goes_up(self) -> bool {
        self.is_active() && self != Self::RollingBack
    }
}

/// Why an attempt is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Cause {
    /// A person said abort.
    Aborted,
    /// The spec names the stable revision again.
    Reverted,
    /// A guardrail failed more often in a row than `failureLimit` allows.
    GuardrailBreached,
    /// An objective did.
    ObjectiveMissed,
    /// The spec names another revision.
    Superseded,
    /// Pods or route did not become ready in time.
    ProgressDeadlineExceeded,
    /// Its pods were lost and did not come back in time, or were lost too often.
    CapacityLost,
    /// The artifact's bytes are not the registered ones, or cannot be had.
    ArtifactRefused,
    /// The step did not end within `maxStepTime`.
    StepTimeExceeded,
    /// The metric source did not answer for `onOutage.after`.
    MetricSourceOutage,
    /// The record says that it was taken back under this name before, and this object's status does not.
    PreviouslyRolledBack,
    /// The entry is revoked (`lifecycle: Revoked`).
    Revoked,
}

/// A revision and the entry it serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryRef {
    /// The revision.
    pub revision: String,
    /// Name of the ModelRegistryEntry.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Which entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntryName {
    /// Name of the ModelRegistryEntry.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl From<&EntryRef> for EntryName {
    fn from(it: &EntryRef) -> Self {
        Self { name: it.name.clone(), uid: it.uid.clone() }
    }
}

/// A revision that is not tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TakenBack {
    /// The revision.
    pub revision: String,
    /// Why it was taken back.
    pub cause: Cause,
}

/// Edits of the route by somebody else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteContest {
    /// How many were reset.
    pub resets: i32,
    /// When the last one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// Uid and generation of the route that was reset last.
    pub version: String,
}

/// A revision that served as the stable one, and got there by its steps or was proven before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proven {
    /// The revision.
    pub revision: String,
    /// When it last was good to serve: when it was promoted or, later, when it was replaced.
    pub at: DateTime<Utc>,
}

/// A revision that has pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// The revision.
    pub revision: String,
    /// The entry it is of: the one by which the spec last named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryName>,
    /// What its entry has allowed it to be used for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_for: Option<UsedFor>,
    /// What it is for.
    pub role: RevisionRole,
    /// Since when it has had no traffic (as accepted by the gateway).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_since: Option<DateTime<Utc>>,
}

/// What a revision is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RevisionRole {
    /// It serves.
    Stable,
    /// It is on its way.
    Candidate,
    /// It served before, and keeps its pods for `rollout.keepStable`.
    Kept,
    /// The last proven one, without pods as long as the stable one is on probation.
    Fallback,
    /// It has no traffic any more and ends its last requests.
    Draining,
}

/// An Approval that is on the audit log: one that a decision rests on, or one that rejects. Who said so is here as the log has it: by a
/// pseudonym.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedApproval {
    /// The Approval's uid.
    pub uid: String,
    /// What it is about: an entry, or a step of this deployment.
    pub subject: RecordedSubject,
    /// In which role.
    pub role: String,
    /// What it says.
    pub decision: ApprovalDecision,
    /// Which actor of the audit log says so.
    pub actor: String,
    /// `sha256:` and a salted digest of why; empty if nothing was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Since when it is not seen any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed_since: Option<DateTime<Utc>>,
}

/// What an Approval that is on the audit log is about: as its `spec.subject`.
// Without its rules: in a list that has no end they would cost more than the API server allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RecordedSubject {
    /// An entry, or the deployment of which a step is meant.
    pub kind: SubjectKind,
    /// Its `metadata.name`.
    pub name: String,
    /// Its `metadata.uid`.
    pub uid: String,
    /// Of the entry's spec, or of the step.
    pub digest: String,
}

impl From<&ApprovalSubject> for RecordedSubject {
    fn from(it: &ApprovalSubject) -> Self {
        Self { kind: it.kind, name: it.name.clone(), uid: it.uid.clone(), digest: it.digest.clone() }
    }
}

/// A decision that still has to be recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrailNote {
    /// Intent or outcome.
    #[schemars(with = "String")]
    pub kind: EntryKind,
    /// Its sequence number.
    pub sequence: i64,
    /// The attempt it belongs to.
    pub attempt: String,
    /// What was decided.
    pub decision: String,
    /// Why.
    pub reason: String,
    /// About which revision.
    pub revision: String,
    /// To which weight.
    pub weight: Weight,
    /// Digest of `status.verdicts` when it was decided; empty where nothing was measured.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measurements: String,
    /// Who asked for it, as the audit log names people: by a pseudonym.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked_by: String,
    /// When.
    pub time: DateTime<Utc>,
}

/// A person's request that was looked at. Who asked is here as the audit log has it: by a pseudonym.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledRequest {
    /// `abort`, `pause`, `promote`, `resume` or `retry`.
    pub verb: String,
    /// The attempt it was for.
    pub attempt: String,
    /// Which actor of the audit log asked; `unknown` while the log does not say; absent if the request does not say by whom it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_by: Option<String>,
    /// The step it was for; `-` for none.
    #[serde(default)]
    pub step: String,
    /// Tells two requests of the same verb apart.
    pub nonce: String,
    /// What became of it.
    #[serde(default)]
    pub outcome: RequestOutcome,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RequestOutcome {
    /// It was carried out.
    #[default]
    Done,
    /// It does nothing, now or later; the message says why.
    Refused,
}
