//! The one loop, and everything a process needs around it.
//!
//! ```text
//!  watches ──► caches ──► observe ─► decide ─► act ──► API server ──┐
//!     ▲           │                                                 │
//!     └───────────┴──── a pass waits until it sees its own writes ◄─┘
//! ```
//!
//! A kind brings a [`Machine`] and its watches; the loop owns scheduling, concurrency, backoff,
//! what a process remembers between passes, lease, metrics and health. The place where kinds are
//! registered is [`operator`].

mod backoff;
mod client;
mod clock;
mod cluster;
mod controller;
mod expectations;
mod guard;
mod health;
mod lease;
mod machine;
mod memory;
mod metrics;
pub mod operator;
pub mod rbac;
mod requests;
mod shutdown;
mod telemetry;
mod watch;

#[cfg(test)]
pub(crate) use client::connect_to;
pub use client::{ClientOptions, connect};
pub use clock::Clock;
#[cfg(test)]
pub(crate) use controller::by_hand::{ByHand, Key};
pub use controller::{Controller, Loop, Shared};
pub use guard::Guarded;
pub use health::{Health, serve};
pub use lease::{Leadership, LeaseError, LeaseOptions};
pub use machine::{Machine, ObserveError};
pub use memory::{PassMemory, TrailOutage};
pub use metrics::Metrics;
pub use shutdown::Shutdown;
pub use telemetry::{LogFormat, start_logging};
pub use watch::{Cache, Loss, NamespaceMeta, Queue, Scope, Waker, Watch, WatchEnded, Watchable, Watches};
