//! What a run is about: the cluster it begins in, what people do and when, what metrics and pods are like.

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::others::{self, jobs::JobEnd};
use super::stories::Story;
use super::view::{APPROVALS, BINDINGS, ENTRIES, MODELS, NAME, NAMESPACE, POLICIES, View, path, within};
use crate::api::ModelRegistryEntry;
use crate::api::approval::name_of;
use crate::api::labels;
use crate::build::approval_guard;
use crate::decide::Measurement;
use crate::decide::approval::guard::Shipped;
use crate::decide::model_deployment::request::step_of;

/// How the names of all people end, and nothing else does.
pub(super) const EVERYBODY: &str = "@example.com";

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
    is_guarded: bool,
    pub(super) verifies: bool,
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
        let (given, is_guarded, verifies, acts) = (Vec::new(), false, false, Vec::new());
        let all = |_: &View, _: &str, wanted| wanted;
        let jobs = |_: &View, _: &Value| JobEnd::Says(r#"{"value": 0.93}"#);
        Self { name, spec, given, is_guarded, verifies, acts, metrics: |_, _| good(), pods: all, jobs }
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

    /// The admission policies are in force, and `churn-5` is registered by `anna`: two roles have to approve it.
    pub(super) fn guarded(mut self) -> Self {
        self.is_guarded = true;
        self
    }

    /// The operator verifies artifacts before it rolls them out.
    pub(super) fn verifying(mut self) -> Self {
        self.verifies = true;
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
        if self.is_guarded {
            guard(view);
            register_asking(view);
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

/// An entry with an artifact of its own, which says this besides.
pub(super) fn entry(name: &str, version: u8, said: &Value) -> Value {
    let mut it = Story::entry(name, version);
    it["metadata"]["namespace"] = NAMESPACE.into();
    it["spec"].as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
    it
}

/// Registers an entry with an artifact of its own.
pub(super) fn register(view: &View, name: &str, version: u8) {
    created(view, &within(ENTRIES), entry(name, version, &json!({})));
}

fn register_asking(view: &View) {
    let said =
        json!({"submittedBy": format!("anna{EVERYBODY}"), "governance": {"approvals": ["technical", "business"]}});
    created(view, &within(ENTRIES), entry(ASKING, 5, &said));
}

/// The admission policies, where they are not there.
fn guard(view: &View) {
    for Shipped { policy, binding } in approval_guard::shipped("werkbank", &[]).unwrap() {
        let (policy, binding) = (serde_json::to_value(policy).unwrap(), serde_json::to_value(binding).unwrap());
        for (collection, object) in [(POLICIES, policy), (BINDINGS, binding)] {
            let (code, answer) = view.cluster.ask(Method::POST, collection, object);
            assert!([201, 409].contains(&code), "{answer}");
        }
    }
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

/// The revision that a query is about.
pub(super) fn revision_in(query: &str) -> &str {
    query.split("revision=\"").nth(1).and_then(|it| it.split('"').next()).unwrap_or_default()
}

/// The entry that a query is about.
pub(super) fn asked_of(view: &View, query: &str) -> String {
    view.entry_of(revision_in(query))
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

/// Edits what can be changed of an entry.
pub(super) fn edit_entry(entry: &'static str, spec: Value) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let (code, answer) = view.cluster.ask(Method::PATCH, &path(ENTRIES, entry), json!({"spec": spec}));
        assert_eq!(code, 200, "{answer}");
    }
}

pub(super) fn lifecycle(entry: &'static str, lifecycle: &'static str) -> impl Fn(&View) + Send + Sync {
    edit_entry(entry, json!({"lifecycle": lifecycle}))
}

pub(super) fn revoke(entry: &'static str) -> impl Fn(&View) + Send + Sync {
    lifecycle(entry, "Revoked")
}

/// Somebody takes its finalizers away by hand.
pub(super) fn let_go(entry: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let patch = json!({"metadata": {"finalizers": null}});
        view.cluster.ask(Method::PATCH, &path(ENTRIES, entry), patch);
    }
}

/// What two roles have to approve.
const ASKING: &str = "churn-5";

/// `kubectl werkbank approve churn-5 --role …`, by that person.
pub(super) fn approve(role: &'static str, by: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| say_of_entry(view, role, "Approved", by)
}

pub(super) fn reject(role: &'static str, by: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| say_of_entry(view, role, "Rejected", by)
}

/// `kubectl werkbank approve modeldeployment/churn --role owner`, or `reject`.
pub(super) fn approve_step(decision: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let step = view.status().attempt.unwrap().approvals.remove(0);
        say(view, (MODELS, "ModelDeployment", NAME), &step.digest, (&step.role, decision, "olga"));
    }
}

/// The approver deletes what was said of `churn-5` in this role.
pub(super) fn take_back(role: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let name = name_of(ASKING, role, &digest_of_asking(view));
        view.cluster.ask(Method::DELETE, &path(APPROVALS, &name), Value::Null);
    }
}

/// Somebody deletes what puts a policy in force.
pub(super) fn guard_goes() -> impl Fn(&View) + Send + Sync {
    |view| drop(view.cluster.ask(Method::DELETE, &format!("{BINDINGS}/werkbank-approvals"), Value::Null))
}

pub(super) fn guard_is_back() -> impl Fn(&View) + Send + Sync {
    guard
}

fn digest_of_asking(view: &View) -> String {
    let entry = ModelRegistryEntry::deserialize(view.cluster.get(&path(ENTRIES, ASKING)).as_ref()).unwrap();
    entry.spec.digest()
}

fn say_of_entry(view: &View, role: &str, decision: &str, by: &str) {
    say(view, (ENTRIES, "ModelRegistryEntry", ASKING), &digest_of_asking(view), (role, decision, by));
}

fn say(
    view: &View,
    (collection, kind, name): (&str, &str, &str),
    digest: &str,
    (role, decision, by): (&str, &str, &str),
) {
    let uid = view.cluster.get(&path(collection, name))["metadata"]["uid"].clone();
    let word = json!({
        "apiVersion": "werkbank.dev/v1alpha1", "kind": "Approval",
        "metadata": {"name": name_of(name, role, digest), "namespace": NAMESPACE},
        "spec": {"subject": {"kind": kind, "name": name, "uid": uid, "digest": digest},
            "role": role, "decision": decision, "approver": format!("{by}{EVERYBODY}"),
            "comment": format!("{by}{EVERYBODY} has looked at it")},
    });
    created(view, &within(APPROVALS), word);
}

/// `kubectl werkbank <verb>` for the present attempt.
pub(super) fn request(verb: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().attempt.map(|it| it.id).unwrap_or_default();
        annotate(view, verb, &attempt, "0", "n1");
    }
}

/// The same, for the step the attempt is at; each nonce once.
pub(super) fn request_here(verb: &'static str, nonce: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().attempt.unwrap();
        annotate(view, verb, &attempt.id, &step_of(&attempt), nonce);
    }
}

/// `kubectl werkbank <verb>` for the attempt whose revision is on probation.
pub(super) fn request_of_probation(verb: &'static str, nonce: &'static str) -> impl Fn(&View) + Send + Sync {
    move |view| {
        let attempt = view.status().probation.map(|it| it.attempt).unwrap_or_default();
        annotate(view, verb, &attempt, "-", nonce);
    }
}

/// Each request is by somebody else: no scenario has a verb twice with one nonce.
fn annotate(view: &View, verb: &str, attempt: &str, step: &str, nonce: &str) {
    let request = format!("{verb}/{attempt}/{step}/{nonce}/{verb}-{nonce}{EVERYBODY}");
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
