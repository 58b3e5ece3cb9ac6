//! Werkbank: a Kubernetes operator that runs the life of marketing models, declared in YAML.
//!
//! ```text
//!                        ┌──────────────────── runtime: one loop for every kind ───────────────────┐
//!   API server ──watch──►│ observe ──► decide ──► Plan { entries, status, ops, events } ──► act ───┼──► API server
//!   Prometheus ──query──►│  (I/O in)   (pure)                                            (I/O out) │──► audit trail
//!                        └─────────────────────────────────────────────────────────────────────────┘
//!                              api: the contract   build: the children   text: query templates   stats: tests of counts
//! ```
//!
//! Look for a behaviour by the word a user would use for it: a rollout's states are in
//! [`decide::model_deployment`], verdicts in [`decide::model_deployment::judge`], weights on the gateway in
//! [`build::route`], the fields and their documentation in [`api`]. What may be imported where is held by
//! `tests/architecture/`.

pub mod act;
pub mod api;
pub mod audit;
pub mod build;
pub mod cli;
pub mod connect;
pub mod decide;
#[cfg(test)]
mod explore;
pub mod observe;
pub mod runtime;
#[cfg(test)]
mod sim;
pub mod start;
pub mod stats;
pub mod text;
pub mod worker;
