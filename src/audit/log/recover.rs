//! What a process knows of the log: read once, from the checkpoint on.
//!
//! The entries under the checkpoint are read from their bundles and must lead to its root; what has been appended since is in the slots
//! behind. If anything is not as it was written, nothing is known and nothing is appended.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use super::super::Entry;
use super::super::store::Fault;
use super::super::tlog::checkpoint::{Checkpoint, NoCheckpoint};
use super::super::tlog::edge::Edge;
use super::super::tlog::index::Index;
use super::super::tlog::note::NoNote;
use super::super::tlog::slot::{self, Batch};
use super::super::tlog::tile::{Content, Tile};
use super::{AT_ONCE, Log};

/// How long to wait before a log that could not be read is read again.
const REST: Duration = Duration::from_secs(10);
/// The same, of one that is damaged and has been for long.
const LONGEST_REST: Duration = Duration::from_mins(10);
/// How often a file is asked for while the log is read: one silent moment must not cost all that has been read.
const PATIENCE: usize = 3;
/// Where the signed size and root are.
pub(in crate::audit) const CHECKPOINT: &str = "checkpoint";

/// What is known of the log.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The first slot that nobody was seen to have.
    pub(super) slot: u64,
    /// The entries, as far as files are still to be made of them.
    pub(super) edge: Edge,
    /// The decisions.
    pub(super) index: Index,
    /// Whether some of what is not published is this process' own.
    pub(super) own: bool,
}

impl Log {
    /// What is known; it is read if nothing is, unless somebody does so for all.
    pub(super) async fn recovered<'a>(&self, known: &'a mut Option<Known>) -> Result<&'a mut Known, Fault> {
        let read = match known.take() {
            Some(known) => known,
            None => {
                if let Some(fault) = self.unread().clone() {
                    return Err(fault);
                }
                self.recover(&mut |_, _| ()).await?
            }
        };
        Ok(known.insert(read))
    }

    /// Reads it for all, who are refused at once until it is read: a log of years takes longer than anybody may wait. One that
    /// is damaged is looked at again more and more seldom.
    pub(super) async fn read_for_all(&self) {
        let mut rest = REST;
        *self.unread() = Some(Fault::Wrong(format!("the log in {} is still being read", self.store.what())));
        loop {
            match self.recover(&mut |_, _| ()).await {
                Ok(known) => {
                    *self.known.lock().await = Some(known);
                    *self.unread() = None;
                    return;
                }
                Err(fault) => {
                    tracing::warn!(error = %fault, "the audit log cannot be read; decisions that need a record wait");
                    rest = if matches!(fault, Fault::Damaged(_)) { (rest * 2).min(LONGEST_REST) } else { REST };
                    *self.unread() = Some(fault);
                    tokio::time::sleep(rest).await;
                }
            }
        }
    }

    fn unread(&self) -> MutexGuard<'_, Option<Fault>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads it, and tells of each entry under the checkpoint and its place.
    pub(super) async fn recover(&self, tell: &mut impl FnMut(u64, &Entry)) -> Result<Known, Fault> {
        let mut known = Known::default();
        if let Some(checkpoint) = self.checkpoint().await? {
            self.take_published(&mut known, &checkpoint, tell).await?;
            known.slot = self.slot_behind(checkpoint.size).await?;
        }
        self.follow(&mut known).await?;
        Ok(known)
    }

    /// Takes what others have appended.
    pub(super) async fn follow(&self, known: &mut Known) -> Result<(), Fault> {
        match self.slot(known.slot).await? {
            None => return Ok(()),
            Some(batch) => self.take(known, batch)?,
        }
        // In parallel, because a process that waited for the lease for days has thousands to read.
        let mut slots = futures::stream::iter(known.slot..).map(|number| self.slot(number)).buffered(AT_ONCE);
        while let Some(batch) = slots.try_next().await?.flatten() {
            self.take(known, batch)?;
        }
        Ok(())
    }

    /// The newest checkpoint, if there is one.
    pub(super) async fn checkpoint(&self) -> Result<Option<Checkpoint>, Fault> {
        let Some((note, _)) = self.store.read(CHECKPOINT).await? else { return Ok(None) };
        self.opened(&note).map(Some)
    }

    /// The checkpoint in a note that one of this log's keys has signed.
    pub(super) fn opened(&self, note: &[u8]) -> Result<Checkpoint, Fault> {
        let Some(own) = self.verifiers.first() else {
            return Err(Fault::Wrong(format!(
                "the log in {} is signed, and the operator has no key to go on with; give it the log's key",
                self.store.what()
            )));
        };
        Checkpoint::open(note, &own.id().name, &self.verifiers).map(|it| it.0).map_err(|error| match error {
            NoCheckpoint::Note(NoNote::Unsigned(_)) | NoCheckpoint::Foreign { .. } => Fault::Wrong(format!(
                "the checkpoint in {} is not this operator's: {error}; give it the key that signed the log, or a place of its own",
                self.store.what()
            )),
            _ => self.damaged(CHECKPOINT, &format!("is not as it was written: {error}")),
        })
    }

    /// Reads the entries under the checkpoint, and whether they are those it was made of.
    async fn take_published(
        &self,
        known: &mut Known,
        checkpoint: &Checkpoint,
        tell: &mut impl FnMut(u64, &Entry),
    ) -> Result<(), Fault> {
        let bundles = Tile::all(checkpoint.size).into_iter().filter(|it| it.content == Content::Entries);
        let mut bundles = futures::stream::iter(bundles).map(|tile| self.bundle_patiently(tile)).buffered(AT_ONCE);
        while let Some(entries) = bundles.try_next().await? {
            for bytes in entries {
                let at = known.edge.size();
                let entry = self.entry(at, &bytes)?;
                tell(at, &entry);
                known.index.note(&entry, at);
                known.edge.push(bytes);
            }
            let size = known.edge.size();
            known.edge.is_published(size);
        }
        if known.edge.root() == checkpoint.root {
            Ok(())
        } else {
            Err(self.damaged("one of tile/entries", "does not lead to the checkpoint's root"))
        }
    }

    async fn bundle_patiently(&self, tile: Tile) -> Result<Vec<Vec<u8>>, Fault> {
        let mut tries = 1;
        loop {
            match self.bundle(tile).await {
                Err(Fault::Silent(_)) if tries < PATIENCE => tries += 1,
                done => return done,
            }
        }
    }

    /// The slot that begins where a log of `size` entries ends. Slots are dense, so they are not listed but searched:
    /// a few dozen reads for a billion.
    async fn slot_behind(&self, size: u64) -> Result<u64, Fault> {
        // Slots below `low` begin before `size`; `high` does not, or is not there.
        let (mut low, mut high) = (0, 1);
        while self.begins_before(high, size).await? {
            (low, high) = (high + 1, high * 2);
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if self.begins_before(middle, size).await? {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let before = match low.checked_sub(1) {
            Some(last) => self.slot(last).await?.map(|it| it.end()),
            None => Some(0),
        };
        if before == Some(size) {
            Ok(low)
        } else {
            Err(self.damaged(&format!("what follows {}", slot::path(low.saturating_sub(1))), "is missing"))
        }
    }

    async fn begins_before(&self, slot: u64, size: u64) -> Result<bool, Fault> {
        Ok(self.slot(slot).await?.is_some_and(|it| it.first < size))
    }

    /// A slot, if there is one.
    async fn slot(&self, number: u64) -> Result<Option<Batch>, Fault> {
        let path = slot::path(number);
        match self.store.read(&path).await? {
            Some((bytes, _)) => self.batch(number, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// What a slot holds.
    pub(super) fn batch(&self, number: u64, bytes: &[u8]) -> Result<Batch, Fault> {
        Batch::decode(bytes).map_err(|error| self.damaged(&slot::path(number), &error.to_string()))
    }

    /// The batch is on the log, in the first slot that was free: all of it is taken, or nothing.
    pub(super) fn take(&self, known: &mut Known, batch: Batch) -> Result<(), Fault> {
        let ends = known.edge.size();
        if batch.first != ends {
            let begins = format!("begins at entry {}, and the one before ends at {ends}", batch.first);
            return Err(self.damaged(&slot::path(known.slot), &begins));
        }
        let entries = (ends..).zip(&batch.entries).map(|(at, bytes)| self.entry(at, bytes));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        for ((at, entry), bytes) in (ends..).zip(entries).zip(batch.entries) {
            known.index.note(&entry, at);
            known.edge.push(bytes);
        }
        known.slot += 1;
        Ok(())
    }
}
