//! What a run is about: the cluster it begins in, what people do and when, what metrics and pods are like.

use http::Method;
use serde_json::{Value, json};

use super::others::{self, jobs::JobEnd};
use super::stories::Story;
use super::view::{ENTRIES, MODELS, NAME, NAMESPACE, View, path, within};
use crate::api::labels;
use crate::decide::Measurement;
use crate::decide::model_deployment::request::step_of;

/// Something that somebody does, once.
pub(super) struct Act {
    pub(super) when: Box<dyn Fn(&View) -> bool + Send + Sync>,
    pub(super) what: Box<dyn Fn(&View) + Send + Sync>,
}

/// What the metric source answers to a query.
pub(super) type Metrics = fn(&View, &str) -> Measurement;
/// How many of the wanted pods of an entry come up.
type PodsOf = fn(&View, &str, i64) -> i64;
/// How a Job ends.
type JobsOf = fn(&View, &Value) -> JobEnd;

/// See the module. By default: `churn` on entry `churn-1` of four, 4 pods behind a gateway, steps 5 % and 50 %, one
/// guardrail that everybody keeps.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    spec: Value,
    given: Vec<(String, Value)>,
    pub(super) acts: Vec<Act>,
    pub(super) metrics: Metrics,
    pods: PodsOf,
    pub(super) jobs: JobsOf,
}

impl Scenario {
    pub(super) fn named(name: &'static str) -> Self {
        let spec = json!({
            "modelRef": {"name": "churn-1"},
            "replicas": 4,
            "port": 8080,
            "template": {"spec": {"containers": [{"name": "server", "image": "registry/scorer:1.4"}]}},
            "traffic": {"gateway": {"parentRefs": [{"name": "internal", "namespace": "infra"}], "hostnames": ["churn.internal"]}},
            "rollout": {"steps": [{"weight": "5%", "for": "2m"}, {"weight": "50%", "for": "2m"}]},
            "analysis": {"metrics": [guardrail()]},
        });
        let (given, acts) = (Vec::new(), Vec::new());
        let all = |_: &View, _: &str, wanted| wanted;
        let jobs = |_: &View, _: &Value| JobEnd::Says(r#"{"value": 0.93}"#);
        Self { name, spec, given, acts, metrics: |_, _| good(), pods: all, jobs }
    }

    /// The spec it begins with differs by this merge patch.
    pub(super) fn spec(mut self, patch: Value) -> Self {
        for (key, value) in patch.as_object().unwrap() {
            match value {
                Value::Null => drop(self.spec.as_object_mut().unwrap().remove(key)),
                value => self.spec[key] = value.clone(),
            }
        }
        self
    }

    /// The whole spec it begins with.
    pub(super) fn with(mut self, spec: Value) -> Self {
        self.spec = spec;
        self
    }

    /// An object that is there in the beginning.
    pub(super) fn given(mut self, collection: &str, object: Value) -> Self {
        self.given.push((within(collection), object));
        self
    }

    /// As soon as `when` holds, and after everything that was said before, `what` is done.
    pub(super) fn when(
        mut self,
        when: impl Fn(&View) -> bool + Send + Sync + 'static,
        what: impl Fn(&View) + Send + Sync + 'static,
    ) -> Self {
        self.acts.push(Act { when: Box::new(when), what: Box::new(what) });
        self
    }

    /// It is not over before this holds.
    pub(super) fn until(self, when: impl Fn(&View) -> bool + Send + Sync + 'static) -> Self {
        self.when(when, |_| ())
    }

    pub(super) fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    pub(super) fn pods(mut self, pods: PodsOf) -> Self {
        self.pods = pods;
        self
    }

    pub(super) fn jobs(mut self, jobs: JobsOf) -> Self {
        self.jobs = jobs;
        self
    }

    /// Makes the cluster it begins in.
    pub(super) fn set(&self, view: &View) {
        for version in 1..=4 {
            register(view, &format!("churn-{version}"), version);
        }
        for (collection, object) in &self.given {
            created(view, collection, object.clone());
        }
        created(
            view,
            "/api/v1/namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        );
        let metadata = json!({"namespace": NAMESPACE, "name": NAME});
        let deployment = json!({"apiVersion": "werkbank.dev/v1alpha1", "kind": "ModelDeployment",
            "metadata": metadata, "spec": self.spec});
        let first = json!({"metadata": {"name": "first"}, "deployment": deployment});
        created(view, &within("/apis/sim/v1/flags"), first);
        created(view, &within(MODELS), deployment);
    }

    pub(super) fn pods_of(&self, view: &View, deployment: &Value, wanted: i64) -> i64 {
        (self.pods)(view, &view.entry_of(others::revision(deployment)), wanted)
    }
}

fn created(view: &View, collection: &str, object: Value) {
    let (code, answer) = view.cluster.ask(Method::POST, collection, object);
    assert_eq!(code, 201, "{answer}");
}

/// Registers an entry with an artifact of its own.
pub(super) fn register(view: &View, name: &str, version: u8) {
    let mut entry = Story::entry(name, version);
    entry["metadata"]["namespace"] = NAMESPACE.into();
    created(view, &within(ENTRIES), entry);
}

/// Errors stay below 1 %.
pub(super) fn guardrail() -> Value {
    json!({"name": "error-rate", "role": "Guardrail", "threshold": {"max": "1%"},
        "prometheus": {"query": "errors{revision=\"{{ revision }}\"}"}})
}

/// What queries for outcomes that arrive late begin with.
pub(super) const LATE: &str = "returns";

/// Who was served comes back, as is known half an hour later: longer than a clock is ever wrong.
pub(super) fn late() -> Value {
    json!({"name": "returns", "role": "Objective", "threshold": {"max": "1%"}, "delay": "30m",
        "prometheus": {"query": format!("{LATE}{{revision=\"{{{{ revision }}}}\"}}[{{{{ window }}}}] @ {{{{ windowEnd }}}}")}})
}

pub(super) fn good() -> Measurement {
    Measurement::of(0.001)
}

pub(super) fn bad() -> Measurement {
    Measurement::of(0.5)
}

/// The entry that a query is about.
pub(super) fn asked_of(view: &View, query: &str) -> String {
    let revision = query.split("revision=\"").nth(1).and_then(|it| it.split('"').next());
    view.entry_of(revision.unwrap_or_default())
}

// ── what people do ──

/// Edits the spec by a merge patch.
pub(super) fn edit(spec: Value) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let (code, answer) = view.cluster.ask(Method::PATCH, &path(MODELS, NAME), json!({"spec": spec}));
        assert_eq!(code, 200, "{answer}");
    }
}

pub(super) fn deploy(entry: &'static str) -> impl Fn(&View) + Send + Sync {
    edit(json!({"modelRef": {"name": entry}}))
}

/// Edits `spec.lifecycle` of an entry.
pub(super) fn lifecycle(entry: &'static str, lifecycle: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let (code, answer) =
            view.cluster.ask(Method::PATCH, &path(ENTRIES, entry), json!({"spec": {"lifecycle": lifecycle}}));
        assert_eq!(code, 200, "{answer}");
    }
}

pub(super) fn revoke(entry: &'static str) -> impl Fn(&View) + Send + Sync {
    lifecycle(entry, "Revoked")
}

/// `kubectl werkbank <verb>` for the present attempt.
pub(super) fn request(verb: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().attempt.map(|it| it.id).unwrap_or_default();
        annotate(view, &format!("{verb}/{attempt}/0/n1/jane"));
    }
}

/// The same, for the step the attempt is at; each nonce once.
pub(super) fn request_here(verb: &'static str, nonce: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().attempt.unwrap();
        annotate(view, &format!("{verb}/{}/{}/{nonce}/jane", attempt.id, step_of(&attempt)));
    }
}

/// `kubectl werkbank <verb>` for the attempt whose revision is on probation.
pub(super) fn request_of_probation(verb: &'static str, nonce: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().probation.map(|it| it.attempt).unwrap_or_default();
        annotate(view, &format!("{verb}/{attempt}/-/{nonce}/jane"));
    }
}

fn annotate(view: &View, request: &str) {
    let patch = json!({"metadata": {"annotations": {labels::REQUEST: request}}});
    view.cluster.ask(Method::PATCH, &path(MODELS, NAME), patch);
}

/// `kubectl annotate namespace`; null takes the annotation away.
pub(super) fn annotate_namespace(value: Value) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let patch = json!({"metadata": {"annotations": {labels::SUSPEND: value}}});
        let (code, answer) = view.cluster.ask(Method::PATCH, &format!("/api/v1/namespaces/{NAMESPACE}"), patch);
        assert_eq!(code, 200, "{answer}");
    }
}

pub(super) fn delete(collection: &'static str, name: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| drop(view.cluster.ask(Method::DELETE, &path(collection, name), Value::Null))
}
