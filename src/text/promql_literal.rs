//! Binds values into PromQL so that none can change the query's shape.
//!
//! A value is data, the text around it is the author's. What keeps a value data
//! depends on where it stands: in a quoted string it is escaped; in a string that
//! a label matcher reads as a regular expression it is first quoted as one, so
//! that `.` means a dot; in a backquoted string, where nothing can be escaped, and
//! outside of strings (`[{{ window }}]`) only values are let in that are a single
//! harmless token there. So the query is read from its start with the lexical
//! rules of PromQL's strings and comments, and each value is bound for its place.

use super::bind::{Bind, BindError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Bare,
    Quoted { quote: char, regex: bool, escaping: bool },
    Raw { regex: bool },
    Comment,
}

/// A query under construction, and the place its end is at.
#[derive(Debug)]
pub(super) struct Binder {
    query: String,
    place: Place,
    /// The last two characters outside of strings that are not blank: `=~` and `!~` make a regex.
    operator: [char; 2],
}

impl Binder {
    /// An empty query.
    pub(super) fn new() -> Self {
        Self { query: String::new(), place: Place::Bare, operator: [' '; 2] }
    }

    fn after(&self, c: char) -> Place {
        let regex = matches!(self.operator, ['=' | '!', '~']);
        match (self.place, c) {
            (Place::Bare, '"' | '\'') => Place::Quoted { quote: c, regex, escaping: false },
            (Place::Bare, '`') => Place::Raw { regex },
            (Place::Bare, '#') => Place::Comment,
            (Place::Comment, '\n') => Place::Bare,
            (Place::Raw { .. }, '`') => Place::Bare,
            (Place::Quoted { quote, regex, escaping: true }, _) => Place::Quoted { quote, regex, escaping: false },
            (Place::Quoted { quote, regex, .. }, '\\') => Place::Quoted { quote, regex, escaping: true },
            (Place::Quoted { quote, .. }, _) if c == quote => Place::Bare,
            (place, _) => place,
        }
    }
}

impl Bind for Binder {
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            self.place = self.after(c);
            if self.place == Place::Bare && !c.is_whitespace() {
                let [_, last] = self.operator;
                self.operator = [last, c];
            }
            self.query.push(c);
        }
    }

    fn value(&mut self, value: &str) -> Result<(), BindError> {
        match self.place {
            Place::Bare if is_token(value) => {
                self.query.push_str(value);
                self.operator = [' '; 2];
            }
            Place::Bare => return Err(BindError::Bare),
            Place::Comment => return Err(BindError::Comment),
            Place::Quoted { escaping: true, .. } => return Err(BindError::AfterBackslash),
            Place::Raw { .. } if value.contains('`') => return Err(BindError::Backquote),
            Place::Raw { regex } => self.query.push_str(&literally(value, regex)),
            Place::Quoted { quote, regex, .. } => {
                for c in literally(value, regex).chars() {
                    escape(c, quote, &mut self.query);
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        self.query
    }
}

fn is_token(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.'))
}

/// The value, or the regular expression (RE2) that matches exactly it.
fn literally(value: &str, regex: bool) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if regex && r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn escape(c: char, quote: char, out: &mut String) {
    match c {
        '\\' => out.push_str(r"\\"),
        '\n' => out.push_str(r"\n"),
        c if c == quote => out.extend(['\\', c]),
        c if c.is_ascii_control() => out.push_str(&format!(r"\x{:02x}", u32::from(c))),
        c => out.push(c),
    }
}
