//! What the log commits to: its size and its root, signed.
//!
//! The text of a checkpoint is three lines: the origin (which log this is), how many entries it has, and the root over them in
//! base64 (C2SP's tlog-checkpoint). Lines may follow; this log writes none and does not mind those of others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::merkle::TreeHash;
use super::note::{self, KeyId, NoNote, Signer, Verifier};

/// A log of a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: cluster and shard, `werkbank.dev/log/<cluster>/<shard>`.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: TreeHash,
}

/// Why something is no checkpoint of this log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCheckpoint {
    /// Nobody who is trusted has signed it.
    #[error(transparent)]
    Note(#[from] NoNote),
    /// The text is none of a checkpoint.
    #[error("its text is not an origin, a size and a root, each in a line")]
    Malformed,
    /// Of another log.
    #[error("it is of the log {is}, not of {due}; each cluster needs a place and an origin of its own")]
    Foreign {
        /// Its origin.
        is: String,
        /// The one expected.
        due: String,
    },
}

impl Checkpoint {
    /// Signed by each.
    #[must_use]
    pub fn signed(&self, by: &[Signer]) -> String {
        note::sign(&format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0)), by)
    }

    /// The checkpoint of the log `origin` in a signed note, and who of `by` has signed it.
    ///
    /// # Errors
    /// It is not to be believed, or is none, or another log's.
    pub fn open<'a>(note: &[u8], origin: &str, by: &'a [Verifier]) -> Result<(Self, Vec<&'a KeyId>), NoCheckpoint> {
        let (text, signed) = note::open(note, by)?;
        // Keys are a log's own: another one's says nothing of this.
        let signed: Vec<&KeyId> = signed.into_iter().filter(|it| it.name == origin).collect();
        if signed.is_empty() {
            return Err(NoNote::Unsigned(Vec::new()).into());
        }
        let checkpoint = Self::parse(text).ok_or(NoCheckpoint::Malformed)?;
        if checkpoint.origin == origin {
            Ok((checkpoint, signed))
        } else {
            Err(NoCheckpoint::Foreign { is: checkpoint.origin, due: origin.into() })
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        // Behind the third line is at least its end.
        lines.next()?;
        let number: u64 = size.parse().ok().filter(|it: &u64| it.to_string() == size)?;
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        let origin = Some(origin).filter(|it| !it.is_empty())?;
        Some(Self { origin: origin.into(), size: number, root: TreeHash(root) })
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
