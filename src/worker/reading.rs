//! Reading an artifact once, from its first byte to its last: what is hashed, how much of it there may be, and how far it is.

use std::io::Write;
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::api::artifact::ArtifactUri;
use crate::api::artifact_digest::{Sha256Digest, directory_digest};
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use crate::api::artifact_report::ArtifactProgress;
use crate::connect::storage::{ArtifactContent, ArtifactFile, ArtifactSource, StorageError};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// What becomes of the bytes of a file.
pub trait Keep {
    /// The next ones.
    ///
    /// # Errors
    /// They cannot be kept.
    fn piece(&mut self, piece: &[u8]) -> Result<(), ArtifactFailure>;

    /// Those were all.
    ///
    /// # Errors
    /// It is not certain that they are kept.
    fn end(&mut self) -> Result<(), ArtifactFailure>;
}

/// Nothing: they are only hashed.
pub struct Forgotten;

impl Keep for Forgotten {
    fn piece(&mut self, _: &[u8]) -> Result<(), ArtifactFailure> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), ArtifactFailure> {
        Ok(())
    }
}

/// One reading of an artifact.
pub struct Reading<'a> {
    uri: &'a ArtifactUri,
    max_bytes: u64,
    whole: u64,
    progress: watch::Sender<ArtifactProgress>,
    told: Instant,
}

impl<'a> Reading<'a> {
    /// Says how much there is to read.
    ///
    /// # Errors
    /// When that is more than allowed.
    pub fn of(uri: &'a ArtifactUri, content: &ArtifactContent, max_bytes: u64) -> Result<Self, ArtifactFailure> {
        let (files, whole) = (content.files().len(), content.size());
        say(&format!("reading {uri}: {files} file(s), {whole} bytes, at most {max_bytes} allowed"));
        // Of a web server that does not say, nobody knows before the end.
        let progress = watch::Sender::new(ArtifactProgress { bytes: 0, of: Some(whole).filter(|it| *it > 0) });
        let it = Self { uri, max_bytes, whole, progress, told: Instant::now() };
        if whole > max_bytes { Err(it.too_large()) } else { Ok(it) }
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.progress.borrow().bytes
    }

    /// How far it is, at any moment.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<ArtifactProgress> {
        self.progress.subscribe()
    }

    /// Reads all files, one after the other; what `keep` gives for each gets its bytes. The digest is that of the artifact.
    ///
    /// # Errors
    /// Those of the store, and of what keeps the bytes; and when more comes than is allowed.
    pub async fn through<K: Keep>(
        &mut self,
        source: &ArtifactSource,
        content: &ArtifactContent,
        keep: impl Fn(&ArtifactFile) -> Result<K, ArtifactFailure>,
    ) -> Result<Sha256Digest, ArtifactFailure> {
        let mut digests = Vec::with_capacity(content.files().len());
        for file in content.files() {
            digests.push((&file.path, self.file(source, file, keep(file)?).await?));
        }
        Ok(match (content, digests.as_slice()) {
            (ArtifactContent::File(_), [(_, digest)]) => *digest,
            _ => directory_digest(digests),
        })
    }

    async fn file(
        &mut self,
        source: &ArtifactSource,
        file: &ArtifactFile,
        mut keep: impl Keep,
    ) -> Result<Sha256Digest, ArtifactFailure> {
        let mut pieces = source.read(file).await?;
        let mut hasher = Sha256::new();
        while let Some(piece) = pieces.try_next().await? {
            self.progress.send_modify(|it| it.bytes = it.bytes.saturating_add(piece.len() as u64));
            // Sizes were checked when listed; the store may still send more.
            if self.bytes() > self.max_bytes {
                return Err(self.too_large());
            }
            hasher.update(&piece);
            keep.piece(&piece)?;
            self.tell();
        }
        keep.end()?;
        Ok(Sha256Digest::of_hasher(hasher))
    }

    fn tell(&mut self) {
        if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            say(&format!("{} of {} bytes so far", self.bytes(), self.whole));
        }
    }

    fn too_large(&self) -> ArtifactFailure {
        let message = format!(
            "{} is larger than {} bytes; shrink it, or raise --max-bytes ({MAX_BYTES}, which the Secret of artifact.secretRef can hold)",
            self.uri, self.max_bytes
        );
        ArtifactFailure::new(Reason::ArtifactTooLarge, message)
    }
}

/// The variable of `--max-bytes`.
const MAX_BYTES: &str = "WERKBANK_ARTIFACT_MAX_BYTES";

/// What `--max-bytes` says.
///
/// # Errors
/// That it is no number.
pub fn bytes(text: &str) -> Result<u64, ArtifactFailure> {
    let message = format!("--max-bytes ({MAX_BYTES}) is not a number of bytes; write e.g. 10737418240");
    text.parse().map_err(|_| ArtifactFailure::new(Reason::ArtifactInvalidUri, message))
}

/// That the bytes are not those of the entry.
pub fn mismatch(uri: &ArtifactUri, actual: Sha256Digest, registered: Sha256Digest) -> ArtifactFailure {
    ArtifactFailure::new(
        Reason::ArtifactDigestMismatch,
        format!(
            "{uri} has digest {actual}, the registry entry says {registered}; upload the registered bytes again, or register these under a new version"
        ),
    )
}

impl From<StorageError> for ArtifactFailure {
    fn from(error: StorageError) -> Self {
        let reason = match &error {
            StorageError::NotFound(_) => Reason::ArtifactNotFound,
            StorageError::Denied(_) => Reason::ArtifactAccessDenied,
            StorageError::Unreachable(_) => Reason::ArtifactUnreachable,
            StorageError::Unusable(_) => Reason::ArtifactInvalidUri,
            StorageError::Changed(_) => Reason::ArtifactChanged,
            StorageError::TooLarge(_) => Reason::ArtifactTooLarge,
        };
        Self::new(reason, error.to_string())
    }
}

/// One plain line for `kubectl logs`. A closed stdout is no reason to fail.
pub fn say(line: &str) {
    writeln!(std::io::stdout(), "werkbank: {line}").ok();
}
