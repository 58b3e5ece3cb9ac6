//! One process in a group of its own: the only file that starts anything.
//!
//! Signals go to the group, so that what a container started ends with it. When
//! the handle is dropped the group is killed: no task's end, panic or
//! cancellation leaves a process behind.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Its exit code, or 128 + the signal's number.
    pub(super) code: i32,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
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
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    pid: u32,
}

impl Process {
    /// Starts a process.
    pub(super) fn spawn(invocation: &Invocation) -> anyhow::Result<Self> {
        let log = open_log(&invocation.log)?;
        let child = Command::new(&invocation.program)
            .args(&invocation.args)
            .env_clear()
            .envs(&invocation.env)
            .current_dir(&invocation.cwd)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} did not start", invocation.program.display()))?;
        let pid = child.id().context("the process ended before it had an id")?;
        Ok(Self { child, group: i32::try_from(pid).ok().and_then(Pid::from_raw), pid })
    }

    /// The id of the process, which is also that of its group.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it ends, then kills what is left of its group.
    pub(super) async fn wait(&mut self) -> anyhow::Result<Exit> {
        let status = self.child.wait().await.context("waiting for the process failed")?;
        self.kill();
        self.group = None;
        let signal = status.signal();
        Ok(Exit { code: status.code().or_else(|| signal.map(|n| 128 + n)).unwrap_or(-1), signal })
    }

    /// Asks the group to end.
    pub(super) fn stop(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends the group.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that has already gone is what was wanted.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn open_log(path: &Path) -> anyhow::Result<std::fs::File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("the log {} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::test_kill_process;

    use super::*;

    fn shell(dir: &Path, script: &str) -> Process {
        Process::spawn(&Invocation {
            program: "/bin/sh".into(),
            args: vec!["-c".into(), script.into()],
            env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into()), ("GREETING".into(), "hello".into())]),
            log: dir.join("log"),
            cwd: dir.to_owned(),
        })
        .unwrap()
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
        let mut process = shell(dir.path(), "echo $GREETING; echo $HOME >&2; exit 3");
        assert_eq!(process.wait().await.unwrap(), Exit { code: 3, signal: None });
        assert_eq!(std::fs::read_to_string(dir.path().join("log")).unwrap(), "hello\n\n");
    }

    #[tokio::test]
    async fn a_killed_process_reports_its_signal() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell(dir.path(), "sleep 60");
        process.kill();
        assert_eq!(process.wait().await.unwrap(), Exit { code: 137, signal: Some(9) });
    }

    #[tokio::test]
    async fn children_end_with_the_process_that_started_them() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell(dir.path(), "sleep 60 & echo $! > child; wait");
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
