//! Fields of what a user wrote that would not arrive.
//!
//! Kubernetes' types read past a key they do not know. A misspelt `securitContext`, or a field newer than these
//! types, would so be dropped without a word, and pods would run without what was asked for.

use serde_json::Value;

/// How many are named.
const NAMED: usize = 5;

/// An error that names what is in `asked` and not in `kept`, which is the same after it went through the types
/// of `what`; `root` is the field it was written in.
/// Only keys count: values may come back in another spelling, and what is empty need not come back at all.
pub(super) fn refuse(root: &str, what: &str, asked: &Value, kept: &Value) -> Result<(), String> {
    let mut lost = Vec::new();
    compare(asked, kept, root, &mut lost);
    if lost.is_empty() {
        return Ok(());
    }
    let named = lost.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = lost.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Err(format!(
        "{named}{more}: no such field of {what} is known to this version of Werkbank; correct the spelling, or remove it"
    ))
}

fn compare(asked: &Value, kept: &Value, path: &str, lost: &mut Vec<String>) {
    match (asked, kept) {
        (Value::Object(asked), Value::Object(kept)) => {
            for (key, value) in asked.iter().filter(|(_, value)| !is_empty(value)) {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => compare(value, kept, &path, lost),
                    None => lost.push(path),
                }
            }
        }
        (Value::Array(asked), Value::Array(kept)) => {
            for (index, (asked, kept)) in asked.iter().zip(kept).enumerate() {
                compare(asked, kept, &format!("{path}[{index}]"), lost);
            }
        }
        _ => {}
    }
}

/// What an API server need not give back.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
