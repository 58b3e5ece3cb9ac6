//! A plan, carried out: entries → status → events → ops, to the first refusal.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use http::header::ACCEPT;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::request::{self, Target};
use super::{Authority, EventSink, Subject};
use crate::audit::{Appended, Entry, EntryKind, Trail, TrailError};
use crate::decide::{Event, Finalizer, Op, Plan, Precondition};

/// Carries plans out. One per process, shared by all kinds.
#[derive(Clone)]
pub struct Actor {
    client: Client,
    trail: Arc<dyn Trail>,
    authority: Authority,
    events: EventSink,
}

/// What a pass wrote, and how it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Every accepted write, in order.
    pub written: Vec<Written>,
    /// Whether the status was one of them: so what was decided from was the newest.
    pub confirmed: bool,
    /// Whether entries were offered to the trail, and it took them all.
    pub recorded: bool,
    /// Intents on the trail of which this pass does not know that they took effect: its own, if
    /// the status write did not win, and the one that has the number it wanted.
    pub unsettled: Vec<Entry>,
    /// How it ended.
    pub end: End,
}

/// An accepted write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Kind of the object, as Kubernetes spells it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What the write left behind.
    pub left: Left,
}

/// What a write left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The object, in this version or a newer one.
    Present {
        /// Its uid.
        uid: String,
        /// Its resourceVersion after the write.
        resource_version: String,
    },
    /// Nothing of this uid.
    Gone {
        /// The uid that was deleted.
        uid: String,
    },
}

/// How carrying out a plan ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// Everything was done.
    Done,
    /// The resource is gone; there is nothing left to do.
    Deleted,
    /// This process may not write (any more).
    NotLeader,
    /// The trail did not take an entry; nothing else was written.
    TrailUnavailable(String),
    /// The trail has another decision under this sequence number; nothing else was written.
    SequenceTaken,
    /// The status, or the finalizers, of the resource changed since the decision.
    StatusConflict,
    /// A child changed since it was observed.
    Conflict {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
        /// The version that is stale.
        stale: Option<Precondition>,
    },
    /// A child to be created exists: a foreign object, or a stale cache.
    AlreadyExists {
        /// Its kind.
        kind: String,
        /// Its name.
        name: String,
    },
    /// The API server will not have it (403, 422), with its own words.
    Refused {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// The API server's message.
        message: String,
        /// The op that was refused; `None` for the resource itself.
        op: Option<Box<Op>>,
    },
    /// It is unknown whether the write happened.
    Failed {
        /// Kind of the object.
        kind: String,
        /// Its name.
        name: String,
        /// What happened.
        error: String,
        /// The op that failed; `None` for the resource itself.
        op: Option<Box<Op>>,
    },
    /// An op that did not get through lately was not sent again, nor what comes after it.
    HeldBack,
}

impl Actor {
    /// Writes with this client, as far as the authority goes.
    #[must_use]
    pub fn new(client: Client, trail: Arc<dyn Trail>, authority: Authority, events: EventSink) -> Self {
        Self { client, trail, authority, events }
    }

    /// The record of decisions, to look something up.
    #[must_use]
    pub fn trail(&self) -> Arc<dyn Trail> {
        self.trail.clone()
    }

    /// The right to write.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where Events go.
    #[must_use]
    pub fn events(&self) -> &EventSink {
        &self.events
    }

    /// Sends a write, as far as the authority goes, and reads of the answer what matters.
    pub(super) async fn ask<T: DeserializeOwned>(&self, mut request: http::Request<Vec<u8>>) -> kube::Result<T> {
        request.headers_mut().insert(ACCEPT, request::METADATA_ALONE);
        self.client.request(self.authority.bind(request)).await
    }

    /// Carries the plan for `resource` out. `stamp` puts the leader's epoch into its status;
    /// `finalizer` is the kind's own, if it has one; `held_back` is an op that must not be sent yet.
    pub async fn carry_out<K, S>(
        &self,
        resource: &K,
        plan: Plan<S>,
        stamp: fn(&mut S, i64),
        finalizer: Option<&str>,
        held_back: Option<&Op>,
    ) -> Report
    where
        K: Resource<DynamicType = ()> + Sync,
        S: Serialize + Send + Sync,
    {
        let (written, unsettled, confirmed) = (Vec::new(), Vec::new(), false);
        let target = Target::of(resource);
        let mut pass = Pass { actor: self, target, written, confirmed, recorded: false, unsettled, held_back };
        let held = resource.meta().finalizers.as_deref().unwrap_or_default();
        let end = pass.run(plan, stamp, finalizer.map(|name| (name, held))).await.err().unwrap_or(End::Done);
        let Pass { written, confirmed, recorded, unsettled, .. } = pass;
        Report { written, confirmed, recorded, unsettled, end }
    }

    /// Closes an intent that can never take effect: the resource it is about is gone.
    ///
    /// # Errors
    /// When the trail does not take it. That the `Void` is there already is no error.
    pub async fn void(&self, intent: &Entry, now: DateTime<Utc>) -> Result<(), TrailError> {
        let void = Entry { kind: EntryKind::Void, time: now, ..intent.clone() };
        match self.trail.append(&void).await {
            Ok(_) | Err(TrailError::SequenceTaken { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// One plan on its way.
struct Pass<'a> {
    actor: &'a Actor,
    target: Target,
    written: Vec<Written>,
    confirmed: bool,
    recorded: bool,
    unsettled: Vec<Entry>,
    held_back: Option<&'a Op>,
}

impl Pass<'_> {
    async fn run<S: Serialize>(
        &mut self,
        plan: Plan<S>,
        stamp: fn(&mut S, i64),
        finalizer: Option<(&str, &[String])>,
    ) -> Result<(), End> {
        if let (Some(Finalizer::Hold), Some((name, held))) = (plan.finalizer, finalizer) {
            self.finalizer(name, held, true).await?;
        }
        self.record(plan.entries).await?;
        if let Some(status) = plan.status {
            self.status(status, stamp).await?;
        }
        self.unsettled.clear();
        self.tell(plan.events);
        for op in plan.ops {
            self.op(op).await?;
        }
        if let (Some(Finalizer::Release), Some((name, held))) = (plan.finalizer, finalizer) {
            self.finalizer(name, held, false).await?;
        }
        Ok(())
    }

    /// What status says has been decided, whatever becomes of the ops: a pass that ends at one of
    /// them is not repeated, because the next one decides from that status.
    fn tell(&self, events: Vec<Event>) {
        let subject = Subject::new(
            &self.target.api_version,
            &self.target.kind,
            &self.target.namespace,
            &self.target.name,
            &self.target.uid,
        );
        for event in events {
            self.actor.events.tell(&subject, event);
        }
    }

    fn epoch(&self) -> Result<i64, End> {
        self.actor.authority.epoch().ok_or(End::NotLeader)
    }

    /// All entries of a pass go to the record together; the first refusal ends the pass.
    async fn record(&mut self, entries: Vec<Entry>) -> Result<(), End> {
        if entries.is_empty() {
            return Ok(());
        }
        let (lease_epoch, operator) = (self.epoch()?, env!("CARGO_PKG_VERSION"));
        let stamp = |entry| Entry { lease_epoch, operator: operator.into(), ..entry };
        let entries: Vec<Entry> = entries.into_iter().map(stamp).collect();
        let answers = self.actor.trail.append_all(&entries).await;
        let mut refused = None;
        for (entry, answer) in entries.into_iter().zip(answers) {
            match answer {
                Ok(appended) => {
                    if appended == Appended::New {
                        say(&entry);
                    }
                    self.unsettled.extend((entry.kind == EntryKind::Intent).then_some(entry));
                }
                // Outcomes and voids of this number are on the record, whoever put them there.
                Err(TrailError::SequenceTaken { .. }) if entry.kind != EntryKind::Intent => {}
                Err(TrailError::SequenceTaken { holder }) => {
                    self.unsettled.push(*holder);
                    refused.get_or_insert(End::SequenceTaken);
                }
                Err(TrailError::Unavailable(why) | TrailError::Damaged(why)) => {
                    refused.get_or_insert(End::TrailUnavailable(why));
                }
            }
        }
        self.recorded = refused.is_none();
        refused.map_or(Ok(()), Err)
    }

    async fn status<S: Serialize>(&mut self, mut status: S, stamp: fn(&mut S, i64)) -> Result<(), End> {
        stamp(&mut status, self.epoch()?);
        let answer = self.target.replace_status(self.actor, &status).await;
        self.own(answer)?;
        self.confirmed = true;
        Ok(())
    }

    async fn finalizer(&mut self, name: &str, held: &[String], hold: bool) -> Result<(), End> {
        if held.iter().any(|it| it == name) == hold {
            return Ok(());
        }
        self.epoch()?;
        let mut finalizers: Vec<String> = held.iter().filter(|it| *it != name).cloned().collect();
        if hold {
            finalizers.push(name.to_owned());
        }
        let answer = self.target.replace_finalizers(self.actor, &finalizers).await;
        self.own(answer)
    }

    /// Takes the answer to a write of the resource itself; later writes of this pass build on it.
    fn own(&mut self, answer: Result<Written, kube::Error>) -> Result<(), End> {
        match answer {
            Ok(written) => {
                if let Left::Present { resource_version, .. } = &written.left {
                    self.target.resource_version.clone_from(resource_version);
                }
                self.written.push(written);
                Ok(())
            }
            Err(error) if request::is_gone(&error, &self.target.name) => Err(End::Deleted),
            Err(error) => Err(match request::end_of(&self.target.kind, &self.target.name, error) {
                End::Conflict { .. } => End::StatusConflict,
                end => end,
            }),
        }
    }

    async fn op(&mut self, op: Op) -> Result<(), End> {
        if self.held_back == Some(&op) {
            return Err(End::HeldBack);
        }
        self.epoch()?;
        let (kind, name, observed) = match &op {
            Op::Create(child) => (child.kind(), child.name().to_owned(), None),
            Op::Apply(child, observed) => (child.kind(), child.name().to_owned(), Some(observed.clone())),
            Op::Delete(kind, name, observed) => (*kind, name.clone(), Some(observed.clone())),
        };
        match request::send(self.actor, &self.target.namespace, &op).await {
            Ok(written) => {
                self.written.extend(written);
                Ok(())
            }
            Err(error) => Err(match request::end_of(kind.name(), &name, error) {
                End::Conflict { kind, name, .. } => End::Conflict { kind, name, stale: observed },
                End::Refused { kind, name, message, .. } => {
                    End::Refused { kind, name, message, op: Some(Box::new(op)) }
                }
                End::Failed { kind, name, error, .. } => End::Failed { kind, name, error, op: Some(Box::new(op)) },
                end => end,
            }),
        }
    }
}

/// One line of the log of the process for each line of the audit log, by which the one leads to the other. Why is told there, and in the Event.
fn say(entry: &Entry) {
    let Entry { kind, subject_kind, namespace, name, decision, attempt, revision, weight, sequence, .. } = entry;
    tracing::info!(
        kind = subject_kind, namespace, name, entry = entry.id(), r#type = ?kind, decision, attempt, revision, weight, sequence,
        "on the audit log"
    );
}

#[cfg(test)]
mod tests;
