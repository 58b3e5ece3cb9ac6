//! Whether a log is what its checkpoint commits to, and what is wrong if it is not.
//!
//! Everything is made again from the entries and compared: each tile, the root, and the slots by which the entries came onto the log. Then
//! the entries themselves: each in its one form, and one effective intent for each decision. All that is
//! wrong is told, with the file and what is wrong with it, not only the first.
//!
//! What is proved is that what is under the checkpoint is what its key's holder signed. That it is all that he ever signed shows only an
//! earlier checkpoint that somebody has kept: whether the log still begins with what that says is looked at, too.

use std::fmt;

use bytes::Bytes;
use futures::StreamExt;

use super::entry::line;
use super::log::{AT_ONCE, CHECKPOINT};
use super::store::{Fault, Store, UnfitStore};
use super::tlog::checkpoint::{Checkpoint, NoCheckpoint};
use super::tlog::edge::Hashes;
use super::tlog::index::{Claim, Index, Judged};
use super::tlog::merkle::{Frontier, TreeHash, leaf};
use super::tlog::note::Verifier;
use super::tlog::slot::{self, NoSlot};
use super::tlog::tile::{self, Content, Malformed, Tile};

/// Findings that are told; of more, only how many there are.
const MOST_FINDINGS: usize = 100;

/// A log that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is signed.
    pub checkpoint: Checkpoint,
    /// By which keys.
    pub signed_by: Vec<String>,
    /// The size of the earlier checkpoint that it was held against.
    pub since: Option<u64>,
    /// Entries in slots that no checkpoint covers yet.
    pub beyond: u64,
    /// How many slots there are.
    pub slots: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, or the entry.
    pub what: String,
    /// What is wrong with it.
    pub is: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} {}", self.what, self.is)
    }
}

/// Why a log is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// The store does not answer: nothing is known.
    #[error("{0}")]
    Unread(String),
    /// There is no log, or none that is signed.
    #[error("{0}")]
    Nothing(String),
    /// It is not what was signed.
    #[error("{} thing(s) are wrong with the log: {}", .count, told(.findings))]
    Wrong {
        /// The first of them.
        findings: Vec<Finding>,
        /// How many there are.
        count: usize,
    },
}

fn told(findings: &[Finding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl From<Fault> for Unverified {
    fn from(fault: Fault) -> Self {
        Self::Unread(fault.to_string())
    }
}

/// Verifies the log at an address, and that it begins with what an earlier checkpoint says, if one is given; `progress` is told how many of
/// how many entries are done.
///
/// # Errors
/// See [`Unverified`].
pub async fn verify(
    url: &str,
    verifiers: &[Verifier],
    earlier: Option<&[u8]>,
    progress: impl FnMut(u64, u64),
) -> Result<Result<Verified, Unverified>, UnfitStore> {
    Ok(verify_in(Store::open(url)?, verifiers, earlier, progress).await)
}

/// The same in a store that is open.
pub(super) async fn verify_in(
    store: Store,
    verifiers: &[Verifier],
    earlier: Option<&[u8]>,
    mut progress: impl FnMut(u64, u64),
) -> Result<Verified, Unverified> {
    let (checkpoint, signed_by) = signed(&store, verifiers).await?;
    let earlier = earlier.map(|note| Checkpoint::open(note, &checkpoint.origin, verifiers)).transpose();
    let earlier =
        earlier.map_err(|error| Unverified::Nothing(format!("the earlier checkpoint: {error}")))?.map(|it| it.0);
    let mut look = Look { store, findings: Vec::new(), count: 0, leaves: Vec::new() };
    look.at_tiles(&checkpoint, &mut progress).await?;
    if let Some(earlier) = &earlier {
        look.at_what_was_before(earlier, &checkpoint);
    }
    let (slots, beyond) = look.at_slots(checkpoint.size).await?;
    if look.findings.is_empty() {
        Ok(Verified { checkpoint, signed_by, since: earlier.map(|it| it.size), beyond, slots })
    } else {
        Err(Unverified::Wrong { findings: look.findings, count: look.count })
    }
}

/// The checkpoint, and who has signed it.
async fn signed(store: &Store, verifiers: &[Verifier]) -> Result<(Checkpoint, Vec<String>), Unverified> {
    let Some((note, _)) = store.read(CHECKPOINT).await? else {
        let there = store.read(&slot::path(0)).await?.is_some();
        return Err(Unverified::Nothing(if there {
            format!(
                "the log in {} has no checkpoint: nobody has signed it; give the operator a key (audit.keySecret)",
                store.what()
            )
        } else {
            format!("there is no log in {}", store.what())
        }));
    };
    let Some(origin) = verifiers.first().map(|it| it.id().name.clone()) else {
        return Err(Unverified::Nothing(
            "without the log's public key nothing can be verified; give it with --key".into(),
        ));
    };
    match Checkpoint::open(&note, &origin, verifiers) {
        Ok((checkpoint, by)) => Ok((checkpoint, by.into_iter().map(ToString::to_string).collect())),
        Err(error) => {
            let is = match &error {
                NoCheckpoint::Foreign { .. } => error.to_string(),
                _ => format!("is not to be believed: {error}"),
            };
            Err(Unverified::Wrong { findings: vec![Finding { what: CHECKPOINT.into(), is }], count: 1 })
        }
    }
}

/// A log that is being looked at.
struct Look {
    store: Store,
    findings: Vec<Finding>,
    count: usize,
    /// Of the entries under the checkpoint, in order; of what cannot be read, what its tile says.
    leaves: Vec<TreeHash>,
}

impl Look {
    fn found(&mut self, what: impl fmt::Display, is: impl fmt::Display) {
        self.count += 1;
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { what: what.to_string(), is: is.to_string() });
        }
    }

    /// Reads entries and tiles, side by side, and makes the tiles again.
    async fn at_tiles(&mut self, checkpoint: &Checkpoint, progress: &mut impl FnMut(u64, u64)) -> Result<(), Fault> {
        let size = checkpoint.size;
        let bundles = Tile::all(size).into_iter().filter(|it| it.content == Content::Entries);
        let store = &self.store.clone();
        let read = |tile| async move {
            let entries = match store.tile(tile).await? {
                Some(bytes) => Some(beside(move || examined(tile, &bytes)).await?),
                None => None,
            };
            Ok::<_, Fault>((tile, entries, store.tile(hashes_of(tile)).await?))
        };
        let mut bundles = futures::stream::iter(bundles).map(read).buffered(AT_ONCE);
        let (mut above, mut index, mut is_whole) = (Hashes::default(), Index::of_all(), true);
        while let Some(bundle) = bundles.next().await {
            let (tile, entries, hashes) = bundle?;
            let entries = self.entries(tile, entries);
            let hashes = self.hashes(hashes_of(tile), hashes);
            is_whole &= entries.is_some();
            let mut entries = entries.into_iter().flatten();
            for at in 0..usize::from(tile.width) {
                let place = tile.first() + u64::try_from(at).unwrap_or_default();
                let entry = entries.next();
                let said = hashes.as_ref().and_then(|it| it.get(at)).copied();
                let hash = entry.as_ref().map(|it| it.leaf);
                if let Some(Examined { leaf, says }) = entry {
                    self.entry(place, says, &mut index);
                    if is_whole {
                        above.push(leaf);
                    }
                }
                if let (Some(hash), Some(said)) = (hash, said)
                    && hash != said
                {
                    self.found(tile, format!("and {} disagree about entry {place}", hashes_of(tile)));
                }
                self.leaves.push(hash.or(said).unwrap_or(TreeHash([0; 32])));
            }
            if is_whole && tile.is_full() {
                let full = Tile::added(above.published(), above.size()).into_iter().filter(Tile::is_full);
                self.compare(&above, full).await?;
                above.is_published(above.size());
            }
            progress(tile.first() + u64::from(tile.width), size);
        }
        if is_whole {
            self.compare(&above, Tile::all(size).into_iter().filter(|it| !it.is_full())).await?;
            if above.root() != checkpoint.root {
                self.found(CHECKPOINT, "has another root than the entries lead to");
            }
        }
        Ok(())
    }

    /// Whether the log begins with what was signed before.
    fn at_what_was_before(&mut self, earlier: &Checkpoint, now: &Checkpoint) {
        if earlier.size > now.size {
            let is =
                format!("is of {} entries, and an earlier one of {}: the log has been cut", now.size, earlier.size);
            return self.found(CHECKPOINT, is);
        }
        let mut tree = Frontier::default();
        let before = usize::try_from(earlier.size).unwrap_or(usize::MAX);
        self.leaves.iter().take(before).for_each(|leaf| tree.push(*leaf, |_, _| ()));
        if tree.root() != earlier.root {
            let is = format!("is of a log whose first {} entries are others than an earlier one says", earlier.size);
            self.found(CHECKPOINT, is);
        }
    }

    /// Compares the tiles above the first level with what follows from the entries.
    async fn compare(&mut self, due: &Hashes, tiles: impl Iterator<Item = Tile>) -> Result<(), Fault> {
        for tile in tiles {
            let Content::Hashes(level @ 1..) = tile.content else { continue };
            match self.store.tile(tile).await? {
                None => self.found(tile, "is missing"),
                Some(is) if due.file(level, tile) == is => {}
                Some(_) => self.found(tile, "is not of the entries"),
            }
        }
        Ok(())
    }

    fn entries(&mut self, tile: Tile, examined: Option<Result<Vec<Examined>, Malformed>>) -> Option<Vec<Examined>> {
        let Some(examined) = examined else {
            self.found(tile, "is missing");
            return None;
        };
        examined.map_err(|error| self.found(tile, error)).ok()
    }

    fn hashes(&mut self, tile: Tile, bytes: Option<Bytes>) -> Option<Vec<TreeHash>> {
        let Some(bytes) = bytes else {
            self.found(tile, "is missing");
            return None;
        };
        tile::hashes(tile, &bytes).map_err(|error| self.found(tile, error)).ok()
    }

    /// Whether an entry is one, in its one form, and the only effective one of its decision.
    fn entry(&mut self, at: u64, says: Says, index: &mut Index) {
        let (claim, is_canonical) = match says {
            Ok(says) => says,
            Err(error) => return self.found(format!("entry {at}"), format!("is none of Werkbank's: {error}")),
        };
        if !is_canonical {
            self.found(format!("entry {at}"), "is not written as an entry is: as canonical JSON");
        }
        match index.judge_and_note(&claim, at) {
            Judged::New => {}
            Judged::AlreadyThere(other) => self.found(format!("entry {at}"), format!("repeats entry {other}")),
            Judged::Taken(other) => {
                self.found(
                    format!("entry {at}"),
                    format!("has the number of entry {other}, which decides something else"),
                );
            }
            Judged::Spent => self.found(format!("entry {at}"), "is an intent whose number was given up before"),
        }
    }

    /// Whether the slots hold the same entries in the same order; how many there are, and how many entries no checkpoint covers.
    async fn at_slots(&mut self, size: u64) -> Result<(u64, u64), Fault> {
        let store = self.store.clone();
        let read = |number| {
            let store = store.clone();
            async move {
                let Some((bytes, _)) = store.read(&slot::path(number)).await? else { return Ok(None) };
                let decoded = move || {
                    let (first, entries) = slot::lines(&bytes)?;
                    Ok((first, entries.into_iter().map(leaf).collect::<Vec<_>>()))
                };
                Ok::<_, Fault>(Some((number, beside(decoded).await?)))
            }
        };
        let mut slots = futures::stream::iter(0..).map(read).buffered(AT_ONCE);
        let (mut at, mut count) = (0, 0);
        while let Some(slot) = slots.next().await {
            let Some((number, decoded)) = slot? else { break };
            let path = slot::path(number);
            let leaves = match decoded {
                Ok((first, leaves)) if first == at => leaves,
                Ok((first, ..)) => {
                    self.found(path, format!("begins at entry {first}, and the one before ends at {at}"));
                    return Ok((number, 0));
                }
                Err(error) => {
                    let error: NoSlot = error;
                    self.found(path, error);
                    return Ok((number, 0));
                }
            };
            let due = usize::try_from(at).ok().and_then(|from| self.leaves.get(from..)).unwrap_or_default();
            if let Some(differs) = leaves.iter().zip(due).position(|(is, due)| is != due) {
                self.found(
                    path,
                    format!("has another entry {} than the tiles", at + u64::try_from(differs).unwrap_or_default()),
                );
            }
            at += u64::try_from(leaves.len()).unwrap_or_default();
            count = number + 1;
        }
        if at < size {
            self.found(
                slot::path(count),
                format!("is missing: the slots end at entry {at}, and the checkpoint is of {size}"),
            );
        }
        Ok((count, at.saturating_sub(size)))
    }
}

/// An entry as far as it can be looked at by itself.
struct Examined {
    leaf: TreeHash,
    says: Says,
}

/// What it claims, and whether it is written as an entry is; or why it is none.
type Says = Result<(Claim<'static>, bool), String>;

/// What is in a bundle.
fn examined(tile: Tile, bytes: &[u8]) -> Result<Vec<Examined>, Malformed> {
    let examined = |bytes: &[u8]| {
        let says = line::examine(bytes, |it| Claim::of(&it).into_owned()).map_err(|error| error.to_string());
        Examined { leaf: leaf(bytes), says }
    };
    Ok(tile::entries(tile, bytes)?.into_iter().map(examined).collect())
}

/// Computes beside what waits for the store: parsing and hashing is most of the work, and all cores share it.
async fn beside<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(compute).await.map_err(|error| Fault::Wrong(error.to_string()))
}

/// The tile of hashes beside a bundle of entries.
fn hashes_of(bundle: Tile) -> Tile {
    Tile { content: Content::Hashes(0), ..bundle }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
pub(super) mod tests;
