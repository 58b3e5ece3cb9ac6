//! `werkbank fetch` and `werkbank verify`, the real binary, against real servers that are not S3: Azure Blob Storage (Azurite), Google Cloud
//! Storage (fake-gcs-server), and a web server with HTTPS.

mod azure;
mod gcs;
#[path = "../tls/mod.rs"]
mod tls;
mod web;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use werkbank::api::artifact_digest::{Sha256Digest, directory_digest};
use werkbank::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use werkbank::api::artifact_report::ArtifactReport;
use werkbank_e2e::process::Process;
use werkbank_e2e::workbench::sibling;

/// The files of `churn/v1/` in each store.
const FILES: [(&str, &str); 3] = [("config.json", "{}"), ("weights/part 1.bin", "abc"), ("weights/part-2.bin", "")];

fn digest() -> Sha256Digest {
    directory_digest(FILES.map(|(path, text)| (path, Sha256Digest::of(text.as_bytes()))))
}

/// A pod with access to a store.
struct Pod {
    root: tempfile::TempDir,
    environment: Vec<(String, String)>,
}

/// What it has said in the end.
type Answer = Result<ArtifactReport, ArtifactFailure>;

impl Pod {
    fn new(environment: &[(&str, &str)]) -> Result<Self> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ok(Self { root: tempfile::tempdir()?, environment })
    }

    /// The same with one variable changed.
    fn with(&self, name: &str, value: &str) -> Result<Self> {
        let mut environment = self.environment.clone();
        environment.retain(|(known, _)| known != name);
        environment.push((name.into(), value.into()));
        Ok(Self { root: tempfile::tempdir()?, environment })
    }

    /// Its answer, in which none of its variables is repeated that is a secret.
    fn says(&self, arguments: &[&str]) -> Result<Answer> {
        let termination = self.root.path().join("termination");
        let environment = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let mut command = Command::new(sibling("werkbank")?);
        command.env_clear().envs(environment).env("TERMINATION_MESSAGE_PATH", &termination);
        let output = command.args(arguments).output()?;
        let said = std::fs::read_to_string(&termination).unwrap_or_default();
        let everything =
            format!("{said}{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for (name, secret) in &self.environment {
            let is_secret = ["KEY", "AUTHORIZATION"].iter().any(|it| name.contains(it));
            ensure!(!is_secret || !everything.contains(secret), "{name} is told: {everything}");
        }
        if let Some(report) = ArtifactReport::parse(&said) {
            ensure!(output.status.success(), "{everything}");
            return Ok(Ok(report));
        }
        Ok(Err(ArtifactFailure::parse(&said).with_context(|| everything)?))
    }

    fn verify(&self, uri: &str, digest: Sha256Digest, more: &[&str]) -> Result<Answer> {
        let digest = digest.to_string();
        self.says(&[&["verify", "--uri", uri, "--sha256", &digest], more].concat())
    }

    fn refused(&self, uri: &str) -> Result<Reason> {
        match self.verify(uri, digest(), &[])? {
            Err(failure) => Ok(failure.reason),
            Ok(report) => anyhow::bail!("{uri} was accepted: {report:?}"),
        }
    }

    /// What holds in each store: a directory arrives, is the registered one, and is not read again while nobody has written to it.
    fn has_the_directory_of(&self, store: &str) -> Result<()> {
        let uri = format!("{store}/churn/v1/");
        let model = self.root.path().join("model");
        let termination = self.root.path().join("termination");
        let environment = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fetched = Command::new(sibling("werkbank")?)
            .env_clear()
            .envs(environment)
            .env("TERMINATION_MESSAGE_PATH", &termination)
            .args(["fetch", "--uri", &uri, "--sha256", &digest().to_string(), "--to"])
            .arg(&model)
            .output()?;
        ensure!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stdout));
        for (path, text) in FILES {
            ensure!(std::fs::read_to_string(model.join("v1").join(path))? == text, "{path}");
        }
        let report = self.verify(&uri, digest(), &[])??;
        ensure!((report.bytes, report.files, report.read) == (5, 3, true), "{report:?}");
        let again = self.verify(&uri, digest(), &[&format!("--known={}", report.fingerprint)])??;
        ensure!(!again.read && again.fingerprint == report.fingerprint, "{again:?}");
        let one = self.verify(&format!("{store}/churn/v1/config.json"), Sha256Digest::of(b"{}"), &[])??;
        ensure!((one.bytes, one.files) == (2, 1), "{one:?}");
        ensure!(
            self.refused(&format!("{store}/churn/v1/config.json"))? == Reason::ArtifactDigestMismatch,
            "another digest"
        );
        ensure!(self.refused(&format!("{store}/churn/v2/"))? == Reason::ArtifactNotFound, "not there");
        Ok(())
    }
}

/// Until the server takes connections.
async fn listens(process: &Process, address: std::net::SocketAddr) -> Result<()> {
    let began = Instant::now();
    while tokio::net::TcpStream::connect(address).await.is_err() {
        ensure!(process.is_running(), "{}", process.ended_early());
        ensure!(began.elapsed() < Duration::from_secs(60), "{} does not listen", process.name());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
