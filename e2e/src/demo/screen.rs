//! Where the story is told: line by line, and on a terminal with a last line that lives.

use std::io::{IsTerminal, Write};

use anyhow::Result;

/// Standard output, as whoever reads it can use it.
pub(super) struct Screen {
    terminal: bool,
    colours: bool,
    /// The cursor stands at the end of a line that may still change.
    open: bool,
}

/// How a text is set off on a terminal.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Heading,
    Good,
    Bad,
    Quiet,
}

impl Screen {
    /// Lives on a terminal that can; `NO_COLOR` is respected.
    pub(super) fn new() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|it| it == "dumb");
        let terminal = std::io::stdout().is_terminal() && !dumb;
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty());
        Self { terminal, colours, open: false }
    }

    /// Whether a line can be written over.
    pub(super) fn is_live(&self) -> bool {
        self.terminal
    }

    /// A line that stays.
    pub(super) fn say(&mut self, line: &str) -> Result<()> {
        self.keep()?;
        Ok(writeln!(std::io::stdout(), "{line}")?)
    }

    /// A line that the next one replaces. What is wider than the terminal is cut there, not wrapped.
    pub(super) fn show(&mut self, line: &str) -> Result<()> {
        let mut out = std::io::stdout();
        write!(out, "\r\x1b[?7l{line}\x1b[K\x1b[?7h")?;
        self.open = true;
        Ok(out.flush()?)
    }

    /// Lets the line stay that was shown last.
    pub(super) fn keep(&mut self) -> Result<()> {
        if std::mem::take(&mut self.open) {
            writeln!(std::io::stdout())?;
        }
        Ok(())
    }

    /// The text in this style.
    pub(super) fn styled(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Heading => 1,
            Style::Good => 32,
            Style::Bad => 31,
            Style::Quiet => 2,
        };
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

impl Drop for Screen {
    /// Whatever is printed after an interruption begins a line of its own.
    fn drop(&mut self) {
        let _ = self.keep();
    }
}
