//! A real S3-compatible server as a local process: moto in server mode, from PyPI,
//! in a virtual environment that is made once and kept in the cache.

pub mod slow_line;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use self::slow_line::SlowLine;

const MOTO_VERSION: &str = "5.2.5";
/// Starting takes two seconds; a busy machine may need more.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// moto takes any credentials, but wants to see some, and for which service they are.
fn authorization(service: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request")
}

/// A running server with an empty bucket `models`; ends when dropped.
pub struct S3 {
    server: Child,
    address: String,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

impl S3 {
    /// Starts it on a free port of the loopback interface.
    pub fn start() -> Result<Self> {
        let python = python_with_moto()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("moto does not start")?;
        let mut s3 = Self { server, address: format!("127.0.0.1:{port}") };
        s3.wait_until_ready()?;
        s3.put("/models", b"")?;
        Ok(s3)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            ensure!(self.server.try_wait()?.is_none(), "moto ended by itself; is the port taken?");
            ensure!(began.elapsed() < READY_WITHIN, "moto does not answer within {READY_WITHIN:?}");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `http://host:port` of a line to it that brings at most so many bytes in a second, as long as it is held.
    pub fn over_a_slow_line(&self, bytes_per_second: usize) -> Result<SlowLine> {
        SlowLine::to(&self.address, bytes_per_second)
    }

    /// Stores an object at a path like `/models/key`, sent exactly as written: ordinary
    /// clients would resolve the `..` of a hostile key.
    pub fn put(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.request("s3", "PUT", path, bytes)
    }

    /// From now on only known access keys are let in, and there are none.
    pub fn refuse_everybody(&self) -> Result<()> {
        self.request("s3", "POST", "/moto-api/reset-auth", b"0")
    }

    /// A form for another of the server's services.
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
    let cache = match std::env::var_os("WERKBANK_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("neither WERKBANK_CACHE nor HOME is set")?)
            .join(".cache/werkbank"),
    };
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
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/requirements.txt");
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
