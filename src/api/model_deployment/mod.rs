//! `ModelDeployment`: serves one registry entry, and moves from one entry to
//! the next by a guarded canary.

mod analysis;
mod autoscaling;
mod probation;
mod provider;
mod revocation;
mod rollout;
mod stable_watch;
mod status;
mod traffic;
mod used_for;
mod verdict;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::PodTemplate;
pub use super::model_registry_entry::LocalRef;
pub use analysis::{
    Analysis, Baseline, Compare, ConfigMapMetrics, Count, Direction, Mean, Metric, MetricRole, MetricsSource,
    PrometheusQuery, Proportion, Samples, Test, Threshold,
};
pub use autoscaling::Autoscaling;
pub use probation::{Exposure, Probation, Recall};
pub use provider::{HttpHeader, HttpMethod, HttpQuery, JobQuery, SecretKeyRef, SecretValue, SqlQuery};
pub use revocation::OnRevocation;
pub use rollout::{OnOutage, OutageAction, Rollout, Shadow, Step, StepApproval};
pub use stable_watch::{StableBreachAction, StableWatch};
pub use status::{
    Attempt, AttemptState, Cause, EntryName, EntryRef, HandledRequest, ModelDeploymentStatus, Phase, Proven,
    RecordedApproval, RecordedSubject, RequestOutcome, RevisionRole, RevisionStatus, RouteContest, StepToApprove,
    TakenBack, TrailNote,
};
pub use traffic::{Gateway, Traffic};
pub use used_for::UsedFor;
pub use verdict::{CountedPeriod, Verdict, VerdictKind};

/// Serves one registered model version and moves to the next by a guarded canary.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "werkbank.dev",
    version = "v1alpha1",
    kind = "ModelDeployment",
    plural = "modeldeployments",
    shortname = "md",
    category = "werkbank",
    namespaced,
    status = "ModelDeploymentStatus",
    derive = "PartialEq",
    doc = "Serves one registered model version, and moves from one version to the next by a guarded canary.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 52")
        .message("metadata.name must start with a letter, hold only lower-case letters, digits and '-', and have at most 52 characters: Services are named <name>-<revision>"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.modelRef.name"),
    printcolumn(name = "Stable", type_ = "string", json_path = ".status.stable.revision"),
    printcolumn(name = "Candidate", type_ = "string", json_path = ".status.candidate"),
    printcolumn(name = "Weight", type_ = "string", json_path = ".status.weight"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.replicas) || !has(self.autoscaling)")
        .message("replicas and autoscaling both say how many pods there are: remove one"),
    validation = Rule::new("has(self.traffic) || !has(self.rollout) || !has(self.rollout.steps) || size(self.rollout.steps) == 0")
        .message("rollout.steps need traffic.gateway: without a gateway there are no weights, the switch is blue-green; add traffic.gateway or remove the steps"),
    validation = Rule::new("!has(self.rollout) || !has(self.rollout.shadow) || (has(self.rollout.steps) && size(self.rollout.steps) > 0)")
        .message("rollout.shadow comes before rollout.steps: add steps, or remove shadow"),
    validation = Rule::new("!has(self.rollout) || !has(self.rollout.steps) || has(self.analysis.samples) || !self.rollout.steps.exists(s, has(s.minSamples))")
        .message("steps with minSamples need analysis.samples: the query that counts a revision's requests"),
    validation = Rule::new("!has(self.analysis.onStableBreach) || self.analysis.onStableBreach != 'Fallback' || (has(self.rollout) && has(self.rollout.rollbackWindow))")
        .message("analysis.onStableBreach: Fallback needs rollout.rollbackWindow: for so long after a promotion the revision before is kept to go back to"),
    validation = Rule::new("!has(self.rollout) || !has(self.rollout.onOutage) || !has(self.analysis.none)")
        .message("rollout.onOutage needs metrics: with analysis.none there is no source that could be out"),
    validation = Rule::new("has(self.analysis.none) || (has(self.rollout) && has(self.rollout.steps) && size(self.rollout.steps) > 0)")
        .message("analysis needs rollout.steps: metrics are measured while a step is watched, without steps never; add steps, or say analysis: {none: \"reason\"}")
)]
pub struct ModelDeploymentSpec {
    /// The ModelRegistryEntry to serve. Changing it starts a canary.
    pub model_ref: LocalRef,
    /// What the model is used for: one of `governance.purposes` of the entry, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub purpose: Option<String>,
    /// The signals of consent that whoever calls the model checks first, such as `ad_personalization`: all those that the entry's
    /// data sources rest on. Werkbank sees no person, so it can hold nobody to it; that it was said is on the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub consent_signals: Vec<String>,
    /// Region the pods must run in: one of the regions that the operator's chart
    /// maps to node labels, and one of `governance.regions` of the entry, where it has some. Becomes a required node affinity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,
    /// Pods of the stable revision; 1 when left out. 0 is scaled to zero, which is not degraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2000))]
    pub replicas: Option<i32>,
    /// Instead of `replicas`: a HorizontalPodAutoscaler for each revision decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Port the model server listens on, and port of the Services.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The pod template: metadata (labels, annotations) and spec, as in a Deployment.
    /// The operator adds the init container that fetches the artifact, and the
    /// environment variables WERKBANK_MODEL_PATH, WERKBANK_MODEL_DIGEST and WERKBANK_REVISION.
    pub template: PodTemplate,
    /// How requests reach the model. Without it the Service <name> switches to the
    /// new revision at promotion (blue-green).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// How a new revision gets to full traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// What decides whether a revision is good.
    pub analysis: Analysis,
    /// While true, no attempt begins and no weight rises; guardrails, rollback and revert go on. False when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// What becomes of the stable revision when its entry is revoked; StopServing when left out. A candidate goes in any
    /// case, and no attempt begins for an entry that is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_revocation: Option<OnRevocation>,
}
