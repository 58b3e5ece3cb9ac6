//! The promises that the story makes, held against what was seen. Pure.

use std::time::Duration;

use werkbank::api::Weight;
use werkbank::api::model_deployment::{AttemptState, Cause, ModelDeploymentStatus, Phase};

use super::act::{Act, Held};
use super::approvals::{Approved, Said};
use super::audit::Audited;
use super::replay::Snapshot;
use super::words::{count, joined, percent, seconds};
use crate::load::within_sampling_error;

/// Requests that a weight must have been held over to say anything about it.
const ENOUGH: u64 = 1_000;

/// A promise and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Promise {
    pub(super) said: String,
    pub(super) seen: String,
    pub(super) kept: bool,
}

impl Promise {
    fn new(kept: bool, said: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { said: said.into(), seen: seen.into(), kept }
    }
}

/// The sentence for the person who wants to know what went wrong; none when everything went as promised.
pub(super) fn broken(promises: &[Promise]) -> Option<String> {
    let broken: Vec<String> =
        promises.iter().filter(|it| !it.kept).map(|it| format!("{}; seen instead: {}", it.said, it.seen)).collect();
    match broken.len() {
        0 => None,
        1 => Some(format!("a promise was broken: {}", broken.join(""))),
        many => Some(format!("{many} promises were broken: {}", broken.join(". "))),
    }
}

/// The first version serves, and answers what is sent.
pub(super) fn serves(act: &Act, answered: &Snapshot) -> Promise {
    let own = answered.revisions.get(&act.revision).map_or(0, |it| it.requests - it.errors);
    let everything = act.last.envoy == Some(Weight::FULL);
    let kept = act.last.status.phase == Phase::Stable && everything && own > 0 && own == answered.requests();
    let of = answered.requests();
    let seen = format!("{}; it answered {} of the first {} requests", standing(act), count(own), count(of));
    Promise::new(kept, format!("{} serves all traffic", act.entry), seen)
}

/// What is harmful gets the first step's weight and never more, and is taken back for what it did.
pub(super) fn taken_back(act: &Act, first_step: &[Weight], stable: &str) -> Vec<Promise> {
    let first_step = first_step.first().copied().unwrap_or_default();
    let (told, in_envoy) = act.highest();
    let said = format!("{} gets {first_step} of the traffic and at no time more", act.entry);
    let seen = format!("at most {told} in the status, at most {in_envoy} in Envoy");
    let weight = Promise::new((told, in_envoy) == (first_step, first_step), said, seen);

    let attempt = act.attempt();
    let cause = attempt.and_then(|it| it.cause);
    let status = &act.last.status;
    let serving = status.stable.as_ref().is_some_and(|it| it.revision == stable);
    let stalled = status.conditions.iter().any(|it| it.type_ == "Stalled" && it.reason == "ObjectiveMissed");
    let kept = status.phase == Phase::RolledBack && cause == Some(Cause::ObjectiveMissed) && stalled && serving;
    let why = attempt.and_then(|it| it.message.as_deref());
    let seen = match cause {
        Some(cause) => format!("{}: {cause:?}: {}", standing(act), why.unwrap_or("no reason given")),
        None => standing(act),
    };
    let said = format!("{} is taken back because it misses its objective", act.entry);
    vec![weight, Promise::new(kept, said, seen)]
}

/// Back to weight 0 in time.
pub(super) fn back_in_time(act: &Act, took: Option<Duration>, within: Duration) -> Promise {
    let (entry, limit) = (&act.entry, seconds(within));
    let said = format!("{entry} is at weight 0 in Envoy within {limit} of Prometheus showing the breach");
    let seen = took.map_or_else(|| "no breach in Prometheus with weight 0 after it".to_owned(), seconds);
    Promise::new(took.is_some_and(|took| took <= within), said, seen)
}

/// Nothing begins before two people have approved it, and its author is none of them.
pub(super) fn approved(entry: &str, it: &Approved) -> Promise {
    let (before, after) = it.attempts;
    let refused = it.refusal.as_ref().is_some_and(|why| why.contains("nobody approves their own work"));
    let waited = ["technical", "business"].iter().all(|role| it.awaited.contains(&format!("--role {role}")));
    let said = format!("{entry} does not begin before two people have approved it, and its author is none of them");
    let refusal = it.refusal.as_deref().unwrap_or("she was not refused");
    let seen = format!("{} attempts began before the second approval; the author: {refusal}", after - before);
    Promise::new(refused && waited && before == after, said, seen)
}

/// Whoever asks why it serves is told what it may be used for, on what data it rests, and who has approved it.
pub(super) fn explained(entry: &str, why: &Said) -> Promise {
    let text = why.as_ref().unwrap_or_else(|refused| refused);
    let parts = [
        entry,
        "for retention-email",
        "cdnow-purchases",
        "technical: Approved by ben@example.com",
        "business: Approved by carla@example.com",
    ];
    let lacking: Vec<&str> = parts.into_iter().filter(|part| !text.contains(part)).collect();
    let seen = if lacking.is_empty() {
        "all of it, in one screen".into()
    } else {
        format!("not said: {}", lacking.join("; "))
    };
    let said = format!(
        "kubectl werkbank why says what {entry} may be used for, on what data it rests, and who has approved it"
    );
    Promise::new(lacking.is_empty() && why.is_ok(), said, seen)
}

/// How soon what is revoked has no traffic any more.
const REVOKED_WITHIN: Duration = Duration::from_secs(2);

/// What is revoked is off traffic at once. `late` is what it has answered after that.
pub(super) fn revoked(entry: &str, took: Option<Duration>, late: u64) -> Promise {
    let limit = seconds(REVOKED_WITHIN);
    let said =
        format!("{entry} is at weight 0 in Envoy within {limit} of lifecycle: Revoked, and gets no request afterwards");
    let seen = took.map_or_else(|| "Envoy still sent it requests".to_owned(), seconds);
    let kept = took.is_some_and(|took| took <= REVOKED_WITHIN) && late == 0;
    Promise::new(kept, said, format!("{seen}, {} requests afterwards", count(late)))
}

/// What served before serves again, and whoever looks is told why.
pub(super) fn takes_over(entry: &str, revision: &str, status: &ModelDeploymentStatus) -> Promise {
    let serves = status.stable.as_ref().is_some_and(|it| it.name == entry && it.revision == revision);
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready");
    let told = ready.is_some_and(|it| it.reason == "EntryRevoked");
    let seen = ready.map_or_else(|| "nothing is said".to_owned(), |it| format!("{}: {}", it.reason, it.message));
    Promise::new(serves && told, format!("{entry} serves again, and the status says what to do"), seen)
}

/// Nobody is sent to what was taken back. `late` is what it has answered since.
pub(super) fn left_alone(entry: &str, late: u64) -> Promise {
    Promise::new(late == 0, format!("{entry} gets no request afterwards"), format!("{} requests", count(late)))
}

/// What is good goes through every step in order, and ends with all traffic.
pub(super) fn promoted(act: &Act, steps: &[Weight]) -> Vec<Promise> {
    let expected: Vec<Weight> = steps.iter().copied().chain([Weight::FULL]).collect();
    let told = on_the_way(&act.told);
    let in_envoy = on_the_way(&act.in_envoy);
    let said = format!("{} goes through {} in this order", act.entry, joined(&expected));
    let seen = if told == in_envoy {
        format!("{} in the status and in Envoy", joined(&told))
    } else {
        format!("{} in the status, {} in Envoy", joined(&told), joined(&in_envoy))
    };
    let order = Promise::new(told == expected && in_envoy == expected, said, seen);

    let status = &act.last.status;
    let promoted = act.attempt().is_some_and(|it| it.state == AttemptState::Promoted);
    let stable = status.stable.as_ref().is_some_and(|it| it.revision == act.revision);
    let kept = status.phase == Phase::Stable && promoted && stable && act.last.envoy == Some(Weight::FULL);
    vec![order, Promise::new(kept, format!("{} is promoted", act.entry), standing(act))]
}

/// Envoy divides the requests as the weights say, within sampling error, at each weight that the version was
/// watched at; these among them.
pub(super) fn divided(act: &Act, steps: &[Weight]) -> Promise {
    let fits = |it: &Held| {
        let share = f64::from(it.weight.hundredths()) / f64::from(Weight::TOTAL);
        it.all() >= ENOUGH && within_sampling_error(it.own(&act.revision), it.all(), share)
    };
    let was_held = |step: &Weight| act.held.iter().any(|it| it.weight == *step);
    let kept = steps.iter().all(was_held) && act.held.iter().all(fits);
    let share = |it: &Held| {
        let of = it.own(&act.revision) as f64 / it.all().max(1) as f64;
        format!("{} of {} requests at weight {}", percent(of), count(it.all()), it.weight)
    };
    let seen: Vec<String> = act.held.iter().map(share).collect();
    let seen = if seen.is_empty() { "no weight in effect".to_owned() } else { seen.join(", ") };
    Promise::new(kept, format!("Envoy gives {} the share that its weight says, within sampling error", act.entry), seen)
}

/// The log verifies, tells of what was taken back, and shows a change of one bit.
pub(super) fn audited(it: &Audited, taken_back: [&str; 2]) -> Vec<Promise> {
    let seen = |said: &Option<Said>| match said {
        Some(Ok(text) | Err(text)) => text.lines().next().unwrap_or("nothing").to_owned(),
        None => "it was not verified".to_owned(),
    };
    let kept =
        matches!(&it.verified, Some(Ok(text)) if text.starts_with("verified: ") && !text.contains("no checkpoint"));
    let said = "the log of all decisions is verified with its public key";
    let whole = Promise::new(kept, said, seen(&it.verified));

    let is_told =
        |revision: &&str| it.decisions.iter().any(|line| line.contains(" RollBack ") && line.contains(*revision));
    let told = taken_back.iter().filter(|it| is_told(it)).count();
    let promoted = it.decisions.iter().filter(|line| line.contains(" Promote ")).count();
    let said = "the log tells that churn-v2 and churn-v3 were taken back, and what was promoted";
    let seen_of =
        format!("{} decisions, {promoted} promotions, {told} of 2 taken back", it.decisions.len().saturating_sub(1));
    let told = Promise::new(told == taken_back.len() && promoted > 0, said, seen_of);

    let kept = matches!(&it.of_copy, Some(Err(why)) if why.contains("the log is not what was signed"));
    let said = "one flipped bit in a copy of the log is found";
    vec![whole, told, Promise::new(kept, said, seen(&it.of_copy))]
}

/// Nobody who sent a request saw a failure.
pub(super) fn unharmed(seen: &Snapshot) -> Promise {
    let (all, failed) = (seen.requests(), seen.errors());
    let seen = format!("{failed} of {} requests failed", count(all));
    Promise::new(failed == 0 && all > 0, "no request fails, from the first to the last", seen)
}

/// The weights without those at which there was no traffic yet.
fn on_the_way(changes: &[(Weight, Duration)]) -> Vec<Weight> {
    changes.iter().map(|(weight, _)| *weight).skip_while(|it| *it == Weight::NONE).collect()
}

/// How it stands with a version, in a few words.
fn standing(act: &Act) -> String {
    let phase = act.last.status.phase;
    let (envoy, after) = (act.last.envoy.map_or("no route".to_owned(), |it| it.to_string()), seconds(act.last.at));
    match phase {
        Phase::Stable | Phase::RolledBack => format!("{phase:?} after {after}, {envoy} in Envoy"),
        _ => {
            let ready = act.last.status.conditions.iter().find(|it| it.type_ == "Ready");
            let says = ready.map_or("nothing", |it| it.message.as_str());
            format!("{phase:?} after {after}, {envoy} in Envoy; its condition Ready says: {says}")
        }
    }
}

#[cfg(test)]
#[path = "promises_tests.rs"]
mod tests;
