//! Starting, watching and ending guarded processes.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tokio::sync::watch;

use super::Command;

/// How much longer than its grace a process may take to be gone for good.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// How a process ended: its exit code, or 128 + the number of the signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The code, as a container runtime reports it.
    pub code: i32,
}

impl Exit {
    /// Whether the process ended well.
    pub fn success(self) -> bool {
        self.code == 0
    }
}

/// Starts processes and owns them: when the last clone is dropped, every
/// process still running is stopped and waited for.
#[derive(Clone, Debug)]
pub struct Supervisor(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    guard: PathBuf,
    processes: Mutex<Vec<Process>>,
}

impl Supervisor {
    /// A supervisor without processes.
    ///
    /// # Errors
    ///
    /// When the `workbench` binary, which guards processes, is not built.
    pub fn new() -> Result<Self> {
        Ok(Self(Arc::new(Owned { guard: guard_binary()?, processes: Mutex::default() })))
    }

    /// Starts a process. Returns as soon as it has a pid.
    ///
    /// # Errors
    ///
    /// When the program does not exist or its log cannot be opened.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        let process = Process::start(&self.0.guard, command)?;
        let mut processes = lock(&self.0.processes);
        processes.retain(Process::is_running);
        processes.push(process.clone());
        Ok(process)
    }

    /// Stops every process that is still running, and waits for their end.
    pub fn stop_all(&self) {
        self.0.stop_all();
    }
}

impl Owned {
    fn stop_all(&self) {
        let processes = std::mem::take(&mut *lock(&self.processes));
        for process in &processes {
            process.hang_up();
        }
        for process in &processes {
            process.wait_blocking();
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.stop_all();
    }
}

/// A handle to one process; clones are handles to the same process. Dropping
/// handles does nothing: the [`Supervisor`] owns the process.
#[derive(Clone, Debug)]
pub struct Process(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    pid: u32,
    log: PathBuf,
    grace: Duration,
    guard: Mutex<Option<ChildStdin>>,
    exit: watch::Sender<Option<Exit>>,
    ended: (Mutex<bool>, Condvar),
}

impl Process {
    fn start(guard: &Path, command: Command) -> Result<Self> {
        let program = command.resolve()?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let mut guarded = guarded(guard, &program, &command)?;
        let mut child = guarded.spawn().with_context(|| format!("cannot start the guard {}", guard.display()))?;
        let mut first_line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut first_line)?;
        }
        let Ok(pid) = first_line.trim().parse() else {
            let _ = child.wait();
            bail!("{name} did not start; {}", log_tail(&command.log));
        };
        let process = Self(Arc::new(Shared {
            name: name.into_owned(),
            pid,
            log: command.log,
            grace: command.grace,
            guard: Mutex::new(child.stdin.take()),
            exit: watch::Sender::new(None),
            ended: (Mutex::new(false), Condvar::new()),
        }));
        let shared = process.0.clone();
        // A thread and not a task: the end must be seen when no runtime runs any more.
        std::thread::spawn(move || shared.end(child.wait()));
        Ok(process)
    }

    /// The name of the program.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The pid of the program itself, not of its guard. It is also the id of
    /// its process group.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The file that takes the program's output.
    pub fn log(&self) -> &Path {
        &self.0.log
    }

    /// Whether the program has not ended.
    pub fn is_running(&self) -> bool {
        self.exit().is_none()
    }

    /// How the program ended, if it has.
    pub fn exit(&self) -> Option<Exit> {
        *self.0.exit.borrow()
    }

    /// Waits for the end of the program.
    pub async fn wait(&self) -> Exit {
        let mut exit = self.0.exit.subscribe();
        loop {
            if let Some(exit) = *exit.borrow_and_update() {
                return exit;
            }
            // The sender lives in `self`, so this waits and never fails.
            let _ = exit.changed().await;
        }
    }

    /// Sends a signal to the program's process group; nothing happens if it
    /// has ended.
    pub fn signal(&self, signal: Signal) {
        self.tell(&format!("signal {}\n", signal.as_raw()));
    }

    /// Sends SIGTERM, and SIGKILL after the command's grace; waits for the end.
    pub async fn stop(&self) -> Exit {
        self.stop_within(self.0.grace).await
    }

    /// Like [`Process::stop`] with a grace of one's own.
    pub async fn stop_within(&self, grace: Duration) -> Exit {
        self.tell(&format!("stop {}\n", grace.as_millis()));
        self.wait().await
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&self) -> Exit {
        self.signal(Signal::KILL);
        self.wait().await
    }

    /// An error that says how the program ended and shows the end of its log.
    pub fn ended_early(&self) -> anyhow::Error {
        let how = match self.exit() {
            Some(exit) => format!("ended with exit code {}", exit.code),
            None => "is still running".to_owned(),
        };
        anyhow::anyhow!("{} {how}; {}", self.0.name, log_tail(&self.0.log))
    }

    fn tell(&self, command: &str) {
        if let Some(guard) = lock(&self.0.guard).as_mut() {
            // A closed pipe means that the program has ended: nothing to tell.
            let _ = guard.write_all(command.as_bytes());
        }
    }

    /// What the parent's death does: the program gets SIGTERM, and SIGKILL
    /// after its grace. Does not wait; for destructors, which cannot `await`.
    pub fn hang_up(&self) {
        lock(&self.0.guard).take();
    }

    /// Waits for the end after [`Process::hang_up`], without a runtime.
    pub fn wait_blocking(&self) {
        let (ended, changed) = &self.0.ended;
        let deadline = Instant::now() + self.0.grace + AFTER_GRACE;
        let mut ended = lock(ended);
        while !*ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!(pid = self.pid(), "a process does not end after SIGKILL");
                return;
            }
            ended = changed.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn end(&self, status: std::io::Result<std::process::ExitStatus>) {
        let code = match status {
            Ok(status) => status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            Err(_) => -1,
        };
        lock(&self.guard).take();
        self.exit.send_replace(Some(Exit { code }));
        *lock(&self.ended.0) = true;
        self.ended.1.notify_all();
    }
}

/// The guard's command line around the program's.
fn guarded(guard: &Path, program: &Path, command: &Command) -> Result<std::process::Command> {
    let mut guarded = std::process::Command::new(guard);
    let stdout = command.stdout.as_deref().map(Path::as_os_str).unwrap_or_default();
    guarded.arg("guard").arg(command.grace.as_millis().to_string()).arg(stdout).arg("--");
    guarded.arg(program).args(&command.args);
    if !command.inherit_env {
        guarded.env_clear();
    }
    guarded.envs(command.env.iter().map(|(name, value)| (name, value)));
    if let Some(cwd) = &command.cwd {
        guarded.current_dir(cwd);
    }
    guarded.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(open_log(&command.log)?).process_group(0);
    Ok(guarded)
}

fn open_log(path: &Path) -> Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make the log directory {}", directory.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot open the log {}", path.display()))
}

/// The last lines of a log, introduced by its path, for error messages.
pub fn log_tail(path: &Path) -> String {
    const BYTES: u64 = 4096;
    const LINES: usize = 15;
    let read = || -> std::io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or(&[]);
    if last.is_empty() {
        return format!("its log {} is empty", path.display());
    }
    format!("the end of its log {}:\n  {}", path.display(), last.join("\n  "))
}

/// The `workbench` binary: this very program, or beside it (a program of the
/// same target directory), or one directory up (a test, in `deps/`).
fn guard_binary() -> Result<PathBuf> {
    let current = std::env::current_exe().context("cannot find out which program this is")?;
    let candidates = current.ancestors().skip(1).take(2).map(|directory| directory.join("workbench"));
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!(
        "the `workbench` binary is not beside {}: build it with `cargo build -p werkbank-e2e --bin workbench`",
        current.display()
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
