//! Programs that are run for what they print.
//!
//! They are over in a moment, as a rule. One that is not, because an API server does not answer or a script
//! hangs, must not outlive its parent either: so they run below the guard like all others.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Output};

use anyhow::Result;

use super::{Command, Process, Supervisor};

impl Supervisor {
    /// Runs `program` to its end; `with` adds arguments and environment. Whoever no longer waits ends it.
    ///
    /// # Errors
    ///
    /// When it cannot be started; its own failure is in the output's status.
    pub async fn output(&self, program: impl AsRef<OsStr>, with: impl FnOnce(Command) -> Command) -> Result<Output> {
        let dir = tempfile::tempdir()?;
        let (stdout, stderr) = (dir.path().join("stdout"), dir.path().join("stderr"));
        let command = with(Command::new(program.as_ref(), &stderr)).stdout(&stdout);
        let running = Running(self.spawn(command)?);
        let code = running.0.wait().await.code;
        // As wait(2) has it: the code in the second byte.
        let status = ExitStatus::from_raw(code << 8);
        Ok(Output { status, stdout: std::fs::read(stdout)?, stderr: std::fs::read(stderr)? })
    }
}

/// A process that ends when nobody waits for it any more.
struct Running(Process);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}
