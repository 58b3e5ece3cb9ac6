//! The record of every decision.
mod entry;

pub use entry::{Entry, EntryKind};
