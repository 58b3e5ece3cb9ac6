//! What the status says to people and tools.
//!
//! | condition | True means |
//! |---|---|
//! | `Ready` | the spec's revision is the stable one, and serves |
//! | `Available` | something healthy serves (or is scaled to zero on purpose) |
//! | `Reconciling` | an attempt is under way, and goes on by itself |
//! | `Stalled` | nothing goes on without a change by a person |
//!
//! Each has one author, here; reasons are listed in `docs/reference/conditions.md`.

use super::capacity::is_short;
use super::children::Problem;
use super::hold;
use super::images;
use super::live;
use super::measure;
use super::pass::Pass;
use super::stable_breach;
use super::target;
use crate::api::condition::{self, ConditionStatus};
use crate::api::duration::written;
use crate::api::labels;
use crate::api::model_deployment::{Attempt, AttemptState, Cause, Phase, Verdict};
use crate::api::{Condition, Weight};
use crate::decide::EventType;
use crate::decide::Missing;

/// Reason: decisions cannot be recorded.
const TRAIL: &str = "AuditUnavailable";

/// What comes back by itself, and is in nobody's way where nothing is left to decide.
fn passes(said: &Said) -> bool {
    [TRAIL, target::UNREAD].contains(&said.reason.as_str())
}

/// A conclusion: a reason and a sentence.
struct Said {
    reason: String,
    message: String,
}

impl Said {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Sets phase, summary fields and all conditions.
pub(super) fn conclude(pass: &mut Pass<'_>, problem: Option<Problem>) {
    let obstacle = obstacle(pass, problem);
    let ready = ready(pass, obstacle.as_ref());
    let available = available(pass);
    let stalled = stalled(pass, obstacle);
    // Tools that know kstatus take Reconciling for "wait": not while waiting is in vain.
    let reconciling = pass
        .active()
        .filter(|attempt| {
            stalled.is_none() || attempt.state == AttemptState::RollingBack && pass.refused_route().is_none()
        })
        .map(|attempt| under_way(pass, attempt));
    tell_of_images(pass, stalled.as_ref());
    tell_of_bar(pass, &ready);
    // Whatever else is wrong: traffic is about to move.
    let reconciling = pass.comes_back().map(|message| Said::new("RollingBack", message)).or(reconciling);
    let generation = pass.resource.metadata.generation.unwrap_or_default();
    let (now, suspended, gated) =
        (pass.now, pass.begins_nothing(), pass.gated().filter(|_| pass.begins_no_more().is_none()));
    let mut set = |type_: &str, status: ConditionStatus, said: Said| {
        condition::set(
            &mut pass.status.conditions,
            Condition {
                type_: type_.into(),
                status,
                reason: said.reason,
                message: said.message,
                last_transition_time: now,
                observed_generation: generation,
            },
        );
    };
    set("Available", available.0.into(), available.1);
    set("Ready", ready.0.into(), ready.1);
    let calm = || match pass.status.attempt.as_ref().filter(|it| it.state.is_active()) {
        Some(attempt) => Said::new("Stalled", format!("the attempt stands in {:?}: see Stalled", attempt.state)),
        None => match (&gated, &suspended) {
            (Some(closed), _) => Said::new(closed.reason, &closed.message),
            (None, Some(message)) => Said::new("Suspended", message),
            (None, None) => Said::new("NoAttempt", "no attempt is under way"),
        },
    };
    let calm = calm();
    set("Reconciling", reconciling.is_some().into(), reconciling.unwrap_or(calm));
    let moving = || Said::new("Progressing", "nothing needs a person");
    set("Stalled", stalled.is_some().into(), stalled.unwrap_or_else(moving));
    summarise(pass, generation);
}

/// Once, when it begins to be what nothing goes on for.
fn tell_of_images(pass: &mut Pass<'_>, stalled: Option<&Said>) {
    let known = pass.status.conditions.iter().any(|it| it.type_ == "Stalled" && it.reason == images::DIFFER);
    if let Some(said) = stalled.filter(|it| it.reason == images::DIFFER && !known) {
        pass.tell(EventType::Warning, images::DIFFER, "Hold", said.message.as_str());
    }
}

/// Once, when it begins to be what keeps the spec's entry from being rolled out.
fn tell_of_bar(pass: &mut Pass<'_>, ready: &(bool, Said)) {
    let said = |it: &Missing| !ready.0 && ready.1.reason == it.reason;
    let Some(barred) = pass.begins_no_more().filter(said) else { return };
    let old = pass.resource.status.as_ref().and_then(|it| condition::find(&it.conditions, "Ready"));
    if old.is_none_or(|it| it.reason != barred.reason) {
        pass.tell(EventType::Warning, barred.reason, "Gate", barred.message);
    }
}

/// What keeps the spec from being carried out, most fundamental first.
fn obstacle(pass: &Pass<'_>, problem: Option<Problem>) -> Option<Said> {
    if let Some(unread) = target::unread(pass.observed, |_| true) {
        return Some(Said::new(unread.reason, unread.message));
    }
    if let Some(first) = pass.policy.errors.first() {
        let all: Vec<&str> = pass.policy.errors.iter().map(|it| it.message.as_str()).collect();
        return Some(Said::new(first.reason, all.join("; ")));
    }
    if let Err(blocked) = &pass.target {
        // What a child lacks does not wait until somebody has corrected the spec.
        let more = problem.map(|it| format!("; {}", it.message)).unwrap_or_default();
        return Some(Said::new(blocked.reason, format!("{}{more}", blocked.message)));
    }
    if let Some(problem) = problem {
        return Some(Said::new(problem.reason, problem.message));
    }
    let differ = pass.mixed_candidate().or_else(|| pass.not_what_was_proven());
    let differ = differ.map(|message| Said::new(images::DIFFER, message));
    let contests = pass.contests().map(|it| Said::new(it.reason, it.message));
    let condemned = pass.condemned().map(|(cause, message)| Said::new(format!("{cause:?}"), message));
    let breached = pass.stable_breach().map(|message| Said::new(stable_breach::BREACHED, message));
    let misused = pass.misused().map(|it| Said::new(it.reason, it.message));
    // None of them may hide another: what serves is concerned by each.
    let all = differ.into_iter().chain(contests).chain(unasked(pass));
    let all = all.chain([condemned, breached, misused, unrecorded(pass)].into_iter().flatten());
    all.reduce(|first, next| Said::new(first.reason, format!("{}; {}", first.message, next.message)))
}

/// Why a metric cannot be asked about what is watched.
fn unasked(pass: &Pass<'_>) -> Option<Said> {
    if let Some(refused) = asked(pass).find(|it| it.refused) {
        return Some(Said::new(
            "QueryRefused",
            format!(
                "metric {}: {}; correct its query in spec.analysis, or in the ConfigMap it comes from",
                refused.metric, refused.message
            ),
        ));
    }
    let unasked = asked(pass).find(|it| it.secret_not_readable)?;
    Some(Said::new("SecretNotReadable", format!("metric {}: {}", unasked.metric, unasked.message)))
}

/// Why decisions cannot go to the record, or come from it.
fn unrecorded(pass: &Pass<'_>) -> Option<Said> {
    if let Some(unknown) = pass.unknown_history() {
        return Some(Said::new(TRAIL, unknown));
    }
    let Some(since) = pass.observed.memory.trail_unavailable_since else {
        let since = pass.people_unknown_since()?;
        let message = format!(
            "the audit log does not say who has approved since {}: nothing that rests on that advances, rollback still works; the operator's log says why",
            since.format("%FT%TZ")
        );
        return Some(Said::new(TRAIL, message));
    };
    let message = format!(
        "decisions cannot be recorded since {}: nothing advances, rollback still works; check the store of the operator's audit log",
        since.format("%FT%TZ")
    );
    Some(Said::new(TRAIL, message))
}

/// The verdicts on what is watched at this moment.
fn asked<'a>(pass: &'a Pass<'_>) -> impl Iterator<Item = &'a Verdict> {
    let status = &pass.status;
    let of_attempt = measure::watched(status).map(|_| &status.verdicts);
    let of_stable = stable_breach::watched(pass.policy, status).map(|it| &it.verdicts);
    of_attempt.into_iter().chain(status.probation.as_ref().map(|it| &it.verdicts)).chain(of_stable).flatten()
}

fn ready(pass: &Pass<'_>, obstacle: Option<&Said>) -> (bool, Said) {
    // What is wrong besides, Stalled says.
    if let Some((cause, message)) = pass.awaited_fallback() {
        return (false, Said::new(format!("{cause:?}"), message));
    }
    let at_rest = pass.active().is_none() && serves_spec(pass);
    if let Some(said) = obstacle.filter(|it| !(at_rest && passes(it))) {
        return (false, Said::new(&said.reason, &said.message));
    }
    // An attempt goes on, on what was last accepted: so an edit that waits is less than what it needs itself.
    if let Some(edit) = pass.edit().filter(|it| it.in_vain || pass.active().is_none()) {
        return (false, Said::new(edit.reason, edit.message));
    }
    if let Some(attempt) = pass.active() {
        let (reason, message) = explained(pass, attempt);
        return (false, Said::new(reason, message));
    }
    match (serves_spec(pass), &pass.status.attempt) {
        (true, _) => {
            if let Some(message) = pass.refused_route() {
                return (false, Said::new("RouteRejected", message));
            }
            let (available, said) = available(pass);
            let serves = format!("revision {} serves", stable_revision(pass));
            match pass.unproven_outcomes() {
                _ if !available => (false, said),
                Some(unproven) => (true, Said::new("Probation", format!("{serves}, {unproven}"))),
                None => (true, Said::new("Stable", serves)),
            }
        }
        (false, Some(attempt)) => match pass.refusal() {
            Some(cause) => (false, refused(pass, attempt, cause)),
            None => (false, about_to_start(pass)),
        },
        (false, None) => (false, about_to_start(pass)),
    }
}

fn about_to_start(pass: &Pass<'_>) -> Said {
    if let Some(closed) = beginning(pass) {
        return Said::new(closed.reason, closed.message);
    }
    if let Some(message) = pass.suspension() {
        return Said::new("Suspended", message);
    }
    Said::new("Pending", "an attempt is about to start")
}

/// Everything that an attempt would need to begin.
fn beginning(pass: &Pass<'_>) -> Option<Missing> {
    Missing::together([pass.begins_no_more(), pass.gated()].into_iter().flatten())
}

/// What the spec asks for was tried, now or earlier.
fn refused(pass: &Pass<'_>, last: &Attempt, cause: Cause) -> Said {
    let revision = pass.target.as_ref().map(|it| it.entry.revision.as_str()).unwrap_or_default();
    let why = last.message.as_deref().filter(|_| last.revision == revision).unwrap_or("in an earlier attempt");
    let remedy = format!(
        "deploy another revision, or try this one again with the annotation {}: retry/{}/0/<a new word>/<your name>",
        labels::REQUEST,
        last.id
    );
    Said::new(format!("{cause:?}"), format!("revision {revision} was taken back: {why}; {remedy}"))
}

/// What an attempt under way waits for: a person, or what its state says.
fn under_way(pass: &Pass<'_>, attempt: &Attempt) -> Said {
    let (reason, message) = match (pass.held(attempt), pass.held_by_gate(attempt)) {
        (Some((reason, message)), _) => (reason.to_owned(), message),
        (None, Some(closed)) => (closed.reason.to_owned(), format!("held at {}: {}", attempt.weight, closed.message)),
        _ => (format!("{:?}", attempt.state), pass.awaited(attempt).unwrap_or_default()),
    };
    match pass.refused_request(attempt) {
        Some(refused) => Said::new(reason, format!("{message}; {refused}")),
        None => Said::new(reason, message),
    }
}

/// Reason and message of an attempt under way: what is wrong with the pods or the
/// route, or else its state.
fn explained(pass: &Pass<'_>, attempt: &Attempt) -> (String, String) {
    let Said { reason: calm, message } = under_way(pass, attempt);
    let problem = pass.pod_problem(attempt);
    let refused = pass.refused_route();
    let short = is_short(attempt);
    let reason = match (attempt.state, problem, refused) {
        (AttemptState::Starting, Some(problem), _) => problem.reason,
        (_, Some(problem), _) if short => problem.reason,
        _ if short => "ShortOfCapacity".into(),
        (AttemptState::Starting | AttemptState::Observing, ..) => calm,
        (_, _, Some(_)) => "RouteRejected".into(),
        _ => calm,
    };
    (reason, message)
}

fn available(pass: &Pass<'_>) -> (bool, Said) {
    if pass.policy.replicas == 0 && pass.status.stable.is_some() {
        return (true, Said::new("ScaledToZero", "spec.replicas is 0"));
    }
    let Some(stable) = &pass.status.stable else {
        if let Some(attempt) = pass.active().filter(|it| pass.serves_alone(it)) {
            let revision = &attempt.revision;
            return match pass.serving_of(revision) {
                0 => (
                    false,
                    Said::new(
                        "NoPodReady",
                        format!("no pod of revision {revision} is ready, which has all of the traffic; see its pods"),
                    ),
                ),
                ready => (
                    true,
                    Said::new("PodsReady", format!("{ready} pods of revision {revision}, which is watched, are ready")),
                ),
            };
        }
        let revoked = pass.revoked_service().map(|it| Said::new("Revoked", it));
        return (false, revoked.unwrap_or_else(|| Said::new("NothingServes", "no revision has been promoted yet")));
    };
    match pass.serving_of(&stable.revision) {
        0 => (
            false,
            Said::new(
                "NoPodReady",
                format!("no pod of the stable revision {} is ready; see its pods", stable.revision),
            ),
        ),
        ready => {
            let mut message = format!("{ready} pods of the stable revision {} are ready", stable.revision);
            let more = pass.mixed_stable().into_iter().chain(pass.kept_although_revoked());
            more.for_each(|it| message.push_str(&format!("; {it}")));
            (true, Said::new("PodsReady", message))
        }
    }
}

fn stalled(pass: &Pass<'_>, obstacle: Option<Said>) -> Option<Said> {
    // Everything else here needs a person.
    if let Some(said) = obstacle {
        return (!passes(&said)).then_some(said);
    }
    // Any other attempt has a deadline and ends by itself.
    let waits = |it: &Attempt| it.state == AttemptState::RollingBack || pass.serves_alone(it);
    if pass.active().is_none_or(waits)
        && let Some(message) = pass.refused_route()
    {
        return Some(Said::new("RouteRejected", message));
    }
    if let Some((_, message)) = pass.awaited_fallback().filter(|_| pass.awaits_in_vain()) {
        let limit = written(pass.policy.progress_deadline);
        return Some(Said::new("ProgressDeadlineExceeded", format!("no progress within {limit}: {message}")));
    }
    if let Some(attempt) = pass.active().filter(|it| !pass.serves_alone(it)) {
        return closed_for_good(pass.held_by_gate(attempt));
    }
    if let Some(edit) = pass.edit().filter(|it| it.in_vain) {
        return Some(Said::new(edit.reason, edit.message));
    }
    if let Some(attempt) = pass.active() {
        return closed_for_good(pass.held_by_gate(attempt));
    }
    if serves_spec(pass) {
        return None;
    }
    let Some(cause) = pass.refusal() else {
        return closed_for_good(beginning(pass));
    };
    let revision = &pass.target.as_ref().ok()?.entry.revision;
    Some(Said::new(
        format!("{cause:?}"),
        format!("revision {revision} was taken back and is not tried again by itself"),
    ))
}

/// A gate that waits for an approval opens by itself, as far as this deployment goes.
fn closed_for_good(gate: Option<Missing>) -> Option<Said> {
    gate.filter(|it| it.is_final).map(|it| Said::new(it.reason, it.message))
}

fn serves_spec(pass: &Pass<'_>) -> bool {
    let same = matches!((&pass.target, &pass.status.stable), (Ok(target), Some(stable)) if target.entry.revision == stable.revision);
    // The same bytes under an entry that is not approved are not what the spec asks for.
    same && pass.gated().is_none()
}

fn stable_revision<'a>(pass: &'a Pass<'_>) -> &'a str {
    pass.status.stable.as_ref().map(|it| it.revision.as_str()).unwrap_or_default()
}

fn summarise(pass: &mut Pass<'_>, generation: i64) {
    let active = pass.active().cloned();
    pass.status.observed_generation = generation;
    let now = phase(pass, active.as_ref());
    let before = std::mem::replace(&mut pass.status.phase, now);
    if pass.status.phase == Phase::Gating {
        pass.tell_of_gate(before);
    }
    pass.status.weight = active.as_ref().map(|it| it.weight).filter(|it| *it > Weight::NONE);
    pass.status.candidate = active.map(|it| it.revision);
    pass.status.replicas = pass.observed.children.deployments.values().map(|it| live::serving_pods(it)).sum();
    // A Job of a metric carries the first label, too, and is no pod to scale by.
    pass.status.selector = format!("{}={},{}", labels::DEPLOYMENT, pass.name(), labels::REVISION);
}

fn phase(pass: &Pass<'_>, active: Option<&Attempt>) -> Phase {
    match active.and_then(hold::of) {
        Some(hold::Hold::Paused(_)) => return Phase::Paused,
        Some(hold::Hold::Suspended(_)) => return Phase::Suspended,
        None => {}
    }
    if pass.recalled_until().is_some() {
        return Phase::RollingBack;
    }
    let is_held = active.is_some_and(|it| pass.held_by_gate(it).is_some());
    if is_held || pass.gated().is_some() && pass.begins_no_more().is_none() {
        return Phase::Gating;
    }
    let state = active.or(pass.status.attempt.as_ref().filter(|_| !serves_spec(pass))).map(|it| it.state);
    match state {
        Some(AttemptState::Starting) => Phase::Starting,
        Some(AttemptState::Shadowing) => Phase::Shadowing,
        Some(AttemptState::Shifting) => Phase::Shifting,
        Some(AttemptState::Observing) => Phase::Observing,
        Some(AttemptState::Promoting) => Phase::Promoting,
        Some(AttemptState::RollingBack) => Phase::RollingBack,
        Some(AttemptState::RolledBack) => Phase::RolledBack,
        Some(AttemptState::Failed) => Phase::Failed,
        Some(AttemptState::Promoted) if pass.refusal().is_some() => Phase::RolledBack,
        Some(AttemptState::Promoted) | None if pass.is_suspended() => Phase::Suspended,
        Some(AttemptState::Promoted) | None if pass.status.probation.is_some() => Phase::Probation,
        Some(AttemptState::Promoted) | None if pass.status.stable.is_some() => Phase::Stable,
        Some(AttemptState::Promoted) | None => Phase::Pending,
    }
}
