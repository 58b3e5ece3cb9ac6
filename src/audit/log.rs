//! The audit log: one order of all entries, in an object store.
//!
//! ```text
//! append ──► queue ──► slot wal/<n>, created once ──► tiles ──► checkpoint, signed
//!                      (the entry is on the log)     (published: others can verify it)
//! ```
//!
//! An entry is on the log when the slot that holds it is there ([`append`]). Who wants to create slot n has read all before it, so
//! what he appends was judged by everything that comes before: two leaders cannot both record a decision under one number.
//! Tiles and checkpoint are made of the slots a moment later ([`publish`]), by whoever appended. What a process
//! knows of the log it has read once, at its first entry ([`recover`]).

mod append;
mod publish;
mod recover;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::append::Waiting;
pub(super) use self::recover::CHECKPOINT;
use self::recover::Known;
use super::people::{self, People, Words};
use super::store::{Fault, Store, UnfitStore};
use super::tlog::index::Index;
use super::tlog::note::{Signer, Verifier};
use super::tlog::tile::{self, Tile};
use super::{Appended, Entry, Said, Trail, TrailError};

/// How many files are read or written at the same time.
pub(super) const AT_ONCE: usize = 16;
/// How long to wait for one's turn and for what one wants of the log: as long as one call to the store may take.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// How long to wait before the store is asked again whether it can hold a log.
const PROBE_REST: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Log {
    store: Store,
    /// Who signs checkpoints: more than one while keys change. None: nobody does, and none are made.
    signers: Vec<Signer>,
    verifiers: Vec<Verifier>,
    people: People,
    /// Entries whose turn has not come, the first first.
    queue: std::sync::Mutex<Vec<Waiting>>,
    /// What is known of the log; nothing before it was read.
    known: Mutex<Option<Known>>,
    /// Why it cannot be used yet, where [`Log::keep`] reads it and nobody else has to.
    unread: std::sync::Mutex<Option<Fault>>,
}

impl Log {
    /// A log at `file:///dir` or `s3://bucket/prefix`, without asking the store anything.
    ///
    /// # Errors
    /// The address, or what it takes to use it, is wrong.
    pub fn open(url: &str, signers: Vec<Signer>) -> Result<Self, UnfitStore> {
        Store::open(url).map(|store| Self::in_store(store, signers))
    }

    /// The same in a store that is open already; `what` names it in messages.
    #[must_use]
    pub fn over(store: Arc<dyn ObjectStore>, prefix: Path, what: String, signers: Vec<Signer>) -> Self {
        Self::in_store(Store::over(store, prefix, what), signers)
    }

    /// A log to read, as far as one of these keys has signed it.
    ///
    /// # Errors
    /// The address, or what it takes to use it, is wrong.
    pub fn signed_by(url: &str, verifiers: Vec<Verifier>) -> Result<Self, UnfitStore> {
        Store::open(url).map(|store| Self { verifiers, ..Self::in_store(store, Vec::new()) })
    }

    fn in_store(store: Store, signers: Vec<Signer>) -> Self {
        let verifiers = signers.iter().map(Signer::verifier).collect();
        Self {
            store,
            signers,
            verifiers,
            people: People::default(),
            queue: std::sync::Mutex::default(),
            known: Mutex::default(),
            unread: std::sync::Mutex::default(),
        }
    }

    /// Asks the store until it answers, and returns only if no log can be kept in it.
    pub async fn turns_out_unfit(&self) -> UnfitStore {
        loop {
            match self.store.prove().await {
                Ok(()) => return std::future::pending().await,
                Err(Fault::Unfit(why)) => return UnfitStore(why),
                Err(fault) => tracing::warn!(error = %fault, "decisions that need a record wait"),
            }
            tokio::time::sleep(PROBE_REST).await;
        }
    }

    /// The entries about one resource, by sequence number; intents first.
    ///
    /// # Errors
    /// The store does not answer, or the log is damaged.
    pub async fn of_resource(&self, uid: &str) -> Result<Vec<Entry>, TrailError> {
        Ok(self.look_up(|index| index.of_resource(uid)).await?)
    }

    /// The same log, whose people's keys follow from their names: for runs that have to be the same again.
    #[cfg(test)]
    pub(crate) fn of_predictable_people(self) -> Self {
        Self { people: People::predictable(), ..self }
    }

    /// What who verifies it finds.
    #[cfg(test)]
    pub(crate) async fn verified(&self) -> Result<super::verify::Verified, super::verify::Unverified> {
        super::verify::verify_in(self.store.clone(), &self.verifiers, None, |_, _| ()).await
    }

    /// Which actor a person is on this log; `None`: nobody can tell (any more).
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn actor_of(&self, person: &str) -> Result<Option<String>, TrailError> {
        Ok(people::actor_of(&self.store, person).await?)
    }

    /// What a person wrote in the object of this uid; `None`: nobody can tell (any more), or it is not what this digest is of.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn words(&self, person: &str, uid: &str, digest: &str) -> Result<Option<String>, TrailError> {
        Ok(people::words(&self.store, person, uid, digest).await?)
    }

    /// Deletes what is kept of a person: from then on nobody can tell which actor that was. `false`: nothing was kept.
    ///
    /// # Errors
    /// The store does not do it.
    pub async fn forget(&self, person: &str) -> Result<bool, TrailError> {
        Ok(people::forget(&self.store, person).await?)
    }

    /// Tells of each entry, in the log's order, with its place, and whether it is under the checkpoint.
    ///
    /// # Errors
    /// The store does not answer; nobody has signed the log; or it is not what was signed.
    pub async fn each(&self, mut tell: impl FnMut(u64, &Entry, bool)) -> Result<(), TrailError> {
        let read = async {
            let known = self.recover(&mut |at, entry| tell(at, entry, true)).await?;
            if known.edge.published() == 0 && known.edge.size() > 0 {
                return Err(Fault::Damaged(format!(
                    "the log in {} has no checkpoint: nobody vouches for it",
                    self.store.what()
                )));
            }
            for at in known.edge.published()..known.edge.size() {
                let bytes = known.edge.entry(at).ok_or_else(|| self.damaged(&format!("entry {at}"), "is missing"))?;
                tell(at, &self.entry(at, bytes)?, false);
            }
            Ok(())
        };
        read.await.map_err(|fault: Fault| fault.into())
    }

    /// The newest entries about a namespace and name, the newest first; also those that another process has just appended.
    async fn newest(&self, namespace: &str, name: &str) -> Result<Vec<Entry>, Fault> {
        self.store.answers()?;
        let newest = self.store.if_it_answers(self.look_up(|index| index.history(namespace, name)));
        timeout(TURN_LIMIT, newest).await.unwrap_or_else(|_| Err(self.busy()))
    }

    /// The entries at the places that the index names, once it knows what others have appended, too.
    async fn look_up(&self, places: impl FnOnce(&Index) -> Vec<u64>) -> Result<Vec<Entry>, Fault> {
        let mut known = self.known.lock().await;
        let known = self.recovered(&mut known).await?;
        self.follow(known).await?;
        let places = places(&known.index);
        self.entries_at(known, &places).await
    }

    /// The entries at these places.
    async fn entries_at(&self, known: &Known, places: &[u64]) -> Result<Vec<Entry>, Fault> {
        let published = known.edge.published();
        let elsewhere = places.iter().filter(|at| known.edge.entry(**at).is_none());
        let mut tiles: Vec<Tile> = elsewhere.map(|at| Tile::of_entry(*at, published)).collect();
        tiles.sort_unstable();
        tiles.dedup();
        let read = futures::stream::iter(tiles).map(|tile| async move { Ok((tile.index, self.bundle(tile).await?)) });
        let bundles: HashMap<u64, Vec<Vec<u8>>> = read.buffer_unordered(AT_ONCE).try_collect().await?;
        let elsewhere = |at: u64| {
            let place = usize::try_from(at % u64::from(tile::FULL)).ok()?;
            bundles.get(&(at / u64::from(tile::FULL)))?.get(place).map(Vec::as_slice)
        };
        let entry = |at: u64| match known.edge.entry(at).or_else(|| elsewhere(at)) {
            Some(bytes) => self.entry(at, bytes),
            None => Err(self.damaged(&format!("entry {at}"), "is not where it should be")),
        };
        places.iter().map(|at| entry(*at)).collect()
    }

    /// The entries of a bundle.
    async fn bundle(&self, tile: Tile) -> Result<Vec<Vec<u8>>, Fault> {
        let damaged = |is: &str| self.damaged(&tile.to_string(), is);
        let bytes = self.store.tile(tile).await?.ok_or_else(|| damaged("is missing"))?;
        let entries = tile::entries(tile, &bytes).map_err(|error| damaged(&error.to_string()))?;
        Ok(entries.into_iter().map(<[u8]>::to_vec).collect())
    }

    /// An entry from what is hashed of it.
    fn entry(&self, at: u64, bytes: &[u8]) -> Result<Entry, Fault> {
        serde_json::from_slice(bytes).map_err(|_| self.damaged(&format!("entry {at}"), "is none of Werkbank's"))
    }

    /// Others are before, and the store takes long.
    fn busy(&self) -> Fault {
        Fault::Silent(format!("the store of {} does not keep up", self.store.what()))
    }

    /// What is there is not what was written.
    fn damaged(&self, what: &str, is: &str) -> Fault {
        Fault::Damaged(format!(
            "{what} in {} {is}: the log is damaged, and nothing is appended to it; `werkbank audit verify` tells all that is wrong",
            self.store.what()
        ))
    }
}

impl Trail for Log {
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>> {
        let one = async { self.append_in_turn(std::slice::from_ref(entry)).await.pop() };
        Box::pin(one.map(|answer| answer.unwrap_or_else(|| Err(self.busy().into()))))
    }

    fn append_all<'a>(&'a self, entries: &'a [Entry]) -> BoxFuture<'a, Vec<Result<Appended, TrailError>>> {
        Box::pin(self.append_in_turn(entries))
    }

    fn said<'a>(&'a self, person: &'a str, words: Option<Words<'a>>) -> BoxFuture<'a, Result<Said, TrailError>> {
        Box::pin(async move { Ok(self.people.said(&self.store, person, words).await?) })
    }

    fn keeps_for(&self, cluster: &str) {
        self.store.is_used_by(cluster);
    }

    fn history<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>> {
        Box::pin(async { Ok(self.newest(namespace, name).await?) })
    }
}

#[cfg(test)]
mod tests;
