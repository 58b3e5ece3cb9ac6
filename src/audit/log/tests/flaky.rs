//! A store between which and the log writes get lost, answers get lost, and writes arrive long after they were given up.

use std::fmt;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Arrives,
    /// It is not done.
    Lost,
    /// It is done, and nobody is told.
    Unclear,
    /// It is done before one of the next writes.
    Late,
}

#[derive(Debug)]
pub(super) struct Flaky {
    inner: InMemory,
    fates: Mutex<Vec<Fate>>,
    /// Whether a file cannot be read now; the last is of the first read.
    unread: Mutex<Vec<bool>>,
    late: Mutex<Vec<(Path, PutPayload)>>,
}

impl Flaky {
    /// The last is the fate of the first write; when there is none left, all arrive.
    pub(super) fn with(fates: Vec<Fate>) -> Arc<Self> {
        Arc::new(Self {
            inner: InMemory::new(),
            fates: Mutex::new(fates),
            unread: Mutex::default(),
            late: Mutex::default(),
        })
    }

    /// What was given up arrives, if its place is still free.
    pub(super) async fn arrive(&self) {
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (path, payload) in late {
            drop(self.inner.put_opts(&path, payload, PutOptions::from(PutMode::Create)).await);
        }
    }

    /// Flips a bit of a file, or removes it.
    pub(super) async fn damage(&self, path: &str, at: Option<usize>) {
        let path = place(path);
        let mut bytes = self.inner.get(&path).await.unwrap().bytes().await.unwrap().to_vec();
        match at {
            Some(at) => {
                bytes[at] ^= 1;
                self.inner.put(&path, bytes.into()).await.unwrap();
            }
            None => self.inner.delete(&path).await.unwrap(),
        }
    }

    /// From now on every write arrives, and every file can be read.
    pub(super) fn calm(&self) {
        self.goes_wrong(Vec::new(), Vec::new());
    }

    /// From now on this becomes of writes, and of reads.
    pub(super) fn goes_wrong(&self, fates: Vec<Fate>, unread: Vec<bool>) {
        *self.fates.lock().unwrap() = fates;
        *self.unread.lock().unwrap() = unread;
    }

    /// Leaves so many bytes of a file.
    pub(super) async fn cut(&self, path: &str, left: impl Fn(usize) -> usize) {
        let path = place(path);
        let bytes = self.inner.get(&path).await.unwrap().bytes().await.unwrap();
        let left = left(bytes.len());
        self.inner.put(&path, bytes.slice(..left).into()).await.unwrap();
    }
}

impl fmt::Display for Flaky {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("flaky")
    }
}

fn place(path: &str) -> Path {
    path.split('/').fold(Path::default(), Path::join)
}

fn silent() -> Error {
    Error::Generic { store: "flaky", source: "no answer".into() }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        // Others get on with theirs.
        tokio::task::yield_now().await;
        let fate = self.fates.lock().unwrap().pop().unwrap_or(Fate::Arrives);
        match fate {
            Fate::Arrives => {
                self.arrive().await;
                self.inner.put_opts(path, payload, options).await
            }
            Fate::Lost => Err(silent()),
            Fate::Unclear => {
                drop(self.inner.put_opts(path, payload, options).await);
                Err(silent())
            }
            Fate::Late => {
                if options.mode == PutMode::Create {
                    self.late.lock().unwrap().push((path.clone(), payload));
                }
                Err(silent())
            }
        }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(silent())
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        tokio::task::yield_now().await;
        if self.unread.lock().unwrap().pop().unwrap_or(false) {
            return Err(silent());
        }
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(silent())
    }
}
