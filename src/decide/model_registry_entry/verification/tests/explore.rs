//! An entry in a small world: its Jobs, its users, and whoever revokes or deletes it, in every order.
//!
//! Time passes by two days at once, which is longer than every wait: so of each time only that it is now, or long ago, makes a difference,
//! and how often something has failed makes none.

use super::*;
use crate::api::Condition;
use crate::decide::{Finalizer, confirms_first};
use crate::explore::{Small, explored};

#[derive(Debug, Clone, Copy)]
enum Event {
    Pass,
    /// The operator dies in a pass, after its status.
    Dies,
    /// It dies before: it holds the entry, and nothing else is written.
    DiesHolding,
    /// The Job has a pod.
    Begins,
    /// The Job ends: the artifact is the registered one, another one, or nobody has seen it.
    Right,
    Wrong,
    Unseen,
    /// Somebody deletes the Job.
    JobGone,
    /// A person asks for a look.
    Asks,
    Used,
    Unused,
    Revoked,
    Deleted,
    TwoDays,
}

/// What the plan says to the finalizer is done; an entry that nothing holds any more is gone.
#[derive(Clone)]
struct Life {
    world: World,
    is_gone: bool,
}

impl Life {
    fn new() -> Self {
        Self { world: World::new(), is_gone: false }
    }

    fn is_deleted(&self) -> bool {
        self.world.entry.metadata.deletion_timestamp.is_some()
    }

    fn is_held(&self) -> bool {
        self.world.entry.finalizers().iter().any(|it| it == labels::IN_USE)
    }

    /// One pass that is held to the rules; whether it wrote anything.
    fn pass(&mut self, dies: bool) -> bool {
        let world = &mut self.world;
        let plan = decide(&world.entry, &world.observed, world.now);
        check(world, &plan);
        let writes = plan.status.is_some() || !plan.ops.is_empty();
        if dies {
            hold(&mut world.entry, plan.finalizer);
            world.entry.status = plan.status.or(world.entry.status.take());
            world.observed.unconfirmed = true;
            return writes;
        }
        world.pass();
        world.observed.unconfirmed = false;
        hold(&mut world.entry, plan.finalizer);
        if plan.finalizer == Some(Finalizer::Release) {
            world.entry.metadata.finalizers = None;
        }
        self.is_gone = self.is_deleted() && !self.is_held();
        writes
    }

    /// A pass of an operator that dies when it holds the entry, before it says anything.
    fn dies_holding(&mut self) {
        let plan = decide(&self.world.entry, &self.world.observed, self.world.now);
        hold(&mut self.world.entry, plan.finalizer);
        self.world.observed.unconfirmed = true;
    }

    /// However often it is looked at now, there comes a pass that writes nothing, and what nobody uses is not kept from going.
    fn comes_to_rest(&self) {
        let mut later = self.clone();
        let rests = (0..6).any(|_| later.is_gone || !later.pass(false));
        assert!(rests, "{:#?}", later.world.entry);
        let unused = later.world.observed.users.names.is_empty();
        assert!(later.is_gone || !unused || !later.is_deleted(), "held for nobody: {:#?}", later.world.entry);
    }
}

/// What is held is held before anything else is written.
fn hold(entry: &mut ModelRegistryEntry, finalizer: Option<Finalizer>) {
    if finalizer == Some(Finalizer::Hold) {
        entry.metadata.finalizers = Some(vec![labels::IN_USE.into()]);
    }
}

/// What holds of every plan.
fn check(world: &World, plan: &Plan<ModelRegistryEntryStatus>) {
    let ours = world.observed.jobs.live.iter().filter(|it| number(&it.job, &world.entry).is_some()).count();
    let creates = plan.ops.iter().filter(|it| matches!(it, Op::Create(_))).count();
    let deletes = plan.ops.iter().filter(|it| matches!(it, Op::Delete(..))).count();
    assert!(creates + ours - deletes <= 1, "two looks at a time: {:#?}", plan.ops);
    let revoked = world.entry.spec.lifecycle() == Lifecycle::Revoked;
    assert!(!revoked || creates == 0, "nobody looks at what is revoked");
    let status = plan.status.as_ref().or(world.entry.status.as_ref());
    let is_true = |type_: &str| {
        let it: Option<&Condition> = status.and_then(|it| condition::find(&it.conditions, type_));
        it.is_some_and(|it| it.status == true.into())
    };
    let known = status.and_then(|it| it.artifact.clone()).unwrap_or_default();
    assert_eq!(is_true(CONDITION), known.is_right() == Some(true), "{known:?}");
    assert!(revoked || !is_true("Ready") || known.is_right() == Some(true), "ready, and {known:?}");
    assert!(!(is_true("Ready") && is_true("Stalled")), "{status:#?}");
    let (used, deleted) = (!world.observed.users.names.is_empty(), world.entry.metadata.deletion_timestamp.is_some());
    match plan.finalizer {
        Some(Finalizer::Release) => assert!(!used, "let go of while it is used"),
        Some(Finalizer::Hold) => assert!(used && !deleted),
        None => assert!(deleted, "{used}"),
    }
    assert!(!confirms_first(world.observed.unconfirmed, &plan.ops) || plan.status.is_some());
}

/// So long ago that nothing waits for it any more.
fn is_long_ago(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - at > TimeDelta::days(1)
}

impl Small for Life {
    type Event = Event;

    fn happen(&mut self, event: Event) {
        if self.is_gone {
            return;
        }
        let deleted = self.is_deleted();
        let world = &mut self.world;
        let has_one = world.jobs() == 1;
        match event {
            Event::Pass => drop(self.pass(false)),
            Event::Dies => drop(self.pass(true)),
            Event::DiesHolding => self.dies_holding(),
            Event::Begins if has_one && world.observed.jobs.live[0].pods.is_empty() => world.begins(),
            Event::Right if has_one => world.ends(true, &report("f1", true)),
            Event::Wrong if has_one => world.ends(false, &failure("ArtifactDigestMismatch")),
            Event::Unseen if has_one => world.ends(false, &failure("ArtifactUnreachable")),
            Event::Begins | Event::Right | Event::Wrong | Event::Unseen => {}
            Event::JobGone => world.observed.jobs.live.clear(),
            Event::Asks => world.asks("again"),
            Event::Used if !deleted => world.observed.users.names = vec!["churn".into()],
            Event::Used => {}
            Event::Unused => world.observed.users.names.clear(),
            Event::Revoked => world.entry.spec.lifecycle = Some(Lifecycle::Revoked),
            Event::Deleted => {
                world.entry.metadata.deletion_timestamp =
                    serde_json::from_value(json!("2026-11-28T12:00:00Z")).unwrap();
                self.is_gone = !self.is_held();
            }
            Event::TwoDays => world.later(2 * 86_400),
        }
        self.comes_to_rest();
    }

    fn seen(&self) -> Value {
        let World { entry, observed, now } = &self.world;
        if self.is_gone {
            return json!("gone");
        }
        let status = entry.status.clone().unwrap_or_default();
        let conditions = status.conditions.iter().map(|it| json!([it.type_, it.status, it.reason]));
        let long_ago = |at: Option<DateTime<Utc>>| at.map(|at| is_long_ago(at, *now));
        let failed = |it: &Option<FailedLook>| it.as_ref().map(|it| json!([it.reason, is_long_ago(it.at, *now)]));
        let known = status.artifact.as_ref().map(|it| {
            let since = [long_ago(it.checked_at), long_ago(it.looking_since)];
            json!([
                since,
                it.fingerprint,
                failed(&it.wrong),
                failed(&it.unseen),
                it.looks > 0,
                it.asked == request(entry)
            ])
        });
        let looks = status.artifact.as_ref().map_or(0, |it| it.looks);
        let jobs = observed.jobs.live.iter().map(|it| {
            let ended = it.end().map(|it| is_long_ago(it.at.unwrap_or(*now), *now));
            let said = it.terminated(CONTAINER).and_then(|it| it.message.clone());
            let request = asked(&it.job) == request(entry);
            json!([number(&it.job, entry).map(|it| it - looks), it.pods.len(), ended, said, request])
        });
        json!([
            conditions.collect::<Vec<_>>(),
            known,
            jobs.collect::<Vec<_>>(),
            status.used_by.len(),
            observed.users.names,
            observed.unconfirmed,
            self.is_deleted(),
            self.is_held(),
            entry.spec.lifecycle() == Lifecycle::Revoked,
            request(entry),
        ])
    }
}

#[test]
fn whatever_becomes_of_an_entry_keeps_the_rules() {
    use Event::*;
    let looks = [Pass, Dies, Begins, Right, Wrong, Unseen, JobGone, Asks, TwoDays];
    explored("the looks at an entry", Life::new(), &looks);
    let life = [Pass, Dies, DiesHolding, Right, Wrong, Used, Unused, Revoked, Deleted, TwoDays];
    explored("the life of an entry", Life::new(), &life);
}
