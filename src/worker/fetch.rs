//! `werkbank fetch`: the init container of each serving pod.
//!
//! It brings the artifact of a registry entry into the pod and proves that it is
//! the one: every byte is hashed on its way into a staging directory, and only
//! when the digest is the entry's the artifact is renamed to its place
//! ([`model_path`](crate::api::artifact::model_path)). The server container starts
//! after this one succeeded, so unverified bytes never serve. What the digest of a
//! directory is: [`crate::api::artifact_digest`].
//!
//! A restart finds its own result by digest and fetches nothing; anything else at
//! that place is replaced. A failure ends with an exit code and a termination
//! message from the closed list of [`ArtifactFailureReason`]:
//!
//! | code | reason | |
//! |---|---|---|
//! | 0 | | the verified artifact is in place |
//! | 10 | `ArtifactUnreachable` | the store did not answer |
//! | 11 | `ArtifactNotFound` | nothing there, or an empty directory |
//! | 12 | `ArtifactDigestMismatch` | other bytes than the entry's |
//! | 13 | `ArtifactTooLarge` | beyond `--max-bytes` |
//! | 14 | `ArtifactAccessDenied` | the store refuses the credentials |
//! | 15 | `ArtifactInvalidUri` | arguments, URI, or names in the directory not usable |
//! | 16 | `ArtifactNotWritable` | the target directory cannot be written |
//! | 17 | `ArtifactChanged` | somebody wrote to it while it was read |
//! | 130, 143 | | told to end (SIGINT, SIGTERM); nothing is left behind |

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sha2::{Digest, Sha256};

use super::pod::{end_with, told_to_end};
use super::reading::{Keep, Reading, bytes, mismatch, say};
use crate::api::artifact::{ArtifactUri, STAGING_DIR, model_path};
use crate::api::artifact_digest::{Sha256Digest, directory_digest};
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use crate::connect::storage::{ArtifactContent, ArtifactFile, ArtifactSource, Patience, list_directory};

/// What to fetch, and where to. Each can be given by argument or environment.
#[derive(Debug, Clone, clap::Args)]
pub struct FetchArgs {
    /// The artifact: s3://bucket/path, gs://, az://, https:// or file:///path; a trailing `/` means a directory
    #[arg(long, env = "WERKBANK_ARTIFACT_URI")]
    pub uri: Option<String>,
    /// Its SHA-256; of a directory: find . -type f -print0 | xargs -0 sha256sum | sed 's|  \./|  |' | LC_ALL=C sort | sha256sum
    #[arg(long, env = "WERKBANK_ARTIFACT_SHA256")]
    pub sha256: Option<String>,
    /// The directory to put it into, under its own last path segment
    #[arg(long, env = "WERKBANK_MODEL_DIR")]
    pub to: Option<PathBuf>,
    /// Refuse artifacts larger than this
    #[arg(long, env = "WERKBANK_ARTIFACT_MAX_BYTES", default_value = "107374182400")]
    pub max_bytes: String,
}

/// A verified artifact in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The file or directory.
    pub path: PathBuf,
    /// Bytes downloaded; 0 when it was there already.
    pub bytes: u64,
}

/// Fetches, and reports a failure by termination message and exit code.
pub async fn run(args: FetchArgs) -> ExitCode {
    let done = match fetch_until(&args, told_to_end()).await {
        Ok(done) => done,
        Err(code) => {
            say("told to end; nothing is left behind");
            return ExitCode::from(code);
        }
    };
    match done {
        Ok(fetched) => {
            say(&format!("verified: {} ({} bytes fetched)", fetched.path.display(), fetched.bytes));
            ExitCode::SUCCESS
        }
        Err(failure) => end_with(&failure),
    }
}

/// Fetches, unless it is to `end` before: then the exit code, and no staged bytes.
async fn fetch_until(args: &FetchArgs, end: impl Future<Output = u8>) -> Result<Result<Fetched, ArtifactFailure>, u8> {
    tokio::select! {
        biased;
        code = end => {
            if let Ok(job) = Job::from_args(args) {
                fs::remove_dir_all(&job.staging).ok();
            }
            Err(code)
        }
        done = fetch(args) => Ok(done),
    }
}

/// Fetches and verifies; afterwards the artifact is in its place, or the place is as it was
/// or empty: never other bytes under the artifact's name.
///
/// # Errors
/// With a reason and what to do.
pub async fn fetch(args: &FetchArgs) -> Result<Fetched, ArtifactFailure> {
    let job = Job::from_args(args)?;
    if job.target_is_correct() {
        say(&format!("{} is there already and has the right digest", job.target.display()));
        return Ok(Fetched { path: job.target, bytes: 0 });
    }
    let source = ArtifactSource::open(&job.uri, Patience::DOWNLOAD)?;
    let content = source.content().await?;
    let result = job.download(&source, &content).await;
    let done = match result {
        Ok(bytes) => job.put_in_place().map(|()| Fetched { path: job.target.clone(), bytes }),
        Err(failure) => Err(failure),
    };
    // What was refused shall not fill the volume until the next attempt.
    let cleared = fs::remove_dir_all(&job.staging);
    if let (Ok(fetched), Err(error)) = (&done, cleared) {
        say(&format!(
            "{} is in place, but {STAGING_DIR} could not be removed: {}",
            fetched.path.display(),
            error.kind()
        ));
    }
    done
}

struct Job {
    uri: ArtifactUri,
    digest: Sha256Digest,
    target: PathBuf,
    staging: PathBuf,
    max_bytes: u64,
}

impl Job {
    fn from_args(args: &FetchArgs) -> Result<Self, ArtifactFailure> {
        let invalid = |message: String| ArtifactFailure::new(Reason::ArtifactInvalidUri, message);
        let missing = |what: &str, env: &str| invalid(format!("no {what} is given; set --{what} or {env}"));
        let uri = args.uri.as_deref().ok_or_else(|| missing("uri", "WERKBANK_ARTIFACT_URI"))?;
        let uri: ArtifactUri = uri.parse().map_err(|error| invalid(format!("{error}")))?;
        let sha256 = args.sha256.as_deref().ok_or_else(|| missing("sha256", "WERKBANK_ARTIFACT_SHA256"))?;
        let digest = sha256.parse().map_err(|error| invalid(format!("{error}")))?;
        let dir = args.to.as_deref().ok_or_else(|| missing("to", "WERKBANK_MODEL_DIR"))?;
        let dir_text = dir.to_str().ok_or_else(|| invalid("--to is not UTF-8; choose another directory".to_owned()))?;
        let max_bytes = bytes(&args.max_bytes)?;
        let target = PathBuf::from(model_path(&uri, dir_text));
        Ok(Self { uri, digest, target, staging: dir.join(STAGING_DIR), max_bytes })
    }

    /// Unreadable or strange content there counts as wrong: it will be replaced.
    fn target_is_correct(&self) -> bool {
        let Ok(meta) = fs::symlink_metadata(&self.target) else {
            return false;
        };
        let digest = if meta.is_dir() { digest_local_directory(&self.target) } else { digest_local_file(&self.target) };
        !meta.is_symlink() && digest == Some(self.digest)
    }

    fn clear_staging(&self) -> Result<(), ArtifactFailure> {
        match fs::remove_dir_all(&self.staging) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(self.not_writable(&error));
            }
            _ => {}
        }
        fs::create_dir_all(&self.staging).map_err(|error| self.not_writable(&error))
    }

    fn staged(&self) -> PathBuf {
        self.staging.join(self.uri.basename())
    }

    /// Downloads into the staging directory and compares the digest; returns the bytes read.
    async fn download(&self, source: &ArtifactSource, content: &ArtifactContent) -> Result<u64, ArtifactFailure> {
        let mut reading = Reading::of(&self.uri, content, self.max_bytes)?;
        self.clear_staging()?;
        let actual = reading.through(source, content, |file| self.stage(file)).await?;
        if actual == self.digest { Ok(reading.bytes()) } else { Err(mismatch(&self.uri, actual, self.digest)) }
    }

    fn stage(&self, file: &ArtifactFile) -> Result<Staged<'_>, ArtifactFailure> {
        let staged = if file.path.is_empty() { self.staged() } else { self.staged().join(&file.path) };
        if let Some(parent) = staged.parent() {
            fs::create_dir_all(parent).map_err(|error| self.not_writable(&error))?;
        }
        let out = fs::File::create_new(&staged).map_err(|error| self.not_writable(&error))?;
        Ok(Staged { job: self, out })
    }

    fn put_in_place(&self) -> Result<(), ArtifactFailure> {
        let removed = match fs::symlink_metadata(&self.target) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&self.target),
            Ok(_) => fs::remove_file(&self.target),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        removed.and_then(|()| fs::rename(self.staged(), &self.target)).map_err(|error| self.not_writable(&error))
    }

    fn not_writable(&self, error: &std::io::Error) -> ArtifactFailure {
        let dir = self.staging.parent().unwrap_or(&self.staging).display();
        let message =
            format!("{dir} cannot be written: {}; give the pod a writable volume there with enough room", error.kind());
        ArtifactFailure::new(Reason::ArtifactNotWritable, message)
    }
}

/// A file in the staging directory.
struct Staged<'a> {
    job: &'a Job,
    out: fs::File,
}

impl Keep for Staged<'_> {
    fn piece(&mut self, piece: &[u8]) -> Result<(), ArtifactFailure> {
        self.out.write_all(piece).map_err(|error| self.job.not_writable(&error))
    }

    fn end(&mut self) -> Result<(), ArtifactFailure> {
        self.out.sync_all().map_err(|error| self.job.not_writable(&error))
    }
}

fn digest_local_file(path: &Path) -> Option<Sha256Digest> {
    let mut file = fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece).ok()? {
            0 => return Some(Sha256Digest::of_hasher(hasher)),
            read => hasher.update(piece.get(..read)?),
        }
    }
}

fn digest_local_directory(root: &Path) -> Option<Sha256Digest> {
    let files = list_directory(root).ok()?;
    let digests: Option<Vec<_>> =
        files.into_keys().map(|path| Some((digest_local_file(&root.join(&path))?, path))).collect();
    Some(directory_digest(digests?.into_iter().map(|(digest, path)| (path, digest))))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
