//! What a Job has said of the artifact: that it is right, that it is wrong, or that it could not be seen.
//!
//! Only what the container has said is about the artifact. Whatever else becomes of a Job says nothing of it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::UNAVAILABLE;
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use crate::api::artifact_report::ArtifactReport;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::verification::{FailedLook, Verification};
use crate::build::verification::CONTAINER;
use crate::decide::live_job::LiveJob;

/// How long its container may take to begin: a Job is made again then, with what has been put right since.
const BEGINS_WITHIN: Duration = Duration::from_mins(10);

/// An answer.
pub(super) enum Answer {
    /// It is what is registered.
    Right(ArtifactReport),
    /// It is something else, or is not there.
    Wrong(FailedLook),
    /// Nobody has seen it.
    Unseen(FailedLook),
}

impl Answer {
    /// Puts it into what is known.
    pub(super) fn tell(self, known: &mut Verification, now: DateTime<Utc>) {
        match self {
            Self::Right(report) => known.found(&report, now),
            Self::Wrong(failure) => known.is_wrong(failure),
            Self::Unseen(failure) => known.is_unseen(failure),
        }
    }
}

/// What a Job has said; nothing while it may still say something. Its container is asked, and not only the Job: what somebody else has
/// put into the pod may keep that from ending.
pub(super) fn answer(it: &LiveJob, now: DateTime<Utc>) -> Option<Answer> {
    let unseen = |message: String| Some(Answer::Unseen(failed(UNAVAILABLE, &message, now)));
    let (name, end) = (it.name(), it.end());
    // Which of them is the Job's own, nobody can tell.
    if it.pods.len() > 1 && (end.is_some() || it.terminated(CONTAINER).is_some()) {
        let pods = it.pods.len();
        let why = "and it makes one; see who else creates pods in this namespace";
        return unseen(format!("Job {name}: {pods} pods say that it owns them, {why}"));
    }
    if let Some(terminated) = it.terminated(CONTAINER) {
        let said = terminated.message.as_deref().unwrap_or_default();
        return Some(of_container(it, terminated.exit_code, said, now));
    }
    let Some(end) = end else {
        let why = it.why_not_begun(CONTAINER)?;
        let limit = BEGINS_WITHIN.as_secs() / 60;
        let overdue = it.created_at().is_some_and(|at| after(at, BEGINS_WITHIN) <= now);
        return overdue.then(|| unseen(format!("Job {name} has not begun within {limit} minutes: {why}"))).flatten();
    };
    if end.is_fresh(now) {
        return None;
    }
    let why = it.stuck().or_else(|| it.is_unscheduled().then(|| "no node takes its pod".to_owned()));
    let why = why.unwrap_or_else(|| format!("it ended ({}) without an answer", end.reason));
    unseen(format!("Job {name}: {why}"))
}

fn of_container(it: &LiveJob, exit_code: i32, said: &str, now: DateTime<Utc>) -> Answer {
    if let Some(report) = ArtifactReport::parse(said).filter(|_| exit_code == 0) {
        return Answer::Right(report);
    }
    let Some(ArtifactFailure { reason, message }) = ArtifactFailure::parse(said).filter(|_| exit_code != 0) else {
        let why = it.crashed().unwrap_or_else(|| "it ended without an answer".to_owned());
        return Answer::Unseen(failed(UNAVAILABLE, &format!("Job {}: {why}", it.name()), now));
    };
    let failure = failed(reason.as_str(), &message, now);
    if reason.is_verdict() { Answer::Wrong(failure) } else { Answer::Unseen(failure) }
}

fn failed(reason: &str, message: &str, at: DateTime<Utc>) -> FailedLook {
    FailedLook { reason: reason.into(), message: condition::brief(message), at, times: 0 }
}

/// The reason that a Job has given, if it has.
pub(super) fn reason_of(word: &str) -> Option<Reason> {
    Reason::ALL.into_iter().find(|it| it.as_str() == word)
}
