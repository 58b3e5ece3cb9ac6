//! Where the log's hashes and entries are kept: C2SP's tlog-tiles.
//!
//! The tree is cut into tiles, eight levels high. A tile at level L holds the hashes of up to 256 complete subtrees of
//! 2^(8·L) entries each; what lies between is computed. Beside each tile of level 0 is a bundle with its entries
//! themselves. A tile that is full never changes; one that is not yet full has its width in its name, so
//! no file ever gets another content, but for the checkpoint.
//!
//! | | |
//! |---|---|
//! | `tile/0/x001/x234/067` | hashes of the entries 256 · 1234067 and on |
//! | `tile/1/000.p/3` | the first three subtrees of 256 entries |
//! | `tile/entries/x001/x234/067` | those entries, each after its length in two bytes |

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;

use super::merkle::{Node, TreeHash, parent};

/// Levels of the tree in one tile.
pub const HEIGHT: u8 = 8;
/// Hashes, or entries, in a full tile.
pub const FULL: u16 = 1 << HEIGHT;
/// Bytes of a hash.
const HASH: usize = 32;
/// The highest level of a tile: more than 2^63 entries there are not.
const HIGHEST: u8 = 7;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Content {
    /// Hashes of the tree's level 8 · this.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// One file of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// Hashes or entries.
    pub content: Content,
    /// Which of its kind, from the left.
    pub index: u64,
    /// How many hashes or entries it holds: 1 to 256.
    pub width: u16,
}

impl Tile {
    /// All tiles of a tree of `size` entries that one of `before` did not have, in order of level and place.
    #[must_use]
    pub fn added(before: u64, size: u64) -> Vec<Self> {
        let hashes = (0..=HIGHEST).flat_map(|level| {
            let at = u32::from(level) * u32::from(HEIGHT);
            Self::row(Content::Hashes(level), before >> at, size >> at)
        });
        Self::row(Content::Entries, before, size).into_iter().chain(hashes).collect()
    }

    /// All tiles of a tree of `size` entries: each full one, and in each row what is beyond.
    #[must_use]
    pub fn all(size: u64) -> Vec<Self> {
        Self::added(0, size)
    }

    /// Of a row that grows from `before` to `now` places: those that are new or wider.
    fn row(content: Content, before: u64, now: u64) -> Vec<Self> {
        let full = u64::from(FULL);
        let of = |index: u64| {
            let width = (now - index * full).min(full);
            Self { content, index, width: u16::try_from(width).unwrap_or(FULL) }
        };
        if before >= now { Vec::new() } else { (before / full..now.div_ceil(full)).map(of).collect() }
    }

    /// The tile that holds the entry at `index` of a log of `size`.
    #[must_use]
    pub fn of_entry(index: u64, size: u64) -> Self {
        Self::holding(Content::Entries, index, size)
    }

    /// The tile of a log of `size` from which the hash of this complete subtree is computed.
    #[must_use]
    pub fn of_node(node: Node, size: u64) -> Self {
        let (level, within) = (node.level / HEIGHT, node.level % HEIGHT);
        let at = u32::from(level) * u32::from(HEIGHT);
        Self::holding(Content::Hashes(level), node.index << within, size >> at)
    }

    fn holding(content: Content, place: u64, places: u64) -> Self {
        let (full, index) = (u64::from(FULL), place / u64::from(FULL));
        let width = places.saturating_sub(index * full).min(full);
        Self { content, index, width: u16::try_from(width).unwrap_or(FULL) }
    }

    /// Whether nothing will ever be added to it.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width >= FULL
    }

    /// Whether a log of `size` entries had something of it.
    #[must_use]
    pub fn begins_before(&self, size: u64) -> bool {
        let level = match self.content {
            Content::Entries => 0,
            Content::Hashes(level) => level,
        };
        self.first() < size >> (u32::from(level) * u32::from(HEIGHT))
    }

    /// The place of its first hash, or entry, in its row.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.index * u64::from(FULL)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Hashes(level) => write!(to, "tile/{level}/")?,
            Content::Entries => write!(to, "tile/entries/")?,
        }
        write!(to, "{}", grouped(self.index))?;
        if self.is_full() { Ok(()) } else { write!(to, ".p/{}", self.width) }
    }
}

/// A number as the end of a path, no folder of which has more than two thousand members: `x001/x234/067`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let mut path = format!("{:03}", number % 1000);
    let mut above = number / 1000;
    while above > 0 {
        path = format!("x{:03}/{path}", above % 1000);
        above /= 1000;
    }
    path
}

/// A name that no tile has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is the name of no tile")]
pub struct NoTile;

impl FromStr for Tile {
    type Err = NoTile;

    fn from_str(path: &str) -> Result<Self, NoTile> {
        let below = path.strip_prefix("tile/").ok_or(NoTile)?;
        let (content, below) = below.split_once('/').ok_or(NoTile)?;
        let content = match content {
            "entries" => Content::Entries,
            level => Content::Hashes(level.parse().ok().filter(|it| *it <= HIGHEST).ok_or(NoTile)?),
        };
        let (groups, width) = match below.split_once(".p/") {
            Some((groups, width)) => (groups, width.parse().ok().filter(|it| (1..FULL).contains(it)).ok_or(NoTile)?),
            None => (below, FULL),
        };
        let mut index = 0_u64;
        for group in groups.split('/') {
            let number: u64 = group.trim_start_matches('x').parse().map_err(|_| NoTile)?;
            index = index.checked_mul(1000).and_then(|it| it.checked_add(number)).ok_or(NoTile)?;
        }
        let tile = Self { content, index, width };
        // One name for one tile: what is written in any other way is none.
        if tile.to_string() == path { Ok(tile) } else { Err(NoTile) }
    }
}

/// Why the bytes of a tile are not what their name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Hashes: the file has another length.
    #[error("it has {is} bytes where {due} hashes of 32 bytes are due")]
    Hashes {
        /// Bytes it has.
        is: usize,
        /// Hashes its name promises.
        due: u16,
    },
    /// Entries: the file ends within one, or goes on behind the last.
    #[error("it does not hold {due} entries and nothing else")]
    Entries {
        /// Entries its name promises.
        due: u16,
    },
}

/// The hashes of a tile.
///
/// # Errors
/// The bytes are not as many hashes as `tile` says.
pub fn hashes(tile: Tile, bytes: &[u8]) -> Result<Vec<TreeHash>, Malformed> {
    let (hashes, rest) = bytes.as_chunks::<HASH>();
    if hashes.len() != usize::from(tile.width) || !rest.is_empty() {
        return Err(Malformed::Hashes { is: bytes.len(), due: tile.width });
    }
    Ok(hashes.iter().map(|it| TreeHash(*it)).collect())
}

/// The hash of a complete subtree from the hashes of the tile that holds it; `None`: it is not in there.
#[must_use]
pub fn of_node(node: Node, hashes: &[TreeHash]) -> Option<TreeHash> {
    let within = node.level % HEIGHT;
    let first = (node.index << within) % u64::from(FULL);
    let first = usize::try_from(first).ok()?;
    let mut row = hashes.get(first..first + (1 << within))?.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| parent(left, right)).collect();
    }
    row.first().copied()
}

/// An entry that no bundle can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an entry has {0} bytes; the log takes 65,535 at most")]
pub struct TooLong(pub usize);

/// Appends an entry to the bytes of a bundle.
///
/// # Errors
/// It is longer than two bytes can tell.
pub fn bundle(entry: &[u8], into: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| TooLong(entry.len()))?;
    into.extend_from_slice(&length.to_be_bytes());
    into.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle.
///
/// # Errors
/// The bytes are not as many entries as `tile` says.
pub fn entries(tile: Tile, bytes: &[u8]) -> Result<Vec<&[u8]>, Malformed> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some((length, behind)) = rest.split_first_chunk::<2>() {
        let Some((entry, behind)) = behind.split_at_checked(u16::from_be_bytes(*length).into()) else { break };
        entries.push(entry);
        rest = behind;
    }
    if rest.is_empty() && entries.len() == usize::from(tile.width) {
        Ok(entries)
    } else {
        Err(Malformed::Entries { due: tile.width })
    }
}

/// The bytes that `tile` had before it became `wider`; `None`: that is not a tile.
#[must_use]
pub fn beginning(tile: Tile, wider: Tile, bytes: &[u8]) -> Option<Bytes> {
    match tile.content {
        Content::Hashes(_) => bytes.get(..usize::from(tile.width) * HASH).map(Bytes::copy_from_slice),
        Content::Entries => {
            let mut begins = Vec::new();
            for entry in entries(wider, bytes).ok()?.into_iter().take(tile.width.into()) {
                bundle(entry, &mut begins).ok()?;
            }
            Some(begins.into())
        }
    }
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
