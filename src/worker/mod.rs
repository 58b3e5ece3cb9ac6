//! What runs in pods of its own, without rights in the cluster.

pub mod fetch;
mod pod;
mod progress;
mod reading;
pub mod verify;
