//! Artifacts and trails in storage: on volumes ([`local`]), in the object stores of three kinds ([`open`]), and a file on a
//! web server ([`web`]).

mod local;
mod open;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use self::local::{local_path, read_local};
use self::web::WebFile;
use crate::api::artifact::{ArtifactScheme, ArtifactUri, check_relative_path};
use crate::api::artifact_report::FINGERPRINT_DIGITS;
use crate::text::hex::hex;

pub use self::local::list_directory;
pub use self::open::open_object_store;
pub use super::storage_error::StorageError;

/// More files than this are no model; their list is held in memory.
const MAX_FILES: usize = 100_000;

/// How long to wait and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For one answer, retries included, and for each next piece of a body.
    pub answer: Duration,
    /// Retries after the first attempt.
    pub retries: usize,
}

impl Patience {
    /// For downloads: a pod that waits is better than a pod that restarts.
    pub const DOWNLOAD: Self = Self { answer: Duration::from_secs(30), retries: 3 };
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// Relative to the artifact's root; empty if the artifact is this one file.
    pub path: String,
    /// Its size when it was listed.
    pub size: u64,
    /// What tells its content from what it was before.
    pub version: Version,
}

/// What tells the content of a file from what it was before, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// The store's ETag: what it hands out later has the same, or is another version.
    Tag(String),
    /// When it was written last; of what nobody can tell that about, another one each time.
    Written(String),
}

impl Version {
    fn as_str(&self) -> &str {
        let (Self::Tag(text) | Self::Written(text)) = self;
        text
    }
}

/// A file that was listed: its size and its version, as [`ArtifactFile`] has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Bytes.
    pub size: u64,
    /// What tells its content from another.
    pub version: Version,
}

impl Listed {
    fn stored(meta: &object_store::ObjectMeta) -> Self {
        let written = || Version::Written(meta.last_modified.to_rfc3339());
        Self { size: meta.size, version: meta.e_tag.clone().map_or_else(written, Version::Tag) }
    }

    fn local(meta: &std::fs::Metadata) -> Self {
        let written = meta.modified().ok().and_then(|it| it.duration_since(std::time::UNIX_EPOCH).ok());
        let version = Version::Written(written.map(|it| it.as_nanos().to_string()).unwrap_or_default());
        Self { size: meta.len(), version }
    }

    fn at(self, path: String) -> ArtifactFile {
        ArtifactFile { path, size: self.size, version: self.version }
    }
}

/// What lies under an artifact's URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactContent {
    /// One file.
    File(ArtifactFile),
    /// A directory, its files sorted by path; never empty.
    Directory(Vec<ArtifactFile>),
}

impl ArtifactContent {
    /// Its files.
    #[must_use]
    pub fn files(&self) -> &[ArtifactFile] {
        match self {
            Self::File(file) => std::slice::from_ref(file),
            Self::Directory(files) => files,
        }
    }

    /// Bytes of all files, as listed.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files().iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// What is the same as long as nobody has written to any file, and there are no others: no digest of the content, but told
    /// without reading it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut hasher = Sha256::new();
        for ArtifactFile { path, size, version } in self.files() {
            hasher.update(format!("{path}\n{size}\n{}\n", version.as_str()));
        }
        hex(&hasher.finalize(), FINGERPRINT_DIGITS / 2)
    }
}

/// An artifact opened for reading.
#[derive(Debug)]
pub struct ArtifactSource {
    uri: ArtifactUri,
    patience: Patience,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Local(PathBuf),
    Store(Arc<dyn ObjectStore>, object_store::path::Path),
    Web(WebFile),
}

impl ArtifactSource {
    /// Opens it; nothing is contacted yet.
    ///
    /// # Errors
    /// The configuration is not usable.
    pub fn open(uri: &ArtifactUri, patience: Patience) -> Result<Self, StorageError> {
        let place = match uri.scheme() {
            ArtifactScheme::File => Place::Local(local_path(uri)),
            ArtifactScheme::Https => Place::Web(WebFile::open(uri, patience)?),
            ArtifactScheme::S3 | ArtifactScheme::Gcs | ArtifactScheme::Azure => {
                let (store, key) = open_object_store(uri, patience)?;
                Place::Store(store, key)
            }
        };
        Ok(Self { uri: uri.clone(), patience, place })
    }

    /// What is there. Names that could leave the target directory are refused.
    ///
    /// # Errors
    /// Nothing there, or not reachable, or names that are not usable.
    pub async fn content(&self) -> Result<ArtifactContent, StorageError> {
        match &self.place {
            Place::Local(root) => self.local_content(root),
            Place::Store(store, key) => self.stored_content(store.as_ref(), key).await,
            Place::Web(file) => Ok(ArtifactContent::File(self.patiently(file.head()).await??.at(String::new()))),
        }
    }

    fn local_content(&self, root: &std::path::Path) -> Result<ArtifactContent, StorageError> {
        let what = self.uri.to_string();
        let meta = std::fs::metadata(root).map_err(|error| StorageError::of_io(&error, &what))?;
        if meta.is_dir() {
            return self.directory(list_directory(root)?);
        }
        if !meta.is_file() || self.uri.is_marked_directory() {
            return Err(StorageError::NotFound(format!(
                "{what} is not what the URI says (a trailing `/` means a directory); correct the URI"
            )));
        }
        Ok(ArtifactContent::File(Listed::local(&meta).at(String::new())))
    }

    async fn stored_content(
        &self,
        store: &dyn ObjectStore,
        key: &object_store::path::Path,
    ) -> Result<ArtifactContent, StorageError> {
        let what = self.uri.to_string();
        if !self.uri.is_marked_directory() {
            match self.patiently(store.head(key)).await? {
                Ok(meta) => {
                    return Ok(ArtifactContent::File(Listed::stored(&meta).at(String::new())));
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(StorageError::of_store(&error, &what)),
            }
        }
        let mut listing = store.list(Some(key));
        let mut files = BTreeMap::new();
        while let Some(meta) = self.patiently(listing.next()).await? {
            let meta = meta.map_err(|error| StorageError::of_store(&error, &what))?;
            let path = meta.location.as_ref().strip_prefix(key.as_ref()).unwrap_or_default().trim_start_matches('/');
            // Consoles mark a directory by an empty object named like it.
            if !path.is_empty() {
                files.insert(path.to_owned(), Listed::stored(&meta));
            }
            limit_files(files.len(), &what)?;
        }
        self.directory(files)
    }

    fn directory(&self, mut files: BTreeMap<String, Listed>) -> Result<ArtifactContent, StorageError> {
        let paths: Vec<String> = files.keys().cloned().collect();
        for path in &paths {
            check_relative_path(path).map_err(|error| {
                let shown: String = path.chars().map(|c| if c.is_control() { '?' } else { c }).take(120).collect();
                StorageError::Unusable(format!("`{shown}` in {} cannot be used: {error}; rename it", self.uri))
            })?;
            let mut parent = path.as_str();
            while let Some((above, _)) = parent.rsplit_once('/') {
                if files.remove(above).is_some_and(|it| it.size > 0) {
                    return Err(StorageError::Unusable(format!(
                        "`{above}` in {} is both a file and a directory; rename one of them",
                        self.uri
                    )));
                }
                parent = above;
            }
        }
        if files.is_empty() {
            return Err(StorageError::NotFound(format!(
                "{} does not exist or holds no files; correct the URI or upload it",
                self.uri
            )));
        }
        Ok(ArtifactContent::Directory(files.into_iter().map(|(path, it)| it.at(path)).collect()))
    }

    /// The bytes of one file, piece by piece.
    ///
    /// # Errors
    /// It cannot be opened; later pieces bring their own errors.
    pub async fn read(
        &self,
        file: &ArtifactFile,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let what = if file.path.is_empty() { self.uri.to_string() } else { format!("{} in {}", file.path, self.uri) };
        let pieces = match &self.place {
            Place::Local(root) => {
                let path = if file.path.is_empty() { root.clone() } else { root.join(&file.path) };
                read_local(&path, what.clone()).await?
            }
            Place::Web(web) => self.patiently(web.read(file)).await??,
            Place::Store(store, key) => {
                let full = if file.path.is_empty() { key.to_string() } else { format!("{key}/{}", file.path) };
                let location =
                    object_store::path::Path::parse(full).map_err(|error| StorageError::Unusable(error.to_string()))?;
                let got = self.patiently(store.get(&location)).await?;
                let got = got.map_err(|error| StorageError::of_store(&error, &what))?;
                if !is_as_listed(file, got.meta.e_tag.as_deref()) {
                    return Err(StorageError::changed(&what));
                }
                let told = what.clone();
                Box::pin(got.into_stream().map_err(move |error| StorageError::of_store(&error, &told)))
            }
        };
        let limit = self.patience.answer;
        // `timeout` per piece: a body that trickles for ever must not hold the pod.
        Ok(Box::pin(stream::try_unfold((pieces, what), move |(mut pieces, what)| async move {
            match timeout(limit, pieces.try_next()).await {
                Ok(piece) => Ok(piece?.map(|piece| (piece, (pieces, what)))),
                Err(_) => Err(StorageError::timeout(&what, limit.as_secs())),
            }
        })))
    }

    async fn patiently<T>(&self, call: impl Future<Output = T>) -> Result<T, StorageError> {
        let limit = self.patience.answer;
        timeout(limit, call).await.map_err(|_| StorageError::timeout(&self.uri.to_string(), limit.as_secs()))
    }
}

/// The store hands out what was listed: a file that somebody writes meanwhile is an error, and not half of each. Whoever tells no version
/// of what it hands out leaves that to the digest.
///
/// Not asked for by `If-Match`, which a weak tag never fulfils (RFC 9110, 13.1.1), and without quotes none.
fn is_as_listed(file: &ArtifactFile, tag: Option<&str>) -> bool {
    match (&file.version, tag) {
        (Version::Tag(listed), Some(tag)) => opaque(listed) == opaque(tag),
        _ => true,
    }
}

/// What an `entity-tag` (RFC 9110, 8.8.3) is compared by: a proxy can make it weak, and some stores list it without its quotes.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

fn limit_files(count: usize, what: &str) -> Result<(), StorageError> {
    if count <= MAX_FILES {
        return Ok(());
    }
    Err(StorageError::TooLarge(format!("{what} holds more than {MAX_FILES} files; pack them into fewer")))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::path::Path as Key;

    use super::*;

    async fn put(store: &InMemory, key: &str, text: &str) {
        store.put(&Key::from(key), text.to_owned().into()).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_that_somebody_writes_after_it_was_listed_is_an_error_and_not_half_of_each() {
        let store = Arc::new(InMemory::new());
        put(&store, "churn/a", "aaa").await;
        put(&store, "churn/b", "bbb").await;
        let place = Place::Store(store.clone(), Key::from("churn"));
        let uri = "s3://models/churn/".parse().unwrap();
        let source = ArtifactSource { uri, patience: Patience::DOWNLOAD, place };
        let content = source.content().await.unwrap();
        put(&store, "churn/b", "BBB").await;
        let [a, b] = content.files() else { panic!("{content:?}") };
        assert!(source.read(a).await.is_ok());
        let error = source.read(b).await.err().unwrap();
        assert!(matches!(&error, StorageError::Changed(text) if text.contains("b in s3://models/churn/")), "{error:?}");
        assert_ne!(source.content().await.unwrap().fingerprint(), content.fingerprint());
    }

    #[test]
    fn a_tag_is_the_same_without_its_quotes_and_made_weak_on_the_way() {
        for (listed, tag, same) in [
            ("\"a1-2\"", Some("\"a1-2\""), true),
            ("a1-2", Some("\"a1-2\""), true),
            ("\"a1-2\"", Some("W/\"a1-2\""), true),
            ("\"a1-2\"", None, true),
            ("\"a1-2\"", Some("\"a1-3\""), false),
        ] {
            let file = ArtifactFile { path: String::new(), size: 3, version: Version::Tag(listed.into()) };
            assert_eq!(is_as_listed(&file, tag), same, "{listed}, {tag:?}");
        }
    }

    #[tokio::test]
    async fn a_fingerprint_is_the_same_until_somebody_writes_removes_or_adds() {
        let store = Arc::new(InMemory::new());
        put(&store, "churn/a", "aaa").await;
        let place = Place::Store(store.clone(), Key::from("churn"));
        let source = ArtifactSource { uri: "s3://models/churn/".parse().unwrap(), patience: Patience::DOWNLOAD, place };
        let mut seen = Vec::new();
        for change in ["nothing", "a", "b", "remove b"] {
            match change {
                "nothing" => {}
                "remove b" => store.delete(&Key::from("churn/b")).await.unwrap(),
                key => put(&store, &format!("churn/{key}"), "aaa").await,
            }
            let [one, other] = [source.content().await.unwrap(), source.content().await.unwrap()];
            assert_eq!(one.fingerprint(), other.fingerprint());
            seen.push(one.fingerprint());
        }
        // Without b it is what it was before there was any.
        assert_eq!(seen[1], seen[3]);
        seen.pop();
        assert_eq!(seen.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "{seen:?}");
    }
}
