//! A decision with its proof: what it takes to show to somebody who has only the log's public key that it is on the log.
//!
//! A bundle holds the signed checkpoint, and each entry of the decision with the hashes that lead from it to the checkpoint's root.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::log::{AT_ONCE, CHECKPOINT};
use super::store::{Fault, Store, UnfitStore};
use super::tlog::checkpoint::{Checkpoint, NoCheckpoint};
use super::tlog::merkle::{Node, TreeHash, inclusion, leaf, root_of_inclusion};
use super::tlog::note::Verifier;
use super::tlog::tile::{self, Tile};
use super::{Entry, Log, TrailError};

/// A decision, and that it is on the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bundle {
    /// The signed note.
    pub checkpoint: String,
    /// What the log had of the decision under that checkpoint, in its order: intent, outcome or void. That there is no more is not proved.
    pub entries: Vec<Proven>,
    /// The form of this file.
    pub version: String,
}

/// An entry and its place in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Proven {
    /// As it is hashed.
    pub entry: String,
    /// Its place in the log.
    pub index: String,
    /// The hashes beside the way to the root in base64, the nearest first.
    pub proof: Vec<String>,
}

/// Why nothing is proved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The log cannot be read, or is damaged.
    #[error("{0}")]
    Unread(String),
    /// The log is not what was signed.
    #[error("{0}")]
    Damaged(String),
    /// It is not on the log.
    #[error("no entry has the id {0}; `werkbank audit list` shows those there are")]
    Unknown(String),
    /// It is on the log, and not yet under a checkpoint.
    #[error("entry {0} is not under a checkpoint yet: wait a minute, or see whether the operator runs and has its key")]
    Unsigned(u64),
    /// The checkpoint is not to be believed.
    #[error("its checkpoint: {0}")]
    Checkpoint(#[from] NoCheckpoint),
    /// The file is no bundle.
    #[error("it is no proof bundle of this form: {0}")]
    Malformed(String),
    /// An entry does not lead to the root.
    #[error("entry {0} does not lead to the checkpoint's root: the entry or its proof has been changed")]
    Elsewhere(String),
}

impl From<Fault> for NoProof {
    fn from(fault: Fault) -> Self {
        Self::Unread(fault.to_string())
    }
}

/// The form of a bundle: another one is another number.
const VERSION: &str = "1";

/// Everything the log has under this id, and that it has it; `progress` is told how many entries have been read.
///
/// # Errors
/// See [`NoProof`].
pub async fn export(
    url: &str,
    id: &str,
    verifiers: &[Verifier],
    progress: impl FnMut(u64),
) -> Result<Result<Bundle, NoProof>, UnfitStore> {
    of(url, verifiers, id, |entry| entry.id() == id, progress).await
}

/// The same by the number that a resource's status has of a decision.
///
/// # Errors
/// See [`NoProof`].
pub async fn of_number(
    url: &str,
    uid: &str,
    sequence: i64,
    verifiers: &[Verifier],
    progress: impl FnMut(u64),
) -> Result<Result<Bundle, NoProof>, UnfitStore> {
    let named = format!("of {uid}, number {sequence}");
    of(url, verifiers, &named, |entry| entry.sequence == sequence && entry.uid == uid, progress).await
}

async fn of(
    url: &str,
    verifiers: &[Verifier],
    named: &str,
    is_meant: impl Fn(&Entry) -> bool,
    mut progress: impl FnMut(u64),
) -> Result<Result<Bundle, NoProof>, UnfitStore> {
    let log = Log::signed_by(url, verifiers.to_vec())?;
    let mut read = 0;
    let mut is_counted_and_meant = |entry: &Entry| {
        read += 1;
        progress(read);
        is_meant(entry)
    };
    Ok(export_from(&log, Store::open(url)?, named, &mut is_counted_and_meant, verifiers).await)
}

async fn export_from(
    log: &Log,
    store: Store,
    named: &str,
    mut is_meant: impl FnMut(&Entry) -> bool,
    verifiers: &[Verifier],
) -> Result<Bundle, NoProof> {
    let mut found = Vec::new();
    let mut beyond = None;
    let note = |at: u64, entry: &Entry, signed: bool| match is_meant(entry) {
        true if signed => found.push((at, entry.clone())),
        true => beyond = beyond.or(Some(at)),
        false => {}
    };
    log.each(note).await.map_err(|error| match error {
        TrailError::Damaged(why) => NoProof::Damaged(why),
        error => NoProof::Unread(error.to_string()),
    })?;
    if let (true, Some(at)) = (found.is_empty(), beyond) {
        return Err(NoProof::Unsigned(at));
    }
    match found.first() {
        None => Err(NoProof::Unknown(named.into())),
        Some((first, _)) => match Prover::over(store, verifiers.to_vec()).await? {
            Some(prover) => prover.prove(&found).await,
            None => Err(NoProof::Unsigned(*first)),
        },
    }
}

/// Who proves of entries that they are under a checkpoint.
pub struct Prover {
    store: Store,
    verifiers: Vec<Verifier>,
    signed: String,
    checkpoint: Checkpoint,
}

impl Prover {
    /// For the log at an address; `None` if it has no checkpoint.
    ///
    /// # Errors
    /// The address is wrong; or the checkpoint cannot be read, or is not to be believed.
    pub async fn open(url: &str, verifiers: Vec<Verifier>) -> Result<Result<Option<Self>, NoProof>, UnfitStore> {
        Ok(Self::over(Store::open(url)?, verifiers).await)
    }

    async fn over(store: Store, verifiers: Vec<Verifier>) -> Result<Option<Self>, NoProof> {
        let Some((signed, _)) = store.read(CHECKPOINT).await? else { return Ok(None) };
        let checkpoint = opened(&signed, &verifiers)?;
        let signed = String::from_utf8_lossy(&signed).into_owned();
        Ok(Some(Self { store, verifiers, signed, checkpoint }))
    }

    /// A bundle of these entries and their places.
    ///
    /// # Errors
    /// One is not under the checkpoint, or not at its place.
    pub async fn prove(&self, entries: &[(u64, Entry)]) -> Result<Bundle, NoProof> {
        let size = self.checkpoint.size;
        let mut proven = Vec::new();
        for (index, entry) in entries {
            if *index >= size {
                return Err(NoProof::Unsigned(*index));
            }
            let proof = proof(&self.store, *index, size).await?;
            let proof = proof.iter().map(|it| STANDARD.encode(it.0)).collect();
            let entry = serde_json::to_string(entry).map_err(|error| NoProof::Unread(error.to_string()))?;
            proven.push(Proven { entry, index: index.to_string(), proof });
        }
        let bundle = Bundle { checkpoint: self.signed.clone(), entries: proven, version: VERSION.into() };
        bundle.check(&self.verifiers).map(|_| bundle)
    }
}

/// The hashes that lead from an entry to the root, computed from the tiles they are in.
async fn proof(store: &Store, index: u64, size: u64) -> Result<Vec<TreeHash>, Fault> {
    // Once to see what is needed, and once with it.
    let mut tiles = Vec::new();
    let none: Result<_, Fault> = inclusion(index, size, &mut |node| {
        tiles.push(Tile::of_node(node, size));
        Ok(TreeHash([0; 32]))
    });
    none?;
    tiles.sort_unstable();
    tiles.dedup();
    let read = futures::stream::iter(tiles).map(|tile| async move {
        let missing = || Fault::Wrong(format!("{tile} is missing; `werkbank audit verify` tells all that is wrong"));
        let bytes = store.tile(tile).await?.ok_or_else(missing)?;
        let hashes = tile::hashes(tile, &bytes).map_err(|error| Fault::Wrong(format!("{tile} {error}")))?;
        Ok((tile, hashes))
    });
    let tiles: BTreeMap<Tile, Vec<TreeHash>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
    inclusion(index, size, &mut |node: Node| {
        let hashes = tiles.get(&Tile::of_node(node, size));
        let hash = hashes.and_then(|it| tile::of_node(node, it));
        hash.ok_or_else(|| Fault::Wrong(format!("the hash {node:?} is in no tile; report it")))
    })
}

fn opened(note: &[u8], verifiers: &[Verifier]) -> Result<Checkpoint, NoProof> {
    let origin = verifiers.first().map(|it| it.id().name.clone()).unwrap_or_default();
    Ok(Checkpoint::open(note, &origin, verifiers)?.0)
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NoProof> {
        let bundle: Self = serde_json::from_str(text).map_err(|error| NoProof::Malformed(error.to_string()))?;
        if bundle.version == VERSION {
            Ok(bundle)
        } else {
            Err(NoProof::Malformed(format!("its version is {}; this is a program for {VERSION}", bundle.version)))
        }
    }

    /// What is proved to be on a log that one of these keys has signed, and the checkpoint it is under. Needs nothing else.
    ///
    /// # Errors
    /// Something of it is not so.
    pub fn check(&self, verifiers: &[Verifier]) -> Result<(Checkpoint, Vec<Entry>), NoProof> {
        let checkpoint = opened(self.checkpoint.as_bytes(), verifiers)?;
        let entries = self.entries.iter().map(|it| it.check(&checkpoint)).collect::<Result<Vec<_>, _>>()?;
        let ids: BTreeSet<String> = entries.iter().map(Entry::id).collect();
        match ids.len() {
            0 => Err(NoProof::Malformed("it has no entries".into())),
            1 => Ok((checkpoint, entries)),
            _ => Err(NoProof::Malformed("its entries are of several decisions".into())),
        }
    }
}

impl Proven {
    fn check(&self, checkpoint: &Checkpoint) -> Result<Entry, NoProof> {
        let malformed = |what: &str| NoProof::Malformed(format!("{what} of entry {} is none", self.index));
        let index: u64 = self.index.parse().map_err(|_| malformed("the index"))?;
        let hash = |text: &String| Some(TreeHash(STANDARD.decode(text).ok()?.try_into().ok()?));
        let proof: Option<Vec<TreeHash>> = self.proof.iter().map(hash).collect();
        let proof = proof.ok_or_else(|| malformed("the proof"))?;
        let root = root_of_inclusion(leaf(self.entry.as_bytes()), index, checkpoint.size, &proof);
        if root != Some(checkpoint.root) {
            return Err(NoProof::Elsewhere(self.index.clone()));
        }
        serde_json::from_str(&self.entry).map_err(|error| NoProof::Malformed(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::path::Path;

    use super::super::tlog::note::Signer;
    use super::super::verify::tests::{entry, key, log};
    use super::*;

    async fn exported(store: &Arc<InMemory>, id: &str) -> Result<Bundle, NoProof> {
        let by = [key().verifier()];
        let log = Log::over(store.clone(), Path::default(), "memory:///".into(), vec![key()]);
        export_from(&log, Store::over(store.clone(), Path::default(), "memory:///".into()), id, |it| it.id() == id, &by)
            .await
    }

    #[tokio::test]
    async fn each_decision_is_proved_to_who_has_only_the_key() {
        let store = log(300, 1).await;
        for number in [0, 1, 255, 256, 299] {
            let bundle = exported(&store, &entry(number).id()).await.unwrap();
            let again = Bundle::parse(&serde_json::to_string(&bundle).unwrap()).unwrap();
            let (checkpoint, entries) = again.check(&[key().verifier()]).unwrap();
            assert_eq!((checkpoint.size, entries), (300, vec![entry(number)]));
        }
        assert_eq!(exported(&store, &entry(300).id()).await, Err(NoProof::Unsigned(300)));
        assert_eq!(exported(&store, "nothing").await, Err(NoProof::Unknown("nothing".into())));
    }

    #[tokio::test]
    async fn a_bundle_that_was_changed_proves_nothing() {
        let by = [key().verifier()];
        let bundle = exported(&log(300, 0).await, &entry(7).id()).await.unwrap();
        let changed = |change: &dyn Fn(&mut Bundle)| {
            let mut it = bundle.clone();
            change(&mut it);
            it.check(&by)
        };
        let elsewhere = |index: &str| Err(NoProof::Elsewhere(index.into()));
        assert_eq!(changed(&|it| it.entries[0].entry = it.entries[0].entry.replace("25%", "26%")), elsewhere("7"));
        assert_eq!(changed(&|it| it.entries[0].index = "8".into()), elsewhere("8"));
        assert_eq!(changed(&|it| it.entries[0].proof.swap(0, 1)), elsewhere("7"));
        assert_eq!(changed(&|it| drop(it.entries[0].proof.pop())), elsewhere("7"));
        assert!(matches!(changed(&|it| it.entries[0].proof[0].truncate(8)), Err(NoProof::Malformed(_))));
        assert!(matches!(changed(&|it| it.entries.clear()), Err(NoProof::Malformed(_))));
        assert!(matches!(
            changed(&|it| it.checkpoint = it.checkpoint.replace("300", "301")),
            Err(NoProof::Checkpoint(_))
        ));
        let other = Signer::of_seed(&key().id().name, &[9; 32]).unwrap();
        assert!(matches!(bundle.check(&[other.verifier()]), Err(NoProof::Checkpoint(_))));
        assert!(matches!(Bundle::parse(r#"{"version":"1"}"#), Err(NoProof::Malformed(_))));
    }
}
