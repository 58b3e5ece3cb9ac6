//! A real S3-compatible server as a local process: moto in server mode, from PyPI,
//! in a virtual environment that is made once and kept in the cache.

mod slow_line;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use object_store::ClientOptions;
use object_store::aws::{AmazonS3, AmazonS3Builder};

pub use self::slow_line::SlowLine;
use crate::process::{self, Process, Supervisor};
use crate::tools::cache::Cache;

const MOTO_VERSION: &str = "5.2.5";
/// Starting takes two seconds; a busy machine may need more.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// moto takes any credentials, but wants to see some, and for which service they are.
fn authorization(service: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request")
}

/// A running server with an empty bucket `models`; ends when dropped, or with this process.
#[derive(Debug)]
pub struct S3 {
    server: Process,
    address: String,
    _supervisor: Supervisor,
    _log: tempfile::TempDir,
}

impl S3 {
    /// Starts it on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// When it cannot be installed or does not start; the error says what is missing.
    pub fn start() -> Result<Self> {
        let python = python_with_moto()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (supervisor, log) = (Supervisor::new()?, tempfile::tempdir()?);
        let command = process::Command::new(python, log.path().join("moto.log")).args([
            "-m",
            "moto.server",
            "-H",
            "127.0.0.1",
            "-p",
            &port.to_string(),
        ]);
        let server = supervisor.spawn(command)?;
        let s3 = Self { server, address: format!("127.0.0.1:{port}"), _supervisor: supervisor, _log: log };
        s3.wait_until_ready()?;
        s3.put("/models", b"")?;
        Ok(s3)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            if !self.server.is_running() {
                return Err(self.server.ended_early());
            }
            ensure!(began.elapsed() < READY_WITHIN, "moto does not answer within {READY_WITHIN:?}");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// `http://host:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its bucket, by a client that waits as long as it takes: moto puts five gibibytes together in more than the usual thirty seconds.
    ///
    /// # Errors
    ///
    /// Never: all that a client needs is said.
    pub fn bucket(&self) -> Result<AmazonS3> {
        let patient = ClientOptions::new().with_timeout_disabled().with_allow_http(true);
        let bucket = AmazonS3Builder::new()
            .with_client_options(patient)
            .with_endpoint(self.endpoint())
            .with_region("us-east-1")
            .with_bucket_name("models")
            .with_access_key_id("test")
            .with_secret_access_key("test")
            .build()?;
        Ok(bucket)
    }

    /// `http://host:port` of a line to it that brings at most so many bytes in a second, as long as it is held.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn over_a_slow_line(&self, bytes_per_second: usize) -> Result<SlowLine> {
        SlowLine::to(&self.address, bytes_per_second)
    }

    /// A line to it that can be cut.
    ///
    /// # Errors
    ///
    /// When there is no free port.
    pub fn over_a_line(&self) -> Result<SlowLine> {
        SlowLine::to(&self.address, slow_line::FAST)
    }

    /// Stores an object at a path like `/models/key`, sent exactly as written: ordinary
    /// clients would resolve the `..` of a hostile key.
    ///
    /// # Errors
    ///
    /// When the server does not take it; with its answer.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.request("s3", "PUT", path, bytes)
    }

    /// From now on only known access keys are let in, and there are none.
    ///
    /// # Errors
    ///
    /// When the server does not do it; with its answer.
    pub fn refuse_everybody(&self) -> Result<()> {
        self.request("s3", "POST", "/moto-api/reset-auth", b"0")
    }

    /// A form for another of the server's services.
    ///
    /// # Errors
    ///
    /// When the server does not take it; with its answer.
    pub fn send_form(&self, service: &str, form: &str) -> Result<()> {
        self.request(service, "POST", "/", form.as_bytes())
    }

    fn request(&self, service: &str, method: &str, path: &str, bytes: &[u8]) -> Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let (length, authorization) = (bytes.len(), authorization(service));
        let form = if service == "s3" { "" } else { "Content-Type: application/x-www-form-urlencoded\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {authorization}\r\n{form}Content-Length: {length}\r\nConnection: close\r\n\r\n",
            self.address
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(bytes)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{method} {path}: {answer}");
        Ok(())
    }
}

fn python_with_moto() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let cache = Cache::open()?.root().to_path_buf();
    let venv = cache.join(format!("venv-moto-{MOTO_VERSION}"));
    if !venv.exists() {
        eprintln!("installing moto {MOTO_VERSION} (an S3 server for tests) into {}: half a minute", venv.display());
        std::fs::create_dir_all(&cache)?;
        // Made beside its place and renamed, so that an interrupted installation is never used.
        let making = tempfile::tempdir_in(&cache)?;
        install(making.path())?;
        if let Err(error) = std::fs::rename(making.path(), &venv) {
            ensure!(venv.exists(), "{} cannot be made: {error}", venv.display());
        }
    }
    Ok(venv.join("bin/python"))
}

fn install(venv: &Path) -> Result<()> {
    run(Command::new("python3").args(["-m", "venv"]).arg(venv))
        .context("Python 3 with its venv module is needed; install python3 and python3-venv")?;
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/s3/requirements.txt");
    run(Command::new(venv.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check", "-r"])
        .arg(requirements))
    .context("moto cannot be installed; check that pip reaches a package index")
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
