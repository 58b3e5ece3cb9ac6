//! Kubernetes Events: told to people, never relied upon.
//!
//! An Event is written by a task of its own, so that none ever slows or fails a pass. Its name is
//! a hash of what it says, so the same thing said twice within a while is one object: the first
//! telling creates it, repetitions within [`QUIET`] are dropped, and a later one counts up its
//! series. What does not fit the queue or the rate is dropped and counted; the conditions and
//! the trail hold what matters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1 as events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use prometheus_client::metrics::counter::Counter;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

use super::FIELD_MANAGER;
use crate::api::labels;
use crate::decide::{Event, EventType};
use crate::text::hex::hex;

/// How long a repetition says nothing new.
const QUIET: Duration = Duration::from_mins(5);
/// Events waiting to be written.
const QUEUE: usize = 1024;
/// Events written per second, on average.
const PER_SECOND: f64 = 25.0;
/// And at once.
const BURST: f64 = 100.0;
/// What is remembered of what was told.
const REMEMBERED: usize = 4096;
/// The API server's limit for `note`.
const NOTE: usize = 1024;

/// Whom an Event is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

impl Subject {
    /// An object by its coordinates.
    #[must_use]
    pub fn new(api_version: &str, kind: &str, namespace: &str, name: &str, uid: &str) -> Self {
        let [api_version, kind, namespace, name, uid] = [api_version, kind, namespace, name, uid].map(str::to_owned);
        Self { api_version, kind, namespace, name, uid }
    }
}

/// Where Events go in.
#[derive(Debug, Clone)]
pub struct EventSink {
    queue: mpsc::Sender<(Subject, Event)>,
    dropped: Counter,
    /// How many are on their way.
    untold: Arc<watch::Sender<u64>>,
}

impl EventSink {
    /// Starts the task that writes Events as `instance` (the pod's name). `dropped` counts what
    /// was not told. The task ends when the last sink is dropped.
    #[must_use]
    pub fn start(client: Client, instance: String, dropped: Counter) -> Self {
        let (queue, tellings) = mpsc::channel(QUEUE);
        let untold = Arc::new(watch::Sender::new(0));
        let teller =
            Teller { client, instance, told: HashMap::new(), dropped: dropped.clone(), untold: untold.clone() };
        tokio::spawn(teller.run(tellings));
        Self { queue, dropped, untold }
    }

    /// A sink whose events are read by a test.
    #[cfg(test)]
    pub(super) fn detached() -> (Self, mpsc::Receiver<(Subject, Event)>) {
        let (queue, tellings) = mpsc::channel(QUEUE);
        (Self { queue, dropped: Counter::default(), untold: Arc::default() }, tellings)
    }

    /// Tells it, soon; or not.
    pub fn tell(&self, subject: &Subject, event: Event) {
        self.untold.send_modify(|untold| *untold += 1);
        if self.queue.try_send((subject.clone(), event)).is_err() {
            self.untold.send_modify(|untold| *untold -= 1);
            self.dropped.inc();
        }
    }

    /// Waits until everything is told, for a while. The process ends then: what is left counts as dropped.
    pub async fn finish(&self, within: Duration) {
        let mut untold = self.untold.subscribe();
        let all_told = untold.wait_for(|untold| *untold == 0);
        if tokio::time::timeout(within, all_told).await.is_err() {
            self.dropped.inc_by(*self.untold.borrow());
        }
    }
}

struct Teller {
    client: Client,
    instance: String,
    told: HashMap<String, Told>,
    dropped: Counter,
    untold: Arc<watch::Sender<u64>>,
}

struct Told {
    at: Instant,
    times: i32,
}

impl Teller {
    async fn run(mut self, mut tellings: mpsc::Receiver<(Subject, Event)>) {
        let (mut tokens, mut refilled) = (BURST, Instant::now());
        while let Some((subject, event)) = tellings.recv().await {
            let now = Instant::now();
            tokens = (tokens + now.duration_since(refilled).as_secs_f64() * PER_SECOND).min(BURST);
            refilled = now;
            self.tell(&subject, event, now, &mut tokens).await;
            self.untold.send_modify(|untold| *untold -= 1);
        }
    }

    /// Tells it if it is news, and if there is a token left for it.
    async fn tell(&mut self, subject: &Subject, event: Event, now: Instant, tokens: &mut f64) {
        let name = event_name(subject, &event);
        let Some(times) = self.due(&name, now) else {
            return;
        };
        if *tokens < 1.0 {
            self.dropped.inc();
            return;
        }
        *tokens -= 1.0;
        if let Err(error) = self.write(&name, times, subject, event).await {
            self.dropped.inc();
            tracing::debug!(%error, event = name, "an Event was not written");
        } else {
            self.told.insert(name, Told { at: now, times });
        }
    }

    /// How many times it has been told with this one; `None` while a repetition is no news.
    fn due(&mut self, name: &str, now: Instant) -> Option<i32> {
        if self.told.len() >= REMEMBERED {
            self.told.retain(|_, told| now.duration_since(told.at) < QUIET);
        }
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        match self.told.get(name) {
            Some(told) if now.duration_since(told.at) < QUIET => None,
            Some(told) => Some(told.times.saturating_add(1)),
            None => Some(1),
        }
    }

    async fn write(&self, name: &str, times: i32, subject: &Subject, event: Event) -> kube::Result<()> {
        let api = Api::<events::Event>::namespaced(self.client.clone(), &subject.namespace);
        if times == 1 {
            let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
            match api.create(&params, &self.object(name, subject, event.clone())).await {
                // Told by a predecessor of this process: count up.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                answer => return answer.map(drop),
            }
        }
        let series = serde_json::json!({"series": {
            "count": times.max(2), "lastObservedTime": MicroTime(Timestamp::now()),
        }});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(series)).await {
            // Expired (an hour by default): it is news again.
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                api.create(&PostParams::default(), &self.object(name, subject, event)).await.map(drop)
            }
            answer => answer.map(drop),
        }
    }

    fn object(&self, name: &str, subject: &Subject, event: Event) -> events::Event {
        events::Event {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(subject.namespace.clone()),
                annotations: event.entry.as_ref().map(|id| [(labels::AUDIT_ENTRY.to_owned(), id.clone())].into()),
                ..ObjectMeta::default()
            },
            action: Some(event.action),
            reason: Some(event.reason),
            note: Some(told(event.note, event.entry.as_deref())),
            type_: Some(type_name(event.type_).into()),
            event_time: Some(MicroTime(Timestamp::now())),
            reporting_controller: Some(format!("werkbank.dev/{FIELD_MANAGER}")),
            reporting_instance: Some(cut(self.instance.clone(), 128)),
            regarding: Some(ObjectReference {
                api_version: Some(subject.api_version.clone()),
                kind: Some(subject.kind.clone()),
                namespace: Some(subject.namespace.clone()),
                name: Some(subject.name.clone()),
                uid: Some(subject.uid.clone()),
                ..ObjectReference::default()
            }),
            ..events::Event::default()
        }
    }
}

fn type_name(type_: EventType) -> &'static str {
    match type_ {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    }
}

/// Deterministic: the same thing said of the same object has the same name.
fn event_name(subject: &Subject, event: &Event) -> String {
    let mut hash = Sha256::new();
    let entry = event.entry.as_deref().unwrap_or_default();
    for part in [&subject.kind, &subject.uid, &event.reason, &event.action, &event.note, entry] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(type_name(event.type_));
    let digest = hex(&hash.finalize(), 8);
    format!("{}.{digest}", cut(subject.name.clone(), 200).trim_end_matches(['.', '-']))
}

/// The sentence, and where on the audit log the decision is: `kubectl describe` shows nothing else of an Event.
fn told(note: String, entry: Option<&str>) -> String {
    let Some(id) = entry else { return cut(note, NOTE) };
    let place = format!(" (audit entry {id})");
    cut(note, NOTE.saturating_sub(place.len())) + &place
}

/// At most `bytes` bytes, on a character boundary.
fn cut(mut text: String, bytes: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(note: &str) -> Event {
        let [reason, action] = ["RolledBack", "RollBack"].map(str::to_owned);
        Event { type_: EventType::Warning, reason, action, note: note.into(), entry: None }
    }

    #[test]
    fn the_same_event_has_the_same_name_and_another_one_has_not() {
        let subject = |uid| Subject::new("werkbank.dev/v1alpha1", "ModelDeployment", "crm", "churn", uid);
        let name = event_name(&subject("1"), &event("a"));
        assert_eq!(name, event_name(&subject("1"), &event("a")));
        assert_ne!(name, event_name(&subject("1"), &event("b")));
        assert_ne!(name, event_name(&subject("2"), &event("a")));
        assert!(name.starts_with("churn."), "{name}");
    }

    #[test]
    fn a_long_subject_still_gives_a_valid_name() {
        let subject = Subject::new("v1", "Kind", "crm", &"n".repeat(253), "uid");
        assert!(event_name(&subject, &event("a")).len() <= 253);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_events_get_a_moment_and_what_is_left_counts_as_dropped() {
        use http::{Request, Response};
        use kube::client::Body;
        let subject = Subject::new("werkbank.dev/v1alpha1", "ModelDeployment", "crm", "churn", "1");
        for (seconds, dropped) in [(0, 0), (600, 3)] {
            let server = tower::service_fn(move |_: Request<Body>| async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok::<_, tower::BoxError>(Response::builder().status(201).body(Body::from(b"{}".to_vec()))?)
            });
            let sink = EventSink::start(Client::new(server, "crm"), "test".into(), Counter::default());
            ["a", "b", "c"].iter().for_each(|note| sink.tell(&subject, event(note)));
            sink.finish(Duration::from_secs(1)).await;
            assert_eq!((*sink.untold.borrow(), sink.dropped.get()), (dropped, dropped), "{seconds} s each");
        }
    }

    #[test]
    fn a_decision_is_told_with_its_entry_however_long_the_sentence_is() {
        assert_eq!(told("rolled back".into(), Some("3f5a")), "rolled back (audit entry 3f5a)");
        let long = told("ä".repeat(1000), Some("3f5a"));
        assert!(long.len() <= NOTE && long.ends_with("ä (audit entry 3f5a)"), "{long}");
        let subject = Subject::new("werkbank.dev/v1alpha1", "ModelDeployment", "crm", "churn", "1");
        let of = |id: &str| event_name(&subject, &Event { entry: Some(id.into()), ..event("a") });
        assert_ne!(of("3f5a"), of("3f5b"), "the same sentence about another decision");
    }

    #[test]
    fn notes_are_cut_between_characters() {
        assert_eq!(cut("äöü".into(), 3), "ä");
        assert_eq!(cut("abc".into(), 3), "abc");
    }
}
