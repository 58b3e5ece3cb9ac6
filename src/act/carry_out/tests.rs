//! The real act code against an API server in memory that keeps objects, versions and
//! preconditions the way the real one does (compared by hand: same codes and reasons).

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::CustomResource;
use kube::client::Body;
use kube::core::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tower::{BoxError, service_fn};

use super::*;
use crate::audit::Appended;
use crate::audit::Said;
use crate::audit::people::Words;
use crate::build;
use crate::decide::{Child, ChildKind, EventType};

#[derive(CustomResource, Debug, Clone, Serialize, Deserialize)]
#[kube(group = "test.werkbank.dev", version = "v1", kind = "Probe", namespaced, schema = "disabled")]
struct ProbeSpec {}

/// Everything that happened, in order, and what is stored.
#[derive(Default)]
struct World {
    happened: Vec<String>,
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Answers every request with this instead.
    broken: Option<u16>,
    /// Or with this.
    instead: Option<(u16, Value)>,
    trail: Option<TrailError>,
    /// Of which kind the entries are that the trail refuses; all, if of none.
    away: Option<EntryKind>,
    entries: Vec<Entry>,
    /// Taken away when the trail is written.
    pulled: Option<Authority>,
}

type Shared = Arc<Mutex<World>>;

const PROBE: &str = "/apis/test.werkbank.dev/v1/namespaces/crm/probes/churn";
const MAPS: &str = "/api/v1/namespaces/crm/configmaps";

struct InMemory(Shared);

impl Trail for InMemory {
    fn append<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<Appended, TrailError>> {
        let mut world = self.0.lock().unwrap();
        world.happened.push(format!("trail {:?}", entry.kind));
        world.entries.push(entry.clone());
        if let Some(authority) = &world.pulled {
            authority.revoke();
        }
        let away = world.trail.clone().filter(|_| world.away.is_none_or(|it| it == entry.kind));
        let answer = away.map_or(Ok(Appended::New), Err);
        Box::pin(std::future::ready(answer))
    }

    fn said<'a>(&'a self, person: &'a str, _: Option<Words<'a>>) -> BoxFuture<'a, Result<Said, TrailError>> {
        Box::pin(std::future::ready(Ok(Said { actor: person.to_owned(), comment: String::new() })))
    }

    fn history<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<Entry>, TrailError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": format!("no: {reason}")}),
    )
}

impl World {
    fn store(&mut self, path: &str, mut object: Value) -> (u16, Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        (200, object)
    }

    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        self.happened.push(format!("{method} {path}"));
        if let Some(code) = self.broken {
            return refusal(code, if code == 422 { "Invalid" } else { "InternalError" });
        }
        if let Some(answer) = &self.instead {
            return answer.clone();
        }
        // What is not sent is not compared.
        let stale = |known: &Value, sent: &Value| {
            ["uid", "resourceVersion"].iter().any(|it| !sent[it].is_null() && sent[it] != known["metadata"][it])
        };
        match (method, path.strip_suffix("/status")) {
            (&Method::POST, _) => {
                let path = format!("{path}/{}", body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return refusal(409, "AlreadyExists");
                }
                let mut object = body.clone();
                object["metadata"]["uid"] = format!("uid-{}", self.version).into();
                self.store(&path, object)
            }
            (&Method::DELETE, _) => match self.objects.get(path) {
                None => refusal(404, "NotFound"),
                Some(known) if stale(known, &body["preconditions"]) => refusal(409, "Conflict"),
                Some(_) => {
                    self.objects.remove(path);
                    (200, json!({"kind": "Status", "status": "Success"}))
                }
            },
            (_, status) => {
                let path = status.unwrap_or(path).to_owned();
                match self.objects.get(&path).cloned() {
                    None => refusal(404, "NotFound"),
                    Some(known) if stale(&known, &body["metadata"]) => refusal(409, "Conflict"),
                    Some(mut known) if status.is_some() => {
                        known["status"] = body["status"].clone();
                        self.store(&path, known)
                    }
                    Some(mut known) => {
                        merge(&mut known, body);
                        self.store(&path, known)
                    }
                }
            }
        }
    }
}

/// A merge patch, and of a strategic one the directive to replace.
fn merge(known: &mut Value, patch: &Value) {
    match (known, patch) {
        (Value::Object(known), Value::Object(patch)) => {
            if patch.get("$patch").is_some() {
                known.clear();
            }
            for (key, value) in patch.iter().filter(|(key, _)| *key != "$patch") {
                merge(known.entry(key).or_insert(Value::Null), value);
            }
        }
        (known, Value::Array(patch)) => {
            *known = patch.iter().filter(|it| it.get("$patch").is_none()).cloned().collect();
        }
        (known, Value::Object(_)) => {
            *known = json!({});
            merge(known, patch);
        }
        (known, patch) => *known = patch.clone(),
    }
}

fn client(world: Shared) -> Client {
    let server = service_fn(move |request: Request<Body>| {
        let world = world.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
            let (code, answer) = world.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
            let answer = Body::from(serde_json::to_vec(&answer)?);
            Ok::<_, BoxError>(Response::builder().status(code).body(answer)?)
        }
    });
    Client::new(server, "default")
}

struct Bench {
    world: Shared,
    actor: Actor,
    probe: Probe,
    events: mpsc::Receiver<(Subject, Event)>,
    held_back: Option<Op>,
}

/// A stored probe of version 1, and a leader of epoch 7.
fn bench() -> Bench {
    let world = Shared::default();
    let metadata = json!({"name": "churn", "namespace": "crm", "uid": "u"});
    let (_, stored) = world.lock().unwrap().store(PROBE, json!({"metadata": metadata, "spec": {}}));
    let authority = Authority::default();
    authority.grant(7, Instant::now() + Duration::from_mins(1));
    let (sink, events) = EventSink::detached();
    let actor = Actor::new(client(world.clone()), Arc::new(InMemory(world.clone())), authority, sink);
    let metadata: ObjectMeta = serde_json::from_value(stored["metadata"].clone()).unwrap();
    Bench { world, actor, probe: Probe { metadata, spec: ProbeSpec {} }, events, held_back: None }
}

impl Bench {
    async fn carry_out(&self, plan: Plan<Value>) -> Report {
        let stamp = |status: &mut Value, epoch| status["leaseEpoch"] = json!(epoch);
        self.actor.carry_out(&self.probe, plan, stamp, Some("werkbank.dev/in-use"), self.held_back.as_ref()).await
    }

    /// What people were told by now.
    fn told(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|(_, event)| event.reason).collect()
    }

    fn happened(&self) -> Vec<String> {
        self.world.lock().unwrap().happened.clone()
    }

    fn stored(&self, path: &str) -> Value {
        self.world.lock().unwrap().objects.get(path).cloned().unwrap_or_default()
    }
}

fn map(name: &str, text: &str) -> Child {
    let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    let data = Some([("text".to_owned(), text.to_owned())].into());
    Child::ConfigMap(Box::new(ConfigMap { metadata, data, ..ConfigMap::default() }))
}

fn intent() -> Entry {
    let word = || "x".to_owned();
    Entry {
        kind: EntryKind::Intent,
        subject_kind: word(),
        namespace: word(),
        name: word(),
        uid: word(),
        generation: 1,
        spec_digest: String::new(),
        attempt: word(),
        sequence: 3,
        decision: word(),
        reason: word(),
        revision: word(),
        weight: word(),
        measurements: String::new(),
        policy: String::new(),
        asked_by: String::new(),
        consents: Vec::new(),
        time: chrono::DateTime::UNIX_EPOCH,
        lease_epoch: 0,
        operator: String::new(),
    }
}

fn decision() -> Plan<Value> {
    let ops = vec![Op::Create(map("one", "1")), Op::Create(map("two", "2"))];
    Plan { entries: vec![intent()], status: Some(json!({"step": 1})), ops, ..Plan::default() }
}

/// [`intent`] as this leader records it.
fn recorded() -> Entry {
    Entry { lease_epoch: 7, operator: env!("CARGO_PKG_VERSION").into(), ..intent() }
}

fn rolled_back() -> Event {
    let word = || "RollBack".to_owned();
    Event { type_: EventType::Warning, reason: word(), action: word(), note: word(), entry: None }
}

fn seen(uid: &str, version: &str) -> Precondition {
    Precondition { uid: uid.into(), resource_version: version.into() }
}

#[tokio::test]
async fn the_intent_comes_before_the_status_and_the_status_before_the_children() {
    let bench = bench();
    let report = bench.carry_out(decision()).await;
    assert_eq!(report.end, End::Done);
    let expected =
        ["trail Intent".to_owned(), format!("PUT {PROBE}/status"), format!("POST {MAPS}"), format!("POST {MAPS}")];
    assert_eq!(bench.happened(), expected);
    let left: Vec<_> = report.written.iter().map(|it| (it.kind.as_str(), it.name.as_str())).collect();
    assert_eq!(left, [("Probe", "churn"), ("ConfigMap", "one"), ("ConfigMap", "two")]);
}

#[tokio::test]
async fn the_leaders_epoch_is_in_the_status_and_on_the_trail() {
    let bench = bench();
    bench.carry_out(decision()).await;
    assert_eq!(bench.stored(PROBE)["status"], json!({"step": 1, "leaseEpoch": 7}));
    assert_eq!(bench.world.lock().unwrap().entries[0].lease_epoch, 7);
}

#[tokio::test]
async fn a_plan_without_work_sends_nothing() {
    let bench = bench();
    assert_eq!(bench.carry_out(Plan::default()).await.end, End::Done);
    assert!(bench.happened().is_empty());
}

#[tokio::test]
async fn without_the_trail_nothing_takes_effect() {
    for error in [TrailError::Unavailable("down".into()), TrailError::Damaged("wal/007 is none".into())] {
        let bench = bench();
        bench.world.lock().unwrap().trail = Some(error);
        let report = bench.carry_out(decision()).await;
        assert!(matches!(report.end, End::TrailUnavailable(_)) && !report.recorded, "{report:?}");
        assert_eq!(bench.happened(), ["trail Intent"]);
    }
}

#[tokio::test]
async fn a_status_that_changed_since_stops_the_pass_and_names_the_intents_it_left() {
    let bench = bench();
    let probe = bench.stored(PROBE);
    bench.world.lock().unwrap().store(PROBE, probe);
    let report = bench.carry_out(decision()).await;
    assert_eq!(report.end, End::StatusConflict);
    assert_eq!(report.unsettled, [recorded()]);
    assert_eq!(bench.happened().len(), 2, "no child was written");
}

#[tokio::test]
async fn a_foreign_object_with_a_childs_name_is_never_touched() {
    let bench = bench();
    let path = format!("{MAPS}/one");
    bench.world.lock().unwrap().store(&path, json!({"metadata": {"uid": "foreign"}, "data": {"text": "theirs"}}));
    let report = bench.carry_out(decision()).await;
    assert_eq!(report.end, End::AlreadyExists { kind: "ConfigMap".into(), name: "one".into() });
    assert_eq!(bench.stored(&path)["data"]["text"], "theirs");
    assert_eq!(bench.stored(&format!("{MAPS}/two")), Value::Null, "the pass ended");
}

#[tokio::test]
async fn a_child_is_written_only_in_the_version_that_was_observed() {
    let bench = bench();
    let path = format!("{MAPS}/one");
    bench.world.lock().unwrap().store(&path, json!({"metadata": {"uid": "1"}, "data": {"text": "old"}}));
    for stale in [seen("1", "1"), seen("0", "2")] {
        for op in
            [Op::Apply(map("one", "new"), stale.clone()), Op::Delete(ChildKind::ConfigMap, "one".into(), stale.clone())]
        {
            let report = bench.carry_out(Plan { ops: vec![op], ..Plan::default() }).await;
            let [kind, name] = ["ConfigMap", "one"].map(str::to_owned);
            assert_eq!(report.end, End::Conflict { kind, name, stale: Some(stale.clone()) });
        }
    }
    assert_eq!(bench.stored(&path)["data"]["text"], "old");
    let ops = vec![Op::Apply(map("one", "new"), seen("1", "2"))];
    assert_eq!(bench.carry_out(Plan { ops, ..Plan::default() }).await.end, End::Done);
    assert_eq!(bench.stored(&path)["data"]["text"], "new");
    let ops = vec![Op::Delete(ChildKind::ConfigMap, "one".into(), seen("1", "3"))];
    assert_eq!(bench.carry_out(Plan { ops, ..Plan::default() }).await.end, End::Done);
    assert_eq!(bench.stored(&path), Value::Null);
}

#[tokio::test]
async fn what_is_gone_already_is_deleted() {
    let bench = bench();
    let ops = vec![Op::Delete(ChildKind::ConfigMap, "none".into(), seen("1", "1"))];
    let report = bench.carry_out(Plan { ops, ..Plan::default() }).await;
    assert_eq!((report.end, report.written.len()), (End::Done, 0));
}

#[tokio::test]
async fn a_leader_that_loses_the_lease_between_two_writes_sends_no_more() {
    let bench = bench();
    bench.world.lock().unwrap().pulled = Some(bench.actor.authority().clone());
    assert_eq!(bench.carry_out(decision()).await.end, End::NotLeader);
    assert_eq!(bench.happened(), ["trail Intent"]);
}

#[tokio::test]
async fn a_refusal_keeps_the_api_servers_words_and_a_failure_is_no_conflict() {
    let bench = bench();
    bench.world.lock().unwrap().broken = Some(422);
    let end = bench.carry_out(decision()).await.end;
    assert!(matches!(&end, End::Refused { message, .. } if message == "no: Invalid"), "{end:?}");
    bench.world.lock().unwrap().broken = Some(500);
    let end = bench.carry_out(decision()).await.end;
    assert!(matches!(end, End::Failed { .. }), "whether it happened is unknown: {end:?}");
}

#[tokio::test]
async fn a_resource_is_gone_when_the_api_server_names_it_and_not_when_it_does_not_know_the_kind() {
    let missing =
        json!({"kind": "Status", "code": 404, "reason": "NotFound", "details": {"name": "churn", "kind": "probes"}});
    let unserved = json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": "404 page not found"});
    for (answer, gone) in [(missing, true), (unserved, false)] {
        let bench = bench();
        bench.world.lock().unwrap().instead = Some((404, answer));
        let report = bench.carry_out(decision()).await;
        assert_eq!(report.end == End::Deleted, gone, "{report:?}");
        assert!(gone || matches!(report.end, End::Failed { .. }), "{report:?}");
    }
}

#[tokio::test]
async fn a_finalizer_is_held_before_the_status_is_written_which_builds_on_it() {
    let bench = bench();
    let plan = Plan { finalizer: Some(Finalizer::Hold), ..decision() };
    assert_eq!(bench.carry_out(plan).await.end, End::Done);
    assert_eq!(bench.happened()[0], format!("PATCH {PROBE}"));
    assert_eq!(bench.stored(PROBE)["metadata"]["finalizers"], json!(["werkbank.dev/in-use"]));
    assert_eq!(bench.stored(PROBE)["status"]["step"], 1);
}

#[tokio::test]
async fn an_intent_is_unsettled_until_the_status_has_won_and_whatever_the_ops_do() {
    for (broken, unsettled) in [(422, 1), (500, 1)] {
        let bench = bench();
        bench.world.lock().unwrap().broken = Some(broken);
        assert_eq!(bench.carry_out(decision()).await.unsettled, vec![recorded(); unsettled], "{broken}");
    }
    let bench = bench();
    bench.world.lock().unwrap().store(&format!("{MAPS}/one"), json!({"metadata": {"uid": "foreign"}}));
    let report = bench.carry_out(decision()).await;
    assert!(matches!(report.end, End::AlreadyExists { .. }));
    assert_eq!(report.unsettled, [], "it took effect");
}

#[tokio::test]
async fn who_has_the_number_is_unsettled_and_not_what_was_refused() {
    let bench = bench();
    let holder = Entry { decision: "Shift".into(), ..intent() };
    bench.world.lock().unwrap().trail = Some(TrailError::SequenceTaken { holder: Box::new(holder.clone()) });
    let report = bench.carry_out(decision()).await;
    assert_eq!((report.end, report.unsettled), (End::SequenceTaken, vec![holder]));
    assert_eq!(bench.happened(), ["trail Intent"]);
}

#[tokio::test]
async fn an_intent_that_is_recorded_before_an_outcome_that_is_not_is_unsettled_and_behind_it_there_is_none() {
    let outcome = Entry { kind: EntryKind::Outcome, sequence: 0, ..intent() };
    for (entries, stored) in [(vec![intent(), outcome.clone()], 1), (vec![outcome, intent()], 0)] {
        let bench = bench();
        bench.world.lock().unwrap().trail = Some(TrailError::Unavailable("down".into()));
        bench.world.lock().unwrap().away = Some(EntryKind::Outcome);
        let report = bench.carry_out(Plan { entries, ..decision() }).await;
        assert_eq!(report.end, End::TrailUnavailable("down".into()));
        assert!(!report.recorded && report.unsettled.len() == stored, "{report:?}");
        let asked: Vec<&str> = ["trail Intent"].into_iter().take(stored).chain(["trail Outcome"]).collect();
        assert_eq!(bench.happened(), asked, "nothing took effect");
    }
}

#[tokio::test]
async fn people_are_told_when_the_status_has_won_even_if_a_child_conflicts() {
    let mut bench = bench();
    bench.world.lock().unwrap().store(&format!("{MAPS}/one"), json!({"metadata": {"uid": "1"}}));
    let ops = vec![Op::Apply(map("one", "new"), seen("1", "0"))];
    let report = bench.carry_out(Plan { ops, events: vec![rolled_back()], ..decision() }).await;
    assert!(matches!(report.end, End::Conflict { .. }));
    assert_eq!(bench.told(), ["RollBack"]);
    let report = bench.carry_out(Plan { events: vec![rolled_back()], ..decision() }).await;
    assert_eq!(report.end, End::StatusConflict);
    assert_eq!(bench.told(), Vec::<String>::new(), "what did not happen is not told");
}

#[tokio::test]
async fn an_op_that_is_held_back_is_not_sent_nor_what_comes_after_it_but_what_comes_before() {
    let mut bench = bench();
    bench.held_back = Some(Op::Create(map("two", "2")));
    let report = bench.carry_out(decision()).await;
    assert_eq!(report.end, End::HeldBack);
    assert_eq!(report.written.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["churn", "one"]);
    bench.held_back = Some(Op::Create(map("two", "another")));
    let report = bench.carry_out(Plan { ops: decision().ops.split_off(1), ..Plan::default() }).await;
    assert_eq!(report.end, End::Done, "another op");
}

#[tokio::test]
async fn what_was_there_before_or_was_added_since_goes_and_what_is_not_the_operators_stays() {
    let bench = bench();
    let (services, deployments) =
        ("/api/v1/namespaces/crm/services/churn", "/apis/apps/v1/namespaces/crm/deployments/churn");
    let metadata = json!({"uid": "1", "annotations": {"team": "crm"}});
    let ports = json!([{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "added", "port": 1}]);
    let spec = json!({"clusterIP": "10.0.0.1", "selector": {"revision": "a", "added": "x"}, "ports": ports});
    bench.world.lock().unwrap().store(services, json!({"metadata": metadata, "spec": spec}));
    let containers = json!([{"name": "server", "image": "old"}, {"name": "sidecar", "image": "x"}]);
    let template = json!({"metadata": {"annotations": {"added": "x"}}, "spec": {"containers": containers}});
    let spec = json!({"minReadySeconds": 5, "template": template});
    bench.world.lock().unwrap().store(deployments, json!({"metadata": metadata, "spec": spec}));

    let child = |spec: Value| json!({"metadata": {"name": "churn"}, "spec": spec});
    let service = child(json!({"selector": {"revision": "b"}, "ports": [{"name": "http", "port": 9090}]}));
    let template = json!({"spec": {"containers": [{"name": "server", "image": "new"}]}});
    let deployment = child(json!({"selector": {}, "template": template, "replicas": 2}));
    let ops = vec![
        Op::Apply(Child::Service(Box::new(serde_json::from_value(service).unwrap())), seen("1", "2")),
        Op::Apply(Child::Deployment(Box::new(serde_json::from_value(deployment).unwrap())), seen("1", "3")),
    ];
    assert_eq!(bench.carry_out(Plan { ops, ..Plan::default() }).await.end, End::Done);

    let service = bench.stored(services);
    assert_eq!(service["spec"]["ports"], json!([{"name": "http", "port": 9090}]));
    assert_eq!(service["spec"]["selector"], json!({"revision": "b"}));
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["metadata"]["annotations"]["team"]),
        (&json!("10.0.0.1"), &json!("crm"))
    );
    let deployment = bench.stored(deployments);
    assert_eq!(deployment["spec"]["template"], template);
    assert_eq!((&deployment["spec"]["minReadySeconds"], &deployment["spec"]["replicas"]), (&json!(5), &json!(2)));
}

#[tokio::test]
async fn what_an_autoscaler_is_not_told_any_more_it_forgets() {
    let bench = bench();
    let path = "/apis/autoscaling/v2/namespaces/crm/horizontalpodautoscalers/churn";
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "churn"});
    let down = json!({"scaleDown": {"selectPolicy": "Disabled"}});
    let spec = json!({"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 8, "behavior": down});
    bench.world.lock().unwrap().store(path, json!({"metadata": {"uid": "1"}, "spec": spec}));
    let wanted =
        json!({"metadata": {"name": "churn"}, "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 8}});
    let wanted = Child::Autoscaler(Box::new(serde_json::from_value(wanted).unwrap()));
    let ops = vec![Op::Apply(wanted, seen("1", "2"))];
    assert_eq!(bench.carry_out(Plan { ops, ..Plan::default() }).await.end, End::Done);
    let spec = &bench.stored(path)["spec"];
    assert_eq!((&spec["minReplicas"], &spec["behavior"]), (&json!(3), &Value::Null));
}

#[tokio::test]
async fn a_deployment_that_is_only_scaled_keeps_its_template_and_its_selector() {
    let bench = bench();
    let path = "/apis/apps/v1/namespaces/crm/deployments/churn";
    let spec = json!({"replicas": 1, "selector": {"a": "b"}, "template": {"spec": {"containers": [{"name": "old"}]}}});
    bench.world.lock().unwrap().store(path, json!({"metadata": {"uid": "1", "generation": 4}, "spec": spec}));
    let live = bench.stored(path);
    let live: Deployment = serde_json::from_value(json!({"metadata": live["metadata"], "spec": {"replicas": 1,
        "selector": {}, "template": {}}}))
    .unwrap();
    let mut scaled = build::deployment::scaled(&live, 3).unwrap();
    scaled.metadata.name = Some("churn".into());
    let ops = vec![Op::Apply(Child::Deployment(Box::new(scaled)), seen("1", "2"))];
    assert_eq!(bench.carry_out(Plan { ops, ..Plan::default() }).await.end, End::Done);
    let stored = bench.stored(path);
    assert_eq!(stored["spec"]["replicas"], 3);
    assert_eq!((&stored["spec"]["template"], &stored["spec"]["selector"]), (&spec["template"], &spec["selector"]));
    assert_eq!(stored["metadata"]["annotations"][build::GENERATION], "5");
}
