//! Publishing: tiles of what is in the slots, and a checkpoint over them, last.
//!
//! A checkpoint promises that everything under it can be read, so the files are there before it. It does not
//! go back: an old leader who wakes finds one that is ahead of his and leaves it, and where the store has conditional writes, one that changed while
//! he looked is looked at again. (Files have none: there, what an old leader writes in just that moment stands until the next.)
//!
//! Who appends publishes a second later. What somebody appended who died before that is published by whoever lives.

use std::cmp::Ordering;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};

use super::super::TrailError;
use super::super::store::{Fault, NotCreated};
use super::super::tlog::checkpoint::Checkpoint;
use super::super::tlog::tile::Tile;
use super::recover::CHECKPOINT;
use super::{AT_ONCE, Log};

/// How long one's own entries wait for a checkpoint: what comes meanwhile shares its files.
const OWN: Duration = Duration::from_secs(1);
/// How often is looked for what others have appended, and not published, in such steps.
const OTHERS: u32 = 30;
/// How often a checkpoint that others change meanwhile is looked at.
const MOST_LOOKS: usize = 5;
/// How long to wait after the store has not done it.
const REST: Duration = Duration::from_secs(10);

impl Log {
    /// Reads the log, and from then on publishes what is on it. Never ends.
    pub async fn keep(&self) {
        self.read_for_all().await;
        let mut steps = 1_u32;
        loop {
            match self.keep_once(steps.is_multiple_of(OTHERS)).await {
                Ok(()) => {
                    steps = steps.wrapping_add(1);
                    tokio::time::sleep(OWN).await;
                }
                Err(fault) => {
                    tracing::warn!(error = %fault, "the audit log has no new checkpoint; entries are not lost");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }

    async fn keep_once(&self, looks_at_others: bool) -> Result<(), Fault> {
        if looks_at_others { self.publish_what_others_left().await } else { self.publish_own().await }
    }

    /// One turn of [`Log::keep`], for who says himself when: how long until the next one is due, as far as is known now.
    #[cfg(test)]
    pub(crate) async fn keeps(&self, looks_at_others: bool) -> Result<(), Duration> {
        self.keep_once(looks_at_others).await.map_err(|_| REST)
    }

    /// How soon what it knows to be on the log is due to be published, and whether that is only others'; `None`: all of it is.
    #[cfg(test)]
    pub(crate) fn owes_a_checkpoint_in(&self) -> Option<(Duration, bool)> {
        let known = self.known.try_lock().ok()?;
        let known = known.as_ref().filter(|it| it.edge.published() < it.edge.size())?;
        Some(if known.own { (OWN, false) } else { (Self::LOOKS_AT_OTHERS_EVERY, true) })
    }

    /// How often it looks for what others have left.
    #[cfg(test)]
    pub(crate) const LOOKS_AT_OTHERS_EVERY: Duration = OWN.saturating_mul(OTHERS);

    async fn publish_own(&self) -> Result<(), Fault> {
        if self.known.lock().await.as_ref().is_some_and(|it| it.own) {
            self.store.if_it_answers(self.publish_all()).await?;
        }
        Ok(())
    }

    async fn publish_what_others_left(&self) -> Result<(), Fault> {
        let follow = async {
            let mut known = self.known.lock().await;
            let known = self.recovered(&mut known).await?;
            self.follow(known).await?;
            if known.edge.published() < known.edge.size()
                && let Some(checkpoint) = self.checkpoint().await?
            {
                known.edge.is_published(checkpoint.size);
            }
            Ok(())
        };
        self.store.if_it_answers(follow).await?;
        self.store.if_it_answers(self.publish_all()).await.map(drop)
    }

    /// Writes what others need to verify all that this process knows to be on the log. `true`: there was something.
    ///
    /// # Errors
    /// The store does not do it; what is on the log stays there, and the next call goes on.
    pub async fn publish(&self) -> Result<bool, TrailError> {
        let published = self.store.if_it_answers(self.publish_all()).await;
        published.map_err(TrailError::from)
    }

    async fn publish_all(&self) -> Result<bool, Fault> {
        self.store.is_not_anothers().await?;
        let (from, files, root, size) = {
            let known = self.known.lock().await;
            let Some(edge) = known.as_ref().map(|it| &it.edge).filter(|it| it.published() < it.size()) else {
                return Ok(false);
            };
            let files = edge.files().map_err(|error| self.damaged("an entry", &error.to_string()))?;
            (edge.published(), files, edge.root(), edge.size())
        };
        let full: Vec<Tile> = files.iter().map(|it| it.0).filter(Tile::is_full).collect();
        let write = futures::stream::iter(files)
            .map(|(tile, bytes)| async move { self.store.write(&tile.to_string(), bytes, None).await.map(drop) });
        write.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        if let Some(name) = self.verifiers.first().map(|it| it.id().name.clone()) {
            self.sign(&Checkpoint { origin: name, size, root }).await?;
        }
        if let Some(known) = self.known.lock().await.as_mut() {
            known.edge.is_published(size);
            known.own &= known.edge.published() < known.edge.size();
        }
        self.forget_parts(full.into_iter().filter(|it| it.begins_before(from))).await;
        Ok(true)
    }

    /// Puts the checkpoint in its place, unless a later one is there.
    async fn sign(&self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let signed = checkpoint.signed(&self.signers).into_bytes();
        for _ in 0..MOST_LOOKS {
            let Some((note, version)) = self.store.read(CHECKPOINT).await? else {
                match self.store.create(CHECKPOINT, signed.clone()).await {
                    Ok(()) => return Ok(()),
                    Err(NotCreated::Taken) => continue,
                    Err(NotCreated::Unclear(why)) => return Err(why),
                }
            };
            let there = self.opened(&note)?;
            match there.size.cmp(&checkpoint.size) {
                Ordering::Equal if there.root != checkpoint.root => {
                    return Err(self.damaged(CHECKPOINT, "is of another log of the same length"));
                }
                Ordering::Equal | Ordering::Greater => return Ok(()),
                Ordering::Less => {}
            }
            if self.store.write(CHECKPOINT, signed.clone(), Some(version)).await? {
                return Ok(());
            }
        }
        Err(Fault::Silent(format!("others keep changing the checkpoint in {}", self.store.what())))
    }

    /// Removes the narrower versions of tiles that are full now: at most one in each row had any. Nobody needs them, and a store
    /// that keeps them is no worse, only larger.
    async fn forget_parts(&self, full: impl Iterator<Item = Tile>) {
        for tile in full {
            if let Err(fault) = self.store.remove_below(&format!("{tile}.p")).await {
                tracing::debug!(%tile, error = %fault, "parts of a full tile are not removed");
            }
        }
    }
}
