//! What is known of an entry's artifact: whether its bytes are there, and are the registered ones.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact_report::ArtifactReport;

/// What Jobs have found out about the artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verification {
    /// How often it was looked at; the number of the next Job.
    #[serde(default)]
    pub looks: i64,
    /// When all of it was read last, and was what is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was looked at last, and was as it was then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<DateTime<Utc>>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// How many files it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Of the store's versions of its files: as long as it is the same, it is not read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Why the last look has not found what is registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailedLook>,
}

/// A look that has not found what is registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedLook {
    /// CamelCase, from the documented list.
    pub reason: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Whether it says nothing of the artifact, only that it could not be looked at.
    pub transient: bool,
    /// How many in a row have failed: each is followed by a longer pause.
    #[serde(default)]
    pub times: i32,
}

impl Verification {
    /// A look has found what is registered.
    pub fn found(&mut self, report: &ArtifactReport, at: DateTime<Utc>) {
        self.looks = self.looks.saturating_add(1);
        self.checked_at = Some(at);
        self.verified_at = if report.read { Some(at) } else { self.verified_at };
        self.bytes = Some(i64::try_from(report.bytes).unwrap_or(i64::MAX));
        self.files = Some(i64::try_from(report.files).unwrap_or(i64::MAX));
        self.fingerprint = Some(report.fingerprint.clone());
        self.failure = None;
    }

    /// A look has not.
    pub fn failed(&mut self, failure: FailedLook) {
        self.looks = self.looks.saturating_add(1);
        let before = self.failure.as_ref().map_or(0, |it| it.times);
        self.failure = Some(FailedLook { times: before.saturating_add(1), ..failure });
    }
}
