//! The loop: scheduling by kube's applier, a pass by [`Loop::pass`].
//!
//! kube's `Controller` would bring its own watches and caches. Its inner half, the applier,
//! takes a cache and a queue of references: it keeps one pass per resource at a time, drops
//! repetitions, delays what asked to be delayed, and bounds how many run. Passes run as tasks
//! of their own, so that one that computes does not hold up another and one that panics ends
//! alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use kube::runtime::controller::{Action, Config, Error, applier};
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use super::health::{Health, Pulse};
use super::memory::Memories;
use super::metrics::{Kind, KindOutcome};
use super::watch::Sights;
use super::{Cache, Clock, Machine, Metrics, Queue, Shutdown, Watches, backoff};
use crate::act::Actor;

#[cfg(test)]
pub(crate) mod by_hand;
mod pass;

/// A pass that takes longer is given up; its writes stand, and the next one goes on from them.
const PASS_DEADLINE: Duration = Duration::from_mins(2);
/// How long passes under way may take to end at shutdown.
const GRACE: Duration = Duration::from_secs(18);
/// Who has led and does not lead now looks again: it may lead again, or its process is about to end.
const NOT_LEADING: Duration = Duration::from_secs(1);

/// The controller of one kind, ready to run.
pub struct Controller<M: Machine> {
    queue: Queue<M::Resource>,
    context: Arc<Loop<M>>,
    concurrency: u16,
}

/// What the controllers of all kinds share.
#[derive(Clone)]
pub struct Shared {
    /// Carries plans out.
    pub actor: Actor,
    /// Counts passes.
    pub metrics: Arc<Metrics>,
    /// Gets the loops' beats.
    pub health: Arc<Health>,
    /// Passes under way at the same time, per kind.
    pub concurrency: u16,
    /// Tells decisions the time.
    pub clock: Clock,
}

/// What passes of one kind share.
pub struct Loop<M: Machine> {
    machine: M,
    cache: Cache<M::Resource>,
    sights: Sights,
    actor: Actor,
    metrics: Arc<Metrics>,
    memories: Memories,
    pulse: Pulse,
    clock: Clock,
}

impl<M: Machine> Controller<M> {
    /// A controller of what is in `cache`, woken through `queue`. All watches the machine's
    /// observing rests on have been added to `watches` by now.
    #[must_use]
    pub fn new(
        machine: M,
        cache: Cache<M::Resource>,
        queue: Queue<M::Resource>,
        watches: &Watches,
        shared: &Shared,
    ) -> Self {
        let Shared { actor, metrics, health, concurrency, clock } = shared.clone();
        let context = Loop {
            machine,
            cache,
            sights: watches.sights(),
            actor,
            metrics,
            memories: Memories::default(),
            pulse: health.pulse(M::KIND),
            clock,
        };
        Self { queue, context: Arc::new(context), concurrency: concurrency.max(1) }
    }

    /// Wakes every resource; for when this process becomes the leader.
    #[must_use]
    pub fn waker(&self) -> Box<dyn Fn() + Send + Sync> {
        let (sender, cache) = (self.queue.sender.clone(), self.context.cache.clone());
        Box::new(move || wake_all(&sender, &cache))
    }

    /// Runs until shutdown, and until the passes under way have ended.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { queue, context, concurrency } = self;
        let Queue { sender, receiver } = queue;
        let stop = shutdown.clone();
        let requests = receiver.map(Ok::<_, Infallible>).take_until(async move { stop.requested().await }.boxed());
        let passes = applier(
            |resource, context: Arc<Loop<M>>| context.task(resource).map(|wait| Ok(action(wait))).boxed(),
            |_, never: &Infallible, _| match *never {},
            context.clone(),
            context.cache.store().clone(),
            requests,
            Config::default().concurrency(concurrency),
        );
        let loop_ = context.clone();
        let passes = passes.for_each(move |done| {
            if let Err(Error::ObjectNotFound(gone)) = done {
                loop_.forget(&(gone.namespace.unwrap_or_default(), gone.name));
            }
            std::future::ready(())
        });
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        let beats = async {
            loop {
                ticks.tick().await;
                context.pulse.beat();
            }
        };
        let cut_off = async {
            shutdown.requested().await;
            tokio::time::sleep(GRACE).await;
            tracing::warn!(kind = M::KIND, "passes under way did not end in time");
        };
        tokio::select! {
            () = passes => {}
            () = beats => {}
            () = cut_off => {}
        }
        // The queue's sender lives until here: watches that go on never see it closed.
        drop(sender);
    }
}

fn wake_all<R>(sender: &UnboundedSender<ObjectRef<R>>, cache: &Cache<R>)
where
    R: super::watch::Watchable,
{
    for resource in cache.store().state() {
        drop(sender.unbounded_send(ObjectRef::from_obj(resource.as_ref())));
    }
}

impl<M: Machine> Loop<M> {
    /// One pass as a task, measured, and given up after its deadline. Returns when to look again; `None`: when
    /// something changes.
    async fn task(self: Arc<Self>, resource: Arc<M::Resource>) -> Option<Duration> {
        let authority = self.actor.authority();
        let Some(epoch) = authority.epoch() else {
            // Who waits for the lease is woken when it comes.
            return authority.has_lapsed().then_some(NOT_LEADING);
        };
        // Woken when the caches show everything there again.
        if !self.sights.cover(resource.meta().namespace.as_deref().unwrap_or_default()) {
            return None;
        }
        let kind = Kind { kind: M::KIND.to_owned() };
        let started = Instant::now();
        self.metrics.in_flight.get_or_create(&kind).inc();
        let (this, about) = (self.clone(), resource.clone());
        let pass = tokio::spawn(async move { tokio::time::timeout(PASS_DEADLINE, this.pass(about, epoch)).await });
        let ended = match pass.await {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => self.broke(&resource, "PassDeadline", "a pass took longer than two minutes"),
            Err(_) => self.broke(&resource, "Panic", "a pass panicked; please report it with the message above"),
        };
        self.metrics.in_flight.get_or_create(&kind).dec();
        self.metrics.duration.get_or_create(&kind).observe(started.elapsed().as_secs_f64());
        let outcome = KindOutcome { kind: M::KIND, outcome: ended.0 };
        self.metrics.reconciles.get_or_create(&outcome).inc();
        Some(ended.1)
    }

    fn forget(&self, key: &(String, String)) {
        self.memories.forget(key);
        self.machine.forget(&key.0, &key.1);
    }

    /// A pass that left no word of what it learned.
    fn broke(&self, resource: &M::Resource, reason: &'static str, what: &str) -> (&'static str, Duration) {
        let (key, uid) = identity(resource);
        tracing::error!(kind = M::KIND, namespace = key.0, name = key.1, "{what}");
        let mut memory = self.memories.recall(&key, &uid);
        memory.failures = memory.failures.saturating_add(1);
        memory.pass.confirmed = None;
        let wait = backoff::after_failure(&uid, memory.failures);
        self.memories.keep(&key, memory);
        self.metrics.failed(M::KIND, reason);
        ("failed", wait)
    }
}

fn action(wait: Option<Duration>) -> Action {
    wait.map_or_else(Action::await_change, Action::requeue)
}

/// Namespace and name, and uid.
fn identity<K: Resource>(resource: &K) -> ((String, String), String) {
    let meta = resource.meta();
    let part = |it: &Option<String>| it.clone().unwrap_or_default();
    ((part(&meta.namespace), part(&meta.name)), part(&meta.uid))
}

#[cfg(test)]
mod tests;
