//! How much of the traffic a revision gets.
//!
//! Held in hundredths of a percent, so that `0.5%` is exact and the two
//! backends of a route always add up to the same [`Weight::TOTAL`].

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::quantity::{Quantity, int_or_string};

/// A share of traffic as written in a rollout step: `5`, `5%`, `0.5%`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WeightText(pub Quantity);

/// A share of traffic, 0 % to 100 %, in hundredths of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

/// Why a weight is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a weight: write a percentage from 0% to 100% with at most two decimals, such as 5% or 0.5%")]
pub struct NotAWeight {
    text: String,
}

impl Weight {
    /// What all weights of a route add up to.
    pub const TOTAL: i32 = 10_000;
    /// No traffic.
    pub const NONE: Self = Self(0);
    /// All traffic.
    pub const FULL: Self = Self(10_000);

    /// From hundredths of a percent; above 100 % is 100 %.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Self {
        Self(hundredths.min(10_000))
    }

    /// From a whole percentage; below 0 % is none, above 100 % is all.
    #[must_use]
    pub fn from_percent(percent: i32) -> Self {
        Self::from_hundredths(u16::try_from(percent.clamp(0, 100)).unwrap_or_default().saturating_mul(100))
    }

    /// In hundredths of a percent: what the gateway's `backendRefs` carry.
    #[must_use]
    pub fn hundredths(self) -> i32 {
        i32::from(self.0)
    }

    /// What is left for the other backend.
    #[must_use]
    pub fn rest(self) -> Self {
        Self(10_000_u16.saturating_sub(self.0))
    }

    /// `ceil(replicas × weight)`, at least one unless there are no replicas at
    /// all: the ready pods a candidate needs before it may carry this weight.
    #[must_use]
    pub fn capacity(self, replicas: i32) -> i32 {
        if replicas <= 0 {
            return 0;
        }
        let pods = (i64::from(replicas) * i64::from(self.0) + 9_999) / 10_000;
        i32::try_from(pods).unwrap_or(replicas).clamp(1, replicas)
    }
}

impl std::fmt::Display for Weight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole}%"),
            part if part % 10 == 0 => write!(f, "{whole}.{}%", part / 10),
            part => write!(f, "{whole}.{part:02}%"),
        }
    }
}

impl WeightText {
    /// The weight meant. An integer is a percentage.
    ///
    /// # Errors
    /// When it is not within 0 % to 100 %, or finer than a hundredth of a percent.
    pub fn weight(&self) -> Result<Weight, NotAWeight> {
        let error = || NotAWeight { text: self.0.to_string() };
        let text = self.0.to_string();
        let digits = text.strip_suffix('%').unwrap_or(&text);
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let plain = |s: &str| s.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !plain(whole) || !plain(part) {
            return Err(error());
        }
        let hundredths = format!("{whole}{part:0<2}").parse::<u32>().map_err(|_| error())?;
        u16::try_from(hundredths).ok().filter(|it| *it <= 10_000).map(Weight).ok_or_else(error)
    }
}

impl JsonSchema for WeightText {
    fn schema_name() -> Cow<'static, str> {
        "Weight".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = int_or_string(r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)%?$");
        schema.insert(
            "x-kubernetes-validations".into(),
            json!([{
                "rule": "type(self) != int || (self > 0 && self <= 100)",
                "message": "a weight is a percentage above 0 and up to 100: write 5% or 0.5%",
            }]),
        );
        schema
    }
}

/// In status a weight is the text `25%`.
impl Serialize for Weight {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        WeightText::deserialize(deserializer)?.weight().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Weight {
    fn schema_name() -> Cow<'static, str> {
        "WeightSet".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weight(text: &str) -> Result<Weight, NotAWeight> {
        WeightText(Quantity::Text(text.into())).weight()
    }

    #[test]
    fn weights_are_percentages_with_or_without_the_sign() {
        assert_eq!(weight("5%").unwrap().hundredths(), 500);
        assert_eq!(weight("5").unwrap().hundredths(), 500);
        assert_eq!(weight("0.5%").unwrap().hundredths(), 50);
        assert_eq!(weight("33.33%").unwrap().hundredths(), 3333);
        assert_eq!(WeightText(Quantity::Integer(100)).weight(), Ok(Weight::FULL));
        for bad in ["", "%", "101", "100.01%", "-5%", "1.234%", "5 %", "five", "0x5"] {
            assert!(weight(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_status_shows_reads_back_as_the_same_weight(hundredths in 0_u16..=10_000) {
            let it = Weight::from_hundredths(hundredths);
            prop_assert_eq!(weight(&it.to_string()), Ok(it));
            prop_assert_eq!(it.hundredths() + it.rest().hundredths(), Weight::TOTAL);
        }

        #[test]
        fn a_candidate_has_pods_for_its_share_and_never_more_than_stable(
            replicas in 1_i32..2_000, hundredths in 0_u16..=10_000,
        ) {
            let pods = Weight::from_hundredths(hundredths).capacity(replicas);
            prop_assert!(pods >= 1 && pods <= replicas);
            prop_assert!(i64::from(pods) * 10_000 >= i64::from(replicas) * i64::from(hundredths));
            prop_assert!(pods == 1 || i64::from(pods - 1) * 10_000 < i64::from(replicas) * i64::from(hundredths));
        }
    }

    #[test]
    fn scaled_to_zero_needs_no_pods() {
        assert_eq!(Weight::FULL.capacity(0), 0);
    }
}
