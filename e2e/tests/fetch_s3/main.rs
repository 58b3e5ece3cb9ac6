//! `werkbank fetch`, the real binary, against a real S3-compatible server; and the
//! audit log, whose put-if-absent must hold there too.

mod audit_log;
mod identity;
mod killed;
mod lying;
#[path = "../tls/mod.rs"]
mod tls;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStoreExt};
use sha2::{Digest, Sha256};
use werkbank::api::artifact_digest::{Sha256Digest, directory_digest};
use werkbank::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use werkbank::api::artifact_report::ArtifactReport;
use werkbank_e2e::s3::S3;
use werkbank_e2e::workbench::sibling;

const SECRET: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

/// One pod's init container: its model directory and termination message.
struct Pod {
    root: tempfile::TempDir,
}

impl Pod {
    fn new() -> Result<Self> {
        Ok(Self { root: tempfile::tempdir()? })
    }

    fn model(&self) -> PathBuf {
        self.root.path().join("model")
    }

    /// With access to the store, and its termination message in a file of the pod.
    fn process(&self, endpoint: &str) -> Result<Command> {
        self.process_of("werkbank", endpoint)
    }

    /// Another program with the same access.
    fn process_of(&self, program: &str, endpoint: &str) -> Result<Command> {
        let mut command = Command::new(sibling(program)?);
        command
            .env_clear()
            .envs([("AWS_ENDPOINT_URL", endpoint), ("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
            .envs([("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"), ("AWS_SECRET_ACCESS_KEY", SECRET)])
            .env("TERMINATION_MESSAGE_PATH", self.root.path().join("termination"));
        Ok(command)
    }

    fn command(&self, endpoint: &str, uri: &str, digest: Sha256Digest) -> Result<Command> {
        let mut command = self.process(endpoint)?;
        command
            .arg("fetch")
            .env("WERKBANK_ARTIFACT_URI", uri)
            .env("WERKBANK_ARTIFACT_SHA256", digest.to_string())
            .env("WERKBANK_MODEL_DIR", self.model());
        Ok(command)
    }

    /// Runs it to its failure; nothing may be left in the model directory, no secret be told.
    fn failure(&self, mut command: Command) -> Result<ArtifactFailure> {
        let output = command.output()?;
        let message = fs::read_to_string(self.root.path().join("termination"))?;
        let failure = ArtifactFailure::parse(&message).with_context(|| message.clone())?;
        assert_eq!(output.status.code(), Some(i32::from(failure.reason.exit_code())), "{}", told(&output));
        let everything = format!("{}{message}", told(&output));
        for secret in [SECRET, "AKIAIOSFODNN7EXAMPLE", "Signature="] {
            assert!(!everything.contains(secret), "{everything}");
        }
        let left = fs::read_dir(self.model()).map(Iterator::count).unwrap_or(0);
        assert_eq!(left, 0, "something is left in the model directory: {everything}");
        Ok(failure)
    }

    fn refused(&self, s3: &S3, uri: &str, digest: Sha256Digest) -> Result<Reason> {
        Ok(self.failure(self.command(&s3.endpoint(), uri, digest)?)?.reason)
    }
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_file_and_a_directory_arrive_verified_and_a_restart_needs_no_store() {
    let s3 = S3::start().unwrap();
    let files = [("config.json", "{}"), ("weights/part 1.bin", "abc"), ("weights/part-2.bin", "")];
    for (path, text) in files {
        s3.put(&format!("/models/churn/v1/{}", path.replace(' ', "%20")), text.as_bytes()).unwrap();
    }
    // A neighbour with the same beginning, and the marker that consoles leave, are no part of it.
    s3.put("/models/churn/v10", b"other").unwrap();
    s3.put("/models/churn/v1/", b"").unwrap();
    let directory = directory_digest(files.map(|(path, text)| (path, Sha256Digest::of(text.as_bytes()))));

    let pod = Pod::new().unwrap();
    let endpoint = s3.endpoint();
    for (uri, digest) in [("s3://models/churn/v1", directory), ("s3://models/churn/v10", Sha256Digest::of(b"other"))] {
        let output = pod.command(&endpoint, uri, digest).unwrap().output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
    }
    for (path, text) in files {
        assert_eq!(fs::read_to_string(pod.model().join("v1").join(path)).unwrap(), text);
    }
    assert_eq!(fs::read_to_string(pod.model().join("v10")).unwrap(), "other");

    drop(s3);
    let again = pod.command(&endpoint, "s3://models/churn/v1", directory).unwrap().output().unwrap();
    assert!(again.status.success(), "{}", told(&again));
}

#[test]
fn every_refusal_has_its_reason_and_leaves_nothing() {
    let s3 = S3::start().unwrap();
    let right = Sha256Digest::of(b"{}");
    s3.put("/models/model.json", b"{]").unwrap();
    s3.put("/models/evil/model.json", b"{}").unwrap();
    s3.put("/models/evil/%2e%2e/%2e%2e/escaped", b"x").unwrap();
    s3.put("/models/double//slash", b"x").unwrap();

    let pod = Pod::new().unwrap();
    assert_eq!(pod.refused(&s3, "s3://models/model.json", right).unwrap(), Reason::ArtifactDigestMismatch);
    assert_eq!(pod.refused(&s3, "s3://models/gone.json", right).unwrap(), Reason::ArtifactNotFound);
    assert_eq!(pod.refused(&s3, "s3://no-such-bucket/model.json", right).unwrap(), Reason::ArtifactNotFound);
    assert_eq!(pod.refused(&s3, "s3://models/evil", right).unwrap(), Reason::ArtifactInvalidUri);
    assert_eq!(pod.refused(&s3, "s3://models/double/", right).unwrap(), Reason::ArtifactInvalidUri);

    let mut small = pod.command(&s3.endpoint(), "s3://models/model.json", right).unwrap();
    small.args(["--max-bytes", "1"]);
    assert_eq!(pod.failure(small).unwrap().reason, Reason::ArtifactTooLarge);

    let mut encrypted_only = pod.command(&s3.endpoint(), "s3://models/model.json", right).unwrap();
    encrypted_only.env_remove("AWS_ALLOW_HTTP");
    let failure = pod.failure(encrypted_only).unwrap();
    assert_eq!(failure.reason, Reason::ArtifactInvalidUri);
    assert!(failure.message.contains("AWS_ALLOW_HTTP"), "{}", failure.message);

    s3.refuse_everybody().unwrap();
    assert_eq!(pod.refused(&s3, "s3://models/model.json", right).unwrap(), Reason::ArtifactAccessDenied);
    assert_eq!(pod.refused(&s3, "s3://models/evil/", right).unwrap(), Reason::ArtifactAccessDenied);
}

#[test]
fn what_somebody_writes_to_while_it_is_read_is_neither_the_one_nor_the_other() {
    let s3 = S3::start().unwrap();
    let line = s3.over_a_slow_line(1 << 20).unwrap();
    // Read one after the other: the second is replaced while the first is on its way.
    let first = vec![7; 3 << 20];
    s3.put("/models/v1/a.bin", &first).unwrap();
    s3.put("/models/v1/b.bin", b"registered").unwrap();
    let registered = directory_digest(
        [("a.bin", &first[..]), ("b.bin", b"registered")].map(|(path, bytes)| (path, Sha256Digest::of(bytes))),
    );
    let pod = Pod::new().unwrap();
    let mut verify = pod.process(&line.endpoint()).unwrap();
    verify.args(["verify", "--uri", "s3://models/v1/", "--sha256", &registered.to_string()]);
    let mut verify = verify.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(verify.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|it| it.starts_with("werkbank: reading s3://models/v1")), "it is listed");
    s3.put("/models/v1/b.bin", b"replaced!!").unwrap();
    line.speeds_up();
    said.for_each(drop);
    assert!(!verify.wait().unwrap().success());
    let said = fs::read_to_string(pod.root.path().join("termination")).unwrap();
    let failure = ArtifactFailure::parse(&said).unwrap();
    assert_eq!(failure.reason, Reason::ArtifactChanged, "{said}");
    assert!(failure.message.contains("was written to while it was read"), "{said}");
}

#[test]
fn a_store_that_is_gone_is_given_up_on_within_a_minute() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let pod = Pod::new().unwrap();
    let began = Instant::now();
    let command = pod.command(&format!("http://{gone}"), "s3://models/model.json", Sha256Digest::of(b"")).unwrap();
    assert_eq!(pod.failure(command).unwrap().reason, Reason::ArtifactUnreachable);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn a_large_file_is_streamed_not_held_in_memory() {
    let s3 = S3::start().unwrap();
    let large = vec![7; 96 * 1024 * 1024];
    s3.put("/models/large.bin", &large).unwrap();
    let pod = Pod::new().unwrap();
    let mut fetch = pod
        .command(&s3.endpoint(), "s3://models/large.bin", Sha256Digest::of(&large))
        .unwrap()
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let peak = peak_memory_kib(&mut fetch).unwrap();
    assert!(fetch.wait().unwrap().success());
    assert!((1..48 * 1024).contains(&peak), "peak resident memory was {peak} KiB");
}

#[test]
fn a_large_file_is_verified_without_being_held_in_memory_or_written() {
    let s3 = S3::start().unwrap();
    let bytes = vec![7; 96 << 20];
    s3.put("/models/large.bin", &bytes).unwrap();
    let peak = peak_while_verified(&s3, "s3://models/large.bin", Sha256Digest::of(&bytes), 96 << 20).unwrap();
    assert!((1..48 * 1024).contains(&peak), "peak resident memory was {peak} KiB");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "six gibibytes: make proof"]
async fn five_gibibytes_are_verified_in_the_memory_of_one() {
    const PART: usize = 64 << 20;
    let s3 = S3::start().unwrap();
    let mut peaks = Vec::new();
    for gib in [1, 5] {
        let mut upload = s3.bucket().unwrap().put_multipart(&"large.bin".into()).await.unwrap();
        let mut hasher = Sha256::new();
        for number in 0..(gib << 30) / PART {
            // No two alike.
            let part = Bytes::from(number.to_be_bytes().repeat(PART / size_of::<usize>()));
            hasher.update(&part);
            upload.put_part(part.into()).await.unwrap();
        }
        upload.complete().await.unwrap();
        let (began, digest) = (Instant::now(), Sha256Digest::of_hasher(hasher));
        let peak = peak_while_verified(&s3, "s3://models/large.bin", digest, (gib as u64) << 30).unwrap();
        println!("{gib} GiB: {peak} KiB at the most, {:.1} s", began.elapsed().as_secs_f64());
        peaks.push(peak);
    }
    assert!(peaks.iter().all(|it| (1..48 * 1024).contains(it)), "{peaks:?} KiB");
    assert!(peaks[1] < peaks[0] + 8 * 1024, "it grows with the artifact: {peaks:?} KiB");
}

/// The most memory, in KiB, that it takes to find that so many bytes are the registered ones.
fn peak_while_verified(s3: &S3, uri: &str, digest: Sha256Digest, bytes: u64) -> Result<u64> {
    let pod = Pod::new()?;
    let mut verify = pod.process(&s3.endpoint())?;
    verify.args(["verify", "--uri", uri, "--sha256", &digest.to_string()]);
    let mut verify = verify.stdout(Stdio::null()).spawn()?;
    let peak = peak_memory_kib(&mut verify)?;
    assert!(verify.wait()?.success());
    let said = fs::read_to_string(pod.root.path().join("termination"))?;
    let report = ArtifactReport::parse(&said).with_context(|| said.clone())?;
    assert_eq!((report.bytes, report.files, report.read), (bytes, 1, true));
    assert!(!pod.model().exists());
    Ok(peak)
}

/// The high-water mark of a process's resident memory, asked for until it ends.
fn peak_memory_kib(process: &mut Child) -> Result<u64> {
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    while process.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let mark = mark.and_then(|mark| mark.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(mark.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(peak)
}
