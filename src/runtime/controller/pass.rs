//! One pass: wait for the own last writes, observe, decide, act, remember.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{SubsecRound, Utc};
use kube::runtime::controller::Action;
use kube::{Api, Resource};

use super::{Loop, identity};
use crate::act::{End, Report};
use crate::audit::Entry;
use crate::runtime::backoff;
use crate::runtime::expectations::{Seen, Sight};
use crate::runtime::memory::Memory;
use crate::runtime::metrics::Kind;
use crate::runtime::{Machine, Refusal, TrailOutage};

/// The watch event of a write wakes the resource; this is for when it does not come.
const GLANCE: Duration = Duration::from_millis(250);
/// A foreign object with a child's name is in no cache: nobody tells when it goes.
const FOREIGN: Duration = Duration::from_secs(5);
/// The next pass knows something new that it has to say: a refusal, a trail that is down.
const AT_ONCE: Duration = Duration::from_millis(10);

type Ended = (&'static str, Action);

impl<M: Machine> Loop<M> {
    pub(super) async fn pass(&self, resource: Arc<M::Resource>, epoch: i64) -> Ended {
        let (key, uid) = identity(resource.as_ref());
        let mut memory = self.memories.recall(&key, &uid);
        memory.pass.lease_epoch = epoch;
        let ended = match self.look(&key, &mut memory) {
            Sight::Waiting => ("waiting", Action::requeue(GLANCE)),
            Sight::Clear | Sight::Overdue => {
                // What the pass was scheduled with may be older than what the caches were just seen to show.
                let seen = self.cache.get(&key.0, &key.1).filter(|it| it.meta().uid == resource.meta().uid);
                self.decide_and_act(&seen.unwrap_or(resource), &mut memory).await
            }
        };
        self.memories.keep(&key, memory);
        ended
    }

    /// Whether the caches show what the last pass did.
    fn look(&self, key: &(String, String), memory: &mut Memory) -> Sight {
        let see = |kind: &str, name: &str| self.sights.see(kind, &key.0, name);
        let sight = memory.expectations.sight(Instant::now(), see);
        if sight == Sight::Overdue {
            self.metrics.overdue.get_or_create(&Kind { kind: M::KIND.to_owned() }).inc();
            tracing::warn!(
                kind = M::KIND,
                namespace = key.0,
                name = key.1,
                "the caches do not show the last pass's writes; going ahead"
            );
        }
        memory.pass.already_exists.retain(|(kind, name)| !matches!(see(kind, name), Some(Some(_))));
        sight
    }

    async fn decide_and_act(&self, resource: &Arc<M::Resource>, memory: &mut Memory) -> Ended {
        if !memory.lost.is_empty() && !self.settle(resource, memory).await {
            return self.failed(memory, "Settle");
        }
        let observed = match self.machine.observe(resource.clone(), &memory.pass).await {
            Ok(observed) => observed,
            Err(error) => {
                let (key, _) = identity(resource.as_ref());
                tracing::warn!(kind = M::KIND, namespace = key.0, name = key.1, %error, "nothing was decided");
                return self.failed(memory, error.reason);
            }
        };
        // Milliseconds are what status keeps: what is compared later must be what was written.
        let plan = M::decide(resource, &observed, Utc::now().trunc_subsecs(3));
        let requeue = plan.requeue;
        let report = self.actor.carry_out(resource.as_ref(), plan, M::stamp, M::FINALIZER).await;
        self.remember(resource, memory, report, requeue)
    }

    /// Closes intents whose status write was refused, unless they are in effect after all: an
    /// earlier try of the same write may have arrived although its answer did not. `false` if
    /// that cannot be known now.
    async fn settle(&self, resource: &Arc<M::Resource>, memory: &mut Memory) -> bool {
        let ((namespace, name), uid) = identity(resource.as_ref());
        let api = Api::<M::Resource>::namespaced(self.client.clone(), &namespace);
        let Ok(live) = api.get_opt(&name).await else {
            return false;
        };
        let live = live.filter(|live| live.meta().uid.as_ref() == Some(&uid));
        let decided = live.as_ref().map_or(0, M::sequence);
        let lost: Vec<Entry> = std::mem::take(&mut memory.lost);
        for intent in lost.into_iter().filter(|intent| intent.sequence > decided) {
            memory.pass.spent_sequence = memory.pass.spent_sequence.max(intent.sequence);
            if self.actor.void(&intent).await.is_err() {
                // The number is not used again; what does not wait, such as a rollback, goes on.
                memory.lost.push(intent);
            }
        }
        true
    }

    fn remember(
        &self,
        resource: &Arc<M::Resource>,
        memory: &mut Memory,
        report: Report,
        requeue: Option<Duration>,
    ) -> Ended {
        let now = Instant::now();
        for written in &report.written {
            memory.expectations.written(written, now);
            memory.pass.already_exists.remove(&(written.kind.clone(), written.name.clone()));
        }
        if report.recorded {
            memory.pass.trail_outage = None;
        }
        match report.end {
            End::Done => {
                (memory.failures, memory.conflicts, memory.pass.refusal) = (0, 0, None);
                let taken = (!memory.pass.already_exists.is_empty()).then_some(FOREIGN);
                let again = requeue.into_iter().chain(taken).min();
                ("done", Action::requeue(again.unwrap_or_else(|| backoff::resync(&memory.uid))))
            }
            End::Deleted | End::NotLeader => ("stopped", Action::await_change()),
            End::TrailUnavailable(error) => self.trail_is_down(memory, &error),
            End::SequenceTaken(intent) => {
                memory.lost.push(*intent);
                self.conflict(memory, "SequenceTaken")
            }
            End::StatusConflict { intents } => {
                memory.lost.extend(intents);
                let (key, uid) = identity(resource.as_ref());
                let stale = resource.meta().resource_version.clone().unwrap_or_default();
                let stale = Seen { uid, resource_version: stale };
                memory.expectations.changed(M::KIND, &key.1, Some(stale), now);
                self.conflict(memory, "StatusConflict")
            }
            End::Conflict { kind, name, stale } => {
                let stale = stale.map(|it| Seen { uid: it.uid, resource_version: it.resource_version });
                memory.expectations.changed(&kind, &name, stale, now);
                self.conflict(memory, "ChildConflict")
            }
            End::AlreadyExists { kind, name } => {
                memory.pass.already_exists.insert((kind, name));
                self.conflict(memory, "AlreadyExists")
            }
            End::Refused { kind, name, message } => {
                self.refused(resource, memory, Refusal { kind, name, message }, requeue)
            }
            End::Failed { kind, name, error } => {
                tracing::warn!(about = M::KIND, kind, name, error, "a write failed; its effect is unknown");
                self.failed(memory, "Write")
            }
        }
    }

    /// The first time, what does not need the trail may be decided at once.
    fn trail_is_down(&self, memory: &mut Memory, error: &str) -> Ended {
        let now = Utc::now();
        let since = memory.pass.trail_outage.map(|outage| outage.since);
        memory.pass.trail_outage = Some(TrailOutage { since: since.unwrap_or(now), last_tried: now });
        let ended = self.failed(memory, "TrailUnavailable");
        if since.is_some() {
            return ended;
        }
        tracing::warn!(error, "the trail takes no entries");
        ("failed", Action::requeue(AT_ONCE))
    }

    /// A refusal that is news goes into status at once. What is due by its time, such as the next
    /// measurement, does not wait longer because a write is refused.
    fn refused(
        &self,
        resource: &Arc<M::Resource>,
        memory: &mut Memory,
        refusal: Refusal,
        due: Option<Duration>,
    ) -> Ended {
        let ended = self.failed(memory, "Refused");
        let backoff = backoff::after_failure(&memory.uid, memory.failures);
        let ended = due.filter(|due| *due < backoff).map_or(ended, |due| ("failed", Action::requeue(due)));
        let known = memory.pass.refusal.replace(refusal.clone());
        if known.as_ref() == Some(&refusal) {
            return ended;
        }
        let (key, _) = identity(resource.as_ref());
        let Refusal { kind, name, message } = refusal;
        tracing::warn!(
            about = M::KIND,
            namespace = key.0,
            of = key.1,
            kind,
            name,
            message,
            "the API server refused a write"
        );
        // A different refusal each time must not become a hot loop.
        if memory.failures > 3 { ended } else { ("refused", Action::requeue(AT_ONCE)) }
    }

    fn conflict(&self, memory: &mut Memory, reason: &'static str) -> Ended {
        memory.conflicts = memory.conflicts.saturating_add(1);
        self.metrics.failed(M::KIND, reason);
        ("conflict", Action::requeue(backoff::after_conflict(&memory.uid, memory.conflicts)))
    }

    fn failed(&self, memory: &mut Memory, reason: &'static str) -> Ended {
        memory.failures = memory.failures.saturating_add(1);
        self.metrics.failed(M::KIND, reason);
        ("failed", Action::requeue(backoff::after_failure(&memory.uid, memory.failures)))
    }
}
