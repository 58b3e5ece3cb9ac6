//! What there was to see of a story, so that two can be compared.
//!
//! Everything that this leaves out or makes equal is here and in [`sight`](super::sight), and it is this:
//!
//! - **Revisions** are called v1, v2, … in the order they were tried in; uids, versions, times and sentences are not told.
//! - **The way** of an object is what is told of each of its versions, one after the other, without repetitions: how
//!   often something was written that says the same (a verdict, a time) depends on how fast a machine is. Which of
//!   *two* objects changed first is told by the trail only.
//! - **Requests** are told by method, kind, subresource and answer. How many there were is told of what creates and
//!   deletes. A PUT, PATCH or DELETE that was answered 409 or 404 is not told: the object has changed since it was
//!   read, or is gone, and what is to be done is decided anew.
//! - **Children** are all objects but `kube-root-ca.crt`, which the control plane puts into every namespace. Of their
//!   annotations `werkbank.dev/applied` is not told, a digest of all there is, uids included.
//! - **Events** are a set: the same told twice is one, and those of two kinds arrive in any order.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::Story;
use super::plot::KINDS;
use super::sight::{belonging, child, conditions, marks, standing, step, word};

/// A request of the operator's, and the code it was answered with.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) code: u16,
}

/// What one side has seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Versions of objects, those of one object in order, as a watch tells them: `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) history: Vec<(String, Value)>,
    /// Entries of the trail.
    pub(crate) trail: Vec<Value>,
    pub(crate) events: Vec<Value>,
    pub(crate) requests: Vec<Answered>,
}

#[derive(Serialize)]
struct Transcript {
    about: String,
    trail: Vec<String>,
    /// The status on its way.
    way: Vec<String>,
    end: Vec<String>,
    conditions: Vec<String>,
    /// Each with its way.
    children: BTreeMap<String, Vec<String>>,
    events: BTreeSet<String>,
    requests: Vec<String>,
}

/// See the module.
pub(crate) fn transcript(story: &Story, seen: &Seen) -> String {
    let deployments: Vec<&(String, Value)> =
        seen.history.iter().filter(|it| it.1["kind"] == "ModelDeployment").collect();
    let last = deployments.last().map(|it| &it.1).unwrap_or(&Value::Null);
    let is_gone = deployments.last().is_none_or(|it| it.0 == "DELETED");
    let mut way = Vec::new();
    for (type_, deployment) in &deployments {
        let going = if deployment["metadata"]["deletionTimestamp"].is_null() { "" } else { ", to be deleted" };
        way.push(if type_ == "DELETED" { "gone".into() } else { format!("{}{going}", step(deployment)) });
    }
    way.dedup();
    let revisions = revisions(&deployments);
    let call = |text: &str| called(&revisions, text);
    let transcript = Transcript {
        about: story.about.clone(),
        trail: seen.trail.iter().map(entry).collect(),
        way,
        end: if is_gone { vec!["gone".into()] } else { standing(last) },
        conditions: if is_gone { Vec::new() } else { conditions(last) },
        children: children(&seen.history, call),
        events: seen.events.iter().map(event).collect(),
        requests: requests(&seen.requests),
    };
    call(&serde_yaml::to_string(&transcript).unwrap())
}

/// In the order they were tried in.
fn revisions<'a>(deployments: &[&'a (String, Value)]) -> Vec<&'a str> {
    let mut revisions: Vec<&str> = Vec::new();
    for revision in deployments.iter().filter_map(|it| it.1["status"]["attempt"]["revision"].as_str()) {
        if !revisions.contains(&revision) {
            revisions.push(revision);
        }
    }
    revisions
}

fn called(revisions: &[&str], text: &str) -> String {
    let numbered = revisions.iter().enumerate();
    numbered.fold(text.to_owned(), |text, (index, revision)| text.replace(revision, &format!("v{}", index + 1)))
}

fn entry(entry: &Value) -> String {
    let [kind, sequence] = [&entry["kind"], &entry["sequence"]].map(word);
    format!("{kind} {sequence} {} {} {}", word(&entry["decision"]), word(&entry["revision"]), word(&entry["weight"]))
}

fn event(event: &Value) -> String {
    let regarding = &event["regarding"];
    let [type_, reason, action] = [&event["type"], &event["reason"], &event["action"]].map(word);
    format!("{type_} {reason} ({action}) of {} {}", word(&regarding["kind"]), word(&regarding["name"]))
}

/// What became of each child: to whom it belongs, and what was told of it.
fn children(history: &[(String, Value)], call: impl Fn(&str) -> String) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for (type_, object) in history.iter().filter(|it| it.1["metadata"]["name"] != "kube-root-ca.crt") {
        let Some(told) = child(object) else { continue };
        let name = call(&format!("{} {}", word(&object["kind"]), word(&object["metadata"]["name"])));
        last.insert(name.clone(), marks(object));
        let lines = all.entry(name).or_insert_with(|| vec![belonging(object)]);
        match (type_.as_str(), object["metadata"]["deletionTimestamp"].is_null()) {
            ("DELETED", _) => lines.push("gone".into()),
            (_, false) => lines.push(format!("to be deleted, held by {}", object["metadata"]["finalizers"])),
            _ => lines.push(told),
        }
        lines.dedup();
    }
    let alive = all.iter_mut().filter(|it| it.1.last().is_some_and(|last| last != "gone"));
    alive.for_each(|(name, lines)| lines.extend(last.remove(name).filter(|it| !it.is_empty())));
    all
}

fn requests(all: &[Answered]) -> Vec<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for Answered { method, path, code } in all {
        let overtaken = [404, 409].contains(code) && method != "POST";
        let parts: Vec<&str> = path.split('/').collect();
        let Some((kind, ..)) = KINDS.iter().find(|it| parts.contains(&it.2)).filter(|_| !overtaken) else { continue };
        // What Events there were is told above; the same one may be told once more, or not.
        if *kind == "Event" {
            continue;
        }
        let what = if path.ends_with("/status") { format!("{kind}/status") } else { (*kind).to_owned() };
        *counts.entry(format!("{method} {what} → {code}")).or_default() += 1;
    }
    let counted = |told: &str| told.starts_with("POST") || told.starts_with("DELETE");
    counts.into_iter().map(|(told, count)| if counted(&told) { format!("{told} ({count})") } else { told }).collect()
}

/// The lines that only one of two transcripts has.
pub(crate) fn difference(expected: &str, found: &str) -> String {
    let only = |one: &str, other: &str, sign: &str| -> Vec<String> {
        let other: Vec<&str> = other.lines().collect();
        one.lines().filter(|it| !other.contains(it)).map(|it| format!("  {sign} {it}")).collect()
    };
    let mut lines = only(expected, found, "-");
    lines.extend(only(found, expected, "+"));
    if lines.is_empty() && expected != found {
        return format!("  the order differs:\n{found}");
    }
    lines.join("\n")
}
