//! Values on their way to a database and numbers on their way back.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};

/// A value in PostgreSQL's text format: what the parameter is of is for the statement to say.
#[derive(Debug)]
pub(super) struct Text<'a>(pub(super) &'a str);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A number of any of PostgreSQL's types for them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Number(pub(super) f64);

impl Number {
    /// Whether this is a type for numbers.
    pub(super) fn reads(ty: &Type) -> bool {
        [Type::INT2, Type::INT4, Type::INT8, Type::FLOAT4, Type::FLOAT8, Type::NUMERIC].contains(ty)
    }
}

impl<'a> FromSql<'a> for Number {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let number = match *ty {
            Type::INT2 => i16::from_sql(ty, raw)?.into(),
            Type::INT4 => i32::from_sql(ty, raw)?.into(),
            Type::INT8 => i64::from_sql(ty, raw)? as f64,
            Type::FLOAT4 => f32::from_sql(ty, raw)?.into(),
            Type::FLOAT8 => f64::from_sql(ty, raw)?,
            _ => numeric(raw).ok_or("this is no numeric")?,
        };
        Ok(Self(number))
    }

    fn accepts(ty: &Type) -> bool {
        Self::reads(ty)
    }
}

/// PostgreSQL's `numeric` as it is sent (`numeric_send` in its `numeric.c`): the number of digits, the weight of the first
/// one, sign and scale, then the digits, to the base of 10,000.
fn numeric(raw: &[u8]) -> Option<f64> {
    let mut words = raw.chunks_exact(2).map(|it| it.try_into().map(u16::from_be_bytes));
    let mut next = || words.next()?.ok();
    let (digits, weight, sign, _scale) = (next()?, next()?.cast_signed(), next()?, next()?);
    let sign = match sign {
        0x0000 => "",
        0x4000 => "-",
        0xd000 => return Some(f64::INFINITY),
        0xf000 => return Some(f64::NEG_INFINITY),
        _ => return Some(f64::NAN),
    };
    let mut text = format!("{sign}0");
    for _ in 0..digits {
        text.push_str(&format!("{:04}", next()?));
    }
    let exponent = 4 * (i32::from(weight) + 1 - i32::from(digits));
    // By way of the text: the nearest number, rounded once.
    format!("{text}e{exponent}").parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(words: &[u16]) -> Option<f64> {
        numeric(&words.iter().flat_map(|it| it.to_be_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn numerics_are_read_as_the_nearest_number() {
        assert_eq!(read(&[3, 1, 0, 3, 1, 2345, 6780]), Some(12345.678));
        assert_eq!(read(&[1, 0xfffe, 0x4000, 7, 1250]), Some(-0.000_012_5));
        assert_eq!(read(&[1, 0xffff, 0, 2, 100]), Some(0.01));
        assert_eq!(read(&[0, 0, 0, 0]), Some(0.0));
        assert_eq!(read(&[1, 24, 0, 0, 1]), Some(1e96));
        assert_eq!(read(&[0, 0, 0xd000, 0]), Some(f64::INFINITY));
        assert!(read(&[0, 0, 0xc000, 0]).unwrap().is_nan());
    }

    proptest! {
        #[test]
        fn whatever_a_database_sends_is_a_number_or_none(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let whole = raw.get(..2).map_or(usize::MAX, |it| 8 + 2 * usize::from(u16::from_be_bytes([it[0], it[1]])));
            let is_finite_by_its_sign = matches!(raw.get(4..6), Some([0 | 0x40, 0]));
            prop_assert!(numeric(&raw).is_none() || !is_finite_by_its_sign || raw.len() >= whole, "{raw:?}");
        }
    }

    #[test]
    fn what_is_cut_off_is_none() {
        assert_eq!(read(&[3, 1, 0, 3, 1]), None);
        assert_eq!(numeric(&[0]), None);
    }
}
