//! A promoted revision that outcomes may still take back which arrive late.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, EntryRef, Verdict};
use crate::api::Weight;

/// A time in which candidate and stable revision each had their share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// The candidate's share.
    pub weight: Weight,
    /// Since when it was in effect.
    pub since: DateTime<Utc>,
    /// When the next one was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
}

/// A stable revision that metrics with `delay` have still to judge, or that guardrails may still take back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probation {
    /// The attempt that promoted it.
    pub attempt: String,
    /// The revision.
    pub revision: String,
    /// The stable revision of that attempt: what it is compared with.
    pub baseline: String,
    /// The last proven revision: what is gone back to.
    pub fallback: EntryRef,
    /// What the pods of `fallback` ran while it served, by container: `@sha256:…` for a digest in a repository, otherwise the
    /// id of a local image. Only of images that its template names by tag.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fallback_images: BTreeMap<String, String>,
    /// What they ran instead when the spec named `fallback` again: it is not gone back to for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_differ: Option<String>,
    /// When it was promoted.
    pub since: DateTime<Utc>,
    /// The weights whose units are judged.
    pub exposed: Vec<Exposure>,
    /// The newest verdict of each metric that judges it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
    /// Guardrails may call it back until then at least: see `analysis.onStableBreach`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// It is to go back, once the pods of `fallback` are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Recall>,
}

/// The last proven revision is called back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recall {
    /// Why.
    pub cause: Cause,
    /// One sentence about it.
    pub message: String,
    /// Since when.
    pub at: DateTime<Utc>,
    /// Which actor of the audit log asked for it, if somebody did; `unknown` while the log does not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked_by: String,
}
