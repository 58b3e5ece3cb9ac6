//! `kubectl werkbank get -w`: the trees again, whenever something has changed.
//!
//! On a terminal the screen is drawn anew, once a second at least: how long something has been so is part of it. Elsewhere
//! each change is written below the one before, so that a log tells what happened. It goes on until it is interrupted, also while the
//! API server does not answer, and ends when what it was asked for is gone.

use std::io::{ErrorKind, IsTerminal, stdout};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::cluster::Cluster;
use super::get::Selection;
use super::{CliError, is_plain, write};

/// How often a terminal is drawn at least.
const REDRAW: Duration = Duration::from_secs(1);
/// How long the API server has for an answer.
const ANSWER: Duration = Duration::from_secs(30);
/// Changes that come together are drawn together.
const TOGETHER: Duration = Duration::from_millis(100);

pub(super) async fn run(cluster: &Cluster, selection: &Selection) -> Result<(), CliError> {
    // Where nothing is drawn in colours, nothing is drawn over either.
    let redraws = stdout().is_terminal() && !is_plain();
    // From here on: whoever listens only now and then misses what comes in between, and nothing else ends the process.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| CliError::Print(error.to_string()))?;
    let mut changes = Box::pin(watcher(selection.api(cluster), selection.config()).default_backoff());
    let mut before = String::new();
    loop {
        let found = tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            found = timeout(ANSWER, selection.trees(cluster)) => found,
        };
        let text = match found {
            Ok(Err(CliError::Cluster(error))) if !before.is_empty() => {
                format!("{}; trying again\n", CliError::Cluster(error))
            }
            Ok(other) => other?,
            Err(_) => "the API server does not answer; trying again\n".to_owned(),
        };
        if text != before {
            match write(&mut stdout().lock(), &drawn(&text, &before, redraws)) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                written => written.map_err(|error| CliError::Print(error.to_string()))?,
            }
        }
        before = text;
        tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            // What it says is asked for above; and what goes wrong with it, too.
            _ = changes.next() => {
                tokio::time::sleep(TOGETHER).await;
                while let Some(Some(_)) = changes.next().now_or_never() {}
            }
            () = tokio::time::sleep(REDRAW), if redraws => {}
        }
    }
}

/// What is written to show `text` after `before`.
fn drawn(text: &str, before: &str, is_terminal: bool) -> String {
    match (is_terminal, before.is_empty()) {
        (false, true) => text.to_owned(),
        (false, false) => format!("\n{text}"),
        // Nothing of what was there before stays, neither behind a shorter line nor below the last.
        (true, first) => {
            let clear = if first { "\u{1b}[2J" } else { "" };
            format!("{clear}\u{1b}[H{}\u{1b}[J", text.replace('\n', "\u{1b}[K\n"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_drawn_over_and_a_log_goes_on() {
        assert_eq!(drawn("a\n", "", false), "a\n");
        assert_eq!(drawn("b\n", "a\n", false), "\nb\n");
        assert_eq!(drawn("a\nb\n", "", true), "\u{1b}[2J\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
        assert_eq!(drawn("c\n", "a\nb\n", true), "\u{1b}[Hc\u{1b}[K\n\u{1b}[J");
    }
}
