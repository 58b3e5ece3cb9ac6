//! How far a long look at the log is, on a terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

const WIDTH: u64 = 30;
/// Often enough to be seen to move.
const EVERY: Duration = Duration::from_millis(100);

/// A line on stderr that is written over; nothing where stderr is no terminal.
pub(in crate::cli) struct Bar {
    shown: Option<Instant>,
    is_terminal: bool,
}

impl Bar {
    pub(in crate::cli) fn new() -> Self {
        Self { shown: None, is_terminal: stderr().is_terminal() }
    }

    pub(in crate::cli) fn at(&mut self, done: u64, of: u64) {
        self.show(done == of, || line(done, of));
    }

    /// Where nobody knows yet how many there are.
    pub(in crate::cli) fn read(&mut self, entries: u64) {
        self.show(false, || format!("{entries} entries read"));
    }

    fn show(&mut self, is_last: bool, line: impl FnOnce() -> String) {
        if !self.is_terminal {
            return;
        }
        if is_last || self.shown.is_none_or(|it| it.elapsed() > EVERY) {
            self.shown = Some(Instant::now());
            // A terminal that is gone is no reason to stop.
            let _ = write!(stderr(), "\r{}", line());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = writeln!(stderr());
        }
    }
}

fn line(done: u64, of: u64) -> String {
    let filled = done.saturating_mul(WIDTH).checked_div(of).unwrap_or(WIDTH).min(WIDTH);
    let bar: String = (0..WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
    format!("{bar} {done} of {of} entries")
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_bar_fills_as_entries_are_done() {
        assert_eq!(line(0, 10), format!("{} 0 of 10 entries", "░".repeat(30)));
        assert_eq!(line(5, 10), format!("{}{} 5 of 10 entries", "█".repeat(15), "░".repeat(15)));
        assert_eq!(line(0, 0), format!("{} 0 of 0 entries", "█".repeat(30)));
    }
}
