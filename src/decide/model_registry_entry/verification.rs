//! Whether an entry's artifact is there, and is the registered one: asked of a Job, again and again.
//!
//! | | looked at |
//! |---|---|
//! | never yet | now |
//! | it was what is registered | after [`Settings::every`]; read again only if somebody has written to it since |
//! | it was not, or was not there | after ten minutes, and then after twice as long each time, up to a day: perhaps somebody has put it right |
//! | nobody could look | after a minute, and so on up to an hour |
//!
//! One look at a time, each a Job with a number. What a Job has said goes into status, and then the Job goes; status knows the number
//! of the next, so whatever gets lost between is asked once more, and nothing twice at the same time.
//!
//! What could not be looked at for a while stays what it was found to be: the store's outage is not the artifact's. What is found
//! to be something else is not rolled out any further from that moment on; what serves has its own verified copy and goes on.
//!
//! Whoever may create Jobs and pods in the namespace can answer in their place. That opens a gate and no more: each pod verifies what it
//! serves.
//!
//! A `file://` artifact is seen by the serving pods alone, which verify it before they serve: there is nothing to look at here, and no
//! condition that says so.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Observed, Said};
use crate::api::artifact::{ArtifactScheme, ArtifactUri};
use crate::api::artifact_failure::ArtifactFailure;
use crate::api::artifact_report::ArtifactReport;
use crate::api::duration::after;
use crate::api::model_registry_entry::{Lifecycle, ModelRegistryEntryStatus};
use crate::api::verification::{FailedLook, Verification};
use crate::api::{ModelRegistryEntry, condition};
use crate::build::verification::{CONTAINER, Look, number, write};
use crate::decide::live_job::LiveJob;
use crate::decide::{Child, ChildKind, Missing, Op, Precondition};

/// The condition.
pub const CONDITION: &str = "ArtifactVerified";
/// Reason: nobody has looked at it yet.
pub const AWAITED: &str = "ArtifactNotVerified";
/// Reason: nobody can look at it.
pub const UNAVAILABLE: &str = "VerificationFailed";
/// Reason of the condition while it holds.
const VERIFIED: &str = "Verified";

/// How long one look may take.
const LIMIT: Duration = Duration::from_hours(6);
/// Until what was found to be wrong is looked at again: the first time, and at the longest.
const WRONG_AGAIN: (Duration, Duration) = (Duration::from_mins(10), Duration::from_hours(24));
/// Until what could not be looked at is.
const UNSEEN_AGAIN: (Duration, Duration) = (Duration::from_mins(1), Duration::from_hours(1));
/// How often the pod of a Job is looked at that has not ended: nobody tells that it cannot begin.
const STUCK_AGAIN: Duration = Duration::from_secs(30);
/// The pod of a Job that has ended is awaited.
const SOON: Duration = Duration::from_secs(1);

/// How artifacts are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The operator's image.
    pub image: String,
    /// How often one that was right is looked at again; never, if that is nothing.
    pub every: Option<Duration>,
}

/// Jobs that look at the artifact.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    /// Those there are, this entry's and others' that say they are.
    pub live: Vec<LiveJob>,
    /// Whether the operator may not see Jobs in this namespace.
    pub hidden: bool,
}

/// What follows for the entry.
#[derive(Default)]
pub(super) struct Outcome {
    /// What the condition says, where there is one.
    pub(super) said: Option<Said>,
    /// What keeps it from being rolled out.
    pub(super) missing: Option<Missing>,
    /// Jobs to create and delete.
    pub(super) ops: Vec<Op>,
    /// When to look again.
    pub(super) requeue: Option<Duration>,
}

impl Outcome {
    /// The condition holds, with this message; or it does not, and that keeps the entry from being rolled out.
    fn of(found: Result<String, Missing>) -> Self {
        let (said, missing) = match found {
            Ok(message) => ((true, (VERIFIED, message)), None),
            Err(missing) => ((false, (missing.reason, missing.message.clone())), Some(missing)),
        };
        Self { said: Some(said), missing, ..Self::default() }
    }
}

/// Whether there is an artifact that a Job can look at.
fn can_be_seen(entry: &ModelRegistryEntry) -> bool {
    let uri: Result<ArtifactUri, _> = entry.spec.artifact.uri.parse();
    uri.is_ok_and(|it| it.scheme() != ArtifactScheme::File)
}

/// Whether there is one, and somebody wants to know.
fn wanted<'a>(resource: &ModelRegistryEntry, observed: &'a Observed) -> Option<&'a Settings> {
    let stays = resource.metadata.deletion_timestamp.is_none() && resource.spec.lifecycle() != Lifecycle::Revoked;
    observed.verification.as_ref().filter(|_| stays && can_be_seen(resource))
}

/// Reads what Jobs have said into status, and says which Jobs there should be.
pub(super) fn verify(
    resource: &ModelRegistryEntry,
    observed: &Observed,
    status: &mut ModelRegistryEntryStatus,
    now: DateTime<Utc>,
) -> Outcome {
    let ours = || observed.jobs.live.iter().filter_map(|it| Some((number(&it.job, resource)?, it)));
    let Some(settings) = wanted(resource, observed) else {
        status.artifact = None;
        return Outcome { ops: ours().filter_map(|(_, it)| delete(it)).collect(), ..Outcome::default() };
    };
    let dropped = status.artifact.is_none() && condition::find(&status.conditions, CONDITION).is_some();
    let known = status.artifact.get_or_insert_default();
    if dropped {
        return Outcome { requeue: Some(UNSEEN_AGAIN.0), ..Outcome::of(Err(dropped_by_the_crd())) };
    }
    let current = ours().find(|(look, _)| *look == known.looks).map(|(_, it)| it);
    let answer = current.and_then(|it| answer(it, now));
    match &answer {
        Some(Ok(report)) => known.found(report, now),
        Some(Err(failure)) => known.failed(failure.clone()),
        None => {}
    }
    let mut ops: Vec<Op> = ours().filter(|(look, _)| *look < known.looks).filter_map(|(_, it)| delete(it)).collect();
    let under_way = current.filter(|_| answer.is_none());
    let due = due(known, settings, now);
    if under_way.is_none() && due.is_some_and(|at| at <= now) && !observed.jobs.hidden {
        ops.push(Op::Create(Child::Job(Box::new(write(resource, &look(known, settings))))));
    }
    let requeue = match under_way {
        Some(it) if it.end().is_some() => Some(SOON),
        Some(_) => Some(STUCK_AGAIN),
        None => due.filter(|at| *at > now).and_then(|at| (at - now).to_std().ok()),
    };
    Outcome { ops, requeue, ..Outcome::of(conclude(known, under_way, unavailable(observed))) }
}

/// Status has had what is known of the artifact, and has it no more: whoever looked again now would look for ever.
fn dropped_by_the_crd() -> Missing {
    let message = "the CRD of ModelRegistryEntry is older than the operator and drops status.artifact: bring both to the same version, with the chart's crds.install or kubectl apply --server-side -f crds/".to_owned();
    Missing { reason: UNAVAILABLE, message, is_final: true }
}

fn delete(it: &LiveJob) -> Option<Op> {
    let metadata = &it.job.metadata;
    let seen = Precondition { uid: metadata.uid.clone()?, resource_version: metadata.resource_version.clone()? };
    // Whoever deletes it already has to be waited for.
    let goes = metadata.deletion_timestamp.is_some();
    (!goes).then(|| Op::Delete(ChildKind::Job, it.name().to_owned(), seen))
}

fn look(known: &Verification, settings: &Settings) -> Look {
    // After a failure nobody knows what it is now.
    let unchanged = known.fingerprint.clone().filter(|_| known.failure.is_none());
    Look { number: known.looks, image: settings.image.clone(), known: unchanged, limit: LIMIT }
}

/// When the next look is due; never, if that is nothing. What is later than now is of a clock that was set back since.
fn due(known: &Verification, settings: &Settings, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let (last, pause) = match (&known.failure, known.checked_at) {
        (Some(failure), _) => (failure.at, pause_after(failure)),
        (None, Some(at)) => (at, settings.every?),
        (None, None) => return Some(now),
    };
    Some(if last > now { now } else { after(last, pause) })
}

fn pause_after(failure: &FailedLook) -> Duration {
    let (first, longest) = if failure.transient { UNSEEN_AGAIN } else { WRONG_AGAIN };
    let before = u32::try_from(failure.times.saturating_sub(1)).unwrap_or(0);
    first.saturating_mul(2_u32.saturating_pow(before)).min(longest)
}

/// What a Job has said; nothing while it has not ended.
fn answer(it: &LiveJob, now: DateTime<Utc>) -> Option<Result<ArtifactReport, FailedLook>> {
    let end = it.end()?;
    let failed = |reason: &str, message: String, transient| {
        Some(Err(FailedLook {
            reason: reason.into(),
            message: condition::brief(&message),
            at: now,
            transient,
            times: 0,
        }))
    };
    let name = it.name();
    // Which of them is the Job's own, nobody can tell.
    if it.pods.len() > 1 {
        let pods = it.pods.len();
        let why = "and it makes one; see who else creates pods in this namespace";
        return failed(UNAVAILABLE, format!("Job {name}: {pods} pods say that it owns them, {why}"), true);
    }
    let Some(terminated) = it.terminated(CONTAINER) else {
        if end.is_fresh(now) {
            return None;
        }
        let why = it.stuck().or_else(|| it.is_unscheduled().then(|| "no node takes its pod".to_owned()));
        let why = why.unwrap_or_else(|| format!("it ended ({}) without an answer", end.reason));
        return failed(UNAVAILABLE, format!("Job {name}: {why}"), true);
    };
    let said = terminated.message.as_deref().unwrap_or_default();
    if let Some(report) = ArtifactReport::parse(said).filter(|_| end.well && terminated.exit_code == 0) {
        return Some(Ok(report));
    }
    match ArtifactFailure::parse(said) {
        Some(it) => failed(it.reason.as_str(), it.message, it.reason.is_transient()),
        None => {
            let why = it.crashed().unwrap_or_else(|| "it ended without an answer".to_owned());
            failed(UNAVAILABLE, format!("Job {name}: {why}"), true)
        }
    }
}

/// Why there is no Job to be expected.
fn unavailable(observed: &Observed) -> Option<String> {
    if observed.jobs.hidden {
        let why =
            "the operator may not list and watch Jobs here; grant both to its ServiceAccount (`helm upgrade` does)";
        return Some(why.into());
    }
    let refused = observed.refused.as_ref().filter(|it| it.kind == ChildKind::Job.name())?;
    Some(format!(
        "the API server refuses Job {}: {}; raise the quota, or see which policy is in the way",
        refused.name, refused.message
    ))
}

/// What is known of the artifact: that it is right, or what keeps it from being taken for that.
fn conclude(known: &Verification, under_way: Option<&LiveJob>, unavailable: Option<String>) -> Result<String, Missing> {
    let failure = known.failure.as_ref();
    // What cannot be looked at stays what it was found to be.
    let was_right = known.checked_at.is_some() && failure.is_none_or(|it| it.transient);
    if was_right {
        let mut message = format!("all {} bytes are the registered ones", known.bytes.unwrap_or_default());
        if let Some(failure) = failure {
            message
                .push_str(&format!("; when it was last to be looked at, that was not possible: {}", failure.message));
        }
        return Ok(message);
    }
    Err(match failure {
        Some(it) if !it.transient => {
            Missing { reason: reason_of(&it.reason), message: it.message.clone(), is_final: true }
        }
        _ => {
            let before = failure.map(|it| format!("; the last time: {}", it.message)).unwrap_or_default();
            let message = unavailable.unwrap_or_else(|| awaited(under_way));
            Missing { reason: AWAITED, message: format!("{message}{before}"), is_final: false }
        }
    })
}

fn awaited(under_way: Option<&LiveJob>) -> String {
    let Some(it) = under_way else { return "a Job is about to read the artifact".into() };
    let name = it.name();
    match it.stuck() {
        Some(stuck) => format!("Job {name} cannot begin: {stuck}; see artifact.secretRef and the operator's image"),
        None if it.is_unscheduled() => format!("Job {name} cannot begin: no node takes its pod"),
        None if it.pods.is_empty() => format!(
            "Job {name} has no pod yet; if that stays so, kubectl describe job {name} says which quota or policy is in the way"
        ),
        None => format!("Job {name} reads the artifact; kubectl logs job/{name} says how far it is"),
    }
}

/// Of those that a Job can give, the operator's own word for it.
fn reason_of(word: &str) -> &'static str {
    use crate::api::artifact_failure::ArtifactFailureReason as Reason;
    Reason::ALL.iter().map(|it| it.as_str()).find(|it| *it == word).unwrap_or(UNAVAILABLE)
}

/// Whether it is the reason of [`missing`].
#[must_use]
pub fn is_reason(reason: &str) -> bool {
    reason == AWAITED || reason_of(reason) == reason
}

/// What keeps a deployment from rolling the entry `name` out, where artifacts are verified.
#[must_use]
pub fn missing(name: &str, entry: &ModelRegistryEntry) -> Option<Missing> {
    if !can_be_seen(entry) {
        return None;
    }
    let said = entry.status.as_ref().and_then(|it| condition::find(&it.conditions, CONDITION));
    match said {
        Some(it) if it.status == true.into() => None,
        Some(it) if it.reason != AWAITED => {
            let message =
                format!("the artifact of entry {name} is not the registered one, or not there: {}", it.message);
            Some(Missing { reason: reason_of(&it.reason), message, is_final: true })
        }
        other => {
            let why = other.map(|it| format!(": {}", it.message)).unwrap_or_default();
            let message = format!("the artifact of entry {name} is not verified yet{why}");
            Some(Missing { reason: AWAITED, message, is_final: false })
        }
    }
}

#[cfg(test)]
#[path = "verification_tests.rs"]
mod tests;
