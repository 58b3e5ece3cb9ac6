//! What happens in a story: the spec it begins with, what metrics and pods are like, what people do and when.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use super::NAME;

/// A story, as it is written down.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Story {
    #[serde(skip)]
    pub(crate) name: String,
    /// In one sentence, for people.
    pub(crate) about: String,
    /// What of `base.yaml` is different, as a merge patch.
    #[serde(default)]
    spec: Value,
    /// Objects that are there before.
    #[serde(default)]
    pub(crate) given: Vec<Value>,
    /// Entries whose pods never become ready.
    #[serde(default)]
    pub(crate) never_ready: Vec<String>,
    /// What is done, one after the other.
    #[serde(default)]
    pub(crate) then: Vec<Act>,
    /// It is not over before this is so.
    pub(crate) ends: Moment,
}

/// Something that somebody does as soon as this is so.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Act {
    pub(crate) when: Moment,
    #[serde(rename = "do")]
    pub(crate) what: Deed,
}

/// What can be waited for. What is not named does not matter; a status of an older generation says nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Moment {
    /// This entry serves, and nothing is under way.
    serves: Option<String>,
    /// The attempt is in this state, at this weight.
    state: Option<String>,
    weight: Option<String>,
    attempts: Option<i64>,
    /// Some condition has this reason.
    told: Option<String>,
    /// The newest verdict of each metric is Pass, and about the weight that is watched.
    #[serde(rename = "proven")]
    is_proven: Option<bool>,
    /// Somebody holds the attempt.
    held: Option<bool>,
    /// So many revisions have a place.
    revisions: Option<usize>,
    /// So many pods are ready.
    ready: Option<i64>,
    /// The route has been reset so often.
    resets: Option<i64>,
    /// The deployment is no more.
    gone: Option<bool>,
}

/// What somebody can do.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Deed {
    /// Edits the deployment's spec by a merge patch.
    Edit(Value),
    /// `kubectl werkbank <verb>` for the present attempt.
    Ask(String),
    /// From now on this metric, `errors` or `returns`, is bad of this entry.
    Breaks {
        metric: String,
        entry: String,
    },
    Create(Value),
    /// Edits an object by a merge patch; `{stable}` and `{candidate}` in a name are revisions.
    Patch {
        kind: String,
        name: String,
        with: Value,
    },
    Delete {
        kind: String,
        name: String,
    },
}

/// A request to the API server; a PATCH is a merge patch.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn create(namespace: &str, mut object: Value) -> Self {
        object["metadata"]["namespace"] = namespace.into();
        let path = collection(object["kind"].as_str().unwrap(), namespace);
        Self { method: "POST", path, body: object }
    }
}

/// What there is to see of the deployment; null if it is gone.
pub(crate) struct Now<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) deployment: &'a Value,
}

fn read(root: &Path, name: &str) -> Value {
    let file = root.join(format!("tests/stories/{name}.yaml"));
    serde_yaml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap_or_else(|it| panic!("{name}: {it}"))
}

impl Story {
    pub(super) fn read(root: &Path, name: &str) -> Self {
        let mut story: Self = serde_json::from_value(read(root, name)).unwrap_or_else(|it| panic!("{name}: {it}"));
        let mut spec = read(root, "base");
        merge(&mut spec, &story.spec);
        (story.name, story.spec) = (name.to_owned(), spec);
        story
    }

    /// The deployment it begins with.
    pub(crate) fn deployment(&self) -> Value {
        json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": NAME}, "spec": self.spec})
    }

    /// The entry of this name, with an artifact of its own.
    pub(crate) fn entry(name: &str, version: u8) -> Value {
        let spec = json!({
            "model": {"name": "churn", "version": version.to_string(), "kind": "Predictor"},
            "artifact": {"uri": format!("s3://models/churn/{version}/"), "sha256": format!("{version:02x}").repeat(32)},
        });
        let metadata = json!({"name": name});
        json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelRegistryEntry", "metadata": metadata, "spec": spec})
    }
}

fn broken(metric: &str, entry: &str) -> String {
    format!("{metric}-{entry}")
}

/// What would have to be broken for a query of this entry to tell of it.
pub(crate) fn asked_about(query: &str, entry: &str) -> String {
    broken(query.split('{').next().unwrap_or_default(), entry)
}

impl Moment {
    pub(crate) fn is_now(&self, now: &Now<'_>) -> bool {
        if self.gone == Some(true) {
            return now.deployment.is_null();
        }
        let status = &now.deployment["status"];
        let attempt = &status["attempt"];
        let is = |wanted: &Option<String>, found: &Value| wanted.as_ref().is_none_or(|it| found == it.as_str());
        let counts = |wanted: Option<i64>, found: &Value| wanted.is_none_or(|it| found.as_i64().unwrap_or(0) == it);
        let over = ["Promoted", "RolledBack", "Failed"].iter().any(|it| attempt["state"] == *it);
        let conditions = || status["conditions"].as_array().into_iter().flatten();
        let held = || attempt["pausedSince"].is_string() || attempt["suspendedSince"].is_string();
        let verdicts = || status["verdicts"].as_array().cloned().unwrap_or_default();
        let since = attempt["observingSince"].as_str();
        let passes = |it: &Value| it["verdict"] == "Pass" && since.is_some() && it["time"].as_str() >= since;
        let revisions = status["revisions"].as_array().map_or(0, Vec::len);
        status["observedGeneration"] == now.deployment["metadata"]["generation"]
            && is(&self.serves, &status["stable"]["name"])
            && (self.serves.is_none() || over)
            && is(&self.state, &attempt["state"])
            && is(&self.weight, &attempt["weight"])
            && counts(self.attempts, &status["attempts"])
            && counts(self.ready, &status["replicas"])
            && counts(self.resets, &status["routeContest"]["resets"])
            && self.told.as_ref().is_none_or(|reason| conditions().any(|it| it["reason"] == reason.as_str()))
            && self.is_proven.is_none_or(|it| it == (!verdicts().is_empty() && verdicts().iter().all(passes)))
            && self.held.is_none_or(|it| it == held())
            && self.revisions.is_none_or(|it| it == revisions)
    }
}

impl Deed {
    /// The metric and the entry that get bad by it, as one word.
    pub(crate) fn breaks(&self) -> Option<String> {
        if let Self::Breaks { metric, entry } = self { Some(broken(metric, entry)) } else { None }
    }

    /// What is asked of the API server for it, if anything is.
    pub(crate) fn request(&self, number: usize, now: &Now<'_>) -> Option<Request> {
        let namespace = now.namespace;
        let own = || place("ModelDeployment", namespace, NAME);
        let (status, patch) = (&now.deployment["status"], "PATCH");
        Some(match self {
            Self::Breaks { .. } => return None,
            Self::Edit(spec) => Request { method: patch, path: own(), body: json!({"spec": spec}) },
            Self::Ask(verb) => {
                let attempt = &status["attempt"];
                let step = attempt["step"].as_i64().map_or_else(|| "-".to_owned(), |it| it.to_string());
                let id = attempt["id"].as_str().unwrap();
                // In the name that the end-to-end tests' administrator has.
                let text = format!("{verb}/{id}/{step}/n{number}/admin");
                let body = json!({"metadata": {"annotations": {"werkbank.dev/request": text}}});
                Request { method: patch, path: own(), body }
            }
            Self::Create(object) => Request::create(namespace, object.clone()),
            Self::Patch { kind, name, with } => {
                Request { method: patch, path: place(kind, namespace, &named(name, status)), body: with.clone() }
            }
            Self::Delete { kind, name } => {
                Request { method: "DELETE", path: place(kind, namespace, &named(name, status)), body: Value::Null }
            }
        })
    }
}

fn named(name: &str, status: &Value) -> String {
    let of = |it: &Value| it["revision"].as_str().unwrap_or_default().to_owned();
    name.replace("{stable}", &of(&status["stable"])).replace("{candidate}", &of(&status["attempt"]))
}

/// The objects that stories are about.
pub(crate) const KINDS: [(&str, &str, &str); 9] = [
    ("ModelDeployment", "/apis/werkbank.dev/v1alpha1", "modeldeployments"),
    ("ModelRegistryEntry", "/apis/werkbank.dev/v1alpha1", "modelregistryentries"),
    ("ControllerRevision", "/apis/apps/v1", "controllerrevisions"),
    ("ConfigMap", "/api/v1", "configmaps"),
    ("Deployment", "/apis/apps/v1", "deployments"),
    ("HorizontalPodAutoscaler", "/apis/autoscaling/v2", "horizontalpodautoscalers"),
    ("Service", "/api/v1", "services"),
    ("HTTPRoute", "/apis/gateway.networking.k8s.io/v1", "httproutes"),
    ("Event", "/apis/events.k8s.io/v1", "events"),
];

fn collection(kind: &str, namespace: &str) -> String {
    let known = KINDS.iter().find(|it| it.0 == kind).unwrap_or_else(|| panic!("no story knows a {kind}"));
    format!("{}/namespaces/{namespace}/{}", known.1, known.2)
}

fn place(kind: &str, namespace: &str, name: &str) -> String {
    format!("{}/{name}", collection(kind, namespace))
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.as_object_mut().unwrap().remove(key)),
            Value::Object(_) if target[key].is_object() => merge(&mut target[key], value),
            value => target[key] = value.clone(),
        }
    }
}
