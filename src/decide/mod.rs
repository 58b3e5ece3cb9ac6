//! What to do: pure, total functions from (resource, observed, now) to a [`Plan`].
//!
//! Nothing here reads a clock, draws a random number, or talks to anything:
//! whatever a decision rests on comes in as an argument, so everything that
//! matters is tested without a cluster. `tests/architecture.rs` holds this
//! folder to it.

pub mod approval;
pub mod governance;
pub mod live_job;
mod measurement;
mod missing;
pub mod model_deployment;
pub mod model_registry_entry;
mod plan;
pub mod resets;

pub use measurement::Measurement;
pub use missing::Missing;
pub use plan::{Child, ChildKind, Event, EventType, Finalizer, Op, Plan, Precondition, Refusal, confirms_first};
