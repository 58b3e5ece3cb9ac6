//! Requests that are asked twice: of the real API server, by the end-to-end tests (`e2e/tests/contract`), and of the one
//! in memory (`src/sim/server`). Both have to answer what `answers.yaml` says, which is what the real one said.
//!
//! `requests.yaml` holds the requests. Told of an answer are its code, the reason and name of a refusal, and what a request
//! wants shown. Uids, versions and times differ between any two servers: told is whether they are one that was
//! kept before.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request, and what is told of its answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Case {
    /// What it is about, in a few words; no two have the same.
    pub(crate) about: String,
    /// Method and path; `WATCH` for what a watch tells at once. `$name` is something that was kept.
    ask: String,
    #[serde(default)]
    body: Value,
    /// Of a PATCH: `merge`, if nothing is said, or `strategic`.
    #[serde(default)]
    patch: Option<String>,
    /// Only metadata is asked for.
    #[serde(default)]
    metadata_only: bool,
    /// It is asked again until the answer has this code: somebody else is at work.
    #[serde(default)]
    until: Option<u16>,
    /// Places in the answer, or in each object of a list or watch.
    #[serde(default)]
    show: Vec<String>,
    /// Places whose value is kept under a name.
    #[serde(default)]
    keep: BTreeMap<String, String>,
    /// Whoever can forgets everything that has happened before it is asked.
    #[serde(default)]
    forget: bool,
    /// Why the server in memory answers something else.
    #[serde(default)]
    pub(crate) not_in_memory: Option<String>,
}

/// A request as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) content_type: &'static str,
    pub(crate) accept: &'static str,
    pub(crate) body: Value,
}

impl Asked {
    fn is_watch(&self) -> bool {
        self.method == "WATCH"
    }

    /// As HTTP has it; `lasts` is added to the query of a watch.
    pub(crate) fn request(&self, lasts: &str) -> http::Request<Vec<u8>> {
        let (method, uri) = match self.is_watch() {
            true => ("GET", format!("{}&watch=true{lasts}", self.uri)),
            false => (self.method.as_str(), self.uri.clone()),
        };
        let body = if self.body.is_null() { Vec::new() } else { serde_json::to_vec(&self.body).unwrap() };
        let request = http::Request::builder().method(method).uri(uri);
        request.header("content-type", self.content_type).header("accept", self.accept).body(body).unwrap()
    }

    /// The events of a watch, if it was one and was answered.
    pub(crate) fn events(&self, code: u16, text: &str) -> Option<Value> {
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        (self.is_watch() && code == 200).then(|| text.lines().map(read).collect())
    }
}

/// Whoever answers.
pub(crate) trait Server {
    /// Whether it is the one in memory.
    const IS_IN_MEMORY: bool;

    /// A code, and a body: for a watch, an array of its events.
    fn ask(&mut self, asked: &Asked) -> (u16, Value);

    /// Forgets what has happened, if that can be told.
    fn forget(&mut self);

    /// Lets others work for a moment.
    fn wait(&mut self);
}

/// What was answered to a request.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    about: String,
    told: Vec<String>,
}

pub(crate) const ANSWERS: &str = "tests/requests/answers.yaml";
/// More often than anybody is waited for.
const PATIENCE: usize = 300;

/// Asks everything, one after the other. `root` is the checkout.
pub(crate) fn all(root: &Path, server: &mut impl Server) -> Vec<Told> {
    let text = std::fs::read_to_string(root.join("tests/requests/requests.yaml")).unwrap();
    let cases: Vec<Case> = serde_yaml::from_str(&text).unwrap();
    let mut kept = BTreeMap::new();
    cases.into_iter().filter_map(|case| told(server, case, &mut kept)).collect()
}

/// What differs from what is written down, of the requests that were asked.
pub(crate) fn compare(root: &Path, found: &[Told]) -> Vec<String> {
    let known: Vec<Told> = std::fs::read_to_string(root.join(ANSWERS))
        .map_or_else(|_| Vec::new(), |it| serde_yaml::from_str(&it).unwrap());
    let mut wrong = Vec::new();
    for Told { about, told } in found {
        let expected = known.iter().find(|it| it.about == *about).map(|it| it.told.as_slice()).unwrap_or_default();
        if expected != told.as_slice() {
            wrong.push(format!("{about}: {told:#?} instead of {expected:#?}"));
        }
    }
    wrong
}

fn told<S: Server>(server: &mut S, case: Case, kept: &mut BTreeMap<String, String>) -> Option<Told> {
    if S::IS_IN_MEMORY && case.not_in_memory.is_some() {
        return None;
    }
    let (method, uri) = case.ask.split_once(' ').unwrap();
    let asked = Asked {
        method: method.to_owned(),
        uri: filled(uri, kept),
        content_type: match (method, case.patch.as_deref()) {
            ("PATCH", Some("strategic")) => "application/strategic-merge-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        },
        accept: match (case.metadata_only, method) {
            (true, "WATCH") => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            (true, _) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            _ => "application/json",
        },
        body: serde_json::from_str(&filled(&case.body.to_string(), kept)).unwrap(),
    };
    if case.forget {
        server.forget();
    }
    let (mut code, mut answer) = server.ask(&asked);
    for _ in 0..PATIENCE {
        if case.until.is_none_or(|it| it == code) {
            break;
        }
        server.wait();
        (code, answer) = server.ask(&asked);
    }
    let mut told = vec![summary(code, &answer)];
    // How many there are depends on when the watch ends.
    if let Some(events) = answer.as_array_mut() {
        events.dedup_by(|one, other| one["type"] == "BOOKMARK" && other["type"] == "BOOKMARK");
    }
    told.extend(objects(&answer).flat_map(|it| shown(it, &case.show, kept)));
    for (name, pointer) in case.keep {
        let value =
            answer.pointer(&pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{}: {answer}", case.about));
        kept.insert(name, value.to_owned());
    }
    Some(Told { about: case.about, told })
}

fn filled(text: &str, kept: &BTreeMap<String, String>) -> String {
    // The longest first: one may begin like another.
    let mut names: Vec<&String> = kept.keys().collect();
    names.sort_by_key(|it| std::cmp::Reverse(it.len()));
    names.into_iter().fold(text.to_owned(), |text, name| text.replace(&format!("${name}"), &kept[name]))
}

fn summary(code: u16, answer: &Value) -> String {
    match answer["kind"] == "Status" {
        true => {
            let details = &answer["details"];
            format!("{code} {} {} {}", answer["status"], answer["reason"], details["name"]).replace('"', "")
        }
        false => code.to_string(),
    }
}

/// The object itself, those of a list, or the events of a watch.
fn objects(answer: &Value) -> impl Iterator<Item = &Value> {
    let list = answer.as_array().or_else(|| answer["items"].as_array());
    list.map_or_else(|| std::slice::from_ref(answer), Vec::as_slice).iter()
}

fn shown(object: &Value, places: &[String], kept: &BTreeMap<String, String>) -> Vec<String> {
    let (type_, object) = match &object["object"] {
        Value::Null => (String::new(), object),
        inner => (format!("{} ", object["type"].as_str().unwrap_or_default()), inner),
    };
    let told = |place: &String| {
        let value = object.pointer(place).unwrap_or(&Value::Null);
        let differs = ["/uid", "/resourceVersion"].iter().any(|it| place.ends_with(it));
        let known = value.as_str().and_then(|it| kept.iter().find(|(_, known)| differs && *known == it));
        let text = match (known, value) {
            (Some((name, _)), _) => format!("${name}"),
            (_, Value::String(_)) if differs => "another".into(),
            (_, Value::String(_)) if place.ends_with("Timestamp") => "a time".into(),
            (_, value) => value.to_string(),
        };
        format!("{type_}{place}: {text}")
    };
    places.iter().map(told).collect()
}
