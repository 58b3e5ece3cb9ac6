//! The contract.
pub mod gateway;
