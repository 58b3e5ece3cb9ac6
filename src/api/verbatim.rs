//! Objects of another API, passed through as their author wrote them.
//!
//! The caches hold a list of them for every deployment, and nobody looks into it but to compare it or to write it again.
//! So it is kept as text, a tenth of the size of the same JSON as a tree.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A list of JSON values, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verbatim(Box<str>);

impl Verbatim {
    /// The list as trees.
    #[must_use]
    pub fn list(&self) -> Vec<Value> {
        // It was written by serde from such a list.
        serde_json::from_str(&self.0).unwrap_or_default()
    }
}

impl From<Vec<Value>> for Verbatim {
    fn from(list: Vec<Value>) -> Self {
        Self(Value::Array(list).to_string().into_boxed_str())
    }
}

impl Default for Verbatim {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl Serialize for Verbatim {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Verbatim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_written_is_what_is_read_whatever_the_order_of_its_keys() {
        let text = r#"[{"name":"internal","port":1,"nested":{"b":[1,2.5,null],"a":"é\n"}},"x"]"#;
        let it: Verbatim = serde_json::from_str(text).unwrap();
        assert_eq!(json!(it), serde_json::from_str::<Value>(text).unwrap());
        assert_eq!(it, Verbatim::from(it.list()));
        let other_order: Verbatim =
            serde_json::from_str(r#"[{"nested":{"a":"é\n","b":[1,2.5,null]},"port":1,"name":"internal"},"x"]"#)
                .unwrap();
        assert_eq!(it, other_order);
        assert_eq!(json!(Verbatim::default()), json!([]));
        assert!(serde_json::from_str::<Verbatim>("{}").is_err());
    }
}
