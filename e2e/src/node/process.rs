//! One process of a container: the only file that starts anything.
//!
//! It runs below a guard (see [`crate::process`]), which ends it when the
//! workbench is gone, however that ended. Signals go to its group, so that what
//! a container started ends with it. When the handle is dropped the group is
//! killed: no task's end, panic or cancellation leaves a process behind.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::process::{self, Command, Signal, Supervisor};

/// From SIGTERM to SIGKILL when the workbench itself has ended: nobody is left
/// who would wait for a pod's own grace period.
const GRACE: Duration = Duration::from_secs(3);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Its exit code, or 128 + the signal's number.
    pub(super) code: i32,
    /// The signal that ended it. As in a shell, a program that ends itself with
    /// such a code cannot be told from one that a signal ended.
    pub(super) signal: Option<i32>,
}

impl From<process::Exit> for Exit {
    fn from(process::Exit { code }: process::Exit) -> Self {
        Self { code, signal: (129..=192).contains(&code).then(|| code - 128) }
    }
}

/// What to start.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub(super) env: BTreeMap<String, String>,
    /// Where stdout and stderr go.
    pub(super) log: PathBuf,
    pub(super) cwd: PathBuf,
}

/// A running process group.
#[derive(Debug)]
pub(super) struct Process(process::Process);

impl Process {
    /// Starts a process.
    pub(super) fn spawn(supervisor: &Supervisor, invocation: &Invocation) -> anyhow::Result<Self> {
        let mut command = Command::new(&invocation.program, &invocation.log)
            .args(&invocation.args)
            .clean_env()
            .cwd(&invocation.cwd)
            .grace(GRACE);
        for (name, value) in &invocation.env {
            command = command.env(name, value);
        }
        supervisor.spawn(command).map(Self)
    }

    /// The id of the process, which is also that of its group.
    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Waits until it has ended, and with it what is left of its group.
    pub(super) async fn wait(&self) -> Exit {
        self.0.wait().await.into()
    }

    /// Asks the group to end.
    pub(super) fn stop(&self) {
        self.0.signal(Signal::TERM);
    }

    /// Ends the group.
    pub(super) fn kill(&self) {
        self.0.signal(Signal::KILL);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::process::{Pid, test_kill_process};

    use super::*;

    /// The process, and what owns it.
    fn shell(dir: &Path, script: &str) -> (Process, Supervisor) {
        let supervisor = Supervisor::new().unwrap();
        let invocation = Invocation {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("GREETING".into(), "hello".into())]),
            log: dir.join("log"),
            cwd: dir.to_owned(),
        };
        (Process::spawn(&supervisor, &invocation).unwrap(), supervisor)
    }

    async fn contents(path: &Path) -> String {
        for _ in 0..500 {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("{} was not written", path.display());
    }

    fn alive(pid: i32) -> bool {
        // A zombie that nobody has reaped yet still has an id, but does not run.
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !state.contains(") Z ")
    }

    #[tokio::test]
    async fn output_goes_to_the_log_and_the_exit_code_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let (process, _supervisor) = shell(dir.path(), "echo $GREETING; echo $HOME >&2; exit 3");
        assert_eq!(process.wait().await, Exit { code: 3, signal: None });
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "hello\n\n");
    }

    #[tokio::test]
    async fn a_killed_process_reports_its_signal() {
        let dir = tempfile::tempdir().unwrap();
        let (process, _supervisor) = shell(dir.path(), "sleep 60");
        process.kill();
        assert_eq!(process.wait().await, Exit { code: 137, signal: Some(9) });
    }

    #[tokio::test]
    async fn children_end_with_the_process_that_started_them() {
        let dir = tempfile::tempdir().unwrap();
        let (process, _supervisor) = shell(dir.path(), "sleep 60 & echo $! > child; wait");
        let child: i32 = contents(&dir.path().join("child")).await.trim().parse().unwrap();
        assert!(alive(child));
        drop(process);
        for _ in 0..500 {
            if !alive(child) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the child {child} outlived its group");
    }
}
