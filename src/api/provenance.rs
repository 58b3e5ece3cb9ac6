//! Where a version comes from, and how it was examined: what an auditor reads to make it again.
//!
//! The operator fetches nothing of it and interprets nothing of it, with one exception: a vendor's exit names one of the fallback's
//! evaluations by its digest ([`super::vendor::Exit`]). All of it is part of `status.specDigest`, so who approves an entry approves this,
//! and `kubectl werkbank why` shows it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Quantity;
use super::governance::{NOT_PLAIN, PLAIN, SAID};

/// SHA-256 in hexadecimal.
const SHA256: &str = "^[0-9a-f]{64}$";

/// What it was made of, and by what.
#[derive(KubeSchema, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.git) || has(self.trainingRun) || (has(self.trainingData) && size(self.trainingData) > 0) || (has(self.parameters) && size(self.parameters) > 0)")
    .message("lineage says nothing: give git, trainingRun, trainingData or parameters, or leave it out"))]
pub struct Lineage {
    /// The source code that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<Commit>,
    /// The run that made it, as your tracking server names it, such as `mlflow:/3f1a…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub training_run: Option<String>,
    /// The files that it was made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uri"]))]
    pub training_data: Vec<Evidence>,
    /// What the training was told, such as `{learningRate: "0.01"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 1024}))]
    pub parameters: BTreeMap<String, String>,
}

/// A commit.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Commit {
    /// Where the repository is.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub repository: String,
    /// The commit's whole digest: a branch or a tag is another commit tomorrow.
    #[x_kube(validation = Rule::new("self.matches('^([0-9a-f]{40}|[0-9a-f]{64})$')")
        .message("lineage.git.commit must be the whole digest of a commit, 40 or 64 lower-case hexadecimal digits: git rev-parse HEAD prints it"))]
    #[schemars(length(max = 64))]
    pub commit: String,
}

/// A file, and how to know it.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Where it is.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub uri: String,
    /// SHA-256 of its bytes, in hexadecimal.
    #[schemars(length(max = 64), regex(pattern = SHA256))]
    pub sha256: String,
}

/// How it was examined before it was registered, and what came out.
#[derive(KubeSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// Its name, such as `backtest`.
    #[schemars(length(min = 1, max = 63), regex(pattern = SAID))]
    pub name: String,
    /// Where its report is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = SAID))]
    #[x_kube(validation = Rule::new(PLAIN).message(NOT_PLAIN))]
    pub uri: Option<String>,
    /// SHA-256 of the report's bytes, in hexadecimal: what a vendor's exit refers to.
    #[schemars(length(max = 64), regex(pattern = SHA256))]
    pub sha256: String,
    /// What was measured, such as `{auc: "0.81"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub metrics: BTreeMap<String, Quantity>,
}
