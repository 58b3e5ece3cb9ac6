//! Binds values into SQL: as parameters of the statement, which the database never reads as SQL.
//!
//! A placeholder becomes `($1)`, and its value travels beside the statement. In a string, a quoted name or
//! a comment there are no parameters: the database would silently compare with the text `$1`. So the statement is read
//! from its start with PostgreSQL's lexical rules (its manual, "SQL Syntax: Lexical Structure"), and a placeholder
//! in such a place is refused. A mistake in this reading can make a query wrong, but no value SQL.

use super::bind::{Bind, BindError};

/// A statement under construction.
#[derive(Debug, Default)]
pub(super) struct Binder {
    statement: String,
    values: Vec<String>,
    place: Place,
    /// The two characters before the next one, in the same place.
    before: [char; 2],
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Place {
    #[default]
    Plain,
    /// `'…'` or `"…"`; in `E'…'` a backslash escapes.
    Quoted { quote: char, escapes: bool, escaping: bool },
    /// Right after a quote: another one goes on with the string.
    Closed { quote: char, escapes: bool },
    /// `-- …`
    Line,
    /// `/* … */`, which nests.
    Block { depth: usize },
    /// `$…`, which may become a dollar quote.
    Tag { tag: String },
    /// `$tag$ … $tag$`, and its end so far.
    Dollar { tag: String, content: String },
}

impl Binder {
    /// The values, in the order of their parameters.
    pub(super) fn take_values(&mut self) -> Vec<String> {
        std::mem::take(&mut self.values)
    }

    fn after(&self, c: char) -> Place {
        let [_, last] = self.before;
        match (self.place.clone(), c) {
            (Place::Closed { quote, escapes }, _) if c == quote => Place::Quoted { quote, escapes, escaping: false },
            (Place::Plain | Place::Closed { .. }, _) => self.after_plain(c),
            (Place::Quoted { quote, escapes, escaping: true }, _) => Place::Quoted { quote, escapes, escaping: false },
            (Place::Quoted { quote, escapes: true, .. }, '\\') => {
                Place::Quoted { quote, escapes: true, escaping: true }
            }
            (Place::Quoted { quote, escapes, .. }, _) if c == quote => Place::Closed { quote, escapes },
            (Place::Line, '\n') => Place::Plain,
            (Place::Block { depth }, '*') if last == '/' => Place::Block { depth: depth + 1 },
            (Place::Block { depth: 1 }, '/') if last == '*' => Place::Plain,
            (Place::Block { depth }, '/') if last == '*' => Place::Block { depth: depth - 1 },
            (Place::Tag { tag }, '$') => Place::Dollar { tag: format!("${tag}$"), content: String::new() },
            (Place::Tag { tag }, _) if is_word(c) && !(tag.is_empty() && c.is_ascii_digit()) => {
                Place::Tag { tag: format!("{tag}{c}") }
            }
            (Place::Tag { .. }, _) => self.after_plain(c),
            (Place::Dollar { tag, mut content }, _) => {
                content.push(c);
                if content.ends_with(&tag) { Place::Plain } else { Place::Dollar { tag, content } }
            }
            (place, _) => place,
        }
    }

    fn after_plain(&self, c: char) -> Place {
        let [before_last, last] = self.before;
        match c {
            '\'' => {
                Place::Quoted { quote: c, escapes: matches!(last, 'e' | 'E') && !is_word(before_last), escaping: false }
            }
            '"' => Place::Quoted { quote: c, escapes: false, escaping: false },
            '-' if last == '-' => Place::Line,
            '*' if last == '/' => Place::Block { depth: 1 },
            '$' if !is_word(last) => Place::Tag { tag: String::new() },
            _ => Place::Plain,
        }
    }
}

/// Whether it can be part of a name.
fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

impl Bind for Binder {
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            let place = self.after(c);
            // What opens or closes a place is no character of either: in `/*/` the comment is still open.
            let moved = std::mem::discriminant(&place) != std::mem::discriminant(&self.place);
            let closed = matches!((&place, &self.place), (Place::Plain, Place::Block { .. }));
            let turned =
                matches!((&place, &self.place), (Place::Block { depth: a }, Place::Block { depth: b }) if a != b);
            let [_, last] = self.before;
            self.before = if (moved && place != Place::Plain) || turned || closed { [' '; 2] } else { [last, c] };
            self.place = place;
            self.statement.push(c);
        }
    }

    fn value(&mut self, value: &str) -> Result<(), BindError> {
        let [_, last] = self.before;
        match self.place {
            Place::Plain if is_word(last) => return Err(BindError::NoParameter),
            Place::Plain | Place::Closed { .. } => {}
            Place::Line | Place::Block { .. } => return Err(BindError::Comment),
            Place::Quoted { .. } | Place::Tag { .. } | Place::Dollar { .. } => return Err(BindError::NoParameter),
        }
        self.values.push(value.to_owned());
        self.statement.push_str(&format!("(${})", self.values.len()));
        self.place = Place::Plain;
        self.before = [' ', ')'];
        Ok(())
    }

    fn finish(self) -> String {
        self.statement
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `@` is a value.
    fn bound(template: &str) -> Result<(String, Vec<String>), BindError> {
        let mut binder = Binder::default();
        for (index, text) in template.split('@').enumerate() {
            if index > 0 {
                binder.value("'; DROP TABLE orders --")?;
            }
            binder.text(text);
        }
        let values = binder.take_values();
        Ok((binder.finish(), values))
    }

    #[test]
    fn a_value_is_a_parameter_and_travels_beside_the_statement() {
        let (statement, values) = bound("SELECT avg(a) FROM t WHERE r = @ AND at > now() - @::interval").unwrap();
        assert_eq!(statement, "SELECT avg(a) FROM t WHERE r = ($1) AND at > now() - ($2)::interval");
        assert_eq!(values, ["'; DROP TABLE orders --"; 2]);
    }

    #[test]
    fn strings_names_and_comments_before_a_placeholder_are_over() {
        for before in [
            "'it''s' || ",
            "'a\\' || ",
            "E'\\'' || ",
            "E'a''\\'' || ",
            "type'\\' || ",
            "\"a'b\" || ",
            "a -- it's\n|| ",
            "/* it's /* nested */ */ ",
            "/*/ */ ",
            "/**/ ",
            "2 /**/* ",
            "2 /* x */- ",
            "$$it's$$ || ",
            "$a$it's $$ $b$ $a$ || ",
            "a$b || ",
            "$1 || ",
            "a - -",
            "a / * ",
            "'a'",
        ] {
            assert_eq!(bound(&format!("{before}@")).map(|it| it.1.len()), Ok(1), "{before}");
        }
    }

    #[test]
    fn where_the_database_would_read_no_parameter_it_is_refused() {
        for template in [
            "r = '@'",
            "r = 'a@b'",
            "r = E'\\'@'",
            "r = 'it''s @'",
            "\"@\"",
            "$$ @ $$",
            "$a$ $$ @ $a$",
            "$@",
            "a@",
            "7@",
        ] {
            assert_eq!(bound(template), Err(BindError::NoParameter), "{template}");
        }
        for template in ["-- @", "/* @ */", "/* /* */ @ */", "/*/ @"] {
            assert_eq!(bound(template), Err(BindError::Comment), "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_value_gets_into_the_statement(template in "[@a'\"$/*\n\\\\eE -]{0,16}") {
            if let Ok((statement, values)) = bound(&template) {
                prop_assert!(!statement.contains("DROP"), "{}", statement);
                prop_assert_eq!(values.len(), template.matches('@').count());
            }
        }
    }
}
