//! Lines of a screen, and tones for the words in them that matter.
//!
//! What is shown repeats what gateways, metric sources and people have said: none of it may steer a terminal, so of each text no
//! control character is left. Colours are put around words afterwards, and taken away again where nobody would see them (see
//! [`super::print`]).

use anstyle::{AnsiColor, Style};

/// What a word means to whoever looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Nobody knows yet, or it is waited for.
    Doubtful,
    /// Not as it should be.
    Bad,
    /// For whoever wants to know more.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Doubtful => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// With a tone.
    #[must_use]
    pub fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn shown(&self) -> String {
        let text: String = self.text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        match self.tone {
            // Not around the blanks that fill a column.
            Some(tone) if !text.trim_end().is_empty() => {
                let (style, word) = (tone.style(), text.trim_end());
                format!("{style}{word}{style:#}{}", " ".repeat(text.len() - word.len()))
            }
            _ => text,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    cells: Vec<Cell>,
}

impl Line {
    /// That begins with this.
    #[must_use]
    pub fn of(cell: impl Into<Cell>) -> Self {
        Self { cells: vec![cell.into()] }
    }

    /// And goes on with this.
    #[must_use]
    pub fn and(mut self, cell: impl Into<Cell>) -> Self {
        self.cells.push(cell.into());
        self
    }

    /// Behind something else.
    #[must_use]
    pub fn behind(mut self, cell: impl Into<Cell>) -> Self {
        self.cells.insert(0, cell.into());
        self
    }

    /// Without blanks at its end.
    fn shown(&self) -> String {
        let mut cells = self.cells.clone();
        while let Some(last) = cells.last_mut() {
            last.text.truncate(last.text.trim_end().len());
            if !last.text.is_empty() {
                break;
            }
            cells.pop();
        }
        cells.iter().map(Cell::shown).collect()
    }
}

/// Lines as text; ends in a line break.
#[must_use]
pub fn show(lines: &[Line]) -> String {
    lines.iter().map(|it| it.shown() + "\n").collect()
}

/// Columns as wide as their widest cell.
#[must_use]
pub fn aligned<const N: usize>(rows: Vec<[Cell; N]>) -> Vec<Line> {
    let mut widths = [0; N];
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.width().max(*width));
    }
    let line = |row: [Cell; N]| {
        let mut line = Line::default();
        for (index, (mut cell, width)) in row.into_iter().zip(widths).enumerate() {
            let missing = width.saturating_sub(cell.width());
            cell.text.push_str(&" ".repeat(missing));
            line = if index == 0 { line.and(cell) } else { line.and("  ").and(cell) };
        }
        line
    };
    rows.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_that_is_shown_steers_a_terminal_and_every_line_is_one(texts in prop::collection::vec(any::<String>(), 0..4)) {
            let lines: Vec<Line> = texts.iter().map(|it| Line::of(Cell::toned(Tone::Bad, it)).and(it)).collect();
            let shown = show(&lines);
            let plain = anstream::adapter::strip_str(&shown).to_string();
            prop_assert_eq!(plain.matches('\n').count(), texts.len());
            prop_assert!(!plain.chars().any(|it| it.is_control() && it != '\n'));
        }

        #[test]
        fn columns_begin_below_each_other(rows in prop::collection::vec(prop::array::uniform3("[a-zäöü]{0,8}"), 1..5)) {
            let cells = rows.iter().cloned().map(|row| row.map(|it| Cell::toned(Tone::Good, it))).collect();
            let shown = show(&aligned::<3>(cells));
            let plain = anstream::adapter::strip_str(&shown).to_string();
            let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap();
            for (line, row) in plain.lines().zip(&rows) {
                let third: String = line.chars().skip(widest(0) + widest(1) + 4).collect();
                prop_assert_eq!(&third, &row[2]);
            }
        }
    }

    #[test]
    fn a_tone_is_around_the_word_and_not_around_the_blanks_behind_it() {
        let rows = vec![[Cell::toned(Tone::Good, "Pass"), "x".into()], [Cell::from("Inconclusive"), "y".into()]];
        assert_eq!(show(&aligned(rows)), "\u{1b}[32mPass\u{1b}[0m          x\nInconclusive  y\n");
    }
}
