//! What to run: program, arguments, environment, and where its output goes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

/// Everything needed to start one process. No shell is ever involved.
#[derive(Clone, Debug)]
pub struct Command {
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) env: Vec<(OsString, OsString)>,
    pub(super) inherit_env: bool,
    pub(super) cwd: Option<PathBuf>,
    pub(super) log: PathBuf,
    pub(super) stdout: Option<PathBuf>,
    pub(super) grace: Duration,
}

impl Command {
    /// Runs `program` (a path, or a name looked up on `PATH`); its output is
    /// appended to the file `log`.
    pub fn new(program: impl Into<PathBuf>, log: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            inherit_env: true,
            cwd: None,
            log: log.into(),
            stdout: None,
            grace: Duration::from_secs(5),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets one variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts from an empty environment instead of the parent's.
    #[must_use]
    pub fn clean_env(mut self) -> Self {
        self.inherit_env = false;
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Writes what the program prints on stdout to a file of its own; the log keeps stderr.
    #[must_use]
    pub fn stdout(mut self, file: impl Into<PathBuf>) -> Self {
        self.stdout = Some(file.into());
        self
    }

    /// How long the process may take from SIGTERM to its end before it gets
    /// SIGKILL (5 s if not set), when stopped and when the parent dies.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The program as an absolute path. Resolved before anything is started,
    /// so that a missing program is an error of the caller and not a process
    /// that ended early.
    pub(super) fn resolve(&self) -> Result<PathBuf> {
        if self.program.components().count() > 1 {
            let path = match &self.cwd {
                Some(cwd) => cwd.join(&self.program),
                None => std::path::absolute(&self.program)?,
            };
            if !is_executable(&path) {
                bail!("{} is not an executable file: check the path and its permissions", path.display());
            }
            return Ok(path);
        }
        match on_path(&self.program) {
            Some(path) => Ok(path),
            None => bail!("`{}` is not on PATH: install it or name it by its full path", self.program.display()),
        }
    }
}

/// The first executable file of this name in the directories of `PATH`.
pub fn on_path(name: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name.as_ref()))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
