//! What the operator stands on: its rights, and nothing of its decisions.

pub mod rbac;
