//! What the measurements of a metric have said.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Weight;

/// What a measurement means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The metric.
    pub metric: String,
    /// The verdict.
    pub verdict: VerdictKind,
    /// The candidate's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The stable revision's value, where compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_value: Option<String>,
    /// Why, in one sentence.
    pub message: String,
    /// When the measurement began. On probation: when a guardrail first said this; that it says so again is not written down.
    pub time: DateTime<Utc>,
    /// Fail verdicts in a row.
    #[serde(default)]
    pub failures: i32,
    /// Since when the source has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<DateTime<Utc>>,
    /// The source answers, but refuses the query: no outage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// It is not asked, because a Secret that the metric names cannot be read: no outage.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_not_readable: bool,
    /// Digest of the metric as it was judged, query and bounds: a changed one starts anew.
    #[serde(default)]
    pub query_digest: String,
    /// What a metric with `test` has counted in this attempt, by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub periods: Vec<CountedPeriod>,
}

/// What was counted at one weight: of a proportion successes and trials; of a mean sum, sum of squares, and count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedPeriod {
    /// The candidate's share of traffic.
    pub weight: Weight,
    /// Since when, for the observation that goes on; absent for all earlier ones at this weight together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// The candidate's counts.
    pub candidate: Vec<String>,
    /// The stable revision's.
    pub stable: Vec<String>,
}

/// The five verdicts. They keep "bad" apart from "unknown".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum VerdictKind {
    /// As expected.
    Pass,
    /// Not as expected.
    Fail,
    /// Measured, but not enough to tell.
    Inconclusive,
    /// The source has nothing.
    NoData,
    /// The source does not answer, or refuses.
    ProviderError,
}
