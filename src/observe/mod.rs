//! I/O in: what a decision needs, from the caches and the metric source.
//!
//! One file per kind. Observing never judges: a missing entry, a refused query or a foreign child
//! is handed to `decide` as what it is.

pub mod approvals;
pub mod model_deployment;
pub mod model_registry_entry;
