//! Processes that write one audit log on a real S3-compatible server, and are killed in the middle of whatever they do.
#![cfg(test)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use werkbank_e2e::bench::audit::{entry, key};
use werkbank_e2e::s3::S3;

use super::Pod;

const LOG: &str = "s3://models/killed";
/// Two processes begin, and are killed, so many times.
const TIMES: u64 = 6;
/// What they have recorded before: a few slots and checkpoints.
const RECORDED: usize = 12;
/// A process that starts reads the whole log; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that records, and what it says it has recorded. It is killed when it is dropped.
struct Recorder {
    process: Child,
    told: Receiver<i64>,
    _pod: Pod,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl Recorder {
    fn start(s3: &S3, first: i64) -> Result<Self> {
        let pod = Pod::new()?;
        let mut command = pod.process_of("workbench", &s3.endpoint())?;
        let mut process = command.args(["record", LOG, &first.to_string()]).stdout(Stdio::piped()).spawn()?;
        let (tell, told) = channel();
        let lines = BufReader::new(process.stdout.take().context("its output is a pipe")?).lines();
        spawn(move || {
            for number in lines.map_while(Result::ok).map_while(|it| it.parse().ok()) {
                if tell.send(number).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, told, _pod: pod })
    }

    fn next(&self) -> Result<i64> {
        self.told.recv_timeout(PATIENCE).context("it does not record, or has ended: what it printed says why")
    }

    /// SIGKILL; what it has said meanwhile.
    fn kill(mut self) -> Result<Vec<i64>> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(self.told.iter().collect())
    }
}

fn audit(s3: &S3, words: &[&str]) -> Result<Output> {
    let mut command = Pod::new()?.process(&s3.endpoint())?;
    Ok(command.arg("audit").args(words).args(["--key", &key()?.verifier().to_string()]).output()?)
}

/// How many entries the checkpoint covers, of a log that verifies.
fn verified(s3: &S3) -> Result<usize> {
    let output = audit(s3, &["verify", LOG])?;
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let size = said.strip_prefix("verified: ").and_then(|it| it.split_once(' ')?.0.parse().ok());
    size.with_context(|| format!("{said}{why}"))
}

/// Waits until a checkpoint covers so many entries.
fn covered(s3: &S3, entries: usize) -> Result<()> {
    let began = Instant::now();
    loop {
        match verified(s3) {
            Ok(size) if size >= entries => return Ok(()),
            seen => ensure!(began.elapsed() < PATIENCE, "no checkpoint of {entries} entries: {seen:?}"),
        }
    }
}

#[test]
fn a_log_whose_writers_are_killed_again_and_again_has_everything_they_recorded_once_and_verifies() -> Result<()> {
    let s3 = S3::start()?;
    let (mut recorded, mut size) = (BTreeSet::<i64>::new(), 0);
    for time in 0..TIMES {
        // Both decide the same, as a leader does that does not know yet that it is none any more.
        let first = recorded.last().map_or(0, |last| last + 1);
        let recorders = [Recorder::start(&s3, first)?, Recorder::start(&s3, first)?];
        for recorder in &recorders {
            for _ in 0..RECORDED {
                recorded.insert(recorder.next()?);
            }
        }
        covered(&s3, size + 1)?;
        // Somewhere within a write of a slot, a tile or a checkpoint: each takes some milliseconds.
        sleep(Duration::from_millis(5 * time));
        for recorder in recorders {
            recorded.extend(recorder.kill()?);
        }
        // Whatever a kill has left behind, what a checkpoint covers is whole.
        size = verified(&s3)?;
    }
    // One more, who takes over what the last ones left.
    let last = Recorder::start(&s3, recorded.last().map_or(0, |last| last + 1))?;
    recorded.insert(last.next()?);
    covered(&s3, recorded.len())?;
    recorded.extend(last.kill()?);
    let listed = String::from_utf8(audit(&s3, &["list", LOG])?.stdout)?;
    for number in &recorded {
        assert_eq!(listed.matches(&entry(*number).id()).count(), 1, "decision {number}");
    }
    Ok(())
}
