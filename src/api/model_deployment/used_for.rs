//! What a revision is used for, and on what promise.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ModelDeploymentSpec;

/// What the spec said when the entry of the revision allowed it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsedFor {
    /// `spec.purpose`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// `spec.region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `spec.consentSignals`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consent_signals: Vec<String>,
}

impl UsedFor {
    /// What the spec says now.
    #[must_use]
    pub fn of(spec: &ModelDeploymentSpec) -> Self {
        let mut consent_signals = spec.consent_signals.clone();
        consent_signals.sort_unstable();
        Self { purpose: spec.purpose.clone(), region: spec.region.clone(), consent_signals }
    }

    /// Whether it says anything.
    #[must_use]
    pub fn is_said(&self) -> bool {
        *self != Self::default()
    }
}

/// `for retention-email, in eu, callers check ad_user_data`; empty where nothing is said.
impl fmt::Display for UsedFor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let purpose = self.purpose.as_ref().map(|it| format!("for {it}"));
        let region = self.region.as_ref().map(|it| format!("in {it}"));
        let signals = &self.consent_signals;
        let checked = (!signals.is_empty()).then(|| format!("callers check {}", signals.join(", ")));
        out.write_str(&[purpose, region, checked].into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
