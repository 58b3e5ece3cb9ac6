//! Writes a story down: per pass what changed outside, what was decided; then compares with the file.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::Value;

use super::world::{World, noon};
use crate::api::ModelRegistryEntry;
use crate::api::duration;
use crate::api::model_deployment::{Attempt, ModelDeploymentStatus, Probation, Verdict};
use crate::api::model_registry_entry::Lifecycle;
use crate::build::{self, route};
use crate::decide::model_deployment::{acceptance, live};
use crate::decide::{Child, Measurement, Op, Plan, Precondition};

/// A world, and what has been written down about it.
pub(super) struct Story {
    pub(super) world: World,
    text: String,
    /// Names that are digests are told by their order of appearance.
    revisions: Vec<String>,
    seen: Vec<(String, String)>,
    passes: usize,
}

impl Story {
    pub(super) fn of(title: &str, world: World) -> Self {
        let mut story =
            Self { world, text: format!("# {title}\n"), revisions: Vec::new(), seen: Vec::new(), passes: 0 };
        story.learn();
        story.seen = story.observed();
        let given = story.seen.clone();
        story.section("Given", given.iter().map(|(key, value)| format!("{key}: {value}")).collect());
        let status = story.world.resource.status.as_ref().map(lines_of).unwrap_or_default();
        let status: Vec<String> = status.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        story.section("status", if status.is_empty() { vec!["none yet".into()] } else { status });
        story
    }

    /// One pass, written down; `what` says what happened before it.
    pub(super) fn pass(&mut self, what: &str) -> Plan<ModelDeploymentStatus> {
        self.passes += 1;
        let now = self.observed();
        let changes = changed(&self.seen, &now);
        let before = self.world.resource.status.clone();
        let plan = self.world.pass();
        self.learn();
        writeln!(self.text, "\n== Pass {} at {}: {what}", self.passes, clock(self.world.now)).unwrap();
        self.section("in", changes);
        let entries = plan.entries.iter().map(|it| {
            format!(
                "{:?} {} of {}: {} {} at {}: {}",
                it.kind, it.sequence, it.attempt, it.decision, it.revision, it.weight, it.reason
            )
        });
        self.section("entries", entries.collect());
        let status = plan.status.as_ref().map(|after| {
            let before = before.map(|it| lines_of(&it)).unwrap_or_default();
            changed(&before, &lines_of(after))
        });
        self.section("status", status.unwrap_or_default());
        self.section("ops", plan.ops.iter().map(told).collect());
        let events = plan.events.iter().map(|it| format!("{:?} {}/{}: {}", it.type_, it.action, it.reason, it.note));
        self.section("events", events.collect());
        let requeue = plan.requeue.map_or_else(|| "when something changes".into(), duration::written);
        writeln!(self.text, "look again: {requeue}").unwrap();
        self.seen = self.observed();
        plan
    }

    /// Compares with `golden/<name>.txt`.
    pub(super) fn is(self, name: &str) {
        let mut text = self.text;
        for (index, revision) in self.revisions.iter().enumerate() {
            text = text.replace(revision, &format!("r{}", index + 1));
        }
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("src/decide/model_deployment/golden")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(golden == text, "{name}: UPDATE=1 accepts this\n{}", difference(&golden, &text));
    }

    fn section(&mut self, name: &str, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        writeln!(self.text, "{name}:").unwrap();
        for line in lines {
            writeln!(self.text, "  {line}").unwrap();
        }
    }

    fn learn(&mut self) {
        let status = self.world.status();
        let named = status.stable.iter().map(|it| it.revision.clone());
        for revision in named.chain(status.revisions.into_iter().map(|it| it.revision)) {
            if !self.revisions.contains(&revision) {
                self.revisions.push(revision);
            }
        }
    }

    /// Everything a decision rests on, in short.
    fn observed(&self) -> Vec<(String, String)> {
        let world = &self.world;
        let mut lines = spec(world);
        let mut line = |key: String, value: String| lines.push((key, value));
        let known = |(name, it): (&String, &Arc<ModelRegistryEntry>)| match it.spec.lifecycle() {
            Lifecycle::Active => name.clone(),
            other => format!("{name} ({other:?})"),
        };
        let known: Vec<String> = world.entries.iter().map(known).collect();
        line("entries registered".into(), known.join(", "));
        for it in &world.approvals {
            line(
                format!("Approval of {} by role {}", it.spec.subject.name, it.spec.role),
                format!("{:?}", it.spec.decision),
            );
        }
        for (name, content) in &world.config_maps {
            line(format!("ConfigMap {name}"), format!("{:?}", content.data));
        }
        for (name, text) in &world.shared_metrics {
            line(format!("metrics of {name}"), format!("{text:?}"));
        }
        for ((metric, side), answer) in &world.sources.answers {
            line(format!("metric source, {metric} of {side:?}"), answered(answer));
        }
        for (name, it) in &world.children.deployments {
            let wanted = it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let expected: Option<i64> =
                it.metadata.annotations.as_ref().and_then(|all| all.get(build::GENERATION)?.parse().ok());
            let edited = match (it.metadata.generation, expected) {
                (Some(seen), Some(expected)) if seen != expected => {
                    format!(", generation {seen} instead of {expected}")
                }
                _ => String::new(),
            };
            line(format!("Deployment {name}"), format!("{} of {wanted} ready{edited}", live::ready_pods(it)));
        }
        for (name, it) in &world.children.autoscalers {
            line(format!("HorizontalPodAutoscaler {name}"), bounds(it));
        }
        let (services, copies) = (&world.children.services, &world.children.copies);
        line("Services".into(), services.keys().cloned().collect::<Vec<_>>().join(", "));
        line("ConfigMap copies".into(), copies.keys().cloned().collect::<Vec<_>>().join(", "));
        line("ControllerRevisions".into(), world.children.records.keys().cloned().collect::<Vec<_>>().join(", "));
        if let Some(route) = &world.children.route {
            let state = acceptance::route_state(route);
            line("HTTPRoute".into(), format!("{}{}; {state:?}", weights(route), mirrored(route)));
            line("HTTPRoute for".into(), user_part(route));
        }
        if let Some(route) = &world.children.proposed {
            let state = acceptance::route_state(route);
            line("HTTPRoute proposed".into(), format!("{}{}; {state:?}", parents(route), mirrored(route)));
        }
        for (name, it) in &world.children.jobs {
            let mut ended =
                it.job.status.iter().flat_map(|it| it.conditions.iter().flatten()).map(|it| it.type_.clone());
            let said = it.pods.iter().map(|pod| {
                let status = serde_json::to_value(&pod.status).unwrap();
                let it = &status["containerStatuses"][0]["state"]["terminated"];
                format!(", exit code {}, said {}", it["exitCode"], it["message"])
            });
            let said = said.collect::<String>();
            line(format!("Job {name}"), format!("{}{said}", ended.next().unwrap_or_else(|| "under way".into())));
        }
        for pod in &world.pods {
            line("pod of the candidate".into(), serde_json::to_string(&pod.status).unwrap());
        }
        let memory = &world.memory;
        let since = memory.trail_unavailable_since.map(|at| format!("since {}", clock(at)));
        line("trail unavailable".into(), since.unwrap_or_default());
        line("names taken by others".into(), memory.foreign_children.join(", "));
        line("refused".into(), memory.refused.as_ref().map(ToString::to_string).unwrap_or_default());
        line("Gateway API".into(), (if world.children.gateway_api { "" } else { "missing" }).into());
        lines.retain(|(_, value)| !value.is_empty());
        lines
    }
}

fn spec(world: &World) -> Vec<(String, String)> {
    let spec = serde_json::to_value(&world.resource.spec).unwrap();
    let Value::Object(fields) = spec else { return Vec::new() };
    let mut lines: Vec<(String, String)> =
        fields.iter().map(|(key, value)| (format!("spec.{key}"), value.to_string())).collect();
    for (key, value) in world.resource.metadata.annotations.iter().flatten() {
        lines.push((format!("annotation {key}"), value.clone()));
    }
    let deleted = world.resource.metadata.deletion_timestamp.is_some();
    lines.push(("deleted".into(), if deleted { "yes" } else { "" }.into()));
    lines
}

/// A status as lines that can be compared.
fn lines_of(status: &ModelDeploymentStatus) -> Vec<(String, String)> {
    let mut lines = vec![
        ("phase".to_owned(), format!("{:?}", status.phase)),
        (
            "stable".to_owned(),
            status.stable.as_ref().map(|it| format!("{} of {}", it.revision, it.name)).unwrap_or_default(),
        ),
        ("attempt".to_owned(), status.attempt.as_ref().map(attempt).unwrap_or_default()),
    ];
    for it in &status.revisions {
        let since = it.draining_since.map(|at| format!(" since {}", clock(at))).unwrap_or_default();
        lines.push((format!("revision {}", it.revision), format!("{:?}{since}", it.role)));
    }
    for it in &status.verdicts {
        let stable = it.stable_value.as_ref().map(|value| format!(" against {value}")).unwrap_or_default();
        let silent = it.silent_since.map(|at| format!(", silent since {}", clock(at))).unwrap_or_default();
        let value = it.value.as_deref().unwrap_or("-");
        let text = format!(
            "{:?} {value}{stable} at {}: {} (failed {} in a row{silent})",
            it.verdict,
            clock(it.time),
            it.message,
            it.failures
        );
        lines.push((format!("verdict {}", it.metric), text));
        for period in &it.periods {
            let when = period.since.map_or_else(|| "earlier".to_owned(), |since| format!("since {}", clock(since)));
            let counts = format!("{} against {}", period.candidate.join(" of "), period.stable.join(" of "));
            lines.push((format!("counted {} at {}, {when}", it.metric, period.weight), counts));
        }
    }
    lines.extend(status.probation.iter().flat_map(probation));
    lines.extend(status.stable_watch.iter().flat_map(|it| verdicts_alone("watched", &it.verdicts)));
    if let Some(it) = &status.route_contest {
        let at = it.at.map(clock).unwrap_or_default();
        lines.push(("route reset".to_owned(), format!("{} times, last version {} at {at}", it.resets, it.version)));
    }
    for it in &status.unrecorded {
        lines.push((
            format!("unrecorded {} {:?}", it.sequence, it.kind),
            format!("{} {}: {}", it.decision, it.weight, it.reason),
        ));
    }
    for it in &status.taken_back {
        lines.push((format!("taken back {}", it.revision), format!("{:?}", it.cause)));
    }
    for it in &status.conditions {
        lines.push((it.type_.clone(), format!("{:?} {}: {}", it.status, it.reason, it.message)));
    }
    let handled = status.handled_request.as_ref().map(|it| {
        let why = it.message.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        format!("{}/{}/{}/{} {:?}{why}", it.verb, it.attempt, it.step, it.nonce, it.outcome)
    });
    lines.push(("handled request".into(), handled.unwrap_or_default()));
    lines.push(("weight".into(), status.weight.map(|it| it.to_string()).unwrap_or_default()));
    lines.push(("candidate".into(), status.candidate.clone().unwrap_or_default()));
    lines.push(("ready pods".into(), status.replicas.to_string()));
    lines.retain(|(_, value)| !value.is_empty());
    lines
}

fn probation(it: &Probation) -> Vec<(String, String)> {
    let mut text = format!("{} by {} since {} against {}", it.revision, it.attempt, clock(it.since), it.baseline);
    write!(text, ", back to {}", it.fallback.revision).unwrap();
    for it in &it.exposed {
        let until = it.until.map(clock).unwrap_or_default();
        write!(text, "; {} from {} to {until}", it.weight, clock(it.since)).unwrap();
    }
    if let Some(recall) = &it.recall {
        write!(text, "; called back since {}: {:?}: {}", clock(recall.at), recall.cause, recall.message).unwrap();
    }
    std::iter::once(("probation".to_owned(), text)).chain(verdicts_alone("on probation", &it.verdicts)).collect()
}

fn verdicts_alone<'a>(whose: &'a str, verdicts: &'a [Verdict]) -> impl Iterator<Item = (String, String)> + 'a {
    verdicts.iter().map(move |it| {
        let stable = it.stable_value.as_ref().map(|value| format!(" against {value}")).unwrap_or_default();
        let value = it.value.as_deref().unwrap_or("-");
        let text = format!("{:?} {value}{stable} at {}: {}", it.verdict, clock(it.time), it.message);
        (format!("{whose} {}", it.metric), text)
    })
}

fn attempt(it: &Attempt) -> String {
    let mut text = format!("{} {:?} at {}", it.id, it.state, it.weight);
    if let Some(step) = it.step {
        write!(text, ", step {step}").unwrap();
    }
    write!(text, ", since {}", clock(it.entered_at)).unwrap();
    if let Some(at) = it.observing_since {
        write!(text, ", watched since {}", clock(at)).unwrap();
    }
    for step in &it.approvals {
        write!(text, ", {} to be approved by {}", step.weight, step.role).unwrap();
    }
    if let Some(samples) = it.samples {
        write!(text, ", {samples} requests").unwrap();
    }
    if let Some(at) = it.short_of_capacity_since {
        write!(text, ", short of pods since {}", clock(at)).unwrap();
    }
    if let Some(at) = it.unjudged_since {
        write!(text, ", metrics unread since {}", clock(at)).unwrap();
    }
    if let Some(weight) = it.withdrawn_from {
        write!(text, ", withdrawn from {weight} (loss {})", it.losses).unwrap();
    }
    if let Some(at) = it.paused_since {
        write!(text, ", paused since {}", clock(at)).unwrap();
    }
    if let Some(at) = it.suspended_since {
        write!(text, ", suspended since {}", clock(at)).unwrap();
    }
    if let Some(at) = it.held_until {
        write!(text, ", held until {}", clock(at)).unwrap();
    }
    if it.skip_steps {
        text.push_str(", skips the steps");
    }
    write!(text, ", decision {}", it.decided).unwrap();
    if let (Some(cause), Some(message)) = (it.cause, &it.message) {
        write!(text, ", {cause:?}: {message}").unwrap();
    }
    text
}

/// `key: old → new`, only what differs.
fn changed(before: &[(String, String)], after: &[(String, String)]) -> Vec<String> {
    let value =
        |all: &[(String, String)], key: &str| all.iter().find(|(it, _)| it == key).map(|(_, value)| value.clone());
    let gone =
        before.iter().filter(|(key, _)| value(after, key).is_none()).map(|(key, old)| format!("{key}: {old} → none"));
    let new = after.iter().filter_map(|(key, new)| match value(before, key) {
        Some(old) if old == *new => None,
        Some(old) => Some(format!("{key}: {old}\n    → {new}")),
        None => Some(format!("{key}: {new}")),
    });
    new.chain(gone).collect()
}

fn told(op: &Op) -> String {
    let over = |it: &Precondition| format!("over {} version {}", it.uid, it.resource_version);
    match op {
        Op::Create(child) => format!("create {} {}{}", child.kind().name(), child.name(), content(child)),
        Op::Apply(child, it) => {
            format!("apply {} {}{}, {}", child.kind().name(), child.name(), content(child), over(it))
        }
        Op::Delete(kind, name, it) => format!("delete {} {name}, {}", kind.name(), over(it)),
    }
}

fn content(child: &Child) -> String {
    match child {
        Child::Deployment(it) => format!(": {} replicas", it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)),
        Child::HttpRoute(it) => match user_part(it) {
            asked if asked.is_empty() => format!(": {}{}", weights(it), mirrored(it)),
            asked => format!(": {}{} for {asked}", weights(it), mirrored(it)),
        },
        Child::Service(it) => format!(
            ": selects {:?}",
            it.spec
                .as_ref()
                .and_then(|spec| spec.selector.clone())
                .unwrap_or_default()
                .into_values()
                .collect::<Vec<_>>()
        ),
        Child::ConfigMap(it) => format!(": {:?}", it.data.clone().unwrap_or_default()),
        Child::Autoscaler(it) => format!(": {}", bounds(it)),
        Child::Revision(it) => format!(": ordinal {}", it.revision),
        Child::Job(it) => {
            let purpose = build::job::purpose(&it.metadata).unwrap();
            format!(": {} of the {:?}, about {}", purpose.metric, purpose.subject, clock(purpose.moment))
        }
    }
}

/// Who gets copies of requests.
fn mirrored(it: &crate::api::gateway::HttpRoute) -> String {
    let filters = it.spec.rules.list();
    let filters = filters.iter().filter_map(|rule| rule.get("filters")?.as_array()).flatten();
    let copy = |filter: &Value| {
        let mirror = filter.get("requestMirror")?;
        Some(format!(", {}% copied to {}", mirror["percent"], mirror["backendRef"]["name"].as_str()?))
    };
    filters.filter_map(copy).collect()
}

fn bounds(it: &HorizontalPodAutoscaler) -> String {
    let spec = it.spec.as_ref().unwrap();
    format!("{} to {} pods", spec.min_replicas.unwrap_or(1), spec.max_replicas)
}

fn weights(it: &crate::api::gateway::HttpRoute) -> String {
    let all = route::weights(it).into_iter().next().unwrap_or_default();
    all.iter().map(|(name, weight)| format!("{name}={weight}")).collect::<Vec<_>>().join(" ")
}

fn parents(it: &crate::api::gateway::HttpRoute) -> String {
    let all = it.spec.parents().into_iter().flatten();
    all.map(|it| it.to_string()).collect::<Vec<_>>().join(" and ")
}

/// What the user asked for, where it is not what all stories begin with.
fn user_part(it: &crate::api::gateway::HttpRoute) -> String {
    let written = route::gateway(it).unwrap();
    let usual = World::new().resource.spec.traffic.unwrap().gateway;
    if written == usual { String::new() } else { serde_json::to_string(&written).unwrap() }
}

fn answered(answer: &Measurement) -> String {
    match answer {
        Measurement::Value(value) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn clock(at: DateTime<Utc>) -> String {
    let seconds = (at - noon()).num_seconds();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The first lines that differ, with what comes before them.
fn difference(golden: &str, text: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (golden.lines().collect(), text.lines().collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let part = |lines: &[&str], sign: &str| {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    let before: String = new[same.saturating_sub(4)..same].iter().map(|line| format!("  {line}\n")).collect();
    format!("line {}:\n{before}{}{}", same + 1, part(&old, "-"), part(&new, "+"))
}
