//! What `werkbank verify` has found: one line of JSON, as that of a failure ([`super::artifact_failure`]). And how far it is, as long
//! as it has not found anything yet.

use serde::{Deserialize, Serialize};

/// A fingerprint is so many hexadecimal digits.
pub const FINGERPRINT_DIGITS: usize = 32;

/// The artifact is the registered one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactReport {
    /// Its size.
    pub bytes: u64,
    /// How many files it is.
    pub files: u64,
    /// What stays the same until somebody writes to it.
    pub fingerprint: String,
    /// Whether it was read; otherwise its fingerprint is the known one.
    pub read: bool,
}

impl ArtifactReport {
    /// The line to write.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::json!({"verified": self}).to_string()
    }

    /// Finds it in a termination message: its last line that is one. What has another fingerprint than [`FINGERPRINT_DIGITS`] is none:
    /// it goes into status, and to the next look.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let of_line = |line: &str| {
            let mut whole: serde_json::Value = serde_json::from_str(line.trim()).ok()?;
            let it: Self = serde_json::from_value(whole.get_mut("verified")?.take()).ok()?;
            is_fingerprint(&it.fingerprint).then_some(it)
        };
        text.lines().rev().find_map(of_line)
    }
}

/// How far `werkbank verify` is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactProgress {
    /// Bytes read so far.
    pub bytes: u64,
    /// Bytes of all files, as the store lists them; a web server need not say how many there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

impl ArtifactProgress {
    /// The port of its pod that tells it, as [`to_line`](Self::to_line), to whoever connects while it reads.
    pub const PORT: u16 = 8090;

    /// The line to tell.
    #[must_use]
    pub fn to_line(self) -> String {
        serde_json::json!({"reading": self}).to_string()
    }

    /// What such a line says.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let mut whole: serde_json::Value = serde_json::from_slice(line).ok()?;
        serde_json::from_value(whole.get_mut("reading")?.take()).ok()
    }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() == FINGERPRINT_DIGITS && text.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_and_garbage_is_nothing(bytes: u64, files: u64, read: bool, around in "[^\n{]{0,50}", garbage in "\\PC*") {
            let it = ArtifactReport { bytes, files, fingerprint: "ab12".repeat(8), read };
            prop_assert_eq!(ArtifactReport::parse(&format!("{around}\n{}\n{around}", it.to_line())), Some(it));
            prop_assert_eq!(ArtifactReport::parse(&garbage), None);
        }

        #[test]
        fn progress_is_told_and_understood_and_garbage_is_none(bytes: u64, of: Option<u64>, garbage: Vec<u8>) {
            let it = ArtifactProgress { bytes, of };
            prop_assert_eq!(ArtifactProgress::parse(it.to_line().as_bytes()), Some(it));
            prop_assert_eq!(ArtifactProgress::parse(&garbage), None);
        }
    }

    #[test]
    fn what_has_no_fingerprint_is_no_report() {
        for fingerprint in ["", "ab12", "--uri", &"AB".repeat(16), &"ab".repeat(17)] {
            let it = ArtifactReport { bytes: 1, files: 1, fingerprint: fingerprint.into(), read: true };
            assert_eq!(ArtifactReport::parse(&it.to_line()), None, "{fingerprint}");
        }
    }
}
