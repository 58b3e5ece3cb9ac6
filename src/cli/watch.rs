//! `kubectl werkbank get -w`: the trees again, whenever something has changed.
//!
//! On a terminal the screen is drawn anew, once a second at least: how long something has been so is part of it. Elsewhere
//! each change is written below the one before, so that a log tells what happened. It goes on until it is interrupted, also while the
//! API server does not answer, and ends when what it was asked for is gone.

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use tokio::signal::unix::{SignalKind, signal};

use super::cluster::Cluster;
use super::get::Selection;
use super::{CliError, print};

/// How often a terminal is drawn at least.
const REDRAW: Duration = Duration::from_secs(1);
/// Changes that come together are drawn together.
const TOGETHER: Duration = Duration::from_millis(100);

pub(super) async fn run(cluster: &Cluster, selection: &Selection) -> Result<(), CliError> {
    let is_terminal = stdout().is_terminal();
    // From here on: whoever listens only now and then misses what comes in between, and nothing else ends the process.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(|error| CliError::Print(error.to_string()))?;
    let mut changes = Box::pin(watcher(selection.api(cluster), selection.config()).default_backoff());
    let mut before = String::new();
    loop {
        let text = match selection.trees(cluster).await {
            Err(CliError::Cluster(error)) if !before.is_empty() => {
                format!("{}; trying again\n", CliError::Cluster(error))
            }
            other => other?,
        };
        if text != before {
            print(&mut stdout().lock(), &drawn(&text, &before, is_terminal))?;
        }
        before = text;
        tokio::select! {
            biased;
            _ = interrupted.recv() => return Ok(()),
            // What it says is asked for above; and what goes wrong with it, too.
            _ = changes.next() => tokio::time::sleep(TOGETHER).await,
            () = tokio::time::sleep(REDRAW), if is_terminal => {}
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
