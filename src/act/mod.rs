//! I/O out: the only place that writes children, status and events.
//!
//! [`Actor`] carries a [`Plan`](crate::decide::Plan) out in its order and stops at the first
//! refusal. It decides nothing: what a refusal means for the next pass is up to the loop, which
//! gets a [`Report`] of what was written and how it ended. Right before every write it asks
//! [`Authority`] whether this process still holds the lease, and whoever sends the request asks again.

mod authority;
mod carry_out;
mod event;
mod request;

pub use authority::{Authority, NotLeading};
pub use carry_out::{Actor, End, Left, Report, Written};
pub use event::{EventSink, Subject};
pub use request::FIELD_MANAGER;
