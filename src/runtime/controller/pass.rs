//! One pass: wait for the own last writes, observe, decide, act, remember.

use std::sync::Arc;
use std::time::Duration;

use chrono::SubsecRound;
use kube::Resource;
use tokio::time::Instant;

use super::{Loop, NOT_LEADING, identity};
use crate::act::{End, Report};
use crate::audit::Entry;
use crate::decide::{Op, Plan, Refusal, resets};
use crate::runtime::backoff;
use crate::runtime::expectations::{Seen, Sight};
use crate::runtime::memory::{HeldBack, Memory};
use crate::runtime::metrics::Kind;
use crate::runtime::{Machine, TrailOutage};

/// The watch event of a write wakes the resource; this is for when it does not come.
const GLANCE: Duration = Duration::from_millis(250);
/// A foreign object with a child's name is in no cache: nobody tells when it goes.
const FOREIGN: Duration = Duration::from_secs(5);
/// The next pass knows something new that it has to say: a refusal, a trail that is down.
const AT_ONCE: Duration = Duration::from_millis(10);

/// A pass that failed is not repeated sooner, whatever time demands.
const REST: Duration = Duration::from_secs(1);

/// What it came to, and how soon the next one is due.
type Ended = (&'static str, Duration);

/// How soon a plan wants the next pass, whatever becomes of this one.
#[derive(Debug, Clone, Copy)]
struct Demand {
    requeue: Option<Duration>,
    urgent: bool,
}

impl Demand {
    fn of<S>(plan: &Plan<S>) -> Self {
        Self { requeue: plan.requeue, urgent: plan.urgent }
    }

    /// The wait before what failed is tried again.
    fn backoff(self, memory: &Memory) -> Duration {
        let wait = if self.urgent { backoff::after_urgent_failure } else { backoff::after_failure };
        wait(&memory.uid, memory.failures)
    }

    /// That wait, or until time demands a pass.
    fn no_later(self, wait: Duration) -> Duration {
        self.requeue.map_or(wait, |requeue| wait.min(requeue.max(REST)))
    }
}

impl<M: Machine> Loop<M> {
    pub(super) async fn pass(&self, resource: Arc<M::Resource>, epoch: i64) -> Ended {
        let (key, uid) = identity(resource.as_ref());
        let mut memory = self.memories.recall(&key, &uid);
        memory.pass.lease_epoch = epoch;
        let ended = match self.look(&key, &mut memory) {
            Sight::Waiting => ("waiting", GLANCE),
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
            memory.pass.confirmed = None;
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
        memory.pass.lost.retain(|intent| !M::accounts_for(resource, intent));
        memory.pass.got_through = memory.failures == 0 && memory.conflicts == 0;
        let observed = match self.machine.observe(resource.clone(), &mut memory.pass).await {
            Ok(observed) => observed,
            Err(error) => {
                let (key, _) = identity(resource.as_ref());
                tracing::warn!(kind = M::KIND, namespace = key.0, name = key.1, %error, "nothing was decided");
                self.failed(memory, error.reason);
                return ("failed", backoff::after_failure(&memory.uid, memory.failures));
            }
        };
        // Milliseconds are what status keeps: what is compared later must be what was written.
        let now = self.clock.now().trunc_subsecs(3);
        let plan = M::decide(resource, &observed, now);
        let (demand, resets) = (Demand::of(&plan), plan.resets.clone());
        let started = Instant::now();
        let held_back = memory.held_back.as_ref().filter(|held| held.until > started).map(|held| &held.op);
        let report = self.actor.carry_out(resource.as_ref(), plan, M::stamp, M::FINALIZER, held_back).await;
        if report.end == End::Deleted {
            for intent in &report.unsettled {
                self.close(intent).await;
            }
        }
        for child in resets {
            if report.written.iter().any(|it| it.kind == child.kind.name() && it.name == child.name) {
                resets::remember(&mut memory.pass.resets, child, now);
            }
        }
        self.remember(resource, memory, report, demand)
    }

    /// The resource is gone, so nothing can put this intent into effect, and no status can tell.
    async fn close(&self, intent: &Entry) {
        if let Err(error) = self.actor.void(intent, self.clock.now()).await {
            let Entry { namespace, name, sequence, .. } = intent;
            tracing::warn!(kind = M::KIND, namespace, name, sequence, %error, "an intent about a deleted resource stays open");
        }
    }

    fn remember(&self, resource: &Arc<M::Resource>, memory: &mut Memory, report: Report, demand: Demand) -> Ended {
        let now = Instant::now();
        for written in &report.written {
            memory.expectations.written(written, now);
            memory.pass.already_exists.remove(&(written.kind.clone(), written.name.clone()));
        }
        if report.confirmed {
            memory.pass.confirmed = Some(memory.pass.lease_epoch);
        }
        // Of these, nobody knows what the newest status is.
        if matches!(report.end, End::StatusConflict | End::SequenceTaken | End::Failed { op: None, .. }) {
            memory.pass.confirmed = None;
        }
        if report.recorded {
            memory.pass.trail_outage = None;
        }
        for intent in report.unsettled {
            if !memory.pass.lost.contains(&intent) {
                memory.pass.lost.push(intent);
            }
        }
        match report.end {
            End::Done => {
                (memory.failures, memory.conflicts, memory.pass.refusal) = (0, 0, None);
                memory.held_back = None;
                let taken = (!memory.pass.already_exists.is_empty()).then_some(FOREIGN);
                // Whatever is waited for: a clock that is set right meanwhile tells nobody.
                let resync = backoff::resync(&memory.uid);
                ("done", demand.requeue.into_iter().chain(taken).fold(resync, Duration::min))
            }
            // What is gone leaves the cache, too, and is then forgotten; or the API server was wrong.
            End::Deleted | End::NotLeader => ("stopped", NOT_LEADING),
            End::TrailUnavailable(error) => self.trail_is_down(memory, &error, demand),
            End::SequenceTaken => self.conflict(memory, "SequenceTaken"),
            End::StatusConflict => {
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
            End::Refused { kind, name, message, op } => {
                let is_news = self.refused(resource, memory, Refusal { kind, name, message });
                let wait = hold_back(memory, op, now, demand);
                // A different refusal each time must not become a hot loop.
                if is_news && memory.failures <= 3 {
                    return ("refused", AT_ONCE);
                }
                ("failed", wait)
            }
            End::Failed { kind, name, error, op } => {
                tracing::warn!(about = M::KIND, kind, name, error, "a write failed; its effect is unknown");
                self.failed(memory, "Write");
                ("failed", hold_back(memory, op, now, demand))
            }
            End::HeldBack => ("refused", wait_of(memory, now, demand.requeue)),
        }
    }

    /// The first time, what does not need the trail may be decided at once.
    fn trail_is_down(&self, memory: &mut Memory, error: &str, demand: Demand) -> Ended {
        let since = memory.pass.trail_outage.map(|outage| outage.since);
        let outage = TrailOutage { since: since.unwrap_or_else(|| self.clock.now()), last_tried: Instant::now() };
        memory.pass.trail_outage = Some(outage);
        self.failed(memory, "AuditUnavailable");
        if since.is_some() {
            return ("failed", demand.no_later(demand.backoff(memory)));
        }
        tracing::warn!(error, "the trail takes no entries");
        ("failed", AT_ONCE)
    }

    /// Whether the refusal is news, which goes into status at once.
    fn refused(&self, resource: &Arc<M::Resource>, memory: &mut Memory, refusal: Refusal) -> bool {
        self.failed(memory, "Refused");
        let known = memory.pass.refusal.replace(refusal.clone());
        if known.as_ref() == Some(&refusal) {
            return false;
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
        true
    }

    fn conflict(&self, memory: &mut Memory, reason: &'static str) -> Ended {
        memory.conflicts = memory.conflicts.saturating_add(1);
        self.metrics.failed(M::KIND, reason);
        ("conflict", backoff::after_conflict(&memory.uid, memory.conflicts))
    }

    fn failed(&self, memory: &mut Memory, reason: &'static str) {
        memory.failures = memory.failures.saturating_add(1);
        self.metrics.failed(M::KIND, reason);
    }
}

/// Until the next pass after a write that did not get through. An op waits longer each time; what
/// time demands, such as the next measurement, does not wait with it.
fn hold_back(memory: &mut Memory, op: Option<Box<Op>>, now: Instant, demand: Demand) -> Duration {
    let wait = demand.backoff(memory);
    let Some(op) = op else { return demand.no_later(wait) };
    memory.held_back = Some(HeldBack { op: *op, until: now + wait });
    wait_of(memory, now, demand.requeue)
}

/// Until the op that is held back may be sent again, or until time demands a pass.
fn wait_of(memory: &Memory, now: Instant, requeue: Option<Duration>) -> Duration {
    let held = memory.held_back.as_ref().map_or(Duration::ZERO, |held| held.until.saturating_duration_since(now));
    requeue.map_or(held, |requeue| requeue.min(held)).max(AT_ONCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{ChildKind, Precondition};

    fn held_back_for(seconds: u64, now: Instant) -> Memory {
        let seen = Precondition { uid: "1".into(), resource_version: "2".into() };
        let op = Op::Delete(ChildKind::Service, "churn".into(), seen);
        let held_back = Some(HeldBack { op, until: now + Duration::from_secs(seconds) });
        Memory { held_back, ..Memory::default() }
    }

    #[test]
    fn a_measurement_does_not_wait_for_an_op_that_is_refused_nor_the_op_for_a_measurement() {
        let now = Instant::now();
        let memory = held_back_for(60, now);
        assert_eq!(wait_of(&memory, now, Some(Duration::from_secs(30))), Duration::from_secs(30));
        assert_eq!(wait_of(&memory, now, Some(Duration::from_mins(10))), Duration::from_mins(1));
        assert_eq!(wait_of(&memory, now, None), Duration::from_mins(1), "nothing else is awaited");
        assert_eq!(wait_of(&memory, now + Duration::from_mins(2), None), AT_ONCE);
    }
}
