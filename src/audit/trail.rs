//! A trail of one object per entry, on any store that can put-if-absent.
//!
//! `<namespace>/<name>/<uid>/<sequence, ten digits>.<intent|outcome|void>.json`, canonical JSON (RFC
//! 8785). A key is the place of one entry, so whoever creates it first has it; who
//! comes second reads it back and learns whether the decision was the same. An
//! answer that got lost is settled in the same way.
//!
//! An intent and its void are two places, so no single write can decide between
//! them: after an intent is stored, its void is looked for, and if there is one
//! the number is spent. (An intent that another leader had given up may arrive
//! late; it must not be acted upon.)
//!
//! A store that does not answer, at the start or later, stops nobody but who has something to record:
//! rollbacks do not wait for it, and after a few calls nobody waits for it. Before the first
//! entry the store has to show that it refuses a second write to the same place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tokio::time::{Instant, timeout};

use super::{Appended, Entry, EntryKind, Trail, TrailError};
use crate::api::artifact::{ArtifactScheme, ArtifactUri};
use crate::connect::outage::{self, Outage};
use crate::connect::storage::{Patience, StorageError, open_object_store};

/// How long storing may take before the place is read back.
const PUT_LIMIT: Duration = Duration::from_secs(3);
/// How long reading back may take. Together with `PUT_LIMIT`: the 5 s of one call.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// How long listing one resource's entries may take.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// How many entries a history goes back.
const LONGEST_HISTORY: usize = 256;
/// How many of them are read at the same time.
const READ_AT_ONCE: usize = 16;
/// How long to wait before the store is asked again whether it can be a trail.
const PROBE_REST: Duration = Duration::from_secs(10);
/// The object by which the store shows that it can put-if-absent.
const PROBE: &str = "put-if-absent-probe.json";

/// A place where no trail can be kept, however long one waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trail cannot be kept there: {0}; set --trail to another place")]
pub struct UnfitTrail(String);

/// See the module.
#[derive(Debug, Clone)]
pub struct ObjectStoreTrail {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    what: String,
    outage: Arc<Outage>,
    /// Whether the store has shown that it refuses a second write to the same place.
    proven: Arc<AtomicBool>,
}

impl ObjectStoreTrail {
    /// Opens a trail at `file:///dir` or `s3://bucket/prefix`, without asking the store anything.
    ///
    /// # Errors
    /// The address, or what it takes to use it, is wrong.
    pub fn open(url: &str) -> Result<Self, UnfitTrail> {
        let uri: ArtifactUri = url.parse().map_err(|error| UnfitTrail(format!("{error}")))?;
        if !matches!(uri.scheme(), ArtifactScheme::File | ArtifactScheme::S3) {
            return Err(UnfitTrail(format!("{uri}: no trail has been tried there; use file:// or s3://")));
        }
        let patience = Patience { answer: PUT_LIMIT, retries: 1 };
        let (store, prefix) = open_object_store(&uri, patience).map_err(|error| UnfitTrail(error.to_string()))?;
        Ok(Self::in_store(store, prefix, uri.to_string()))
    }

    /// The same in a store that is open already and answers; `what` names it in messages.
    ///
    /// # Errors
    /// The store does not answer, or it overwrites.
    pub async fn over(store: Arc<dyn ObjectStore>, prefix: Path, what: String) -> Result<Self, TrailError> {
        let trail = Self::in_store(store, prefix, what);
        trail.prove().await?;
        Ok(trail)
    }

    fn in_store(store: Arc<dyn ObjectStore>, prefix: Path, what: String) -> Self {
        Self { store, prefix, what, outage: Arc::default(), proven: Arc::default() }
    }

    /// Asks the store until it answers, and returns only if no trail can be kept in it.
    pub async fn turns_out_unfit(&self) -> UnfitTrail {
        loop {
            match self.prove().await {
                Ok(()) => return std::future::pending().await,
                Err(Fault::Unfit(why)) => return UnfitTrail(why),
                Err(fault) => tracing::warn!(error = %TrailError::from(fault), "decisions that need a record wait"),
            }
            tokio::time::sleep(PROBE_REST).await;
        }
    }

    /// Makes sure that the store refuses a second write to the same place. The object stays, so
    /// that this needs no right to delete.
    async fn prove(&self) -> Result<(), Fault> {
        if self.proven.load(Ordering::Relaxed) {
            return Ok(());
        }
        let place = self.prefix.clone().join(PROBE);
        match self.create(&place, b"{}".to_vec()).await {
            Ok(()) | Err(PutError::Taken) => {}
            Err(PutError::Unclear(why)) => return Err(why),
        }
        match self.create(&place, b"{}".to_vec()).await {
            Err(PutError::Taken) => {}
            Err(PutError::Unclear(why)) => return Err(why),
            Ok(()) => {
                return Err(Fault::Unfit(format!(
                    "the store of {} overwrites what was to be created once; use a store with conditional writes (If-None-Match)",
                    self.what
                )));
            }
        }
        self.proven.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// The entries about one resource, by sequence number; intents first.
    ///
    /// # Errors
    /// The store does not answer, or holds something that is no entry.
    pub async fn list(&self, namespace: &str, name: &str, uid: &str) -> Result<Vec<Entry>, TrailError> {
        let list = async {
            let mut places = self.places(self.of(namespace, name).join(uid)).await?;
            places.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            self.read_all(places).await
        };
        timeout(LIST_LIMIT, list).await.unwrap_or_else(|_| Err(self.too_slow(LIST_LIMIT))).map_err(TrailError::from)
    }

    async fn newest(&self, namespace: &str, name: &str) -> Result<Vec<Entry>, Fault> {
        let read = async {
            let mut places = self.places(self.of(namespace, name)).await?;
            // A store's clock may be coarse: within one instant, by number.
            places.sort_unstable_by(|a, b| (b.last_modified, &b.location).cmp(&(a.last_modified, &a.location)));
            places.truncate(LONGEST_HISTORY);
            self.read_all(places).await
        };
        timeout(READ_LIMIT, read).await.unwrap_or_else(|_| Err(self.too_slow(READ_LIMIT)))
    }

    async fn places(&self, below: Path) -> Result<Vec<ObjectMeta>, Fault> {
        self.store.list(Some(&below)).try_collect().await.map_err(|error| self.unavailable(&error))
    }

    async fn read_all(&self, places: Vec<ObjectMeta>) -> Result<Vec<Entry>, Fault> {
        let read = async |place: Path| {
            let entry = self.read(&place).await?;
            entry.ok_or_else(|| Fault::Wrong(format!("{place} vanished while listing; list again")))
        };
        let entries = futures::stream::iter(places.into_iter().map(|it| read(it.location)));
        entries.buffered(READ_AT_ONCE).try_collect().await
    }

    /// Where everything of this name is.
    fn of(&self, namespace: &str, name: &str) -> Path {
        self.prefix.clone().join(namespace).join(name)
    }

    fn place(&self, of: &Entry, kind: EntryKind) -> Path {
        let kind = match kind {
            EntryKind::Intent => "intent",
            EntryKind::Outcome => "outcome",
            EntryKind::Void => "void",
        };
        let subject = self.of(&of.namespace, &of.name).join(of.uid.as_str());
        subject.join(format!("{:010}.{kind}.json", of.sequence))
    }

    async fn append_if_it_answers(&self, entry: &Entry) -> Result<Appended, TrailError> {
        self.if_it_answers(async {
            self.prove().await?;
            self.append_entry(entry).await
        })
        .await
    }

    /// Asks the store, unless it has not answered for a while.
    async fn if_it_answers<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, TrailError> {
        let began = Instant::now();
        self.outage.admit(began).map_err(|silent_for| {
            TrailError::Unavailable(format!("the store of {} {}", self.what, outage::told(silent_for)))
        })?;
        let answer = call.await;
        match &answer {
            Err(Fault::Silent(_)) => self.outage.silent(began, Instant::now()),
            _ => self.outage.answered(),
        }
        answer.map_err(TrailError::from)
    }

    async fn append_entry(&self, entry: &Entry) -> Result<Appended, Fault> {
        let place = self.place(entry, entry.kind);
        let json = serde_json_canonicalizer::to_vec(entry)
            .map_err(|error| Fault::Wrong(format!("the entry cannot be written as JSON: {error}; report it")))?;
        let created = self.create(&place, json).await;
        let settle = async {
            let appended = match created {
                Ok(()) => Appended::New,
                Err(refused) => self.settle_by_reading(entry, &place, refused).await?,
            };
            if entry.kind == EntryKind::Intent && self.is_voided(entry).await? {
                return Err(Fault::Taken(Box::new(entry.clone())));
            }
            Ok(appended)
        };
        timeout(READ_LIMIT, settle).await.unwrap_or_else(|_| Err(self.too_slow(READ_LIMIT)))
    }

    /// The place is taken, or the answer got lost: what is there decides.
    async fn settle_by_reading(&self, entry: &Entry, place: &Path, refused: PutError) -> Result<Appended, Fault> {
        match (self.read(place).await, refused) {
            (Ok(Some(found)), _) if found.is_same_decision(entry) => Ok(Appended::AlreadyThere),
            (Ok(Some(found)), _) => Err(Fault::Taken(Box::new(found))),
            // Not there now; a write under way may still land, and is then found by the next call.
            (_, PutError::Unclear(why)) | (Err(why), PutError::Taken) => Err(why),
            (Ok(None), PutError::Taken) => Err(Fault::Wrong(format!(
                "{place} in {} was taken and then gone; nothing may be deleted from the trail",
                self.what
            ))),
        }
    }

    async fn is_voided(&self, intent: &Entry) -> Result<bool, Fault> {
        match self.store.head(&self.place(intent, EntryKind::Void)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    async fn create(&self, place: &Path, bytes: Vec<u8>) -> Result<(), PutError> {
        let options = PutOptions::from(PutMode::Create);
        match timeout(PUT_LIMIT, self.store.put_opts(place, bytes.into(), options)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => Err(PutError::Taken),
            Ok(Err(error)) => Err(PutError::Unclear(self.unavailable(&error))),
            Err(_) => Err(PutError::Unclear(self.too_slow(PUT_LIMIT))),
        }
    }

    async fn read(&self, place: &Path) -> Result<Option<Entry>, Fault> {
        let got = match self.store.get(place).await {
            Err(Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| self.unavailable(&error))?,
        };
        let bytes = got.bytes().await.map_err(|error| self.unavailable(&error))?;
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| Fault::Wrong(format!("{place} in {} is no trail entry; move it away", self.what)))
    }

    fn unavailable(&self, error: &Error) -> Fault {
        match StorageError::of_store(error, &self.what) {
            StorageError::Unreachable(why) => Fault::Silent(why),
            error => Fault::Wrong(error.to_string()),
        }
    }

    fn too_slow(&self, limit: Duration) -> Fault {
        Fault::Silent(StorageError::timeout(&self.what, limit.as_secs()).to_string())
    }
}

impl Trail for ObjectStoreTrail {
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>> {
        Box::pin(self.append_if_it_answers(entry))
    }

    fn history<'a>(&'a self, namespace: &'a str, name: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>> {
        Box::pin(self.if_it_answers(self.newest(namespace, name)))
    }
}

/// Why the store did not do what it was asked for.
#[derive(Debug)]
enum Fault {
    /// The number belongs to this entry.
    Taken(Box<Entry>),
    /// No answer, or an error of the store's own.
    Silent(String),
    /// An answer, and no use.
    Wrong(String),
    /// It answers, and can never be a trail.
    Unfit(String),
}

impl From<Fault> for TrailError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Taken(holder) => Self::SequenceTaken { holder },
            Fault::Silent(why) | Fault::Wrong(why) | Fault::Unfit(why) => Self::Unavailable(why),
        }
    }
}

enum PutError {
    Taken,
    Unclear(Fault),
}

#[cfg(test)]
#[path = "trail_tests.rs"]
mod tests;
