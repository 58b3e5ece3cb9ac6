//! JSON paths that lead to one value, and the number there.
//!
//! Of RFC 9535 these are the singular queries (section 2.3.5.1): names and indexes, `$.revisions['abc'].rates[-1]`. What they
//! leave out, wildcards, descents and filters, gives many values, and lets whoever writes a path have the operator
//! work for as long as they like (`$..*..*..*`). So a document is read once, front to back, and nothing of it is
//! kept but the value that the path leads to.

use std::collections::VecDeque;
use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Deeper documents exist; paths into them are typing errors.
const MOST_STEPS: usize = 32;
/// Values kept for an index from the end.
const FURTHEST_FROM_END: usize = 1000;

/// A path to one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(usize),
    /// From 1: the last one.
    FromEnd(usize),
}

/// Why a path is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "at character {at}: {problem}; a path leads to one value: $, then .name, ['name'] or [0] (negative: from the end), at most {MOST_STEPS} of them"
)]
pub struct NotAPath {
    at: usize,
    problem: &'static str,
}

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found {
    /// A number, also one that is written as a text; such may be NaN or infinite.
    Number(f64),
    /// Nothing, or null.
    Nothing,
    /// Something else; says what.
    Other(&'static str),
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// It is none, or could lead to many values.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        let mut reader = Reader { text, rest: text };
        if !reader.skip('$') {
            return Err(reader.problem("it does not begin with $"));
        }
        let mut steps = Vec::new();
        while !reader.rest.is_empty() {
            if steps.len() == MOST_STEPS {
                return Err(reader.problem("it is too long"));
            }
            steps.push(reader.step()?);
        }
        Ok(Self(steps))
    }

    /// What is at the path in a JSON document. Of equal names the last counts.
    ///
    /// # Errors
    /// The document is no JSON, or is nested too deeply on the way.
    pub fn find(&self, json: &[u8]) -> serde_json::Result<Found> {
        let mut document = serde_json::Deserializer::from_slice(json);
        let found = At(&self.0).deserialize(&mut document)?;
        document.end()?;
        Ok(found)
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn problem(&self, problem: &'static str) -> NotAPath {
        let read = self.text.len() - self.rest.len();
        NotAPath { at: 1 + self.text.get(..read).map_or(0, |it| it.chars().count()), problem }
    }

    fn skip(&mut self, c: char) -> bool {
        let rest = self.rest.strip_prefix(c);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn step(&mut self) -> Result<Step, NotAPath> {
        if self.skip('.') {
            return self.name();
        }
        if !self.skip('[') {
            return Err(self.problem("neither .name nor [ follows"));
        }
        let step = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.index()?,
        };
        if self.skip(']') { Ok(step) } else { Err(self.problem("] is missing")) }
    }

    fn name(&mut self) -> Result<Step, NotAPath> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.problem("this is no name; quote it: ['…']"));
        }
        self.rest = rest;
        Ok(Step::Member(name.to_owned()))
    }

    fn index(&mut self) -> Result<Step, NotAPath> {
        let end = self.rest.find(']').unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        let digits = number.strip_prefix('-').unwrap_or(number);
        let plain = digits.bytes().all(|it| it.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
        let step = match digits.parse::<usize>() {
            Ok(index) if plain && digits == number => Step::Element(index),
            Ok(back @ 1..=FURTHEST_FROM_END) if plain => Step::FromEnd(back),
            _ => return Err(self.problem("neither a quoted name nor an index")),
        };
        self.rest = rest;
        Ok(step)
    }

    /// As a JSON string, which has the same escapes.
    fn quoted(&mut self, quote: char) -> Result<Step, NotAPath> {
        let mut json = String::from('"');
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, '\'')) if quote == '\'' => json.push('\''),
                    Some((_, escaped)) => json.extend(['\\', escaped]),
                    None => break,
                },
                c if c == quote => {
                    json.push('"');
                    let Ok(name) = serde_json::from_str(&json) else { break };
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(Step::Member(name));
                }
                '"' => json.push_str("\\\""),
                c => json.push(c),
            }
        }
        Err(self.problem("this quoted name does not end, or has an unknown escape"))
    }
}

/// What is left of the path, at a value.
struct At<'a>(&'a [Step]);

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Found, D::Error> {
        value.deserialize_any(self)
    }
}

impl At<'_> {
    /// A value without an inside: nothing, if the path goes on.
    fn end(&self, found: Found) -> Found {
        if self.0.is_empty() { found } else { Found::Nothing }
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Found;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Found, E> {
        Ok(self.end(Found::Other("true or false, not a number")))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Found, E> {
        Ok(self.end(Found::Number(number as f64)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Found, E> {
        Ok(self.end(Found::Number(number as f64)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Found, E> {
        Ok(self.end(Found::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Found, E> {
        let found = text.trim().parse().map_or(Found::Other("a text that is no number"), Found::Number);
        Ok(self.end(found))
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found, A::Error> {
        let mut found = self.end(Found::Other("a list, not a number"));
        match self.0.split_first() {
            Some((Step::Element(wanted), rest)) => {
                for _ in 0..*wanted {
                    if list.next_element::<IgnoredAny>()?.is_none() {
                        return Ok(found);
                    }
                }
                found = list.next_element_seed(At(rest))?.unwrap_or(found);
            }
            Some((Step::FromEnd(back), rest)) => {
                let mut last = VecDeque::new();
                while let Some(element) = list.next_element_seed(At(rest))? {
                    last.push_back(element);
                    if last.len() > *back {
                        last.pop_front();
                    }
                }
                found = last.front().filter(|_| last.len() == *back).copied().unwrap_or(found);
            }
            _ => {}
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Found, A::Error> {
        let mut found = self.end(Found::Other("an object, not a number"));
        while let Some(name) = object.next_key::<String>()? {
            match self.0.split_first() {
                Some((Step::Member(wanted), rest)) if *wanted == name => found = object.next_value_seed(At(rest))?,
                _ => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn find(path: &str, document: &serde_json::Value) -> Found {
        JsonPath::parse(path).unwrap().find(document.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn names_and_indexes_lead_to_a_number() {
        let document = json!({"a": {"b c": [1, 2.5, {"ü": -3}]}, "it's": {"\"": 4}, "": 5});
        for (path, number) in [
            ("$.a['b c'][0]", 1.0),
            (r#"$["a"]["b c"][1]"#, 2.5),
            ("$.a['b c'][-2]", 2.5),
            ("$.a['b c'][2].ü", -3.0),
            (r#"$['it\'s']['"']"#, 4.0),
            (r#"$["it's"]["\""]"#, 4.0),
            (r#"$['it\u0027s']["\u0022"]"#, 4.0),
            ("$['']", 5.0),
        ] {
            assert_eq!(find(path, &document), Found::Number(number), "{path}");
        }
        assert_eq!(find("$", &json!(7)), Found::Number(7.0));
        assert_eq!(find("$", &json!("7.5")), Found::Number(7.5), "a number as a text");
    }

    #[test]
    fn what_is_not_there_and_null_are_nothing() {
        let document = json!({"a": [1, null], "b": 1});
        for path in ["$.c", "$.a[1]", "$.a[2]", "$.a[-3]", "$.a.b", "$.b.c", "$.b[0]", "$[0]", "$.a[-1].b"] {
            assert_eq!(find(path, &document), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn what_is_no_number_is_told_by_its_kind() {
        let document = json!({"a": "one", "b": true, "c": [1], "d": {"e": 1}});
        for (path, kind) in [
            ("$.a", "a text that is no number"),
            ("$.b", "true or false, not a number"),
            ("$.c", "a list, not a number"),
            ("$.d", "an object, not a number"),
        ] {
            assert_eq!(find(path, &document), Found::Other(kind), "{path}");
        }
    }

    #[test]
    fn a_path_to_many_values_is_refused_and_the_place_named() {
        for (path, at) in [
            ("", 1),
            ("a.b", 1),
            ("$a", 2),
            ("$..a", 3),
            ("$.*", 3),
            ("$.a[*]", 5),
            ("$[?@.a>1]", 3),
            ("$[0:2]", 3),
            ("$[0,1]", 3),
            ("$[01]", 3),
            ("$[-0]", 3),
            ("$[1001", 7),
            ("$[-1001]", 3),
            ("$['a", 3),
            (r"$['\x']", 3),
            ("$.a b", 4),
            ("$.1", 3),
        ] {
            assert_eq!(JsonPath::parse(path).unwrap_err().at, at, "{path}");
        }
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(32))).is_ok());
        assert!(JsonPath::parse(&format!("${}", ".a".repeat(33))).is_err());
    }

    #[test]
    fn a_document_that_is_cut_off_or_goes_on_behind_its_end_is_none() {
        let path = JsonPath::parse("$.a").unwrap();
        for document in [r#"{"a": 1"#, r#"{"a": 1} x"#, "", "<html>", r#"{"a": 1e999}"#] {
            assert!(path.find(document.as_bytes()).is_err(), "{document}");
        }
    }

    #[test]
    fn a_deep_document_overflows_no_stack() {
        let deep = format!("{}{}", "[".repeat(1 << 19), "]".repeat(1 << 19));
        assert_eq!(JsonPath::parse("$.a").unwrap().find(deep.as_bytes()).unwrap(), Found::Nothing);
        let path = format!("${}", "[0]".repeat(32));
        assert!(JsonPath::parse(&path).unwrap().find(deep.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn any_name_can_be_quoted(name in any::<String>()) {
            let path = format!("$[{}]", serde_json::to_string(&name).unwrap());
            prop_assert_eq!(find(&path, &json!({name: 3})), Found::Number(3.0));
        }

        #[test]
        fn no_path_and_no_document_make_it_panic(path in "\\$([.\\[\\]'\"\\\\0-9a*?-]|\\PC){0,12}", document in any::<Vec<u8>>()) {
            if let Ok(path) = JsonPath::parse(&path) {
                let _ = path.find(&document);
            }
        }
    }
}
