//! The growing end of the log: which files the next checkpoint needs.
//!
//! Of a log of any length only its last tiles still change: one in each row. What they hold is kept here, with the entries that are in
//! no file yet. Files follow from the entries alone, so two leaders who write them write the same bytes.

use std::collections::VecDeque;

use super::merkle::{Frontier, TreeHash, leaf};
use super::tile::{self, Content, FULL, Tile, TooLong};

/// The end of a log.
#[derive(Debug, Clone, Default)]
pub struct Edge {
    hashes: Hashes,
    entries: Row<Vec<u8>>,
}

/// The hashes at the end of a log: all that is needed of it by who looks at its entries elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Hashes {
    frontier: Frontier,
    published: u64,
    /// By the level of the tile.
    rows: Vec<Row<TreeHash>>,
}

/// The places of a row of tiles from `first` on.
#[derive(Debug, Clone)]
struct Row<T> {
    first: u64,
    places: VecDeque<T>,
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self { first: 0, places: VecDeque::new() }
    }
}

impl<T> Row<T> {
    /// What a tile of this row holds, if all of it is still here.
    fn of(&self, tile: Tile) -> Option<impl Iterator<Item = &T>> {
        let from = usize::try_from(tile.first().checked_sub(self.first)?).ok()?;
        let to = from + usize::from(tile.width);
        (to <= self.places.len()).then(|| self.places.range(from..to))
    }

    /// Forgets what is in full tiles of a row of so many places.
    fn forget(&mut self, places: u64) {
        let keep = places / u64::from(FULL) * u64::from(FULL);
        let gone = usize::try_from(keep.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.places.len());
        self.places.drain(..gone);
        self.first += u64::try_from(gone).unwrap_or_default();
    }
}

impl Hashes {
    /// How many entries the log has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// How many of them are in files.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.published
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        self.frontier.root()
    }

    /// Appends that of an entry.
    pub fn push(&mut self, leaf: TreeHash) {
        let rows = &mut self.rows;
        self.frontier.push(leaf, |node, hash| {
            if node.level % tile::HEIGHT == 0 {
                let level = usize::from(node.level / tile::HEIGHT);
                if rows.len() <= level {
                    rows.resize_with(level + 1, Row::default);
                }
                if let Some(row) = rows.get_mut(level) {
                    row.places.push_back(hash);
                }
            }
        });
    }

    /// What a tile of this level holds that is not full, or was not before what is published.
    #[must_use]
    pub fn file(&self, level: u8, tile: Tile) -> Vec<u8> {
        let row = self.rows.get(usize::from(level));
        row.and_then(|it| it.of(tile)).into_iter().flatten().flat_map(|it| it.0).collect()
    }

    /// The files of the first `size` entries are written: what full ones hold is not needed any more.
    pub fn is_published(&mut self, size: u64) {
        self.published = self.published.max(size.min(self.size()));
        for (level, row) in (0_u32..).zip(&mut self.rows) {
            row.forget(self.published >> (u32::from(tile::HEIGHT) * level));
        }
    }
}

impl Edge {
    /// How many entries the log has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.hashes.size()
    }

    /// How many of them are in files.
    #[must_use]
    pub fn published(&self) -> u64 {
        self.hashes.published()
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        self.hashes.root()
    }

    /// Appends an entry.
    pub fn push(&mut self, entry: Vec<u8>) {
        self.hashes.push(leaf(&entry));
        self.entries.places.push_back(entry);
    }

    /// The entry at this place, if it is not in full tiles only.
    #[must_use]
    pub fn entry(&self, at: u64) -> Option<&[u8]> {
        let at = usize::try_from(at.checked_sub(self.entries.first)?).ok()?;
        self.entries.places.get(at).map(Vec::as_slice)
    }

    /// The files that a checkpoint of this size needs, and one of what is published does not: to be written before it.
    ///
    /// # Errors
    /// An entry is too long for a file; [`crate::audit`] takes none that is.
    pub fn files(&self) -> Result<Vec<(Tile, Vec<u8>)>, TooLong> {
        Tile::added(self.published(), self.size()).into_iter().map(|tile| Ok((tile, self.file(tile)?))).collect()
    }

    /// What a tile holds that is not full, or was not before what is published.
    ///
    /// # Errors
    /// An entry is too long for a file.
    pub fn file(&self, tile: Tile) -> Result<Vec<u8>, TooLong> {
        let Content::Hashes(level) = tile.content else {
            let mut bytes = Vec::new();
            for entry in self.entries.of(tile).into_iter().flatten() {
                tile::bundle(entry, &mut bytes)?;
            }
            return Ok(bytes);
        };
        Ok(self.hashes.file(level, tile))
    }

    /// The files of the first `size` entries are written: what full ones hold is not needed any more.
    pub fn is_published(&mut self, size: u64) {
        self.hashes.is_published(size);
        self.entries.forget(self.published());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entry(at: u64) -> Vec<u8> {
        format!(r#"{{"at":"{at}"}}"#).into_bytes()
    }

    #[test]
    fn what_is_in_full_tiles_is_not_kept() {
        let mut edge = Edge::default();
        (0..600).for_each(|at| edge.push(entry(at)));
        edge.is_published(600);
        assert_eq!(
            (edge.entries.places.len(), edge.hashes.rows[0].places.len(), edge.hashes.rows[1].places.len()),
            (88, 88, 2)
        );
        assert_eq!((edge.entry(511), edge.entry(512)), (None, Some(entry(512).as_slice())));
        assert_eq!(edge.files(), Ok(vec![]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whenever checkpoints are made: the files are those of a log that was written at once, and lead to its root.
        #[test]
        fn files_do_not_depend_on_when_they_were_written(steps in prop::collection::vec(0_u64..400, 1..6)) {
            let (mut edge, mut files) = (Edge::default(), BTreeMap::new());
            for more in steps {
                (edge.size()..edge.size() + more).for_each(|at| edge.push(entry(at)));
                files.extend(edge.files().unwrap());
                let size = edge.size();
                edge.is_published(size);
            }
            let mut at_once = Edge::default();
            (0..edge.size()).for_each(|at| at_once.push(entry(at)));
            for (tile, bytes) in at_once.files().unwrap() {
                prop_assert_eq!(files.get(&tile), Some(&bytes), "{}", tile);
            }
            let mut hashes = |node| {
                let row = tile::hashes(Tile::of_node(node, edge.size()), &files[&Tile::of_node(node, edge.size())]).unwrap();
                tile::of_node(node, &row).ok_or(())
            };
            prop_assert_eq!(Frontier::of(edge.size(), &mut hashes).unwrap().root(), edge.root());
        }
    }
}
