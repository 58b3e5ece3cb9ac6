//! A process that does nothing but record decisions on an audit log, so that it can be killed in the middle of it.

use std::convert::Infallible;
use std::io::{Write, stdout};
use std::time::Duration;

use anyhow::{Result, anyhow};
use werkbank::audit::{Entry, Log, Trail, TrailError};

use crate::bench::audit::{entry, key};

/// How often tiles and checkpoint follow: more often than an operator's, so that a kill meets one of their writes, too.
const PUBLISHED_EVERY: Duration = Duration::from_millis(20);
/// A log that does not take an entry is asked again after this long.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Records decisions of one kind from number `first` on, one after the other, and prints the number of each as soon as it is on the log. As
/// operators do, it answers for nothing that it has not printed, asks again while the log is not available, and takes the next number where
/// one has another decision.
///
/// # Errors
/// The log is damaged.
pub async fn record(url: &str, first: i64, decision: &str) -> Result<Infallible> {
    let log = Log::open(url, vec![key()?])?;
    let published = async {
        loop {
            tokio::time::sleep(PUBLISHED_EVERY).await;
            // Another one may have been faster; the next time goes on.
            drop(log.publish().await);
        }
    };
    let recorded = async {
        let mut number = first;
        loop {
            match log.append(&Entry { decision: decision.to_owned(), ..entry(number) }).await {
                Ok(_) => writeln!(stdout(), "{number}")?,
                Err(TrailError::SequenceTaken { .. }) => {}
                Err(TrailError::Unavailable(_)) => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                    continue;
                }
                Err(error) => return Err(anyhow!(error)),
            }
            number += 1;
        }
    };
    tokio::select! {
        ended = recorded => ended,
        never = published => never,
    }
}
