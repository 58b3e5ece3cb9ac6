//! The record of every decision.
//!
//! A decision is on the record before its effect: the loop appends the intent,
//! and only then writes status. What the record is stored in is behind [`Trail`].

mod cluster;
mod entry;
pub mod keys;
mod log;
pub mod people;
pub mod proof;
mod store;
pub mod tlog;
pub mod verify;

use futures::future::BoxFuture;

use self::people::Words;
use self::store::Fault;

#[cfg(test)]
pub(crate) use entry::sample;
pub use entry::{Consent, Entry, EntryKind, REJECT, RETRACT, Said, UNKNOWN_ACTOR, is_of_words};
pub use log::Log;
pub use store::UnfitStore;

/// An append-only record with one place per resource, sequence number and kind of entry.
pub trait Trail: Send + Sync + 'static {
    /// Stores the entry, durably, before it returns.
    ///
    /// The same decision ([`Entry::is_same_decision`]) appended twice is [`Appended::AlreadyThere`],
    /// whatever its time. An intent is refused as [`TrailError::SequenceTaken`] when another
    /// decision has its sequence number, and also when that number was closed by a `Void`: a
    /// voided intent must never take effect later.
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>>;

    /// Stores several, in this order; each has the answer of [`Trail::append`]. Behind one that is refused, none is stored; that the place
    /// of an outcome or a void is taken refuses nothing. Where the store takes batches, they go together.
    fn append_all<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Vec<Result<Appended, TrailError>>> {
        Box::pin(async move {
            let (mut answers, mut stopped) = (Vec::with_capacity(entries.len()), None);
            for entry in entries {
                let answer = match &stopped {
                    Some(error) => Err(TrailError::clone(error)),
                    None => self.append(entry).await,
                };
                stopped = stopped.or_else(|| answer.as_ref().err().and_then(|it| it.stops(entry)));
                answers.push(answer);
            }
            answers
        })
    }

    /// Who has said something, as entries name them, and what stands for their words; see [`people`].
    ///
    /// # Errors
    /// [`TrailError::Unavailable`]: it is not known.
    fn said<'a>(&'a self, person: &'a str, words: Option<Words<'a>>) -> BoxFuture<'a, Result<Said, TrailError>>;

    /// Which cluster's decisions these are, told once that is known. A record that has room for many need not care.
    fn keeps_for(&self, _cluster: &str) {}

    /// The newest entries about everything that ever had this namespace and name, whatever its uid; the newest first,
    /// in the order they were stored, and not without end.
    ///
    /// # Errors
    /// [`TrailError::Unavailable`]: what it holds is not known.
    fn history<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>>;
}

/// What [`Trail::append`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Stored now.
    New,
    /// Stored before: this is a repetition.
    AlreadyThere,
}

/// Why an entry is not on the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrailError {
    /// The sequence number belongs to another decision; decide again with a higher one.
    #[error("sequence {} is taken by another decision; the next decision uses a higher one", holder.sequence)]
    SequenceTaken {
        /// The intent that has the number; what was offered, as a `Void`, if one closed it.
        holder: Box<Entry>,
    },
    /// The trail does not answer, or not as it should.
    #[error("the audit log is unavailable: {0}; check its URL, its credentials and that its store answers")]
    Unavailable(String),
    /// The log is not as it was written; nothing is appended to it.
    #[error("{0}")]
    Damaged(String),
}

impl TrailError {
    /// What those are told that come behind an entry that was refused with this; `None`: it is in nobody's way.
    fn stops(&self, entry: &Entry) -> Option<Self> {
        match self {
            // Its outcome or void is there already.
            Self::SequenceTaken { .. } if entry.kind != EntryKind::Intent => None,
            Self::SequenceTaken { .. } => {
                Some(Self::Unavailable("the number of a decision before it is another's".into()))
            }
            error => Some(error.clone()),
        }
    }
}

impl From<Fault> for TrailError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Damaged(why) => Self::Damaged(why),
            Fault::Silent(why) | Fault::Wrong(why) | Fault::Unfit(why) => Self::Unavailable(why),
        }
    }
}
