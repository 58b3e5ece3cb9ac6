//! Why a pod's artifact did not arrive, in the words the operator repeats.
//!
//! The init container and the operator are separated by the kubelet: all that
//! passes is an exit code and a termination message. Both are closed lists here,
//! so that a person reading `kubectl describe` on the deployment sees the reason
//! and what to do, not "Init:Error".

use serde::{Deserialize, Serialize};

/// The kubelet cuts termination messages at 4096 bytes; a cut JSON is lost.
const MAX_MESSAGE_CHARS: usize = 800;

/// What went wrong; also a condition reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtifactFailureReason {
    /// The store did not answer in time, or with an error of its own. Exit code 10.
    ArtifactUnreachable,
    /// No such bucket, file or directory, or an empty directory. Exit code 11.
    ArtifactNotFound,
    /// The bytes are not those of the registry entry. Exit code 12.
    ArtifactDigestMismatch,
    /// More bytes or files than allowed. Exit code 13.
    ArtifactTooLarge,
    /// The store refuses the credentials. Exit code 14.
    ArtifactAccessDenied,
    /// Arguments, the URI, or names inside the directory are not usable. Exit code 15.
    ArtifactInvalidUri,
    /// The model directory cannot be written. Exit code 16.
    ArtifactNotWritable,
    /// Somebody wrote to it while it was read. Exit code 17.
    ArtifactChanged,
}

impl ArtifactFailureReason {
    /// All of them, in the order of their exit codes.
    pub const ALL: [Self; 8] = [
        Self::ArtifactUnreachable,
        Self::ArtifactNotFound,
        Self::ArtifactDigestMismatch,
        Self::ArtifactTooLarge,
        Self::ArtifactAccessDenied,
        Self::ArtifactInvalidUri,
        Self::ArtifactNotWritable,
        Self::ArtifactChanged,
    ];

    /// The exit code of `werkbank fetch`.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::ArtifactUnreachable => 10,
            Self::ArtifactNotFound => 11,
            Self::ArtifactDigestMismatch => 12,
            Self::ArtifactTooLarge => 13,
            Self::ArtifactAccessDenied => 14,
            Self::ArtifactInvalidUri => 15,
            Self::ArtifactNotWritable => 16,
            Self::ArtifactChanged => 17,
        }
    }

    /// The reason as a condition spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ArtifactUnreachable => "ArtifactUnreachable",
            Self::ArtifactNotFound => "ArtifactNotFound",
            Self::ArtifactDigestMismatch => "ArtifactDigestMismatch",
            Self::ArtifactTooLarge => "ArtifactTooLarge",
            Self::ArtifactAccessDenied => "ArtifactAccessDenied",
            Self::ArtifactInvalidUri => "ArtifactInvalidUri",
            Self::ArtifactNotWritable => "ArtifactNotWritable",
            Self::ArtifactChanged => "ArtifactChanged",
        }
    }

    /// Whether trying again without any change can help.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::ArtifactUnreachable | Self::ArtifactChanged)
    }

    /// Whether it is about the artifact: it is something else than what is registered, or not there. All others say of whoever looked
    /// that they could not see it.
    #[must_use]
    pub fn is_verdict(self) -> bool {
        matches!(self, Self::ArtifactNotFound | Self::ArtifactDigestMismatch)
    }
}

/// The termination message of a failed `werkbank fetch`: one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ArtifactFailure {
    /// From the closed list.
    pub reason: ArtifactFailureReason,
    /// One sentence that says what to do. Never a secret.
    pub message: String,
}

impl ArtifactFailure {
    /// A failure; the message is cut so that the line survives the kubelet.
    #[must_use]
    pub fn new(reason: ArtifactFailureReason, message: impl AsRef<str>) -> Self {
        let message =
            message.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE_CHARS).collect();
        Self { reason, message }
    }

    /// The line to write.
    #[must_use]
    pub fn to_line(&self) -> String {
        serde_json::json!({"reason": self.reason, "message": self.message}).to_string()
    }

    /// Finds the failure in a termination message: its last line that is one. Text
    /// around it (the kubelet may hand over the end of the log) and unknown fields
    /// are passed over; `None` when there is none, or its reason is unknown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let found = text.lines().rev().find_map(|line| serde_json::from_str::<Self>(line.trim()).ok())?;
        Some(Self::new(found.reason, found.message))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back_even_between_other_lines(pick in 0usize..8, message in "\\PC{0,300}", before in "[^\n{]{0,50}", after in "[^\n{]{0,50}") {
            let failure = ArtifactFailure::new(ArtifactFailureReason::ALL[pick], message);
            let text = format!("{before}\n{}\n{after}", failure.to_line());
            prop_assert_eq!(ArtifactFailure::parse(&text), Some(failure));
        }

        #[test]
        fn garbage_is_no_failure_and_no_panic(text in "\\PC*") {
            prop_assert_eq!(ArtifactFailure::parse(&text), None);
        }

        #[test]
        fn the_line_always_survives_the_kubelet(message in any::<String>(), times in 1usize..200) {
            let line = ArtifactFailure::new(ArtifactFailureReason::ArtifactNotFound, message.repeat(times)).to_line();
            prop_assert!(line.len() <= 4096 && !line.contains('\n'), "{} bytes", line.len());
        }
    }

    #[test]
    fn unknown_reasons_and_truncated_lines_are_passed_over() {
        assert_eq!(ArtifactFailure::parse(r#"{"reason":"Other","message":"x"}"#), None);
        assert_eq!(ArtifactFailure::parse(r#"{"reason":"ArtifactNotFound","mess"#), None);
    }

    #[test]
    fn reasons_are_spelled_alike_everywhere_and_exit_codes_differ() {
        for (reason, code) in ArtifactFailureReason::ALL.into_iter().zip(10..) {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
            assert_eq!(reason.exit_code(), code);
        }
    }
}
