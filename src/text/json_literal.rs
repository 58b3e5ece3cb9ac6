//! Binds values into JSON and JSON paths: as the content of a string, or as a number.
//!
//! Both have the same strings and the same escapes in them (RFC 8259, section 7; RFC 9535, section 2.3.1.1), but that a
//! path's may stand in single quotes as well.

use super::bind::{Bind, BindError};

/// JSON, or a JSON path, under construction.
#[derive(Debug)]
pub(super) struct Binder {
    out: String,
    quotes: &'static [char],
    /// The quote that the string at the end is in.
    quote: Option<char>,
    escaping: bool,
}

impl Binder {
    /// An empty JSON text.
    pub(super) fn json() -> Self {
        Self { out: String::new(), quotes: &['"'], quote: None, escaping: false }
    }

    /// An empty JSON path.
    pub(super) fn path() -> Self {
        Self { quotes: &['"', '\''], ..Self::json() }
    }
}

impl Bind for Binder {
    fn text(&mut self, text: &str) {
        for c in text.chars() {
            match self.quote {
                Some(_) if self.escaping => self.escaping = false,
                Some(_) if c == '\\' => self.escaping = true,
                Some(quote) if c == quote => self.quote = None,
                None if self.quotes.contains(&c) => self.quote = Some(c),
                _ => {}
            }
            self.out.push(c);
        }
    }

    fn value(&mut self, value: &str) -> Result<(), BindError> {
        if self.escaping {
            return Err(BindError::AfterBackslash);
        }
        let Some(quote) = self.quote else {
            let digits = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
            self.out.push_str(value);
            return if digits { Ok(()) } else { Err(BindError::NoNumber) };
        };
        for c in value.chars() {
            if c == quote || c == '\\' {
                self.out.extend(['\\', c]);
            } else if c.is_control() {
                // Control characters are all below U+10000: one unit each.
                self.out.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                self.out.push(c);
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        self.out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::bind::around as bound;
    use crate::text::json_path::{Found, JsonPath};

    proptest! {
        #[test]
        fn no_value_can_leave_its_string(value in prop_oneof!["[\"'\\\\{},:\n]{0,8}", any::<String>()]) {
            let json = bound(Binder::json(), r#"{"a": "x"#, &value, r#"y", "b": 1}"#).unwrap();
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, serde_json::json!({"a": format!("x{value}y"), "b": 1}));
        }

        #[test]
        fn no_value_can_leave_a_name_of_a_path(
            value in prop_oneof!["[\"'\\\\\\[\\]*.]{0,8}", any::<String>()],
            quote in prop_oneof![Just('"'), Just('\'')],
        ) {
            let path = bound(Binder::path(), &format!("$.a[{quote}x"), &value, &format!("y{quote}].b")).unwrap();
            let document = serde_json::json!({"a": {format!("x{value}y"): {"b": 3}}, "b": 1});
            let found = JsonPath::parse(&path).unwrap().find(document.to_string().as_bytes()).unwrap();
            prop_assert_eq!(found, Found::Number(3.0), "{}", path);
        }
    }

    #[test]
    fn outside_of_strings_only_numbers_are_let_in() {
        assert_eq!(bound(Binder::json(), r#"{"since": "#, "17", "}").unwrap(), r#"{"since": 17}"#);
        for value in ["", "1m", "null", "1, 2", "-1"] {
            assert_eq!(bound(Binder::json(), "[", value, "]"), Err(BindError::NoNumber), "{value}");
        }
        assert_eq!(bound(Binder::json(), r#"["\"#, "n", r#""]"#), Err(BindError::AfterBackslash));
    }

    #[test]
    fn a_quote_that_is_escaped_ends_no_string() {
        assert_eq!(bound(Binder::json(), r#"["\""#, "\"", r#""]"#).unwrap(), r#"["\"\""]"#);
    }
}
