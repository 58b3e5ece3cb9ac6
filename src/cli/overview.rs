//! What there is to know of one deployment, more of it the more often `-v` is said.
//!
//! | | |
//! |---|---|
//! | | the tree ([`super::tree`]), and of the rollout: its steps and where it is, what it is used for, the last request |
//! | `-v` | each condition and each verdict, with when it was said |
//! | `-v -v` | the objects that serve it, with the weights that the route has, and what was told last |
//!
//! Pure. Everything shown was written by the operator or by whoever runs the pods and the gateway; nothing is concluded here.

use chrono::{DateTime, Utc};

use super::screen::{Cell, Line, Tone, aligned, show};
use super::tree::{self, active, age, word_of};
use crate::api::model_deployment::{ModelDeploymentStatus, RequestOutcome, Step, UsedFor};
use crate::api::{Condition, ModelDeployment, ModelRegistryEntry};

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The entry whose gates stand before it.
    pub entry: Option<ModelRegistryEntry>,
    /// Kind and name of each object that serves it, and what is to be said of it.
    pub objects: Vec<(String, String)>,
    /// What was told, the newest first.
    pub told: Vec<Told>,
}

/// An Event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When it was told last.
    pub at: DateTime<Utc>,
    /// Whether it is a `Warning`.
    pub is_warning: bool,
    /// Its reason.
    pub reason: String,
    /// What it says.
    pub note: String,
    /// How often.
    pub times: i32,
}

/// The overview; ends in a line break.
#[must_use]
pub fn render(resource: &ModelDeployment, facts: &Facts, verbosity: u8, now: DateTime<Utc>) -> String {
    let mut lines = tree::lines(resource, facts.entry.as_ref(), now);
    if let Some(status) = &resource.status {
        lines.extend(section("rollout", rollout(resource, status, now)));
        if verbosity > 0 {
            lines.extend(section("conditions", conditions(&status.conditions, now)));
            lines.extend(section("verdicts", verdicts(status, now)));
        }
    }
    if verbosity > 1 {
        let rows = facts.objects.iter().map(|(name, said)| [Cell::from(name.as_str()), said.as_str().into()]);
        lines.extend(section("objects", aligned(rows.collect())));
        lines.extend(section("told", events(&facts.told, now)));
    }
    show(&lines)
}

fn section(title: &str, lines: Vec<Line>) -> Vec<Line> {
    if lines.is_empty() {
        return Vec::new();
    }
    let title = [Line::default(), Line::of(title)];
    title.into_iter().chain(lines.into_iter().map(|line| line.behind("  "))).collect()
}

fn rollout(resource: &ModelDeployment, status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<Line> {
    let spec = &resource.spec;
    let mut rows: Vec<(&str, Line)> = vec![("entry", Line::of(&spec.model_ref.name))];
    let used_for = UsedFor::of(spec);
    if used_for.is_said() {
        rows.push(("used", Line::of(used_for.to_string())));
    }
    let steps = spec.rollout.as_ref().map(|it| it.steps.as_slice()).unwrap_or_default();
    rows.push(("steps", path(steps, status)));
    if let Some(attempt) = active(status) {
        let (began, here) = (age(attempt.started_at, now), age(attempt.entered_at, now));
        rows.push(("attempt", Line::of(format!("{}, for {began}, as it is for {here}", attempt.id))));
    }
    if let Some(it) = &status.handled_request {
        let outcome = match it.outcome {
            RequestOutcome::Refused => Cell::toned(Tone::Bad, format!("{:?}", it.outcome)),
            _ => Cell::from(format!("{:?}", it.outcome)),
        };
        let why = it.message.as_ref().map(|it| format!(": {it}")).unwrap_or_default();
        rows.push(("request", Line::of(format!("{} ", it.verb)).and(outcome).and(why)));
    }
    rows.push(("pods", Line::of(format!("{} ready", status.replicas))));
    rows.push(("decided", Line::of(format!("{} times, in {} attempts", status.sequence, status.attempts))));
    rows.into_iter().map(|(label, line)| line.behind(format!("{label:<9}"))).collect()
}

/// The steps, and where the attempt is.
fn path(steps: &[Step], status: &ModelDeploymentStatus) -> Line {
    let here = active(status).and_then(|it| it.step).and_then(|it| usize::try_from(it).ok());
    let mut line = Line::default();
    for (index, step) in steps.iter().enumerate() {
        let watched = step.for_.as_ref().map(|it| format!(" for {}", it.0)).unwrap_or_default();
        let asked = step.approval.as_ref().map(|it| format!(" ({} approves)", it.role)).unwrap_or_default();
        let text = format!("{}{watched}{asked}", step.weight.0);
        line = match here {
            Some(at) if at == index => line.and(Cell::toned(Tone::Doubtful, format!("[{text}]"))),
            Some(at) if at > index => line.and(Cell::toned(Tone::Good, text)),
            _ => line.and(text),
        };
        line = line.and(" → ");
    }
    line.and("100%")
}

fn conditions(all: &[Condition], now: DateTime<Utc>) -> Vec<Line> {
    let row = |it: &Condition| -> [Cell; 5] {
        let since = age(it.last_transition_time, now);
        let status = format!("{:?}", it.status);
        let (reason, message) = (it.reason.as_str(), it.message.as_str());
        [it.type_.as_str().into(), status.into(), reason.into(), Cell::toned(Tone::Faint, since), message.into()]
    };
    aligned(all.iter().map(row).collect())
}

fn verdicts(status: &ModelDeploymentStatus, now: DateTime<Utc>) -> Vec<Line> {
    let late = status.probation.iter().flat_map(|it| &it.verdicts);
    let watching = status.stable_watch.iter().flat_map(|it| &it.verdicts);
    let all = status.verdicts.iter().chain(late).chain(watching);
    let rows = all.map(|it| -> [Cell; 6] {
        let or_nothing = |value: &Option<String>| Cell::from(value.as_deref().unwrap_or("-"));
        let stable = it.stable_value.as_ref().map(|value| format!("stable {value}")).unwrap_or_default();
        let since = Cell::toned(Tone::Faint, age(it.time, now));
        [
            it.metric.as_str().into(),
            word_of(it),
            or_nothing(&it.value),
            stable.into(),
            since,
            it.message.as_str().into(),
        ]
    });
    aligned(rows.collect())
}

fn events(told: &[Told], now: DateTime<Utc>) -> Vec<Line> {
    let row = |it: &Told| -> [Cell; 3] {
        let reason = if it.is_warning { Cell::toned(Tone::Bad, &it.reason) } else { it.reason.as_str().into() };
        let times = if it.times > 1 { format!(" ({} times)", it.times) } else { String::new() };
        [Cell::toned(Tone::Faint, age(it.at, now)), reason, format!("{}{times}", it.note).into()]
    };
    aligned(told.iter().map(row).collect())
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
