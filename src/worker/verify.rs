//! `werkbank verify`: whether an artifact is the registered one, without keeping a byte of it.
//!
//! The Job of a registry entry runs it, with the entry's credentials and no rights in the cluster. It streams: what it needs of memory
//! does not depend on the artifact. Its answer is its termination message: an [`ArtifactReport`], or a failure, with the exit
//! codes of [`super::fetch`]. While it reads, it tells how far it is ([`super::progress`]).
//!
//! With `--known`, the fingerprint that an earlier run reported, an artifact that nobody has written to since is not read again.

use std::net::IpAddr;
use std::process::ExitCode;

use super::pod::{end_with, leave_behind, told_to_end};
use super::progress;
use super::reading::{Forgotten, Reading, bytes, mismatch, say};
use crate::api::artifact::ArtifactUri;
use crate::api::artifact_digest::Sha256Digest;
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use crate::api::artifact_report::ArtifactReport;
use crate::connect::storage::{ArtifactContent, ArtifactSource, Patience};

/// What to verify.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifyArgs {
    /// The artifact: s3://bucket/path, gs://, az://, https:// or file:///path; a trailing `/` means a directory
    #[arg(long)]
    pub uri: String,
    /// Its SHA-256, as in the registry entry
    #[arg(long)]
    pub sha256: String,
    /// The fingerprint of when it was right last: it is read again only if that has changed
    #[arg(long)]
    pub known: Option<String>,
    /// Refuse artifacts larger than this
    #[arg(long, env = "WERKBANK_ARTIFACT_MAX_BYTES", default_value = "107374182400")]
    pub max_bytes: String,
    /// The address on which to tell how far it is, at port 8090; in a pod its own
    #[arg(long, env = "WERKBANK_POD_IP")]
    pub progress_on: Option<IpAddr>,
}

/// Verifies, and says what it found by termination message and exit code.
pub async fn run(args: VerifyArgs) -> ExitCode {
    let found = tokio::select! {
        biased;
        code = told_to_end() => return ExitCode::from(code),
        found = verify(&args) => found,
    };
    match found {
        Ok(report) => {
            let how = if report.read { "verified" } else { "unchanged since it was verified" };
            say(&format!("{how}: {} ({} bytes)", args.uri, report.bytes));
            leave_behind(&report.to_line());
            ExitCode::SUCCESS
        }
        Err(failure) => end_with(&failure),
    }
}

/// Whether the artifact is the registered one.
///
/// # Errors
/// With a reason and what to do.
pub async fn verify(args: &VerifyArgs) -> Result<ArtifactReport, ArtifactFailure> {
    let invalid = |message: String| ArtifactFailure::new(Reason::ArtifactInvalidUri, message);
    let uri: ArtifactUri = args.uri.parse().map_err(|error| invalid(format!("{error}")))?;
    let digest: Sha256Digest = args.sha256.parse().map_err(|error| invalid(format!("{error}")))?;
    let max_bytes = bytes(&args.max_bytes)?;
    let source = ArtifactSource::open(&uri, Patience::DOWNLOAD)?;
    let content = source.content().await?;
    if args.known.as_ref() == Some(&content.fingerprint()) {
        return Ok(report(&content, content.size(), false));
    }
    let mut reading = Reading::of(&uri, &content, max_bytes)?;
    let progress = reading.progress();
    let actual = tokio::select! {
        biased;
        actual = reading.through(&source, &content, |_| Ok(Forgotten)) => actual?,
        never = progress::tell(args.progress_on, progress) => match never {},
    };
    if actual == digest { Ok(report(&content, reading.bytes(), true)) } else { Err(mismatch(&uri, actual, digest)) }
}

/// A web server need not say how large something is before it has been read.
fn report(content: &ArtifactContent, bytes: u64, read: bool) -> ArtifactReport {
    let files = content.files().len() as u64;
    ArtifactReport { bytes, files, fingerprint: content.fingerprint(), read }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::api::artifact_digest::directory_digest;

    fn args(root: &Path, path: &str, digest: Sha256Digest) -> VerifyArgs {
        let uri = format!("file://{}/{path}", root.display());
        VerifyArgs { uri, sha256: digest.to_string(), known: None, max_bytes: "1000".into(), progress_on: None }
    }

    #[tokio::test]
    async fn a_file_and_a_directory_are_what_their_digests_say_and_nothing_is_written() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("v1")).unwrap();
        fs::write(root.path().join("v1/a"), "aaa").unwrap();
        fs::write(root.path().join("v1/b"), "bb").unwrap();
        let [a, b] = ["aaa", "bb"].map(|it| Sha256Digest::of(it.as_bytes()));
        let file = verify(&args(root.path(), "v1/a", a)).await.unwrap();
        assert_eq!((file.bytes, file.files, file.read), (3, 1, true));
        let whole = directory_digest([("a", a), ("b", b)]);
        let directory = verify(&args(root.path(), "v1/", whole)).await.unwrap();
        assert_eq!((directory.bytes, directory.files, directory.read), (5, 2, true));
        let wrong = verify(&args(root.path(), "v1/b", a)).await.unwrap_err();
        assert_eq!(wrong.reason, Reason::ArtifactDigestMismatch);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_nobody_has_written_to_is_not_read_again_and_what_somebody_has_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("model.json");
        fs::write(&path, "{}").unwrap();
        let asked = args(root.path(), "model.json", Sha256Digest::of(b"{}"));
        let first = verify(&asked).await.unwrap();
        let again = VerifyArgs { known: Some(first.fingerprint.clone()), ..asked };
        let unread = ArtifactReport { read: false, ..first };
        assert_eq!(verify(&again).await.unwrap(), unread);
        fs::write(&path, "[]").unwrap();
        fs::File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(verify(&again).await.unwrap_err().reason, Reason::ArtifactDigestMismatch);
    }

    #[tokio::test]
    async fn what_is_too_large_or_not_there_or_no_uri_is_said_by_its_reason() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("large"), vec![0; 1001]).unwrap();
        let of = |path: &str| args(root.path(), path, Sha256Digest::of(b""));
        assert_eq!(verify(&of("large")).await.unwrap_err().reason, Reason::ArtifactTooLarge);
        assert_eq!(verify(&of("absent")).await.unwrap_err().reason, Reason::ArtifactNotFound);
        let unlimited = VerifyArgs { max_bytes: "5G".into(), ..of("a") };
        assert!(verify(&unlimited).await.unwrap_err().message.contains("WERKBANK_ARTIFACT_MAX_BYTES"));
        let strange = VerifyArgs { uri: "ftp://a/b".into(), ..of("a") };
        assert_eq!(verify(&strange).await.unwrap_err().reason, Reason::ArtifactInvalidUri);
    }
}
