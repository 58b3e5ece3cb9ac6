//! Numbers as people write them in YAML.
//!
//! The API has no floats (Kubernetes' API conventions advise against them: they do
//! not survive every client unchanged). A number is an integer or a string, and a
//! string may be a percentage (`5%`) or percentage points (`1pp`). The text is kept
//! as it was written, so what the operator writes back equals what Git holds.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An integer or a string: `250`, `"0.25"`, `1%`, `2pp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Quantity {
    /// Written as a YAML integer.
    Integer(i64),
    /// Written as a YAML string.
    Text(String),
}

/// Why a [`Quantity`] is not a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a number: write an integer, a decimal in quotes (\"0.25\"), or a percentage (5%)")]
pub struct NotANumber {
    text: String,
}

impl Quantity {
    /// The value as a plain number: `1%` and `1pp` are 0.01, `"0.25"` is 0.25, `250` is 250.
    ///
    /// # Errors
    /// When the text is not a finite decimal number.
    pub fn value(&self) -> Result<f64, NotANumber> {
        match self {
            // Exact below 2^53; thresholds beyond that do not exist.
            Self::Integer(number) => Ok(*number as f64),
            Self::Text(text) => {
                let (digits, scale) = match text.strip_suffix('%').or_else(|| text.strip_suffix("pp")) {
                    Some(digits) => (digits, 100.0),
                    None => (text.as_str(), 1.0),
                };
                decimal(digits).map(|number| number / scale).ok_or_else(|| NotANumber { text: text.clone() })
            }
        }
    }
}

/// A decimal in the one notation the schema's pattern allows; `inf`, `nan`, hex and
/// blanks, which `f64::from_str` takes in part, are none.
fn decimal(text: &str) -> Option<f64> {
    let plain = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | 'e' | 'E'));
    if !plain {
        return None;
    }
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        int_or_string(r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?(%|pp)?$")
    }
}

/// Kubernetes' int-or-string, with a pattern for the string.
pub(super) fn int_or_string(pattern: &str) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "maxLength": 32,
        "pattern": pattern,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Result<f64, NotANumber> {
        Quantity::Text(text.into()).value()
    }

    #[test]
    fn percent_and_percentage_points_are_hundredths() {
        assert_eq!(text("1%"), Ok(0.01));
        assert_eq!(text("2.5pp"), Ok(0.025));
        assert_eq!(text("0.25"), Ok(0.25));
        assert_eq!(text("1e-3"), Ok(0.001));
        assert_eq!(Quantity::Integer(250).value(), Ok(250.0));
    }

    #[test]
    fn what_is_not_a_decimal_is_refused_with_the_text_and_the_remedy() {
        for bad in ["", "%", "inf", "nan", "0x10", "1 %", "five", "1%%", "1e999"] {
            let error = text(bad).unwrap_err().to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("write an integer"), "{error}");
        }
    }

    #[test]
    fn the_text_is_kept_as_written() {
        let yaml = "- 5\n- 5%\n- '0.10'\n";
        let numbers: Vec<Quantity> = serde_yaml::from_str(yaml).unwrap();
        assert_eq!(serde_yaml::to_string(&numbers).unwrap(), yaml);
    }
}
