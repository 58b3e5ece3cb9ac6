//! The stable revision, watched between rollouts.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Verdict;

/// What is done about a stable revision that breaks a guardrail between rollouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StableBreachAction {
    /// Say so: `Stalled=True` with the reason `StableBreached`, and an Event.
    Alert,
    /// For `rollout.rollbackWindow` after a promotion go back to the revision before, which is kept for it; later, say so.
    Fallback,
}

/// What guardrails say of the stable revision between rollouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StableWatch {
    /// The revision.
    pub revision: String,
    /// Since when it is watched.
    pub since: DateTime<Utc>,
    /// What each guardrail says, and since when: that it says so again is not written down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verdicts: Vec<Verdict>,
}
