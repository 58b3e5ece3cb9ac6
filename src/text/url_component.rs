//! Binds values into URLs: one component each, never more.
//!
//! Behind the host, everything but RFC 3986's unreserved characters is percent-encoded, so that no value begins a
//! path segment, a query or a fragment. In the host a value is a part of one label, as names in the cluster are.

use std::fmt::Write as _;

use super::bind::{Bind, BindError};

/// A URL under construction.
#[derive(Debug, Default)]
pub(super) struct Binder {
    url: String,
}

impl Binder {
    /// Where the text so far ends.
    fn place(&self) -> Place {
        let Some((_, behind)) = self.url.split_once("://") else { return Place::Scheme };
        if behind.contains(['/', '?', '#', '\\']) { Place::Behind } else { Place::Host }
    }
}

enum Place {
    Scheme,
    Host,
    Behind,
}

impl Bind for Binder {
    fn text(&mut self, text: &str) {
        self.url.push_str(text);
    }

    fn value(&mut self, value: &str) -> Result<(), BindError> {
        match self.place() {
            Place::Host if !value.is_empty() && value.bytes().all(is_of_label) => self.url.push_str(value),
            Place::Scheme | Place::Host => return Err(BindError::Host),
            Place::Behind if value.chars().all(|c| c == '.') => return Err(BindError::Dots),
            Place::Behind => {
                for byte in value.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        self.url.push(char::from(byte));
                    } else {
                        // Writing to a String cannot fail.
                        let _ = write!(self.url, "%{byte:02X}");
                    }
                }
            }
        }
        Ok(())
    }

    fn finish(self) -> String {
        self.url
    }
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;
    use crate::text::bind::around;

    fn bound(before: &str, value: &str, after: &str) -> Result<String, BindError> {
        around(Binder::default(), before, value, after)
    }

    proptest! {
        #[test]
        fn a_value_stays_one_component(value in prop_oneof!["[a/?#&=@:%. \\\\]{0,8}", any::<String>()]) {
            if let Ok(url) = bound("http://kpi/a/", &value, "/b?c=1") {
                let url = Url::parse(&url).unwrap();
                prop_assert_eq!((url.host_str(), url.query()), (Some("kpi"), Some("c=1")));
                prop_assert_eq!(url.path_segments().unwrap().count(), 3, "{}", url);
            }
            if let Ok(url) = bound("http://kpi/?a=", &value, "&b=1") {
                let url = Url::parse(&url).unwrap();
                let pairs: Vec<_> = url.query_pairs().collect();
                prop_assert_eq!(pairs, [("a".into(), value.as_str().into()), ("b".into(), "1".into())]);
            }
            if let Ok(url) = bound("http://a.", &value, ".svc:80/b") {
                let expected = format!("a.{value}.svc");
                prop_assert!(Url::parse(&url).is_err() || Url::parse(&url).unwrap().host_str() == Some(expected.as_str()));
            }
        }
    }

    #[test]
    fn no_value_leads_to_another_host_or_upwards() {
        for value in ["evil.example/", "a@b", "", "A", "a:1"] {
            assert_eq!(bound("http://", value, "/"), Err(BindError::Host), "{value}");
        }
        assert_eq!(bound("", "http", "://kpi/"), Err(BindError::Host));
        assert_eq!(bound("http://kpi/", "..", "/"), Err(BindError::Dots));
    }
}
