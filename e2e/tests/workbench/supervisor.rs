//! Processes that are guarded: they end with who started them, and their ends are known.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use werkbank_e2e::process::{self, Supervisor};

use crate::processes::assert_all_end;

#[tokio::test]
async fn a_process_that_ignores_sigterm_is_killed_after_its_grace_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    // A shell only here: it is the program under test.
    let script = "trap '' TERM; sleep 600 & echo $!; wait";
    let command =
        process::Command::new("sh", dir.path().join("log")).args(["-c", script]).grace(Duration::from_millis(300));
    let stubborn = supervisor.spawn(command).unwrap();
    let child = loop {
        let log = std::fs::read_to_string(stubborn.log()).unwrap();
        if let Ok(pid) = log.trim().parse::<u32>() {
            break pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let begin = Instant::now();
    assert_eq!(stubborn.stop().await.code, 128 + 9);
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert_all_end(&[stubborn.pid(), child]);
}

#[tokio::test]
async fn exit_codes_and_the_end_of_the_log_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let run = |script: &str| {
        let command = process::Command::new("sh", dir.path().join("log")).args(["-c", script]);
        supervisor.spawn(command).unwrap()
    };
    let failing = run("echo first; echo the reason >&2; exit 7");
    assert_eq!(failing.wait().await.code, 7);
    let error = failing.ended_early().to_string();
    assert!(error.contains("exit code 7") && error.contains("the reason"), "{error}");
    assert_eq!(run("kill -SEGV $$").wait().await.code, 128 + 11);
    assert_eq!(run("exit 0").wait().await.code, 0);
    assert!(supervisor.spawn(process::Command::new("no-such-program", dir.path().join("log"))).is_err());
}

#[tokio::test]
async fn what_a_program_prints_comes_apart_and_the_program_ends_with_who_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let output = supervisor.output("sh", |it| it.args(["-c", "echo out; echo err >&2; exit 3"])).await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    // Whoever gives up waiting ends it, too.
    let pid = dir.path().join("pid");
    let script = format!("echo $$ > {}; exec sleep 600", pid.display());
    let patient = supervisor.output("sh", |it| it.args(["-c", &script]));
    assert!(tokio::time::timeout(Duration::from_secs(3), patient).await.is_err());
    assert_all_end(&[std::fs::read_to_string(pid).unwrap().trim().parse().unwrap()]);
}

#[tokio::test]
async fn a_process_ends_even_when_its_guard_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let supervisor = Supervisor::new().unwrap();
    let command = process::Command::new("sleep", dir.path().join("log")).arg("600");
    let process = supervisor.spawn(command).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let guard = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    let guard = Pid::from_raw(guard.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(guard, Signal::KILL).unwrap();
    process.wait().await;
    assert_all_end(&[process.pid()]);
}
