//! The record of every decision.
//!
//! A decision is on the record before its effect: the loop appends its intent and
//! goes on only when the trail says it is stored. Two leaders may try at once, and
//! an answer may get lost; so a place in the trail is given once
//! (`put-if-absent`), and appending the same decision again is no error.

mod entry;
mod trail;

use futures::future::BoxFuture;

pub use entry::{Entry, EntryKind};
pub use trail::ObjectStoreTrail;

/// Where decisions are recorded.
pub trait Trail: Send + Sync + 'static {
    /// Stores an entry at its place (uid, sequence, kind), unless the place is taken. Once
    /// this returned `Ok`, the entry is stored. Ends within seconds.
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>>;
}

/// The entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// By this call.
    New,
    /// By an earlier one, or by another leader who decided the same.
    AlreadyThere,
}

/// The entry is not known to be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrailError {
    /// Another decision has this sequence number; decide again with the next.
    #[error(
        "sequence number {sequence} belongs to another decision; decide again from the newest status"
    )]
    SequenceTaken {
        /// The number that is spent.
        sequence: i64,
    },
    /// The store does not answer as it should. Says what to do.
    #[error("{0}")]
    Unavailable(String),
}
