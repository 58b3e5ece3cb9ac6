//! Looking at processes, and sending them signals.

use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

fn alive(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

/// Waits for the end of processes that are not our children.
pub(crate) fn assert_all_end(pids: &[u32]) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while pids.iter().any(|pid| alive(*pid)) {
        let left: Vec<_> = pids.iter().filter(|pid| alive(**pid)).collect();
        assert!(Instant::now() < deadline, "still alive: {left:?} of {pids:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The processes that work below `dir` or whose command line names a path there.
pub(crate) fn processes_of(dir: &Path) -> Vec<u32> {
    let needle = dir.to_str().unwrap();
    let mut pids = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let command_line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let works_there = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        if pid != std::process::id() && (works_there || String::from_utf8_lossy(&command_line).contains(needle)) {
            pids.push(pid);
        }
    }
    pids
}

/// Waits until nothing of the run in `dir` is left, by whatever name it runs.
pub(crate) fn assert_nothing_runs_in(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let left = processes_of(dir);
        if left.is_empty() {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "still there: {:?}",
            left.iter().map(|pid| program(*pid)).collect::<Vec<_>>()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The name of the program that a process runs; empty if it has ended.
pub(crate) fn program(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

/// Sends a signal.
pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}
