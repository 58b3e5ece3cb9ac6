//! The demo keeps what it promises, stays as long as it is looked at, and leaves nothing.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::WORKBENCH;
use crate::processes::{assert_nothing_runs_in, processes_of, program, send};

/// A demo whose cluster is to be kept. It ends with the test, also with one that fails.
struct Kept {
    child: Child,
    told: Vec<String>,
}

impl Kept {
    /// Runs it until it has told how kubectl gets there, which is the last that it tells.
    fn run(command: &mut Command, runs: &Path) -> Self {
        let command = command.arg("demo").env("KEEP", "1").env("TMPDIR", runs).stdout(Stdio::piped());
        let mut kept = Self { child: command.spawn().unwrap(), told: Vec::new() };
        let mut stdout = BufReader::new(kept.child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("alias kubectl=") {
            line.clear();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "ended without being told to: {:#?}", kept.told);
            kept.told.push(line.trim_end().to_owned());
        }
        // Kept open: whoever reads it no more ends the demo with an error.
        kept.child.stdout = Some(stdout.into_inner());
        kept
    }

    /// Pastes its two lines into a shell, and then this.
    fn shell(&self, command: &str) -> Output {
        let lines = self.told.last_chunk::<2>().unwrap().join("\n");
        let script = format!("{lines}\n{command}");
        Command::new("bash").args(["-O", "expand_aliases", "-c", &script]).output().unwrap()
    }

    /// Ends it with a signal; gives its exit code.
    fn end(mut self, signal: Signal) -> Option<i32> {
        send(&self.child, signal);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nothing_is_left(runs: &Path) {
    assert_nothing_runs_in(runs);
    assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0);
}

#[test]
fn the_demo_keeps_every_promise_and_stays_to_be_looked_at() {
    let begin = Instant::now();
    let runs = tempfile::tempdir().unwrap();
    let kept = Kept::run(&mut Command::new(WORKBENCH), runs.path());
    let told = kept.told.join("\n");
    assert!(told.contains("\nAll 17 promises were kept.") && !told.contains("BROKEN"), "{told}");
    assert!(told.contains("nobody approves their own work, and anna@example.com has submitted churn-v3"), "{told}");
    assert!(told.contains("werkbank audit: the log is not what was signed:"), "{told}");
    assert!(!told.contains(['\r', '\x1b']), "lines for people and programs, not for a terminal: {told}");

    is_told_live(&kept.told);

    let serves = kept.shell("kubectl -n crm get md churn -o 'jsonpath={.status.stable.name} {.spec.modelRef.name}'");
    assert_eq!(String::from_utf8_lossy(&serves.stdout), "churn-v1 churn-v3", "{serves:?}");
    let tree = kept.shell("kubectl werkbank get churn -n crm");
    assert!(String::from_utf8_lossy(&tree.stdout).contains("churn-v1"), "{tree:?}");
    assert_eq!(kept.end(Signal::TERM), Some(0));
    nothing_is_left(runs.path());
    eprintln!("the whole demo took {:.0} s", begin.elapsed().as_secs_f64());
}

/// Phase, weight, what Envoy sent and the verdicts, while it happens; and in the end how long what took.
fn is_told_live(told: &[String]) {
    let line = |words: &[&str]| {
        let found = told.iter().find(|it| words.iter().all(|word| it.contains(word)));
        found.unwrap_or_else(|| panic!("no line with {words:?} in {told:#?}"))
    };
    line(&["phase", "weight", "Envoy", "sent to it", "verdicts"]);
    for weight in ["5%", "25%", "50%"] {
        line(&[" s  Observing ", &format!(" {weight} "), " requests ", "error-rate Pass"]);
    }
    for verdict in ["hit-rate Fail", "hit-rate Pass"] {
        line(&[verdict, "(stable "]);
    }
    line(&["RolledBack", " 0%     0%"]);
    for took in
        ["until Prometheus shows the breach", "from there to weight 0 in Envoy", "lifecycle: Revoked to weight 0"]
    {
        let line = line(&[took]);
        let seconds = line.rsplit_once(took).unwrap().1.trim().trim_end_matches(" s").rsplit(' ').next().unwrap();
        assert!(seconds.parse::<f64>().is_ok_and(|it| it > 0.0), "{line}");
    }
}

#[test]
fn a_story_that_failed_stays_to_be_looked_at_and_ends_as_a_failure() {
    for signal in [Signal::INT, Signal::TERM] {
        let (runs, nothing) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = Command::new(WORKBENCH);
        // No Python to train the models with.
        let kept = Kept::run(command.env("PATH", nothing.path()).stderr(Stdio::piped()), runs.path());
        let nodes = kept.shell("kubectl get nodes -o name");
        assert_eq!(String::from_utf8_lossy(&nodes.stdout), "node/workbench\n", "{nodes:?}");
        assert_eq!(kept.end(signal), Some(1));
        nothing_is_left(runs.path());
    }
}

#[test]
fn a_demo_that_is_interrupted_while_it_starts_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let runs = tempfile::tempdir().unwrap();
        let mut child =
            Command::new(WORKBENCH).arg("demo").env("TMPDIR", runs.path()).stdout(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while !processes_of(runs.path()).iter().any(|pid| program(*pid) == "kube-apiserver") {
            assert!(Instant::now() < deadline, "the demo starts nothing: {:?}", child.try_wait());
            std::thread::sleep(Duration::from_millis(20));
        }
        send(&child, signal);
        let status = child.wait().unwrap();
        let code = status.code().or(status.signal().map(|it| 128 + it));
        assert_eq!(code, Some(128 + signal.as_raw()), "an interrupted story did not end well");
        assert_nothing_runs_in(runs.path());
        let left = std::fs::read_dir(runs.path()).unwrap().count();
        assert_eq!(left, usize::from(signal == Signal::KILL), "its directory stays only if it was killed");
    }
}
