//! What is known of an entry's artifact: whether its bytes are there, and are the registered ones.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifact_report::{ArtifactProgress, ArtifactReport};

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
    /// Why it is not what is registered, as the last look says that could see it; gone only once it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<FailedLook>,
    /// Why it could not be looked at the last time, which says nothing of what it is; gone once it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<FailedLook>,
    /// Since when a Job looks at it, by the operator's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looking_since: Option<DateTime<Utc>>,
    /// How far that Job is, if its pod could be asked; gone once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// The last request for a look (annotation `werkbank.dev/verify`) that one has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
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
    /// How many of this kind there were since the last of another: each is followed by a longer pause.
    #[serde(default)]
    pub times: i32,
}

/// How far a Job is that reads the artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Bytes read so far.
    pub bytes: i64,
    /// How many there are, as the store lists them; a web server need not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i64>,
    /// When its pod said so.
    pub at: DateTime<Utc>,
}

impl FailedLook {
    fn after(self, before: Option<&Self>) -> Option<Self> {
        let times = before.map_or(0, |it| it.times).saturating_add(1);
        Some(Self { times, ..self })
    }
}

impl Verification {
    /// Whether it was what is registered when somebody could see it last; `None` while nobody ever could.
    #[must_use]
    pub fn is_right(&self) -> Option<bool> {
        if self.wrong.is_some() { Some(false) } else { self.checked_at.map(|_| true) }
    }

    /// A look has ended.
    fn ended(&mut self) {
        self.looks = self.looks.saturating_add(1);
        self.looking_since = None;
        self.reading = None;
    }

    /// A look goes on, and has come this far.
    pub fn goes_on(&mut self, progress: ArtifactProgress, at: DateTime<Utc>) {
        let of = progress.of.map(count);
        self.reading = Some(Reading { bytes: count(progress.bytes), of, at });
    }

    /// A look has found what is registered.
    pub fn found(&mut self, report: &ArtifactReport, at: DateTime<Utc>) {
        self.ended();
        self.checked_at = Some(at);
        self.verified_at = if report.read { Some(at) } else { self.verified_at };
        self.bytes = Some(count(report.bytes));
        self.files = Some(count(report.files));
        self.fingerprint = Some(report.fingerprint.clone());
        (self.wrong, self.unseen) = (None, None);
    }

    /// A look has found something else, or nothing.
    pub fn found_wrong(&mut self, failure: FailedLook) {
        self.ended();
        self.wrong = failure.after(self.wrong.as_ref());
        self.unseen = None;
    }

    /// A look has seen nothing of it.
    pub fn not_seen(&mut self, failure: FailedLook) {
        self.ended();
        self.unseen = failure.after(self.unseen.as_ref());
    }
}

/// As the API has numbers.
fn count(of: u64) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}
