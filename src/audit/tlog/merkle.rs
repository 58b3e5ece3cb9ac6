//! The tree over the log's entries: RFC 6962, section 2.
//!
//! A root commits to every entry and to their order. Whoever keeps a root can be shown that an entry is in the
//! log ([`Inclusion`](inclusion)) and that a later log still begins with what he has seen ([`consistency`]),
//! without reading the rest. Hashes are kept outside: what is here asks for those of complete subtrees, by
//! [`Node`], and computes.

use sha2::{Digest, Sha256};

/// A SHA-256: of an entry, of a subtree or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TreeHash(pub [u8; 32]);

/// A complete subtree: the 2^`level` entries from `index` · 2^`level` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// 0: an entry.
    pub level: u8,
    /// Which of its level, from the left.
    pub index: u64,
}

/// Hash of an entry. Entries and subtrees are hashed apart, so that neither passes for the other.
#[must_use]
pub fn leaf(entry: &[u8]) -> TreeHash {
    TreeHash(Sha256::new().chain_update([0]).chain_update(entry).finalize().into())
}

/// Hash of the subtree of these two.
#[must_use]
pub fn parent(left: &TreeHash, right: &TreeHash) -> TreeHash {
    TreeHash(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root of no entries.
#[must_use]
pub fn empty() -> TreeHash {
    TreeHash(Sha256::digest([]).into())
}

/// What it takes to append: the roots of the complete subtrees that a tree of this size consists of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// The largest, leftmost first: one for each bit of `size`.
    peaks: Vec<TreeHash>,
}

impl Frontier {
    /// Of a tree whose hashes are kept elsewhere.
    ///
    /// # Errors
    /// Whatever `get` answers.
    pub fn of<E>(size: u64, get: &mut impl FnMut(Node) -> Result<TreeHash, E>) -> Result<Self, E> {
        let peaks = complete(0, size).into_iter().map(get).collect::<Result<_, _>>()?;
        Ok(Self { size, peaks })
    }

    /// How many entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry, and tells of each subtree that is complete with it, the smallest first.
    pub fn push(&mut self, entry: TreeHash, mut tell: impl FnMut(Node, TreeHash)) {
        let (mut hash, mut node) = (entry, Node { level: 0, index: self.size });
        tell(node, hash);
        self.size += 1;
        while node.index % 2 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = parent(&left, &hash);
            node = Node { level: node.level + 1, index: node.index / 2 };
            tell(node, hash);
        }
        self.peaks.push(hash);
    }

    /// The root over all entries.
    #[must_use]
    pub fn root(&self) -> TreeHash {
        joined(&self.peaks)
    }
}

/// The hashes by which `index` is shown to be in the tree of the first `size` entries, the nearest first.
///
/// # Errors
/// Whatever `get` answers.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    get: &mut impl FnMut(Node) -> Result<TreeHash, E>,
) -> Result<Vec<TreeHash>, E> {
    let (mut from, mut to) = (0, size);
    let mut proof = Vec::new();
    while to - from > 1 {
        let middle = from + split(to - from);
        let beside = if index < middle { (middle, to) } else { (from, middle) };
        proof.push(of_range(beside.0, beside.1, get)?);
        if index < middle {
            to = middle;
        } else {
            from = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// The root that `proof` leads to from the entry at `index` of `size`; `None`: it is no proof for this place.
#[must_use]
pub fn root_of_inclusion(entry: TreeHash, index: u64, size: u64, proof: &[TreeHash]) -> Option<TreeHash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, entry);
    for beside in proof {
        if last == 0 {
            return None;
        }
        if place % 2 == 1 || place == last {
            hash = parent(beside, &hash);
            // On the right edge: up to where there is somebody on the left.
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            hash = parent(&hash, beside);
        }
        place /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

/// The hashes by which the tree of the first `new` entries is shown to begin with the first `old`.
///
/// # Errors
/// Whatever `get` answers.
pub fn consistency<E>(
    old: u64,
    new: u64,
    get: &mut impl FnMut(Node) -> Result<TreeHash, E>,
) -> Result<Vec<TreeHash>, E> {
    let mut proof = Vec::new();
    if old == 0 || old >= new {
        return Ok(proof);
    }
    let (mut from, mut to) = (0, new);
    // Down to the subtree that ends where the old tree ended.
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            proof.push(of_range(middle, to, get)?);
            to = middle;
        } else {
            proof.push(of_range(from, middle, get)?);
            from = middle;
        }
    }
    if from != 0 {
        proof.push(of_range(from, to, get)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Whether `proof` shows that the tree with `new_root` begins with that of `old_root`.
#[must_use]
pub fn is_consistent(old: u64, old_root: TreeHash, new: u64, new_root: TreeHash, proof: &[TreeHash]) -> bool {
    if old == 0 || old >= new {
        let same = old != new || old_root == new_root;
        return old <= new && same && proof.is_empty() && (old != 0 || old_root == empty());
    }
    // The old tree, if it is a subtree of the new one, is not in the proof: the verifier has its root.
    let own = old.is_power_of_two().then_some(&old_root);
    let mut hashes = own.into_iter().chain(proof);
    let Some(first) = hashes.next() else { return false };
    let (mut place, mut last) = (old - 1, new - 1);
    while place % 2 == 1 {
        place /= 2;
        last /= 2;
    }
    let (mut was, mut is) = (*first, *first);
    for beside in hashes {
        if last == 0 {
            return false;
        }
        if place % 2 == 1 || place == last {
            was = parent(beside, &was);
            is = parent(beside, &is);
            while place % 2 == 0 && place != 0 {
                place /= 2;
                last /= 2;
            }
        } else {
            is = parent(&is, beside);
        }
        place /= 2;
        last /= 2;
    }
    last == 0 && was == old_root && is == new_root
}

/// How many of `entries`, at least two, are in the left subtree: the largest power of two below.
fn split(entries: u64) -> u64 {
    1 << (u64::BITS - 1 - (entries.max(2) - 1).leading_zeros())
}

/// The hash over the entries from `from` to before `to`, which begin at a multiple of their span.
fn of_range<E>(from: u64, to: u64, get: &mut impl FnMut(Node) -> Result<TreeHash, E>) -> Result<TreeHash, E> {
    let hashes = complete(from, to).into_iter().map(get).collect::<Result<Vec<_>, _>>()?;
    Ok(joined(&hashes))
}

/// The complete subtrees that `from..to` consists of, the largest first.
fn complete(mut from: u64, to: u64) -> Vec<Node> {
    let mut nodes = Vec::new();
    while from < to {
        let level = (to - from).ilog2();
        nodes.push(Node { level: u8::try_from(level).unwrap_or(u8::MAX), index: from >> level });
        from += 1 << level;
    }
    nodes
}

/// One hash over complete subtrees that follow each other, the largest first.
fn joined(subtrees: &[TreeHash]) -> TreeHash {
    let mut from_the_right = subtrees.iter().rev().copied();
    let Some(last) = from_the_right.next() else { return empty() };
    from_the_right.fold(last, |right, left| parent(&left, &right))
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
