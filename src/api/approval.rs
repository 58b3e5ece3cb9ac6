//! `Approval`: one person's word, in one role, on one subject as it was at that moment.
//!
//! A kind of its own, because the API server then checks it when it is written, without a webhook: who writes it, in whose name,
//! with which right, and about what. The chart's admission policies (`charts/werkbank/files/policies/`) do that; what counts
//! is decided again in each pass (see [`crate::decide::approval`]).

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::text::hex::hex;

/// One person's word on a ModelRegistryEntry, or on a step of a ModelDeployment. `kubectl werkbank approve` and
/// `kubectl werkbank reject` write it. It never changes, is not kept in Git, and goes with its subject.
#[derive(CustomResource, KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "werkbank.dev",
    version = "v1alpha1",
    kind = "Approval",
    plural = "approvals",
    category = "werkbank",
    namespaced,
    derive = "PartialEq",
    doc = "One person's word, in one role, on one subject as it was at that moment.",
    validation = Rule::new("self.metadata.name == self.spec.subject.name + '-' + self.spec.role + '-' + self.spec.subject.digest.substring(7, 15)")
        .message("metadata.name must be <subject.name>-<role>-<the first 8 digits of subject.digest>, so that there is one Approval for each role and digest; kubectl werkbank approve writes it"),
    printcolumn(name = "Kind", type_ = "string", json_path = ".spec.subject.kind"),
    printcolumn(name = "Subject", type_ = "string", json_path = ".spec.subject.name"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self == oldSelf").message("an Approval never changes: delete it, which its approver may, and decide again")
)]
pub struct ApprovalSpec {
    /// What it is about.
    pub subject: ApprovalSubject,
    /// In which role: one that the subject asks for.
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("role must be lower-case letters, digits and '-', such as data-protection"))]
    #[schemars(length(max = 32))]
    pub role: String,
    /// What is said.
    pub decision: ApprovalDecision,
    /// The name that the API server knows the person by (`kubectl auth whoami`).
    #[schemars(length(min = 1, max = 256))]
    pub approver: String,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub comment: Option<String>,
}

/// What an Approval is about, as it was when it was given.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalSubject {
    /// An entry, or the deployment of which a step is meant.
    pub kind: SubjectKind,
    /// Its `metadata.name`, in the same namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Its `metadata.uid`: what is registered again under the same name is another subject.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
    /// An entry's `status.specDigest`; of a step, `digest` in the deployment's `status.attempt.approvals`.
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("subject.digest must be sha256: and 64 hexadecimal digits, as the subject's status says it"))]
    #[schemars(length(max = 71))]
    pub digest: String,
}

/// Kinds that can be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// An entry: may it be deployed?
    ModelRegistryEntry,
    /// A deployment: may the candidate enter a step?
    ModelDeployment,
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalDecision {
    /// Yes.
    Approved,
    /// No. It counts whatever others say.
    Rejected,
}

/// The one name an Approval can have.
#[must_use]
pub fn name_of(subject: &str, role: &str, digest: &str) -> String {
    format!("{subject}-{role}-{}", digest.get(7..15).unwrap_or_default())
}

/// What an Approval refers to: `sha256:` and the digest of the content's canonical JSON (RFC 8785).
#[must_use]
pub fn digest_of(content: &impl Serialize) -> String {
    let canonical = serde_json_canonicalizer::to_vec(content).unwrap_or_default();
    format!("sha256:{}", hex(&Sha256::digest(canonical), 32))
}
