//! How a new revision gets to full traffic.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{DurationText, WeightText};

/// The way of a candidate to full traffic. Editing it never restarts an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Before the first step: requests are copied to the candidate, and its answers thrown away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// Shares of traffic, rising. A step ends when its time has passed and every
    /// metric's newest verdict is Pass. Without steps the candidate gets all
    /// traffic once it is ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub steps: Vec<Step>,
    /// How long pods may take to become ready and the gateway to accept a route,
    /// each time; 15m when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<DurationText>,
    /// How long a revision without traffic keeps its pods, for requests under way;
    /// 30s when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DurationText>,
    /// How long the revision that served before keeps its pods after a promotion, so that the way back to
    /// it is short; 0s when left out: it only ends its last requests. One revision is kept at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_stable: Option<DurationText>,
    /// How long after it was replaced a revision that served counts as proven: going back to it skips the
    /// steps. It gets all traffic at once, and guardrails watch it for `failureLimit` + 1 intervals before the
    /// rollout ends. When left out, every way back takes the steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<DurationText>,
    /// Whether a candidate that is ready for all traffic takes over when no pod of the stable revision, which
    /// served before, has been ready for 30 seconds, and no guardrail fails; false when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_promote: Option<bool>,
    /// What to do when the metric source does not answer. When left out: hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_outage: Option<OnOutage>,
}

/// Copied requests. The Gateway must have the filter RequestMirror with `percent`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// How many of a hundred requests are copied. The candidate gets pods for as many.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,
    /// How long to watch the guardrails at least, from the moment the gateway copies requests; 0s when left out.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<DurationText>,
    /// The candidate is taken back when this has not ended after this time; no limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_time: Option<DurationText>,
}

/// One share of traffic, held and watched for a while.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The candidate's share of traffic: `5%`. Higher than the step before.
    pub weight: WeightText,
    /// How long to watch at least, from the moment the gateway has accepted the
    /// weight and the pods are ready; 0s when left out.
    #[serde(rename = "for", default, skip_serializing_if = "Option::is_none")]
    pub for_: Option<DurationText>,
    /// Requests the candidate must have served in this step before a verdict can
    /// be Pass. Needs `analysis.samples`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_samples: Option<i64>,
    /// The candidate is rolled back when the step has not ended after this time; no limit when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_step_time: Option<DurationText>,
    /// Who has to approve, in each attempt anew, before the candidate enters this step, or passes it. Nothing skips it but
    /// the way back to what is proven (`rollbackWindow`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<StepApproval>,
}

/// Who has to approve a step.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepApproval {
    /// In which role: RBAC says who has it, by the verb `approve-<role>` on modeldeployments.
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("approval.role must be lower-case letters, digits and '-', such as owner"))]
    #[schemars(length(max = 32))]
    pub role: String,
}

/// What to do when the metric source does not answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnOutage {
    /// How long the source may be silent before `do`, from a question to one that is asked so much later.
    pub after: DurationText,
    /// Hold the weight, or roll back.
    #[serde(rename = "do")]
    pub do_: OutageAction,
}

/// Hold or roll back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OutageAction {
    /// Keep the present weight until the source answers again.
    Hold,
    /// Back to the stable revision.
    Rollback,
}
