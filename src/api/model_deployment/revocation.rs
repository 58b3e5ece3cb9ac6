//! What becomes of a model that serves when its entry is revoked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of the stable revision when its entry is revoked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnRevocation {
    /// It is off traffic at once. What was kept of the revision before takes over, whether its pods are ready or not; where
    /// nothing is kept, nothing serves.
    #[default]
    StopServing,
    /// It serves until something else can: what was kept of the revision before, with its pods ready, or the next one
    /// that is promoted.
    Keep,
}
