//! Whether an entry's artifact is there, and is the registered one: asked of a Job, again and again.
//!
//! | when somebody could see it last | looked at again |
//! |---|---|
//! | nobody ever could | now |
//! | it was what is registered | after [`Settings::every`], some earlier than others; read again only if somebody has written to it since |
//! | it was not, or was not there | after ten minutes, and then after twice as long each time, up to a day: perhaps somebody has put it right |
//! | if nobody could since | after a minute, and so on up to an hour |
//! | if a person asks for it | now |
//!
//! What was found and what came between are two things: what could not be looked at for a while stays what it was found to be, right
//! or wrong. The store's outage is not the artifact's, nor is a right that is missing. What is found to be something else is not rolled
//! out any further from that moment on, until it is found to be right; what serves has its own verified copy and goes on.
//!
//! One look at a time, each a Job with a number. What a Job has said goes into status, and then the Job goes; status knows the number
//! of the next, so whatever gets lost between is asked once more, and nothing twice at the same time. Of the entries of a
//! namespace a few are looked at at a time ([`Settings::at_once`]), and half of those places are kept for what nobody has seen yet.
//!
//! It is read in the regions of `governance.regions`, and nowhere else.
//!
//! Whoever may create Jobs and pods in the namespace can answer in their place. That opens a gate and no more: each pod verifies what it
//! serves.
//!
//! A `file://` artifact is seen by the serving pods alone, which verify it before they serve: there is nothing to look at here, and no
//! condition that says so.

mod answer;
mod gate;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::{Observed, Said};
use crate::api::artifact::{ArtifactScheme, ArtifactUri};
use crate::api::artifact_report::ArtifactProgress;
use crate::api::duration::after;
use crate::api::model_registry_entry::{Artifact, Lifecycle, ModelRegistryEntryStatus};
use crate::api::verification::{FailedLook, Verification};
use crate::api::{ModelRegistryEntry, condition};
use crate::build::verification::{Look, NodeLabels, asked, name_of, number, request, write};
use crate::decide::live_job::LiveJob;
use crate::decide::{Child, ChildKind, Missing, Op, Precondition};

use answer::answer;
use gate::conclude;
pub use gate::{is_reason, missing};

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
/// How often the pod of a Job is looked at that has not ended, and asked how far it is: nobody tells either, nor that it cannot begin.
const STILL: Duration = Duration::from_secs(10);
/// The pod of a Job that has ended is awaited.
const SOON: Duration = Duration::from_secs(1);
/// How often it is asked whether there is a place, at the longest: nobody tells.
const ITS_TURN: Duration = Duration::from_secs(16);

/// How artifacts are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The operator's image.
    pub image: String,
    /// How often one that was right is looked at again; never, if that is nothing.
    pub every: Option<Duration>,
    /// How many of the entries of a namespace are looked at at a time, or some more: those that begin in the same moment do not see
    /// each other.
    pub at_once: usize,
    /// The regions that there are, with the labels of their nodes.
    pub regions: BTreeMap<String, NodeLabels>,
}

/// Jobs that look at artifacts.
#[derive(Debug, Clone, Default)]
pub struct Jobs {
    /// Those of this entry, and others' that say they are.
    pub live: Vec<LiveJob>,
    /// Whether the operator may not see Jobs in this namespace.
    pub hidden: bool,
    /// Why their pods could not be listed, if they could not: then nobody knows what they have said.
    pub pods_unseen: Option<String>,
    /// How many are under way for other entries of the namespace.
    pub elsewhere: usize,
    /// Names of Jobs that are in the way, and somebody else's.
    pub foreign: Vec<String>,
    /// How far the present one is, if its pod was asked now ([`progress_is_due`]) and has said so.
    pub progress: Option<ArtifactProgress>,
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

/// The artifact, if there is one that a Job can look at.
fn visible(entry: &ModelRegistryEntry) -> Option<&Artifact> {
    let artifact = entry.spec.artifact.as_ref()?;
    let uri: Result<ArtifactUri, _> = artifact.uri.parse();
    uri.is_ok_and(|it| it.scheme() != ArtifactScheme::File).then_some(artifact)
}

/// Whether nobody looks any more, and what was found stays what it is: of what is revoked, nobody needs to know; what is being
/// deleted stays only for what runs already, which waits until it is found to be right.
fn is_settled(entry: &ModelRegistryEntry, known: &Verification) -> bool {
    let is_deleted = entry.metadata.deletion_timestamp.is_some();
    // Garbage collection takes Jobs away as fast as they are made.
    let takes_jobs = entry.finalizers().iter().any(|it| it == "foregroundDeletion");
    entry.spec.lifecycle() == Lifecycle::Revoked || is_deleted && (known.is_right() == Some(true) || takes_jobs)
}

/// Reads what Jobs have said into status, and says which Jobs there should be.
pub(super) fn verify(
    resource: &ModelRegistryEntry,
    observed: &Observed,
    status: &mut ModelRegistryEntryStatus,
    now: DateTime<Utc>,
) -> Outcome {
    let ours = || observed.jobs.live.iter().filter_map(|it| Some((number(&it.job, resource)?, it)));
    let nobody = || ours().filter_map(|(_, it)| delete(it)).collect();
    let Some((settings, artifact)) = observed.verification.as_ref().zip(visible(resource)) else {
        status.artifact = None;
        return Outcome { ops: nobody(), ..Outcome::default() };
    };
    let dropped = is_dropped(status);
    let known = status.artifact.get_or_insert_default();
    if is_settled(resource, known) {
        let found = known.is_right().map(|_| Outcome::of(conclude(known, None, None))).unwrap_or_default();
        return Outcome { ops: nobody(), ..found };
    }
    if dropped {
        let it = dropped_by_the_crd();
        // Half of what was known may be there: it counts for nothing. This stays, once the CRD lets it.
        let unseen = FailedLook { reason: it.reason.into(), message: it.message.clone(), at: now, times: 1 };
        *known = Verification { looks: known.looks, unseen: Some(unseen), ..Verification::default() };
        return Outcome { requeue: Some(UNSEEN_AGAIN.0), ..Outcome::of(Err(it)) };
    }
    let current = ours().find(|(look, _)| *look == known.looks).map(|(_, it)| it);
    let pods_unseen = observed.jobs.pods_unseen.as_deref();
    let under_way = hear(known, current, &observed.jobs, now);
    let ops: Vec<Op> = ours().filter(|(look, _)| *look != known.looks).filter_map(|(_, it)| delete(it)).collect();
    let next = match under_way {
        Some(it) => Next::Later(Some(if it.end().is_some() && pods_unseen.is_none() { SOON } else { STILL })),
        None => next((resource, artifact), observed, known, settings, now),
    };
    let (look, hindered, requeue) = match next {
        Next::Look(job) => (Some(Op::Create(Child::Job(job))), refused(observed), None),
        Next::Later(requeue) => (None, pods_unseen.map(str::to_owned), requeue),
        Next::Never(why) => (None, Some(why), None),
        Next::Waits(why) => (None, Some(why), Some(earlier(ITS_TURN, resource, known.looks))),
    };
    let ops = ops.into_iter().chain(look).collect();
    Outcome { ops, requeue, ..Outcome::of(conclude(known, under_way, hindered)) }
}

/// Puts what the Job of the present look has said into what is known; the Job, if it has said nothing yet.
fn hear<'a>(
    known: &mut Verification,
    current: Option<&'a LiveJob>,
    jobs: &Jobs,
    now: DateTime<Utc>,
) -> Option<&'a LiveJob> {
    // By a clock that was set back since it began now; and one that somebody has deleted is made anew.
    let since = known.looking_since.filter(|at| *at <= now).unwrap_or(now);
    known.looking_since = current.map(|_| since);
    // What was said before is of another Job, if there is none now, and stays otherwise: that it cannot be asked takes nothing back.
    let Some(it) = current else {
        known.reading = None;
        return None;
    };
    let Some(answer) = answer(it, since, jobs.pods_unseen.as_deref(), now) else {
        jobs.progress.into_iter().for_each(|progress| known.goes_on(progress, now));
        return Some(it);
    };
    answer.tell(known, now);
    known.asked = asked(&it.job).or(known.asked.take());
    None
}

/// Whether the pod of the present look is to be asked how far it is: not of what is soon done, nor all the time, because each answer
/// goes into status.
#[must_use]
pub fn progress_is_due(known: &Verification, now: DateTime<Utc>) -> bool {
    let last = known.reading.as_ref().map(|it| it.at).or(known.looking_since);
    last.is_some_and(|at| at > now || after(at, STILL) <= now)
}

/// What is to be done while no Job is under way.
enum Next {
    /// This Job is to be made.
    Look(Box<k8s_openapi::api::batch::v1::Job>),
    /// Nothing is, until this has passed, or ever.
    Later(Option<Duration>),
    /// None can be made.
    Never(String),
    /// None can be made now.
    Waits(String),
}

fn next(
    (resource, artifact): (&ModelRegistryEntry, &Artifact),
    observed: &Observed,
    known: &Verification,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Next {
    match due(resource, known, settings, now) {
        Some(at) if at <= now => {}
        later => return Next::Later(later.and_then(|at| (at - now).to_std().ok())),
    }
    if observed.jobs.hidden {
        let why =
            "the operator may not list and watch Jobs here; grant both to its ServiceAccount (`helm upgrade` does)";
        return Next::Never(why.into());
    }
    let name = name_of(resource, known.looks);
    if observed.jobs.foreign.contains(&name) {
        return Next::Waits(format!(
            "Job {name} is there, and somebody else has made it; see whose it is, and delete it"
        ));
    }
    // What nobody has seen yet has places of its own.
    let places = if known.is_right().is_some() { settings.at_once.div_ceil(2) } else { settings.at_once };
    if observed.jobs.elsewhere >= places {
        return match known.is_right() {
            Some(_) => Next::Later(Some(earlier(ITS_TURN, resource, known.looks))),
            // No number: it changes all the time.
            None => Next::Waits("it waits for its turn, while Jobs read the artifacts of other entries".into()),
        };
    }
    match places_of(resource, settings) {
        Ok(places) => Next::Look(Box::new(write(resource, artifact, &look(known, settings, places)))),
        Err(why) => Next::Never(why),
    }
}

/// Whether the condition says what status should know, and does not: that somebody is about to look, has looked, or has found it to
/// be wrong.
fn is_dropped(status: &ModelRegistryEntryStatus) -> bool {
    let Some(said) = condition::find(&status.conditions, CONDITION) else { return false };
    let is_verdict = gate::is_verdict(&said.reason);
    match &status.artifact {
        None => is_verdict || [AWAITED, UNAVAILABLE].contains(&said.reason.as_str()),
        Some(it) if is_verdict => it.wrong.is_none(),
        Some(it) => it.looks > 0 && it.is_right().is_none() && it.unseen.is_none(),
    }
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

/// Where its data may be: nowhere else is it read. Anywhere, if that is not said.
fn places_of(resource: &ModelRegistryEntry, settings: &Settings) -> Result<Vec<NodeLabels>, String> {
    let regions = resource.spec.regions();
    let places: Vec<NodeLabels> = regions.iter().filter_map(|it| settings.regions.get(it)).cloned().collect();
    if places.is_empty() && !regions.is_empty() {
        let regions = regions.join(", ");
        return Err(format!(
            "governance.regions: the operator knows none of {regions}; add them to the chart's value regions"
        ));
    }
    Ok(places)
}

fn look(known: &Verification, settings: &Settings, places: Vec<NodeLabels>) -> Look {
    // What was wrong has to be read, whatever it is by now.
    let unchanged = known.fingerprint.clone().filter(|_| known.wrong.is_none());
    Look { number: known.looks, image: settings.image.clone(), known: unchanged, places, limit: LIMIT }
}

/// When the next look is due; never, if that is nothing. What is later than now is of a clock that was set back since.
fn due(
    resource: &ModelRegistryEntry,
    known: &Verification,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let requested = request(resource);
    if requested.is_some() && requested != known.asked {
        return Some(now);
    }
    let (last, pause) = match (&known.unseen, &known.wrong, known.checked_at) {
        (Some(unseen), ..) => (unseen.at, pause_after(unseen, UNSEEN_AGAIN)),
        (None, Some(wrong), _) => (wrong.at, pause_after(wrong, WRONG_AGAIN)),
        (None, None, Some(at)) => (at, earlier(settings.every?, resource, known.looks)),
        (None, None, None) => return Some(now),
    };
    Some(if last > now { now } else { after(last, pause) })
}

fn pause_after(failure: &FailedLook, (first, longest): (Duration, Duration)) -> Duration {
    let before = u32::try_from(failure.times.saturating_sub(1)).unwrap_or(0);
    first.saturating_mul(2_u32.saturating_pow(before)).min(longest)
}

/// Up to a quarter earlier, each time another part of it: what was registered together is not looked at together for ever. The same
/// wherever it is worked out.
fn earlier(pause: Duration, resource: &ModelRegistryEntry, looks: i64) -> Duration {
    let digest = Sha256::digest(format!("{}/{looks}", resource.uid().unwrap_or_default()));
    let part = digest.first().copied().unwrap_or_default();
    pause.saturating_sub((pause / 1024).saturating_mul(u32::from(part)))
}

/// That the API server would not have the Job.
fn refused(observed: &Observed) -> Option<String> {
    let refused = observed.refused.as_ref().filter(|it| it.kind == ChildKind::Job.name())?;
    Some(format!(
        "the API server refuses Job {}: {}; raise the quota, or see which policy is in the way",
        refused.name, refused.message
    ))
}

#[cfg(test)]
mod tests;
