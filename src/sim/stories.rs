//! The stories that the end-to-end tests play on the real control plane, played here: the API server in memory has to
//! let the operator do the same.
//!
//! `UPDATE=1` rewrites their transcripts from what happens here; only the end-to-end tests can tell whether they are true.

use std::path::Path;

use http::Method;

use super::run;
use super::scenario::{Scenario, asked_of, bad, good};
use super::tests::spread;
use super::view::{NAMESPACE, View};

#[path = "../../tests/stories/mod.rs"]
mod shared;

use shared::plot::asked_about;
pub(super) use shared::{Answered, Seen, Story};
use shared::{Moment, Now, Request, difference, kept, transcript};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Metrics that are bad of an entry, and entries whose pods never become ready.
const BREAKS: &str = "breaks-";
const NEVER_READY: &str = "never-ready-";

fn is_now(moment: Moment) -> impl Fn(&View) -> bool + Send + Sync {
    move |view| moment.is_now(&Now { namespace: NAMESPACE, deployment: &view.deployment() })
}

fn send(view: &View, request: Request) {
    let method = Method::from_bytes(request.method.as_bytes()).unwrap();
    let (code, answer) = view.cluster.ask(method, &request.path, request.body);
    assert!(code < 300, "{}: {answer}", request.path);
}

fn scenario(story: &Story) -> Scenario {
    let mut scenario = Scenario::named("a story").with(story.deployment()["spec"].clone());
    for object in story.given.clone() {
        scenario = scenario.when(|_| true, move |view| send(view, Request::create(NAMESPACE, object.clone())));
    }
    for entry in story.never_ready.clone() {
        scenario = scenario.when(|_| true, move |view| view.set(&format!("{NEVER_READY}{entry}")));
    }
    for (number, act) in story.then.clone().into_iter().enumerate() {
        let what = move |view: &View| {
            let deployment = view.deployment();
            act.what.breaks().into_iter().for_each(|entry| view.set(&format!("{BREAKS}{entry}")));
            let request = act.what.request(number, &Now { namespace: NAMESPACE, deployment: &deployment });
            request.into_iter().for_each(|it| send(view, it));
        };
        scenario = scenario.when(is_now(act.when), what);
    }
    let metrics =
        |view: &View, query: &str| match view.has(&format!("{BREAKS}{}", asked_about(query, &asked_of(view, query)))) {
            true => bad(),
            false => good(),
        };
    let pods = |view: &View, entry: &str, wanted| match view.has(&format!("{NEVER_READY}{entry}")) {
        true => 0,
        false => wanted,
    };
    scenario.metrics(metrics).pods(pods).until(is_now(story.ends.clone()))
}

/// What is wrong with what there was to see.
fn told(story: &Story) -> Option<String> {
    let (ended, seen) = run::seen(&scenario(story));
    let (place, found) = (kept(root(), story), transcript(story, &seen));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&place, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&place).unwrap_or_default();
    let differs = (expected != found).then(|| difference(&expected, &found));
    let wrong: Vec<String> = ended.violations.into_iter().chain(differs).collect();
    (!wrong.is_empty()).then(|| format!("{}:\n{}", story.name, wrong.join("\n")))
}

#[test]
fn stories_are_told_as_on_the_real_control_plane() {
    let wrong = spread(&shared::all(root()), told);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
