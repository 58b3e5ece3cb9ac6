//! The object store under the log: files that are created once, and one that is replaced.
//!
//! A store that does not answer stops nobody but who has something to record: rollbacks do not wait for it, and after a few calls
//! nobody waits for it. Before the first entry it has to show that it refuses a second write to the same place.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use tokio::time::{Instant, timeout};

use super::cluster::Cluster;
use super::tlog::tile::{self, Tile};
use crate::api::artifact::{ArtifactScheme, ArtifactUri};
use crate::connect::outage::{self, Outage};
use crate::connect::storage::{Patience, StorageError, open_object_store};

/// How long storing may take before the place is read back.
const PUT_LIMIT: Duration = Duration::from_secs(3);
/// How long reading back may take. Together with `PUT_LIMIT`: the 5 s of one call.
const READ_LIMIT: Duration = Duration::from_secs(2);
/// How long removing what is not needed any more may take.
const REMOVE_LIMIT: Duration = Duration::from_secs(30);
/// The object by which the store shows that it can put-if-absent.
const PROBE: &str = "put-if-absent-probe.json";

/// A place where no log can be kept, however long one waits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be kept there: {0}; set --audit-log to another place")]
pub struct UnfitStore(pub(super) String);

/// Why the store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No answer, or an error of the store's own.
    #[error("{0}")]
    Silent(String),
    /// An answer, and no use.
    #[error("{0}")]
    Wrong(String),
    /// What is there is not what was written.
    #[error("{0}")]
    Damaged(String),
    /// It answers, and can never hold a log.
    #[error("{0}")]
    Unfit(String),
}

/// Why a file was not created.
#[derive(Debug)]
pub(super) enum NotCreated {
    /// There is one.
    Taken,
    /// Perhaps it was.
    Unclear(Fault),
}

/// The folder of a log.
#[derive(Debug, Clone)]
pub(super) struct Store {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    what: String,
    outage: Arc<Outage>,
    /// Whether the store has shown that it refuses a second write to the same place.
    proven: Arc<AtomicBool>,
    cluster: Arc<Cluster>,
    /// The folder, if it is one of this machine: what is created there is on the disk only when it has been synced.
    folder: Option<PathBuf>,
}

impl Store {
    /// Opens `file:///dir` or `s3://bucket/prefix`, without asking the store anything.
    pub(super) fn open(url: &str) -> Result<Self, UnfitStore> {
        let uri: ArtifactUri = url.parse().map_err(|error| UnfitStore(format!("{error}")))?;
        if !matches!(uri.scheme(), ArtifactScheme::File | ArtifactScheme::S3) {
            return Err(UnfitStore(format!("{uri}: no log has been tried there; use file:// or s3://")));
        }
        let patience = Patience { answer: PUT_LIMIT, retries: 1 };
        let (store, prefix) = open_object_store(&uri, patience).map_err(|error| UnfitStore(error.to_string()))?;
        let folder = (uri.scheme() == ArtifactScheme::File).then(|| PathBuf::from(url.trim_start_matches("file://")));
        Ok(Self { folder, ..Self::over(store, prefix, uri.to_string()) })
    }

    /// The same in a store that is open already; `what` names it in messages.
    pub(super) fn over(store: Arc<dyn ObjectStore>, prefix: Path, what: String) -> Self {
        Self {
            store,
            prefix,
            what,
            outage: Arc::default(),
            proven: Arc::default(),
            cluster: Arc::default(),
            folder: None,
        }
    }

    /// What messages call it.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Whose it is.
    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Refuses at once while the store is left alone because it does not answer.
    pub(super) fn answers(&self) -> Result<(), Fault> {
        self.outage.would_admit(Instant::now()).map_err(|silent_for| self.has_been_silent(silent_for))
    }

    /// So many calls went together and got no answer: each counts.
    pub(super) fn was_silent_for(&self, calls: usize) {
        let now = Instant::now();
        (0..calls).for_each(|_| self.outage.silent(now, now));
    }

    fn has_been_silent(&self, silent_for: Duration) -> Fault {
        Fault::Silent(format!("the store of {} {}", self.what, outage::told(silent_for)))
    }

    /// Asks the store, unless it has not answered for a while.
    pub(super) async fn if_it_answers<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let began = Instant::now();
        self.outage.admit(began).map_err(|silent_for| self.has_been_silent(silent_for))?;
        let answer = call.await;
        match &answer {
            Err(Fault::Silent(_)) => self.outage.silent(began, Instant::now()),
            _ => self.outage.answered(),
        }
        answer
    }

    /// Makes sure that the store refuses a second write to the same place. The object stays, so
    /// that this needs no right to delete.
    pub(super) async fn prove(&self) -> Result<(), Fault> {
        if self.proven.load(Ordering::Relaxed) {
            return Ok(());
        }
        match self.create(PROBE, b"{}".to_vec()).await {
            Ok(()) | Err(NotCreated::Taken) => {}
            Err(NotCreated::Unclear(why)) => return Err(why),
        }
        match self.create(PROBE, b"{}".to_vec()).await {
            Err(NotCreated::Taken) => {}
            Err(NotCreated::Unclear(why)) => return Err(why),
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

    /// Whether it has shown that it can hold a log.
    #[cfg(test)]
    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Creates a file that is not there.
    pub(super) async fn create(&self, path: &str, bytes: Vec<u8>) -> Result<(), NotCreated> {
        let (place, options) = (self.place(path), PutOptions::from(PutMode::Create));
        let create = async {
            let created = self.store.put_opts(&place, bytes.into(), options).await;
            if created.is_ok() {
                self.sync(path).await?;
            }
            created
        };
        match timeout(PUT_LIMIT, create).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Error::AlreadyExists { .. } | Error::Precondition { .. })) => Err(NotCreated::Taken),
            Ok(Err(error)) => Err(NotCreated::Unclear(self.failed(&error))),
            Err(_) => Err(NotCreated::Unclear(self.too_slow(PUT_LIMIT))),
        }
    }

    /// Waits until a file, and the folder that names it, are on the disk.
    async fn sync(&self, path: &str) -> object_store::Result<()> {
        let Some(file) = self.folder.as_ref().map(|it| it.join(path)) else { return Ok(()) };
        let sync = move || {
            File::open(&file)?.sync_all()?;
            file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        let synced = tokio::task::spawn_blocking(sync).await.map_err(std::io::Error::other).flatten();
        synced.map_err(|error| Error::Generic { store: "file", source: error.into() })
    }

    /// What a file holds, and its version; `None` if there is none.
    pub(super) async fn read(&self, path: &str) -> Result<Option<(Bytes, UpdateVersion)>, Fault> {
        let read = async {
            let got = match self.store.get(&self.place(path)).await {
                Err(Error::NotFound { .. }) => return Ok(None),
                got => got.map_err(|error| self.failed(&error))?,
            };
            let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
            Ok(Some((got.bytes().await.map_err(|error| self.failed(&error))?, version)))
        };
        timeout(READ_LIMIT, read).await.unwrap_or_else(|_| Err(self.too_slow(READ_LIMIT)))
    }

    /// What a tile holds; if only the wider one that has taken its place is there, its beginning.
    pub(super) async fn tile(&self, tile: Tile) -> Result<Option<Bytes>, Fault> {
        if let Some((bytes, _)) = self.read(&tile.to_string()).await? {
            return Ok(Some(bytes));
        }
        if tile.is_full() {
            return Ok(None);
        }
        let wider = Tile { width: tile::FULL, ..tile };
        let there = self.read(&wider.to_string()).await?;
        Ok(there.and_then(|(bytes, _)| tile::beginning(tile, wider, &bytes)))
    }

    /// Writes a file, whatever was there; only if it is still this version, where the store can tell.
    /// `false`: it is another version.
    pub(super) async fn write(&self, path: &str, bytes: Vec<u8>, over: Option<UpdateVersion>) -> Result<bool, Fault> {
        if let Some(version) = over.filter(|it| it.e_tag.is_some()) {
            match self.put(path, bytes.clone(), PutMode::Update(version)).await {
                Ok(()) => return Ok(true),
                Err(PutError::Store(Error::Precondition { .. })) => return Ok(false),
                // Files have no such thing.
                Err(PutError::Store(Error::NotImplemented { .. })) => {}
                Err(error) => return Err(self.not_put(error)),
            }
        }
        self.put(path, bytes, PutMode::Overwrite).await.map(|()| true).map_err(|error| self.not_put(error))
    }

    /// Removes all files below a folder.
    pub(super) async fn remove_below(&self, folder: &str) -> Result<(), Fault> {
        let remove = async {
            let found = self.store.list(Some(&self.place(folder))).map_ok(|it| it.location);
            found.try_for_each(async |place| self.store.delete(&place).await).await.map_err(|error| self.failed(&error))
        };
        timeout(REMOVE_LIMIT, remove).await.unwrap_or_else(|_| Err(self.too_slow(REMOVE_LIMIT)))
    }

    async fn put(&self, path: &str, bytes: Vec<u8>, mode: PutMode) -> Result<(), PutError> {
        let place = self.place(path);
        let put = self.store.put_opts(&place, bytes.into(), PutOptions::from(mode));
        match timeout(PUT_LIMIT, put).await {
            Ok(answer) => answer.map(drop).map_err(PutError::Store),
            Err(_) => Err(PutError::TooSlow),
        }
    }

    fn not_put(&self, error: PutError) -> Fault {
        match error {
            PutError::Store(error) => self.failed(&error),
            PutError::TooSlow => self.too_slow(PUT_LIMIT),
        }
    }

    fn place(&self, path: &str) -> Path {
        path.split('/').fold(self.prefix.clone(), Path::join)
    }

    fn failed(&self, error: &Error) -> Fault {
        match StorageError::of_store(error, &self.what) {
            StorageError::Unreachable(why) => Fault::Silent(why),
            error => Fault::Wrong(error.to_string()),
        }
    }

    fn too_slow(&self, limit: Duration) -> Fault {
        Fault::Silent(StorageError::timeout(&self.what, limit.as_secs()).to_string())
    }
}

enum PutError {
    Store(Error),
    TooSlow,
}
