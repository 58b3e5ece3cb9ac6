//! Asking metric sources beside the passes.
//!
//! A source may take seconds, and a pass may not: there are only a few at a time, and weights, aborts and the guardrails that
//! ask a quicker source hang on it. So each inquiry is a task of its own. The pass that begins it waits a moment, in
//! which most sources have answered, and then goes on with what there is; an answer that comes later wakes the
//! next one. At most one inquiry about each metric is under way.
//!
//! Those about stable revisions, of which there may be thousands at rest, give way to those about revisions that are on
//! their way: there are only a few at a time, and no pass waits long for them.
//!
//! What is here is forgotten at a restart; everything is then asked once more.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;

use super::credentials::Secrets;
use super::key;
use super::sources::Sources;
use crate::api::ModelDeployment;
use crate::api::model_deployment::ModelDeploymentStatus;
use crate::decide::model_deployment::inquiry::{Answered, Asked, Inquiry, Judges, Topic};
use crate::decide::model_deployment::measure;
use crate::decide::model_deployment::policy::Policy;
use crate::runtime::Waker;

/// How long a pass waits for the answers to what it asks. Prometheus takes milliseconds.
const MOMENT: Duration = Duration::from_millis(250);
/// And where nothing hangs on it: thousands of stable revisions that a slow source watches must leave passes to the others.
const GLANCE: Duration = Duration::from_millis(20);
/// Inquiries about stable revisions at a time.
const WATCHERS: usize = 16;

/// Namespace and name.
type Key = (String, String);

/// All inquiries of this process.
pub(super) struct Desk {
    sources: Arc<Sources>,
    waker: Waker<ModelDeployment>,
    watchers: Arc<Semaphore>,
    files: Mutex<HashMap<Key, File>>,
}

/// The inquiries of one deployment.
struct File {
    uid: String,
    asked: Asked,
    tasks: BTreeMap<Topic, Task>,
    /// What the last pass was told: told again if that pass did not get through.
    told: Vec<Answered>,
    sender: UnboundedSender<Answered>,
    answers: UnboundedReceiver<Answered>,
}

/// One inquiry under way; given up when nobody wants its answer any more.
struct Task {
    handle: JoinHandle<()>,
    late: Arc<AtomicBool>,
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Wakes the deployment when an inquiry ends for which no pass waits any more, in whatever way it ends.
struct Wakes {
    waker: Waker<ModelDeployment>,
    key: Key,
    late: Arc<AtomicBool>,
}

impl Drop for Wakes {
    fn drop(&mut self) {
        if self.late.load(Ordering::SeqCst) {
            self.waker.wake(&self.key.0, &self.key.1);
        }
    }
}

impl Desk {
    pub(super) fn new(sources: Sources, waker: Waker<ModelDeployment>) -> Self {
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        Self { sources: Arc::new(sources), waker, watchers, files: Mutex::default() }
    }

    /// Asks all that is due, and hands over what has been answered since the last pass. If that one did not `get_through`,
    /// what it was told is told again: a verdict may be missing for it.
    pub(super) async fn ask(
        &self,
        resource: &ModelDeployment,
        policy: &Policy,
        got_through: bool,
        now: DateTime<Utc>,
    ) -> (Vec<Answered>, Asked) {
        let (namespace, name) = key(resource);
        let key = (namespace.to_owned(), name.to_owned());
        let mut file = self.take(&key, resource.metadata.uid.as_deref().unwrap_or_default());
        let Some(status) = resource.status.as_ref().filter(|it| measures(it)) else { return Default::default() };
        if got_through {
            file.told.clear();
        }
        file.close(status);
        file.collect();
        let due = measure::due(resource, policy, status, &file.asked, now);
        let begun: Vec<Topic> = due.iter().map(|it| it.topic.clone()).collect();
        let secrets = Arc::new(self.sources.secrets(namespace));
        for inquiry in due {
            self.begin(&key, &mut file, inquiry, secrets.clone(), now);
        }
        file.wait_for(&begun).await;
        let answer = (file.told.clone(), file.asked.clone());
        self.lock().insert(key, file);
        answer
    }

    /// There is no deployment of this name any more.
    pub(super) fn forget(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The file of this uid, for as long as a pass works on it.
    fn take(&self, key: &Key, uid: &str) -> File {
        let known = self.lock().remove(key).filter(|it| it.uid == uid);
        known.unwrap_or_else(|| {
            let (sender, answers) = mpsc::unbounded_channel();
            let (asked, tasks, told) = Default::default();
            File { uid: uid.to_owned(), asked, tasks, told, sender, answers }
        })
    }

    fn begin(&self, key: &Key, file: &mut File, inquiry: Inquiry, secrets: Arc<Secrets>, began: DateTime<Utc>) {
        let (topic, late) = (inquiry.topic.clone(), Arc::new(AtomicBool::new(false)));
        let (sources, answers) = (self.sources.clone(), file.sender.clone());
        let watchers = Some(self.watchers.clone()).filter(|_| topic.judges == Judges::Stable);
        let wakes = Wakes { waker: self.waker.clone(), key: key.clone(), late: late.clone() };
        let handle = tokio::spawn(async move {
            let _place = match watchers {
                Some(places) => places.acquire_owned().await.ok(),
                None => None,
            };
            let namespace = &wakes.key.0;
            let questions = inquiry.queries.iter().map(|query| sources.ask(namespace, &secrets, query));
            let measurements = join_all(questions).await;
            // Nobody listens when the deployment is gone.
            drop(answers.send(Answered { inquiry, began, measurements }));
            drop(wakes);
        });
        file.asked.begins(topic.clone(), began);
        file.tasks.insert(topic, Task { handle, late });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether anything may be measured: there is a candidate, a revision on probation, or a stable one that is watched.
fn measures(status: &ModelDeploymentStatus) -> bool {
    measure::watched(status).is_some() || status.probation.is_some() || status.stable_watch.is_some()
}

impl File {
    /// Gives up what nobody waits for: an attempt that is over, a revision that is not the stable one any more.
    fn close(&mut self, status: &ModelDeploymentStatus) {
        let attempts = status.attempt.iter().map(|it| &it.id).chain(status.probation.iter().map(|it| &it.attempt));
        let attempts: Vec<&String> = attempts.chain(status.stable_watch.iter().map(|it| &it.revision)).collect();
        self.tasks.retain(|topic, _| attempts.contains(&&topic.attempt));
        self.asked.keep(|topic| attempts.contains(&&topic.attempt));
    }

    /// Takes the answers that are there.
    fn collect(&mut self) {
        // A task that has ended has sent its answer before, or has none.
        let ended = self.tasks.extract_if(.., |_, task| task.handle.is_finished());
        ended.for_each(|(topic, _)| self.asked.ends(&topic));
        while let Ok(answer) = self.answers.try_recv() {
            self.file(answer);
        }
    }

    fn file(&mut self, answer: Answered) {
        let topic = &answer.inquiry.topic;
        self.tasks.remove(topic);
        self.asked.ends(topic);
        self.told.retain(|it| it.inquiry.topic != *topic);
        self.told.push(answer);
    }

    /// Waits a moment for the answers about these topics. Who has not answered then wakes the next pass.
    async fn wait_for(&mut self, begun: &[Topic]) {
        let is_urgent = begun.iter().any(|it| it.judges != Judges::Stable);
        let moment = if is_urgent { MOMENT } else { GLANCE };
        let all = async {
            while begun.iter().any(|topic| self.tasks.contains_key(topic)) {
                let Some(answer) = self.answers.recv().await else { return };
                self.file(answer);
            }
        };
        if tokio::time::timeout(moment, all).await.is_ok() {
            return;
        }
        self.tasks.values().for_each(|it| it.late.store(true, Ordering::SeqCst));
        // Whoever ended before that has not woken anybody.
        self.collect();
    }
}

#[cfg(test)]
mod tests;
