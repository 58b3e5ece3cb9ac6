//! A model that somebody else runs: who does, under which contract, where, and how to leave.
//!
//! An entry has an artifact or a vendor. Of a vendor's model there are no bytes to verify and none to serve: a ModelDeployment
//! cannot roll it out. What can be held to is who processes the data, on what contract (GDPR, Article 28), in which
//! regions, on what grounds data leaves the European Economic Area (Chapter V), what is sent there, and that there is a way out that somebody has tried:
//! an exit without a date, to an entry that is ready, whose evaluation is named by its digest.
//!
//! The rules of form are CEL rules here and on the entry; [`crate::decide::governance::vendor`] decides them again. Whether the exit
//! leads anywhere is decided in [`crate::decide::model_registry_entry::exit`].

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::governance::{NOT_PLAIN, PLAIN, SAID};
use super::model_registry_entry::LocalRef;

/// Who runs the model, and on what terms.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vendor {
    /// Who runs it, such as `mistral`.
    #[schemars(length(min = 1, max = 63), regex(pattern = SAID))]
    pub name: String,
    /// What the vendor calls this version of the model: the one that requests name, never an alias for the latest.
    #[schemars(length(min = 1, max = 253), regex(pattern = SAID))]
    pub model: String,
    /// Where the data processing agreement is (GDPR, Article 28).
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub dpa_ref: String,
    /// Where the list of those is whom the vendor has process data in turn (GDPR, Article 28(2) and (4)). Needed where a data source is
    /// about people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub subprocessors_ref: Option<String>,
    /// The regions in which the vendor processes what is sent to it. Needed where a data source is about people, and where
    /// `governance.regions` says any; never more than those.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = SAID)), extend("x-kubernetes-list-type" = "set"))]
    pub residency: Vec<String>,
    /// On what grounds data about people goes to where the vendor is (GDPR, Chapter V). Needed where a data source is about people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer_mechanism: Option<TransferMechanism>,
    /// What takes its place when it has to go.
    pub exit: Exit,
}

/// On what grounds data about people leaves the European Economic Area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TransferMechanism {
    /// It does not leave it.
    NotNeeded,
    /// The European Commission has found the country's protection adequate (Article 45).
    Adequacy,
    /// The vendor is certified under the EU-US Data Privacy Framework (Decision (EU) 2023/1795).
    #[serde(rename = "DPF")]
    DataPrivacyFramework,
    /// Standard contractual clauses (Article 46(2)(c)).
    #[serde(rename = "SCC")]
    StandardContractualClauses,
    /// Binding corporate rules (Article 47).
    #[serde(rename = "BCR")]
    BindingCorporateRules,
}

/// How to leave a vendor.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// The entry, in the same namespace, of the model that takes its place. It may be another vendor's, whose exit leads on; in the end
    /// stands a model of your own.
    pub fallback_ref: LocalRef,
    /// `sha256:` and the digest of the evaluation that shows that it can: one of the fallback's `evaluations`.
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')")
        .message("vendor.exit.evidence must be sha256: and 64 lower-case hexadecimal digits: the sha256 of one of the fallback's evaluations"))]
    #[schemars(length(max = 71))]
    pub evidence: String,
}
