//! The audit log in an S3-compatible store: how many entries it takes, and for how many round trips one waits.
//!
//! The store is a process on the same machine, in Python: how many entries it takes in a second says more of it than of the
//! log. What an entry costs beside a bare conditional write of about as many bytes to the same store is the log's. Tiles and checkpoint
//! are written afterwards, at once; an operator does it every second, beside.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions};
use serde_json::{Value, json};
use werkbank::audit::Log;

use super::{MANY, PASSES, entry, key, per_second};
use crate::s3::S3;

/// One after the other, of entries and of bare writes, so many of each in turns.
const ALONE: i64 = 201;
const TURN: usize = 50;
/// By sixteen.
const TOGETHER: i64 = 2_000;
/// By as many as come.
const BY_MANY: i64 = 20 * 1_024;

/// In a second, and how long publishing all of it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    bare: f64,
    alone: f64,
    together: f64,
    many: f64,
    published: Duration,
}

pub(super) async fn measure() -> Result<Figures> {
    let server = S3::start()?;
    let store: Arc<dyn ObjectStore> = Arc::new(server.bucket()?);
    let log = Log::over(store.clone(), Path::from("audit"), "s3://models/audit".to_owned(), vec![key()?]);
    // The first entry finds out whether the store can hold a log, and reads what is there.
    per_second(&log, 0, 1, 1).await?;
    // In turns: whatever else the machine does meets both.
    let (mut bare, mut alone) = (Duration::ZERO, Duration::ZERO);
    for from in (1..ALONE).step_by(TURN) {
        let to = from + i64::try_from(TURN)?;
        bare += write(&*store, from, to).await?;
        let begin = Instant::now();
        per_second(&log, from, to, 1).await?;
        alone += begin.elapsed();
    }
    let [bare, alone] = [bare, alone].map(|it| (ALONE - 1) as f64 / it.as_secs_f64());
    let together = per_second(&log, ALONE, ALONE + TOGETHER, PASSES).await?;
    let many = per_second(&log, ALONE + TOGETHER, ALONE + TOGETHER + BY_MANY, MANY).await?;
    let begin = Instant::now();
    log.publish().await.map_err(|error| anyhow!(error))?;
    Ok(Figures { bare, alone, together, many, published: begin.elapsed() })
}

/// Objects that are not there yet, as large as an entry, one after the other.
async fn write(store: &dyn ObjectStore, from: i64, to: i64) -> Result<Duration> {
    let begin = Instant::now();
    for number in from..to {
        let (at, bytes) = (Path::from(format!("bare/{number:05}")), serde_json::to_vec(&entry(number))?);
        let absent = PutOptions::from(PutMode::Create);
        store.put_opts(&at, bytes.into(), absent).await.context("a bare write was refused")?;
    }
    Ok(begin.elapsed())
}

impl Figures {
    pub(super) fn json(&self) -> Value {
        let Self { bare, alone, together, many, published } = self;
        json!({
            "bareWritesPerSecond": bare,
            "entriesPerSecond": {"alone": alone, "sixteen": together, "many": many},
            "publishedSeconds": published.as_secs_f64(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bare, alone, together, many, published } = self;
        writeln!(
            to,
            "in an S3-compatible store on this machine (moto), entries per second: {alone:.0} one after the other, {together:.0} by sixteen, {many:.0} by {MANY}"
        )?;
        writeln!(to, "tiles and checkpoint of all at once: {:.2} s", published.as_secs_f64())?;
        let times = bare / alone;
        writeln!(
            to,
            "one entry takes {times:.2} times as long there as a bare conditional write ({bare:.0} per second)"
        )
    }
}
