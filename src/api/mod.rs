//! The contract.
pub mod artifact;
pub mod artifact_digest;
pub mod artifact_failure;
pub mod gateway;
