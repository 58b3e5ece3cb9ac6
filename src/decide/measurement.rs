//! What one look at a metric gave, before anyone judges it.
//!
//! Answers that must never be confused: a number, "the source is fine and
//! has nothing to say", "the question is broken" (or its credentials are), and "the source is broken". Only the
//! last counts towards an outage; only the first can pass.

use serde::{Deserialize, Serialize};

/// One measurement of one metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Measurement {
    /// A number; infinite ones included (a ratio over zero breaches any maximum), never NaN.
    Value(#[serde(with = "as_text")] f64),
    /// No series, or NaN; says which.
    NoData(String),
    /// The provider answers, but not to this query: somebody has to correct it; says how.
    Refused(String),
    /// It was not asked: a Secret that the question needs cannot be read; says how to change that.
    SecretNotReadable(String),
    /// The provider did not answer, or not as one; says what to do.
    ProviderError(String),
}

impl Measurement {
    /// A number from a provider; NaN is `NoData`.
    #[must_use]
    pub fn of(value: f64) -> Self {
        if value.is_nan() {
            Self::NoData("the query returned NaN (often 0/0: no requests yet)".to_owned())
        } else {
            Self::Value(value)
        }
    }
}

/// JSON has no infinity, so the number travels as text.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<f64>() {
            Ok(value) if !value.is_nan() => Ok(value),
            _ => Err(D::Error::custom("a measurement's value is a number, not NaN")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_measurement_survives_json(value in any::<f64>()) {
            let measurement = Measurement::of(value);
            let json = serde_json::to_string(&measurement).unwrap();
            prop_assert_eq!(serde_json::from_str::<Measurement>(&json).unwrap(), measurement);
        }
    }

    #[test]
    fn infinity_is_a_value_and_nan_is_no_data() {
        assert_eq!(serde_json::to_string(&Measurement::of(f64::INFINITY)).unwrap(), r#"{"value":"inf"}"#);
        assert!(matches!(Measurement::of(f64::NAN), Measurement::NoData(_)));
    }
}
