//! `ModelRegistryEntry`: one immutable version of a model.
//!
//! An entry answers "which bytes": where the artifact lies and what its digest
//! is; or whose model it is, if somebody else runs it. A deployment names an entry, never a URI, so what runs is always a
//! version that was registered. It answers "may it?": who has to agree, and who submitted it. And it answers "still?": an entry that is revoked is off the traffic of whoever
//! uses it within seconds, for good.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::DayText;
use super::approval;
use super::condition::Condition;
use super::governance::{DataSource, Governance, Owners};
use super::provenance::{Evaluation, Lineage};
use super::vendor::Vendor;
use super::verification::Verification;

/// One immutable version of a model: which model, which version, and where its
/// bytes are and what their digest is, or who runs it. The spec cannot be changed but for `lifecycle`, `reviewBy`,
/// `owners` and `artifact.serviceAccountName`: register a new entry for a new version.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "werkbank.dev",
    version = "v1alpha1",
    kind = "ModelRegistryEntry",
    plural = "modelregistryentries",
    shortname = "mre",
    category = "werkbank",
    namespaced,
    status = "ModelRegistryEntryStatus",
    derive = "PartialEq",
    doc = "One immutable version of a model: where its bytes are and what their digest is, or who runs it.",
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63")
        .message("metadata.name must be lower-case letters, digits and '-', at most 63 characters: it becomes a label value"),
    validation = Rule::new("!has(self.spec.vendor) || self.spec.vendor.exit.fallbackRef.name != self.metadata.name")
        .message("vendor.exit.fallbackRef names the entry itself: name the one that takes its place"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.model.version"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.model.kind"),
    printcolumn(name = "Lifecycle", type_ = "string", json_path = ".spec.lifecycle"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Risk", type_ = "string", json_path = ".spec.governance.riskClass", priority = 1),
    printcolumn(name = "Review By", type_ = "string", json_path = ".spec.reviewBy", priority = 1),
    printcolumn(name = "Vendor", type_ = "string", json_path = ".spec.vendor.name", priority = 1),
    printcolumn(name = "Artifact", type_ = "string", json_path = ".spec.artifact.uri", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.model == oldSelf.model && has(self.submittedBy) == has(oldSelf.submittedBy) && (!has(self.submittedBy) || self.submittedBy == oldSelf.submittedBy) && has(self.deliveredBy) == has(oldSelf.deliveredBy) && (!has(self.deliveredBy) || self.deliveredBy == oldSelf.deliveredBy) && has(self.governance) == has(oldSelf.governance) && (!has(self.governance) || self.governance == oldSelf.governance) && has(self.dataSources) == has(oldSelf.dataSources) && (!has(self.dataSources) || self.dataSources == oldSelf.dataSources) && has(self.artifact) == has(oldSelf.artifact) && has(self.vendor) == has(oldSelf.vendor) && (!has(self.vendor) || self.vendor == oldSelf.vendor) && has(self.lineage) == has(oldSelf.lineage) && (!has(self.lineage) || self.lineage == oldSelf.lineage) && has(self.evaluations) == has(oldSelf.evaluations) && (!has(self.evaluations) || self.evaluations == oldSelf.evaluations)").message("spec is immutable but for lifecycle, reviewBy, owners and artifact.serviceAccountName: register a new ModelRegistryEntry for a new version and point modelRef at it"),
    validation = Rule::new("!has(self.governance) || !has(self.governance.approvals) || size(self.governance.approvals) == 0 || has(self.submittedBy)").message("submittedBy must be given where governance.approvals asks for approvals: nobody approves their own work"),
    validation = Rule::new("!has(self.dataSources) || self.dataSources.all(s, !has(s.purposes) || size(s.purposes) == 0 || (has(self.governance) && has(self.governance.purposes) && size(self.governance.purposes) > 0 && self.governance.purposes.all(p, p in s.purposes)))").message("governance.purposes must be given where a data source has purposes, and each data source must have all of them: a model is used for nothing that its data was not collected for"),
    validation = Rule::new("!has(self.dataSources) || self.dataSources.all(s, !has(s.residency) || size(s.residency) == 0 || (has(self.governance) && has(self.governance.regions) && size(self.governance.regions) > 0 && self.governance.regions.all(r, r in s.residency)))").message("governance.regions must be given where a data source has residency, and each data source must have all of them: a model runs nowhere that its data may not be"),
    validation = Rule::new("has(self.artifact) != has(self.vendor)").message("an entry has an artifact, which your pods serve, or a vendor, who runs the model: give one of the two"),
    validation = Rule::new("!has(self.vendor) || !has(self.governance) || !has(self.governance.regions) || size(self.governance.regions) == 0 || (has(self.vendor.residency) && size(self.vendor.residency) > 0 && self.vendor.residency.all(r, r in self.governance.regions))").message("vendor.residency must be given where governance.regions are, and be within them: a model runs nowhere that its data may not be"),
    validation = Rule::new("!has(self.vendor) || (has(self.dataSources) && size(self.dataSources) > 0)").message("vendor needs dataSources: say what is sent to it, and whether that is about people"),
    validation = Rule::new("!has(self.vendor) || !has(self.dataSources) || !self.dataSources.exists(s, s.personalData) || (has(self.vendor.residency) && size(self.vendor.residency) > 0 && has(self.vendor.subprocessorsRef) && has(self.vendor.transferMechanism))").message("vendor needs residency, subprocessorsRef and transferMechanism where a data source has personalData: true (GDPR, Article 28 and Chapter V)"),
    validation = Rule::new("!has(self.deliveredBy) || has(self.submittedBy)").message("deliveredBy is the account that applies the entry in somebody's name: say whose in submittedBy"),
    validation = Rule::new("!has(oldSelf.reviewBy) || has(self.reviewBy)").message("reviewBy can be moved, not removed: those who approved it counted on a review"),
    validation = Rule::new("!has(oldSelf.lifecycle) || oldSelf.lifecycle != 'Revoked' || (has(self.lifecycle) && self.lifecycle == 'Revoked')").message("lifecycle: Revoked is final: register a new ModelRegistryEntry and point modelRef at it")
)]
pub struct ModelRegistryEntrySpec {
    /// Which model this is a version of.
    pub model: ModelIdentity,
    /// The bytes, of a model that your pods serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
    /// Who runs the model, if that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Vendor>,
    /// What it was made of, and by what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// How it was examined before it was registered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub evaluations: Vec<Evaluation>,
    /// Who submits it, by the name that the API server knows the person by (`kubectl auth whoami`): nobody approves their own
    /// work. The chart's admission policy holds it to the requester's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub submitted_by: Option<String>,
    /// The account that applies the entry in the name of `submittedBy`, if that is not the person: one of the chart's
    /// `approvals.deliveryAccounts`, such as Argo CD's. Then nobody has verified who submitted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub delivered_by: Option<String>,
    /// The data it was made of, and of a vendor's model what is sent to it; and what that may be used for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub data_sources: Vec<DataSource>,
    /// What it may be used for, and who has to agree before it is deployed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub governance: Option<Governance>,
    /// Who answers for it. Not part of `status.specDigest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Owners>,
    /// The last day, in UTC, on which a rollout of it may begin, unless somebody reviews it and moves this. It can be moved, and not be
    /// removed. Not part of `status.specDigest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review_by: Option<DayText>,
    /// Whether it may be deployed; Active when left out. Not part of `status.specDigest`: it says nothing of which
    /// version this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
}

impl ModelRegistryEntrySpec {
    /// Whether it may be deployed.
    #[must_use]
    pub fn lifecycle(&self) -> Lifecycle {
        self.lifecycle.unwrap_or_default()
    }

    /// What it may be used for.
    #[must_use]
    pub fn purposes(&self) -> &[String] {
        self.governance.as_ref().map(|it| it.purposes.as_slice()).unwrap_or_default()
    }

    /// Where it may run; anywhere, if there are none.
    #[must_use]
    pub fn regions(&self) -> &[String] {
        self.governance.as_ref().map(|it| it.regions.as_slice()).unwrap_or_default()
    }

    /// `sha256:` and the digest of the spec's canonical JSON (RFC 8785), less what can be changed, each list sorted by the
    /// canonical JSON of its items: all are sets or maps, so that the API server takes another order for the same spec.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut spec = serde_json::to_value(self).unwrap_or_default();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|key, _| !["lifecycle", "reviewBy", "owners"].contains(&key.as_str()));
        }
        if let Some(artifact) = spec.get_mut("artifact").and_then(Value::as_object_mut) {
            artifact.remove("serviceAccountName");
        }
        sort_lists(&mut spec);
        approval::digest_of(&spec)
    }
}

fn sort_lists(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(sort_lists);
            items.sort_by_cached_key(|it| serde_json_canonicalizer::to_string(it).unwrap_or_default());
        }
        Value::Object(fields) => fields.values_mut().for_each(sort_lists),
        _ => {}
    }
}

/// Whether a version may be deployed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Lifecycle {
    /// It may.
    #[default]
    Active,
    /// Nothing begins to roll out that is not on its way; what serves goes on serving.
    Deprecated,
    /// It gets no traffic any more, and what has some loses it at once (`spec.onRevocation` of the deployment). Final.
    Revoked,
}

/// Name and version of a model.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelIdentity {
    /// The model's name across its versions, such as `churn`.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// This version, such as `2026-11`.
    #[schemars(length(min = 1, max = 63))]
    pub version: String,
    /// What the model does.
    pub kind: ModelKind,
}

/// What a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ModelKind {
    /// Predicts a value or class for a unit: churn, propensity, lifetime value.
    Predictor,
    /// Ranks items for a unit.
    Recommender,
    /// Chooses an action: bids, budgets, next best action.
    Optimiser,
    /// A marketing mix model.
    MixModel,
    /// Writes texts or makes images.
    Generator,
    /// Turns texts or images into vectors.
    Embedder,
    /// Judges what a generator has made.
    Judge,
}

/// Where the model's bytes are, and how to know them.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.uri == oldSelf.uri && self.sha256 == oldSelf.sha256 && has(self.format) == has(oldSelf.format) && (!has(self.format) || self.format == oldSelf.format) && has(self.framework) == has(oldSelf.framework) && (!has(self.framework) || self.framework == oldSelf.framework) && has(self.secretRef) == has(oldSelf.secretRef) && (!has(self.secretRef) || self.secretRef == oldSelf.secretRef)")
    .message("spec.artifact is immutable but for serviceAccountName: register a new ModelRegistryEntry for a new version and point modelRef at it"))]
#[x_kube(validation = Rule::new("!self.uri.startsWith('file://') || (!has(self.secretRef) && !has(self.serviceAccountName))")
    .message("artifact.secretRef and serviceAccountName are for object storage: a file:// artifact needs no credentials, remove them"))]
pub struct Artifact {
    /// `s3://bucket/path`, `gs://bucket/path`, `az://container/path` or `file:///path` (a path in the serving pod, for example of a
    /// mounted volume): one object, or a prefix ending in `/` for a directory; or one file of a web server, `https://host/path`. No
    /// credentials, no query.
    #[schemars(length(max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^(s3|gs|az|https|file)://') && (!self.startsWith('file://') || self.startsWith('file:///'))")
            .message("artifact.uri must start with s3://, gs://, az://, https:// or file:///"),
        validation = Rule::new("self.startsWith('file://') || !self.matches('^[a-z0-9]+://') || self.matches('^[a-z0-9]+://[^/]+/.')")
            .message("artifact.uri must name an object or a prefix in the bucket: s3://bucket/path"),
        validation = Rule::new("!self.startsWith('https://') || !self.endsWith('/')")
            .message("artifact.uri must name one file of a web server, which lists no directory: remove the '/' at the end"),
        validation = Rule::new("!self.contains('@') && !self.contains('?') && !self.contains('#') && !self.contains('..')")
            .message("artifact.uri must be a plain location: no credentials, no query, no fragment, no '..'; name credentials in artifact.secretRef")
    )]
    pub uri: String,
    /// SHA-256 in hexadecimal: of the bytes, or for a directory of the sorted lines `sha256␠␠path`:
    /// `find . -type f -print0 | xargs -0 sha256sum | sed 's|  \./|  |' | LC_ALL=C sort | sha256sum`.
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')")
        .message("artifact.sha256 must be 64 lower-case hexadecimal digits: sha256sum prints them"))]
    #[schemars(length(max = 64))]
    pub sha256: String,
    /// File format, such as `onnx`; for people and tools, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub format: Option<String>,
    /// What trained it, such as `sklearn`; for people and tools, not interpreted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub framework: Option<String>,
    /// Secret in the same namespace whose keys become environment variables of
    /// the fetching init container, and of the Job that verifies it: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_ENDPOINT_URL`, `AWS_REGION`; `GOOGLE_SERVICE_ACCOUNT_KEY`; `AZURE_STORAGE_ACCOUNT_NAME`,
    /// `AZURE_STORAGE_ACCOUNT_KEY`; `HTTPS_AUTHORIZATION`. The operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalRef>,
    /// ServiceAccount in the same namespace as which the operator's Job verifies it: for stores that know pods by workload
    /// identity. Serving pods have the account of their own template. It can be changed, and is not part of `status.specDigest`: it
    /// says who looks, and not at what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub service_account_name: Option<String>,
}

/// A reference to an object in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalRef {
    /// `metadata.name`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What the operator found out about an entry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRegistryEntryStatus {
    /// The `metadata.generation` this status speaks of.
    #[serde(default)]
    pub observed_generation: i64,
    /// SHA-256 of the canonical JSON (RFC 8785) of the spec, `sha256:…`: what
    /// approvals and the record of decisions refer to.
    #[serde(default)]
    pub spec_digest: String,
    /// What runs revisions of it: ten of them at most, sorted. While there is any, the entry is not deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<User>,
    /// Whether there are more than these.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used_by_more: bool,
    /// What is known of the artifact, where the operator is told to verify it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Verification>,
    /// The roles that have to approve it, and what each has said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<RoleWord>,
    /// `Ready`, `Reconciling`, `Stalled`; where its artifact is verified, `ArtifactVerified`; of a vendor's model, `ExitReady`; where something is said of what it may be used for, `GovernanceComplete`; where approvals
    /// are asked for, `Approved` and `ApprovalGuardReady`; `KeptInUse`, False, where the API server does not let the operator keep one
    /// that is in use.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Epoch of the leader that wrote this. A new leader writes it before it changes the first child.
    #[serde(default)]
    pub lease_epoch: i64,
}

/// What runs revisions of an entry, in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// `ModelDeployment`.
    pub kind: String,
    /// `metadata.name`.
    pub name: String,
}

/// What a role has said. Who it was is in the Approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleWord {
    /// The role.
    pub role: String,
    /// What counts of it.
    pub word: RoleWordKind,
}

/// What counts of what a role has said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoleWordKind {
    /// Yes.
    Approved,
    /// Nothing yet.
    Missing,
    /// No.
    Rejected,
    /// Something that counts for nothing: the condition `Approved` says why.
    Void,
}
