//! Telling people what takes long.
//!
//! One line that says what is done, why, and how long it usually takes. On a
//! terminal the elapsed time counts up in that line; elsewhere (CI) a line a
//! minute shows that it is still alive.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints one line to stderr.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "workbench: {line}");
}

/// Runs `work` and shows that it runs.
pub(super) async fn shown<T>(line: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let terminal = std::io::stderr().is_terminal();
    let every = Duration::from_secs(if terminal { 1 } else { 60 });
    let start = Instant::now();
    if !terminal {
        say(line);
    }
    let mut work = std::pin::pin!(work);
    let result = loop {
        if terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[Kworkbench: {line} [{}]", clock(start.elapsed()));
        }
        match tokio::time::timeout(every, work.as_mut()).await {
            Ok(result) => break result,
            Err(_) if !terminal => say(&format!("still at it after {}", clock(start.elapsed()))),
            Err(_) => {}
        }
    };
    if terminal {
        let _ = writeln!(std::io::stderr());
    }
    let word = if result.is_ok() { "done" } else { "failed" };
    say(&format!("{word} after {}", clock(start.elapsed())));
    result
}

fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
