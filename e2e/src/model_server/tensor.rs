//! Tensors in JSON, and what is checked before one is believed.
//!
//! Shape, datatype and data say the same thing three times; where they disagree
//! the request is refused with the sentence that tells the client which one to fix.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// More rows than this in one request would hold up everybody else's.
pub(crate) const MAX_ROWS: u64 = 1024;

/// A tensor of the Open Inference Protocol v2.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) datatype: String,
    pub(crate) data: Value,
}

/// One feature's values, a row each, from a tensor of shape `[n]` or `[n, 1]`.
pub(crate) fn column(tensor: &Tensor) -> Result<Vec<f64>, String> {
    let Tensor { name, shape, datatype, data } = tensor;
    let rows = match shape.as_slice() {
        [rows] | [rows, 1] => *rows,
        _ => {
            return Err(format!("input `{name}` has shape {shape:?}; send [n] or [n, 1]"));
        }
    };
    if !(1..=MAX_ROWS).contains(&rows) {
        return Err(format!("input `{name}` has {rows} rows; send 1 to {MAX_ROWS}"));
    }
    let mut values = Vec::new();
    flatten(data, &mut values);
    if values.len() as u64 != rows {
        let got = values.len();
        return Err(format!("input `{name}` has shape {shape:?} but {got} values; make them agree"));
    }
    values
        .into_iter()
        .enumerate()
        .map(|(n, value)| number(value, datatype).ok_or_else(|| refusal(name, datatype, n)))
        .collect()
}

/// The protocol allows data nested by dimension or flat in row-major order.
fn flatten<'a>(data: &'a Value, into: &mut Vec<&'a Value>) {
    match data {
        Value::Array(items) => items.iter().for_each(|item| flatten(item, into)),
        value => into.push(value),
    }
}

fn number(value: &Value, datatype: &str) -> Option<f64> {
    match datatype {
        "FP64" => value.as_f64(),
        "FP32" => value.as_f64().filter(|v| v.abs() <= f64::from(f32::MAX)),
        "INT64" => value.as_i64().map(|v| v as f64),
        "INT32" => value.as_i64().and_then(|v| i32::try_from(v).ok()).map(f64::from),
        _ => None,
    }
}

fn refusal(name: &str, datatype: &str, n: usize) -> String {
    match datatype {
        "FP64" | "FP32" | "INT64" | "INT32" => {
            format!("value {n} of input `{name}` is not {datatype}; send numbers")
        }
        _ => format!("input `{name}` has datatype {datatype}; send FP64, FP32, INT64 or INT32"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tensor(shape: &[u64], datatype: &str, data: Value) -> Tensor {
        Tensor { name: "x".into(), shape: shape.to_vec(), datatype: datatype.into(), data }
    }

    #[test]
    fn takes_flat_and_nested_data() {
        assert_eq!(column(&tensor(&[2], "FP64", json!([1, 2.5]))), Ok(vec![1.0, 2.5]));
        assert_eq!(column(&tensor(&[2, 1], "INT64", json!([[1], [2]]))), Ok(vec![1.0, 2.0]));
    }

    #[test]
    fn says_what_to_fix() {
        for (bad, message) in [
            (tensor(&[], "FP64", json!([1])), "has shape []; send [n] or [n, 1]"),
            (tensor(&[1, 2], "FP64", json!([1, 2])), "has shape [1, 2]; send [n] or [n, 1]"),
            (tensor(&[0], "FP64", json!([])), "has 0 rows; send 1 to 1024"),
            (tensor(&[1025], "FP64", json!([1])), "has 1025 rows; send 1 to 1024"),
            (tensor(&[2], "FP64", json!([1])), "has shape [2] but 1 values; make them agree"),
            (tensor(&[1], "BYTES", json!(["a"])), "has datatype BYTES; send FP64"),
            (tensor(&[1], "FP64", json!([null])), "is not FP64; send numbers"),
            (tensor(&[1], "FP32", json!([1e39])), "is not FP32; send numbers"),
            (tensor(&[1], "INT64", json!([1.5])), "is not INT64; send numbers"),
            (tensor(&[1], "INT32", json!([3_000_000_000_i64])), "is not INT32; send numbers"),
        ] {
            let error = column(&bad).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
