//! Artifacts and trails in storage: `file://` and S3-compatible `s3://`.
//!
//! Which S3: `AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY` and the other usual AWS variables (web identity, container
//! credentials); plain HTTP only with `AWS_ALLOW_HTTP=true`.
//!
//! Local directories are walked here rather than by `object_store`, which follows
//! symbolic links and passes over some names: a link could lead out of the directory,
//! and a file passed over would be missing from the digest without a word. A link
//! is therefore an error, like everything that is neither file nor directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::Either;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use crate::api::artifact::{ArtifactScheme, ArtifactUri, check_relative_path};
use crate::api::artifact_report::FINGERPRINT_DIGITS;
use crate::text::hex::hex;

pub use super::storage_error::StorageError;

/// Bytes read from a local file at once.
const CHUNK_BYTES: usize = 256 * 1024;
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

/// Opens the store a URI lies in; the path returned is the URI's within that store.
/// For `file://` the store's root is the directory itself (made if need be) and the path empty.
///
/// # Errors
/// The configuration is not usable, or the directory cannot be made.
pub fn open_object_store(
    uri: &ArtifactUri,
    patience: Patience,
) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path), StorageError> {
    match uri.scheme() {
        ArtifactScheme::File => {
            let root = local_path(uri);
            let what = uri.to_string();
            std::fs::create_dir_all(&root).map_err(|error| StorageError::of_io(&error, &what))?;
            let store =
                LocalFileSystem::new_with_prefix(root).map_err(|error| StorageError::of_store(&error, &what))?;
            Ok((Arc::new(store), object_store::path::Path::default()))
        }
        ArtifactScheme::S3 => open_s3(uri, patience),
    }
}

fn open_s3(
    uri: &ArtifactUri,
    patience: Patience,
) -> Result<(Arc<dyn ObjectStore>, object_store::path::Path), StorageError> {
    let key = object_store::path::Path::parse(uri.path()).map_err(|error| StorageError::Unusable(error.to_string()))?;
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(4),
            base: 2.,
        },
        max_retries: patience.retries,
        retry_timeout: patience.answer,
    };
    // The client's own timeout would cover a whole body, however large; each
    // answer and each piece is waited for with `patience.answer` instead.
    let options = ClientOptions::new()
        .with_connect_timeout(Duration::from_secs(5))
        .with_timeout_disabled()
        .with_allow_http(env_is_true("AWS_ALLOW_HTTP"));
    let endpoint = std::env::var("AWS_ENDPOINT_URL_S3").or_else(|_| std::env::var("AWS_ENDPOINT_URL"));
    if endpoint.is_ok_and(|url| url.starts_with("http://")) && !env_is_true("AWS_ALLOW_HTTP") {
        let message =
            "AWS_ENDPOINT_URL is plain http://; use https://, or set AWS_ALLOW_HTTP=true if the network is trusted";
        return Err(StorageError::Unusable(message.to_owned()));
    }
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(uri.bucket())
        .with_client_options(options)
        .with_retry(retry)
        .build()
        .map_err(|_| {
            StorageError::Unusable(
                "the AWS_* variables do not fit together; check AWS_ENDPOINT_URL, AWS_REGION and the credentials"
                    .to_owned(),
            )
        })?;
    Ok((Arc::new(store), key))
}

fn env_is_true(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value.eq_ignore_ascii_case("true"))
}

fn local_path(uri: &ArtifactUri) -> PathBuf {
    Path::new("/").join(uri.path())
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
    /// When it was written last.
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
}

impl ArtifactSource {
    /// Opens it; nothing is contacted yet.
    ///
    /// # Errors
    /// The AWS configuration is not usable.
    pub fn open(uri: &ArtifactUri, patience: Patience) -> Result<Self, StorageError> {
        let place = match uri.scheme() {
            ArtifactScheme::File => Place::Local(local_path(uri)),
            ArtifactScheme::S3 => {
                let (store, key) = open_s3(uri, patience)?;
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
        }
    }

    fn local_content(&self, root: &Path) -> Result<ArtifactContent, StorageError> {
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
                Either::Left(read_local(&path, what.clone()).await?)
            }
            Place::Store(store, key) => {
                let full = if file.path.is_empty() { key.to_string() } else { format!("{key}/{}", file.path) };
                let location =
                    object_store::path::Path::parse(full).map_err(|error| StorageError::Unusable(error.to_string()))?;
                let got = self.patiently(store.get(&location)).await?;
                let got = got.map_err(|error| StorageError::of_store(&error, &what))?;
                if !is_as_listed(file, &got.meta) {
                    return Err(StorageError::changed(&what));
                }
                let told = what.clone();
                let body = got.into_stream();
                Either::Right(body.map_err(move |error| StorageError::of_store(&error, &told)))
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
fn is_as_listed(file: &ArtifactFile, got: &object_store::ObjectMeta) -> bool {
    match (&file.version, &got.e_tag) {
        (Version::Tag(listed), Some(tag)) => opaque(listed) == opaque(tag),
        _ => true,
    }
}

/// What an `entity-tag` (RFC 9110, 8.8.3) is compared by: a proxy can make it weak, and some stores list it without its quotes.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

async fn read_local(
    path: &Path,
    what: String,
) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
    let file = tokio::fs::File::open(path).await.map_err(|error| StorageError::of_io(&error, &what))?;
    Ok(Box::pin(stream::try_unfold((file, what), |(mut file, what)| async move {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut piece).await;
        match read.map_err(|error| StorageError::of_io(&error, &what))? {
            0 => Ok(None),
            _ => Ok(Some((Bytes::from(piece), (file, what)))),
        }
    })))
}

fn limit_files(count: usize, what: &str) -> Result<(), StorageError> {
    if count <= MAX_FILES {
        return Ok(());
    }
    Err(StorageError::TooLarge(format!("{what} holds more than {MAX_FILES} files; pack them into fewer")))
}

/// The files below a local directory, by relative path.
///
/// # Errors
/// Something is neither file nor directory (symbolic links are not followed), or cannot be read.
pub fn list_directory(root: &Path) -> Result<BTreeMap<String, Listed>, StorageError> {
    let mut files = BTreeMap::new();
    let mut waiting = vec![String::new()];
    while let Some(dir) = waiting.pop() {
        let here = root.join(&dir);
        let what = format!("file://{}", here.display());
        let entries = std::fs::read_dir(&here).map_err(|error| StorageError::of_io(&error, &what))?;
        for entry in entries {
            let entry = entry.map_err(|error| StorageError::of_io(&error, &what))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                return Err(StorageError::Unusable(format!("{what} holds a name that is not UTF-8; rename it")));
            };
            let path = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            // Unlike `Path::metadata`, this does not follow links.
            let meta = entry.metadata().map_err(|error| StorageError::of_io(&error, &what))?;
            if meta.is_dir() {
                waiting.push(path);
            } else if meta.is_file() {
                files.insert(path, Listed::local(&meta));
            } else {
                return Err(StorageError::Unusable(format!(
                    "{what}/{name} is a symbolic link or special file, which is not followed; put the file itself there"
                )));
            }
            limit_files(files.len() + waiting.len(), &what)?;
        }
    }
    Ok(files)
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

    #[tokio::test]
    async fn a_tag_is_the_same_without_its_quotes_and_made_weak_on_the_way() {
        let store = InMemory::new();
        put(&store, "a", "aaa").await;
        let got = store.head(&Key::from("a")).await.unwrap();
        for (listed, tag, same) in [
            ("\"a1-2\"", Some("\"a1-2\""), true),
            ("a1-2", Some("\"a1-2\""), true),
            ("\"a1-2\"", Some("W/\"a1-2\""), true),
            ("\"a1-2\"", None, true),
            ("\"a1-2\"", Some("\"a1-3\""), false),
        ] {
            let file = ArtifactFile { path: String::new(), size: 3, version: Version::Tag(listed.into()) };
            let got = object_store::ObjectMeta { e_tag: tag.map(Into::into), ..got.clone() };
            assert_eq!(is_as_listed(&file, &got), same, "{listed}, {tag:?}");
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
