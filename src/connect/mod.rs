//! Clients of the outside.
//!
//! What they have in common: every call is bounded in time and in size, none
//! follows a redirect to another place, and no error repeats a credential, a
//! signed URL or a foreign answer that could hold one.

mod address;
pub mod http;
pub(crate) mod outage;
mod places;
pub mod progress;
pub mod prometheus;
pub mod sql;
mod sql_error;
mod sql_value;
pub mod storage;
mod storage_error;
