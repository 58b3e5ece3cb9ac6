//! What a Job has said of the artifact: that it is right, that it is wrong, or that it could not be seen.
//!
//! Only what the container has said is about the artifact. Whatever else becomes of a Job says nothing of it.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{LIMIT, UNAVAILABLE};
use crate::api::artifact_failure::{ArtifactFailure, ArtifactFailureReason as Reason};
use crate::api::artifact_report::ArtifactReport;
use crate::api::condition;
use crate::api::duration::after;
use crate::api::verification::{FailedLook, Verification};
use crate::build::verification::CONTAINER;
use crate::decide::live_job::LiveJob;

/// How long its container may take to begin, and its pod to be seen: a Job is made again then, with what has been put right since.
const PATIENCE: Duration = Duration::from_mins(10);

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
            Self::Wrong(failure) => known.found_wrong(failure),
            Self::Unseen(failure) => known.not_seen(failure),
        }
    }
}

/// What a Job has said; nothing while it may still say something. Its container is asked, and not only the Job: what somebody else has
/// put into the pod may keep that from ending.
///
/// `since`: when the operator has seen it first. `pods_unseen`: why its pods could not be listed.
pub(super) fn answer(
    it: &LiveJob,
    since: DateTime<Utc>,
    pods_unseen: Option<&str>,
    now: DateTime<Utc>,
) -> Option<Answer> {
    // No message has the Job's name: it is another one each time, and this one is gone.
    let unseen = |message: String| Some(Answer::Unseen(failed(UNAVAILABLE, &message, now)));
    let (end, is_overdue) = (it.end(), after(since, PATIENCE) <= now);
    if let Some(why) = pods_unseen {
        return end.filter(|_| is_overdue).and_then(|_| unseen(why.to_owned()));
    }
    // Which of them is the Job's own, nobody can tell.
    if it.pods.len() > 1 && (end.is_some() || it.terminated(CONTAINER).is_some()) {
        let pods = it.pods.len();
        let why = "and it makes one; see who else creates pods in this namespace";
        return unseen(format!("{pods} pods say that the Job owns them, {why}"));
    }
    if let Some(terminated) = it.terminated(CONTAINER) {
        let said = terminated.message.as_deref().unwrap_or_default();
        return Some(of_container(it, terminated.exit_code, said, now));
    }
    let Some(end) = end else {
        let why = it.why_not_begun(CONTAINER)?;
        let limit = PATIENCE.as_secs() / 60;
        return is_overdue.then(|| unseen(format!("the Job has not begun within {limit} minutes: {why}"))).flatten();
    };
    if end.is_fresh(now) {
        return None;
    }
    let limit = LIMIT.as_secs() / 3600;
    let why = it.why_stuck().or_else(|| end.is_overdue().then(|| format!("it was not done within {limit} hours")));
    let why = why.unwrap_or_else(|| format!("it ended ({}) without an answer", end.reason));
    unseen(format!("the Job has said nothing: {why}"))
}

fn of_container(it: &LiveJob, exit_code: i32, said: &str, now: DateTime<Utc>) -> Answer {
    if let Some(report) = ArtifactReport::parse(said).filter(|_| exit_code == 0) {
        return Answer::Right(report);
    }
    let Some(ArtifactFailure { reason, message }) = ArtifactFailure::parse(said).filter(|_| exit_code != 0) else {
        let why = it.crashed().unwrap_or_else(|| "it ended without an answer".to_owned());
        return Answer::Unseen(failed(UNAVAILABLE, &format!("the Job has said nothing: {why}"), now));
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
