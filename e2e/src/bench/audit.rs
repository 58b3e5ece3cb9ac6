//! The audit log by itself: how fast it takes entries, how long verifying it takes, what a proof costs, and what it takes of storage.
//!
//! No cluster runs. The log is written into a folder by the operator's own code: first by one who waits for each entry, then by sixteen at
//! the same time, as many as the operator's passes, and then by as many as come, which fills slots. It is verified as an auditor would.
//! Fewer go to an S3-compatible store besides: see [`on_s3`].

mod on_s3;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use chrono::{DateTime, TimeDelta};
use futures::stream::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use werkbank::audit::proof::Prover;
use werkbank::audit::tlog::note::{Signer, Verifier};
use werkbank::audit::verify::verify;
use werkbank::audit::{Entry, EntryKind, Log, Trail};

use super::setting::Setting;

/// How soon a million entries are to be verified.
const GOAL: Duration = Duration::from_secs(5);
const GOAL_ENTRIES: u64 = 1_000_000;
/// Passes of the operator at the same time.
const PASSES: usize = 16;
/// Entries by one, and by sixteen.
const SOME: i64 = 2_000;
/// Entries that wait at the same time where slots are to be full.
const MANY: usize = 1_024;
/// Bundles that are exported.
const PROOFS: usize = 20;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Figures {
    entries: u64,
    alone: f64,
    together: f64,
    many: f64,
    published: Duration,
    verified: Duration,
    recovered: Duration,
    proved: Duration,
    checked: Duration,
    slots: u64,
    tiles: u64,
    on_s3: on_s3::Figures,
}

/// Writes so many entries, and verifies them.
///
/// # Errors
/// When the log does not take an entry, or does not verify.
pub async fn measure(entries: usize) -> Result<Figures> {
    // First what may be missing, then what takes long.
    let on_s3 = on_s3::measure().await?;
    let folder = tempfile::tempdir()?;
    let (url, size) = (format!("file://{}", folder.path().display()), i64::try_from(entries)?);
    let log = Log::open(&url, vec![key()?])?;
    let alone = per_second(&log, 0, SOME, 1).await?;
    let together = per_second(&log, SOME, 2 * SOME, PASSES).await?;
    let many = per_second(&log, 2 * SOME, size.max(3 * SOME), MANY).await?;
    let begin = Instant::now();
    log.publish().await.map_err(|error| anyhow!(error))?;
    let published = begin.elapsed();

    let keys = [key()?.verifier()];
    let begin = Instant::now();
    let verified = verify(&url, &keys, None, |_, _| ()).await??;
    let took = begin.elapsed();
    let begin = Instant::now();
    let again = Log::open(&url, vec![key()?])?;
    again.append(&entry(size.max(3 * SOME) - 1)).await.map_err(|error| anyhow!(error))?;
    let recovered = begin.elapsed();
    let (proved, checked) = proofs(&url, &keys, verified.checkpoint.size).await?;
    Ok(Figures {
        entries: verified.checkpoint.size,
        alone,
        together,
        many,
        published,
        verified: took,
        recovered,
        proved,
        checked,
        slots: bytes_below(&folder.path().join("wal"))?,
        tiles: bytes_below(&folder.path().join("tile"))?,
        on_s3,
    })
}

/// The key that the benchmark's log is signed with.
///
/// # Errors
/// Never: it has its 32 bytes.
pub fn key() -> Result<Signer> {
    Signer::of_seed("werkbank.dev/bench", &[1; 32]).context("a key of 32 bytes")
}

/// An entry as a rollout's are: of a thousand deployments, and as long.
#[must_use]
pub fn entry(number: i64) -> Entry {
    let revision = format!("churn-{:05}-5f6d9b7c4d", number % 1000);
    Entry {
        kind: EntryKind::Intent,
        subject_kind: "ModelDeployment".into(),
        namespace: "crm".into(),
        name: format!("churn-{:05}", number % 1000),
        uid: format!("0d7b6c1e-0000-4000-8000-{:012}", number % 1000),
        generation: 2,
        spec_digest: format!("sha256:{:064x}", number % 1000),
        attempt: format!("{revision}-2-0d7b6c1e"),
        sequence: number / 1000 + 1,
        decision: "Shift".into(),
        reason: "step 2 of 4 has been observed for long enough, and no guardrail is breached".into(),
        revision,
        weight: "25%".into(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: DateTime::UNIX_EPOCH + TimeDelta::milliseconds(number),
        lease_epoch: 3,
        operator: "0.1.0".into(),
    }
}

/// Entries a second, so many waiting at the same time.
async fn per_second(log: &Log, from: i64, to: i64, parallel: usize) -> Result<f64> {
    let begin = Instant::now();
    let appended = futures::stream::iter(from..to).map(|number| async move { log.append(&entry(number)).await });
    appended.buffer_unordered(parallel).try_for_each(|_| std::future::ready(Ok(()))).await.map_err(|it| anyhow!(it))?;
    Ok((to - from) as f64 / begin.elapsed().as_secs_f64())
}

/// How long it takes to make a proof once the entry is known, and to check it.
async fn proofs(url: &str, keys: &[Verifier], size: u64) -> Result<(Duration, Duration)> {
    let (mut proved, mut checked) = (Duration::ZERO, Duration::ZERO);
    // From its beginning to its end; who wrote many at once knows the place of none.
    let every = (size / u64::try_from(PROOFS)?).max(1);
    let mut some = Vec::new();
    let log = Log::signed_by(url, keys.to_vec())?;
    log.each(|at, entry, _| some.extend((at % every == every - 1).then(|| (at, entry.clone())))).await?;
    let prover = Prover::open(url, keys.to_vec()).await??.context("the log has no checkpoint")?;
    for meant in &some {
        let begin = Instant::now();
        let bundle = prover.prove(std::slice::from_ref(meant)).await?;
        proved += begin.elapsed();
        let begin = Instant::now();
        let (_, entries) = bundle.check(keys)?;
        checked += begin.elapsed();
        ensure!(entries.len() == 1, "a bundle proves one entry");
    }
    let each = u32::try_from(some.len().max(1))?;
    Ok((proved / each, checked / each))
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for child in std::fs::read_dir(folder)? {
        let path: PathBuf = child?.path();
        bytes += if path.is_dir() { bytes_below(&path)? } else { std::fs::metadata(&path)?.len() };
    }
    Ok(bytes)
}

impl Figures {
    /// For the file of figures.
    #[must_use]
    pub fn json(&self, setting: &Setting) -> Value {
        json!({
            "setting": setting.json(),
            "entries": self.entries,
            "entriesPerSecond": {"alone": self.alone, "sixteen": self.together, "many": self.many},
            "publishedSeconds": self.published.as_secs_f64(),
            "verifiedSeconds": self.verified.as_secs_f64(),
            "recoveredSeconds": self.recovered.as_secs_f64(),
            "provedSeconds": self.proved.as_secs_f64(),
            "checkedSeconds": self.checked.as_secs_f64(),
            "bytesOfSlots": self.slots,
            "bytesOfTiles": self.tiles,
            "s3": self.on_s3.json(),
        })
    }

    fn per_entry(&self, bytes: u64) -> f64 {
        bytes as f64 / self.entries.max(1) as f64
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |it: Duration| it.as_secs_f64();
        writeln!(to, "{} entries in a folder on local disk", self.entries)?;
        writeln!(
            to,
            "entries per second: {:.0} one after the other, {:.0} by sixteen, {:.0} by {MANY}",
            self.alone, self.together, self.many
        )?;
        writeln!(to, "tiles and checkpoint of all at once: {:.2} s", seconds(self.published))?;
        let goal = GOAL.mul_f64(self.entries as f64 / GOAL_ENTRIES as f64);
        let met = if self.verified <= goal { "yes" } else { "NO" };
        writeln!(
            to,
            "verified in {:.2} s; goal {:.2} s (5 s for a million): {met}",
            seconds(self.verified),
            seconds(goal)
        )?;
        writeln!(to, "read by an operator at its start in {:.2} s", seconds(self.recovered))?;
        let met = if self.proved <= Duration::from_millis(1) { "yes" } else { "NO" };
        writeln!(
            to,
            "a proof of inclusion made in {:.3} ms (goal 1 ms: {met}), checked in {:.3} ms",
            seconds(self.proved) * 1e3,
            seconds(self.checked) * 1e3
        )?;
        writeln!(
            to,
            "bytes per entry: {:.0} in slots, {:.0} in tiles",
            self.per_entry(self.slots),
            self.per_entry(self.tiles)
        )?;
        write!(to, "{}", self.on_s3)
    }
}
