//! The audit log's store, as one process reaches it: each file that it writes is a write like those to the API server, with a
//! number and a fate. (What is removed, parts of tiles that are full, is not: no run has as many entries.)
//!
//! What lies in it is the run's, and what a dead process has sent may arrive there later. A store that is away answers nobody,
//! and one who is dead hears nothing.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::wire::{Fate, Fates, Late, Wire};
use crate::audit::tlog::slot::Batch;
use crate::audit::{Entry, EntryKind, sample};

/// One process' way to the store.
pub(super) struct Way {
    wire: Arc<Wire>,
    store: Arc<InMemory>,
}

/// A file on its way.
#[derive(Debug, Clone)]
pub(super) struct File {
    path: Path,
    payload: PutPayload,
    options: PutOptions,
}

impl File {
    /// What it holds, if it is a slot of the log.
    fn slot(&self) -> Option<Batch> {
        let bytes = || self.payload.iter().flatten().copied().collect::<Vec<u8>>();
        self.path.as_ref().starts_with("wal/").then(|| Batch::decode(&bytes()).unwrap())
    }

    /// Its name and what is in it, as far as that is text.
    fn text(&self) -> String {
        let bytes: Vec<u8> = self.payload.iter().flatten().copied().collect();
        format!("{}\n{}", self.path, String::from_utf8_lossy(&bytes))
    }

    /// The entries that it puts on the log.
    fn entries(&self) -> Vec<Entry> {
        let lines = self.slot().map(|it| it.entries).unwrap_or_default();
        lines.iter().map(|it| serde_json::from_slice(it).unwrap()).collect()
    }

    /// `STORE wal/000: Intent 1 Start 0%`; other files by their names alone.
    pub(super) fn about(&self) -> String {
        let told = |it: &Entry| format!("{:?} {} {} {}", it.kind, it.sequence, it.decision, it.weight);
        let entries: Vec<String> = self.entries().iter().map(told).collect();
        if entries.is_empty() {
            format!("STORE {}", self.path)
        } else {
            format!("STORE {}: {}", self.path, entries.join(", "))
        }
    }

    /// It is there, unless its place is taken.
    pub(super) async fn arrive(&self, store: &InMemory, fates: &Mutex<Fates>) -> Result<PutResult> {
        let answer = store.put_opts(&self.path, self.payload.clone(), self.options.clone()).await;
        let mut fates = fates.lock().unwrap();
        if let Some(last) = fates.told.last_mut() {
            *last += if answer.is_ok() { " → there" } else { " → its place is taken" };
        }
        if answer.is_ok() {
            self.entries().iter().filter(|it| it.kind == EntryKind::Intent).for_each(|it| fates.oracles.intended(it));
        }
        answer
    }

    /// Somebody else has the slot first, with a decision of his own about something else; other files nobody disputes.
    async fn overtake(&self, store: &InMemory, number: usize) {
        let Some(Batch { first, .. }) = self.slot() else { return };
        let sequence = i64::try_from(number).unwrap();
        let entry = Entry { namespace: "elsewhere".into(), uid: "of-another-leader".into(), sequence, ..sample() };
        let taken = Batch { first, entries: vec![entry.line().unwrap()] };
        drop(store.put_opts(&self.path, taken.encode().into(), self.options.clone()).await);
    }
}

impl Way {
    pub(super) fn of(wire: Arc<Wire>, store: Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self { wire, store })
    }

    fn answers(&self) -> Result<()> {
        let is_away = !self.wire.is_alive() || self.wire.fates().trail_is_away();
        if is_away { Err(silent()) } else { Ok(()) }
    }

    async fn put(&self, file: File) -> Result<PutResult> {
        if !self.wire.is_alive() {
            return Err(silent());
        }
        file.entries().iter().for_each(|it| self.wire.fates().oracles.retracts(self.wire.cluster(), it));
        self.wire.fates().oracles.tells_no_name(file.path.as_ref(), &file.text());
        let (number, fate) = self.wire.fate(&file.about());
        let arrives = || file.arrive(&self.store, self.wire.all_fates());
        match fate {
            Fate::Arrives => return arrives().await,
            Fate::Twice => {
                drop(arrives().await);
                return arrives().await;
            }
            Fate::Overtaken => {
                file.overtake(&self.store, number).await;
                return arrives().await;
            }
            Fate::Unclear | Fate::DiesAfter => drop(arrives().await),
            Fate::ArrivesLate => self.wire.fates().late.push(Late::File(file)),
            Fate::DiesBefore | Fate::Refused(_) | Fate::TrailGoes(_) => {}
        }
        if fate.kills() {
            self.wire.die();
        }
        Err(silent())
    }
}

fn silent() -> Error {
    Error::Generic { store: "memory", source: "no answer".into() }
}

impl fmt::Debug for Way {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("Way")
    }
}

impl fmt::Display for Way {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for Way {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.put(File { path: path.clone(), payload, options }).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(silent())
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.answers()?;
        self.store.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.answers() {
            Ok(()) => self.store.delete_stream(paths),
            Err(silent) => stream::once(async move { Err(silent) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.answers() {
            Ok(()) => self.store.list(prefix),
            Err(silent) => stream::once(async move { Err(silent) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.answers()?;
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(silent())
    }
}
