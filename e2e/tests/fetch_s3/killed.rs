//! Processes that write one audit log on a real S3-compatible server, and are killed in the middle of whatever they do.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::{Child, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use werkbank::audit::Entry;
use werkbank_e2e::bench::audit::{entry, key};
use werkbank_e2e::fault_proxy::{FaultProxy, Side};
use werkbank_e2e::s3::S3;

use super::Pod;

const LOG: &str = "s3://models/killed";
/// Every file that a process writes which records, by a part of its path.
const FILES: [&str; 5] = ["/put-if-absent-probe.json", "/wal/", "/tile/entries/", "/tile/0/", "/checkpoint"];
/// Two processes begin, and are killed, so many times.
const TIMES: u64 = 6;
/// What they have recorded before: a few slots and checkpoints.
const RECORDED: usize = 12;
/// A process that starts reads the whole log; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process, once it has started; whoever has this can kill it.
#[derive(Clone, Default)]
struct Victim(Arc<Mutex<Option<Child>>>);

impl Victim {
    /// SIGKILL.
    fn kill(&self) -> Result<()> {
        if let Some(process) = self.0.lock().unwrap().as_mut() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }
}

/// A process that records, and what it says it has recorded. It is killed when it is dropped.
struct Recorder {
    process: Victim,
    told: Receiver<i64>,
    _pod: Pod,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.process.kill().ok();
    }
}

impl Recorder {
    fn start(s3: &S3, first: i64) -> Result<Self> {
        Self::of(&s3.endpoint(), first, "Shift", Victim::default())
    }

    /// One that reaches the store at `endpoint`, and decides this.
    fn of(endpoint: &str, first: i64, decision: &str, victim: Victim) -> Result<Self> {
        let pod = Pod::new()?;
        let mut command = pod.process_of("workbench", endpoint)?;
        command.args(["record", LOG, &first.to_string(), decision]).stdout(Stdio::piped());
        // Who is to be killed at its first write is known before that.
        let mut place = victim.0.lock().unwrap();
        let mut process = command.spawn()?;
        let (tell, told) = channel();
        let lines = BufReader::new(process.stdout.take().context("its output is a pipe")?).lines();
        spawn(move || {
            for number in lines.map_while(Result::ok).map_while(|it| it.parse().ok()) {
                if tell.send(number).is_err() {
                    return;
                }
            }
        });
        *place = Some(process);
        drop(place);
        Ok(Self { process: victim, told, _pod: pod })
    }

    fn next(&self) -> Result<i64> {
        self.told.recv_timeout(PATIENCE).context("it does not record, or has ended: what it printed says why")
    }

    /// SIGKILL; what it has said meanwhile.
    fn kill(self) -> Result<Vec<i64>> {
        self.process.kill()?;
        self.said()
    }

    /// All that it has said until it ended.
    fn said(&self) -> Result<Vec<i64>> {
        let (began, mut said) = (Instant::now(), Vec::new());
        loop {
            ensure!(began.elapsed() < PATIENCE, "it goes on, and should have been killed");
            match self.told.recv_timeout(PATIENCE) {
                Ok(number) => said.push(number),
                Err(RecvTimeoutError::Disconnected) => return Ok(said),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
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
    takes_over(&s3, &mut recorded)?;
    let listed = listed(&s3)?;
    for number in &recorded {
        assert_eq!(listed.matches(&entry(*number).id()).count(), 1, "decision {number}");
    }
    Ok(())
}

/// One more takes over what the last ones left.
fn takes_over(s3: &S3, recorded: &mut BTreeSet<i64>) -> Result<()> {
    let last = Recorder::start(s3, recorded.last().map_or(0, |last| last + 1))?;
    recorded.insert(last.next()?);
    covered(s3, recorded.len())?;
    recorded.extend(last.kill()?);
    Ok(())
}

fn listed(s3: &S3) -> Result<String> {
    Ok(String::from_utf8(audit(s3, &["list", LOG])?.stdout)?)
}

/// Killed at the very moment at which it writes a file of each kind: the store has not heard of it, or has done it and nobody was told.
#[test]
fn killed_before_and_after_each_file_that_it_writes_nothing_is_lost_and_nothing_is_there_twice() -> Result<()> {
    let (s3, runtime) = (S3::start()?, tokio::runtime::Runtime::new()?);
    let proxy = runtime.block_on(FaultProxy::before_store(&s3.endpoint()))?;
    let mut recorded = BTreeSet::<i64>::new();
    for (file, side) in FILES.into_iter().flat_map(|it| [(it, Side::Before), (it, Side::After)]) {
        let victim = Victim::default();
        let killed = victim.clone();
        proxy.break_at_path(file, side, move || killed.kill().unwrap());
        let recorder = Recorder::of(&proxy.url(), recorded.last().map_or(0, |last| last + 1), "Shift", victim)?;
        // Until it is dead.
        recorded.extend(recorder.said()?);
        assert!(!proxy.is_armed(), "it never wrote {file}");
        if side == Side::After && file != FILES[0] {
            assert!(proxy.was_carried_out(), "{file} was not written");
        }
        // One who does not die brings all of it under a checkpoint, so that the next files are others.
        takes_over(&s3, &mut recorded)?;
    }
    let listed = listed(&s3)?;
    for number in &recorded {
        assert_eq!(listed.matches(&entry(*number).id()).count(), 1, "decision {number}");
    }
    Ok(())
}

#[test]
fn of_two_leaders_who_decide_differently_at_the_same_time_one_has_each_number() -> Result<()> {
    let s3 = S3::start()?;
    let decisions = ["Shift", "Promote"];
    let leaders: Vec<Recorder> = decisions
        .iter()
        .map(|decision| Recorder::of(&s3.endpoint(), 0, decision, Victim::default()))
        .collect::<Result<_>>()?;
    let mut said = BTreeMap::<i64, &str>::new();
    for (leader, decision) in leaders.iter().zip(decisions) {
        for _ in 0..RECORDED {
            let number = leader.next()?;
            assert_eq!(said.insert(number, decision), None, "both have decision {number}");
        }
    }
    for (leader, decision) in leaders.into_iter().zip(decisions) {
        for number in leader.kill()? {
            assert_eq!(said.insert(number, decision), None, "both have decision {number}");
        }
    }
    let mut recorded: BTreeSet<i64> = said.keys().copied().collect();
    takes_over(&s3, &mut recorded)?;
    let listed = listed(&s3)?;
    for (number, has) in said {
        for decision in decisions {
            let times = listed.matches(&Entry { decision: decision.into(), ..entry(number) }.id()).count();
            assert_eq!(times, usize::from(decision == has), "decision {number}: {decision}");
        }
    }
    Ok(())
}
