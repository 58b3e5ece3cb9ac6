//! What happens in a step, and between two of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use super::{Run, Step, log};
use crate::decide::Measurement;
use crate::runtime::{Clock, Key};
use crate::sim::chance::Mischief;
use crate::sim::others::{self, Deed, copies};
use crate::sim::process::{Process, Source};
use crate::sim::scenario::{LATE, bad};
use crate::sim::store::Way;
use crate::sim::view::DEPLOYMENTS;
use crate::sim::wire::{self, Late, Wire};

/// For so long a right to read is lost that is to be lost at one place: longer than the longest backoff of a watch.
const BLIND: Duration = Duration::from_secs(90);
/// By then a process has noticed that a right it had lost is given back.
const SEES_AGAIN: Duration = Duration::from_mins(1);

impl Run<'_> {
    pub(super) async fn take(&mut self, step: Step) {
        match step {
            Step::Deliver(collection) => {
                let told = self.view.cluster.deliver(&collection);
                self.told(format!("tell {}", told.unwrap_or_default()));
            }
            Step::Start => self.start().await,
            Step::Pass(number, key) => self.pass(number, key).await,
            Step::Other(deed) => {
                if let Deed::Pods(path) = &deed {
                    let lags = self.view.cluster.behind().iter().any(|it| it == DEPLOYMENTS);
                    let known = self.view.cluster.get(path);
                    self.fates().oracles.pods(path, &known, lags);
                }
                let pods = |it: &_, wanted| self.scenario.pods_of(&self.view, it, wanted);
                let jobs = |it: &_| (self.scenario.jobs)(&self.view, it);
                others::act(&self.view.cluster, &deed, &pods, &jobs);
                self.fates().oracles.hears_of_artifacts(&self.view.cluster);
                self.told(format!("{deed:?}"));
            }
            Step::Publish => self.publish().await,
            Step::Late => self.arrive().await,
        }
    }

    /// Whoever starts waits for every kind.
    pub(super) fn give_the_right_back(&mut self) {
        if self.forbidden_until.take().is_some() {
            self.view.cluster.forbid(None);
            self.sees_from = Some(Instant::now() + SEES_AGAIN);
            self.fates().trouble.lasts(SEES_AGAIN);
            self.told("the right is given back".into());
        }
    }

    async fn start(&mut self) {
        self.give_the_right_back();
        self.lives += 1;
        let wire = Wire::new(self.lives, self.view.cluster.clone(), self.fates.clone());
        let log = Arc::new(log(Way::of(wire.clone(), self.store.clone())));
        let (scenario, view) = (self.scenario.metrics, self.view.clone());
        let fates = self.fates.clone();
        let (chance, shared) = (self.chance.clone(), self.fates.clone());
        let takes = Box::new(move || {
            let time = chance.as_ref().map_or(Duration::ZERO, |it| it.lock().unwrap().takes());
            if !time.is_zero() {
                shared.lock().unwrap().trouble.slows(time);
            }
            time
        });
        let silent = self.chance.clone();
        let answer = Box::new(move |query: &str| {
            if silent.as_ref().is_some_and(|it| it.lock().unwrap().is_silent()) {
                fates.lock().unwrap().trouble.is_here();
                return Measurement::ProviderError("it was away for a moment".into());
            }
            let answer = scenario(&view, query);
            let limit = view.deployment()["spec"]["analysis"]["failureLimit"].as_u64().unwrap_or(1) as usize;
            let oracles = &mut fates.lock().unwrap().oracles;
            if query.starts_with(LATE) {
                oracles.late_answer(answer == bad(), view.now());
            } else {
                oracles.answered(query, &answer, limit, view.now());
            }
            answer
        });
        let source = Source { answer, takes };
        let (right, wrong_by) = (self.view.clock.clone(), self.wrong_by.clone());
        let clock = Clock::of(move || right.now() + TimeDelta::milliseconds(wrong_by.load(Ordering::SeqCst)));
        let snapshot = self.chance.as_ref().and_then(|it| it.lock().unwrap().snapshot(self.view.cluster.version()));
        self.view.cluster.lists_at(snapshot);
        if snapshot.is_some() {
            self.fates().trouble.is_here();
        }
        let process = Process::start(wire, log, Arc::new(source), clock, self.lives, self.scenario.verifies).await;
        for (number, hand) in process.hands.iter().enumerate() {
            self.awake.extend(hand.all().into_iter().map(|key| (number, key)));
        }
        self.process = Some(process);
        self.publishing.looks_at_others();
        self.view.cluster.lists_at(None);
        // Each goes on from its list before anything else happens.
        sleep(Duration::from_millis(1)).await;
        self.watched = self.watched.max(self.view.cluster.watched().len());
        self.told(format!("start of process {}, on {snapshot:?}", self.lives));
    }

    pub(super) async fn pass(&mut self, number: usize, key: Key) {
        let Some(hand) = self.process.as_ref().map(|it| &it.hands[number]) else { return };
        let (kind, pass) = (hand.kind(), hand.pass(&key));
        let place = (number, key);
        self.awake.remove(&place);
        self.due.remove(&place);
        let wait = pass.await;
        self.told(format!("pass of {kind} {}: again in {wait:?}", place.1.1));
        if kind == "ModelDeployment" {
            self.passes += 1;
            let seen = (self.view.cluster.version(), self.fates().writes);
            self.quiet = if seen == self.last { self.quiet + 1 } else { 0 };
            self.last = seen;
        }
        self.waits.remove(&place);
        // The loop wakes everybody when the caches are whole again, which takes a moment.
        let wait = wait.or_else(|| (!self.sees()).then_some(Duration::from_secs(5)));
        if let Some(wait) = wait {
            self.waits.insert(place.clone(), wait);
            self.due.insert(place, Instant::now() + wait);
        }
    }

    async fn arrive(&mut self) {
        let late = self.fates().late.remove(0);
        self.fates().oracles.is_late = true;
        self.fates().trouble.is_here();
        match late {
            Late::Request(asked, epoch) => {
                let about = asked.about();
                let answer = wire::write(&self.view.cluster, &mut self.fates(), epoch, &asked);
                self.told(format!("late: {about} → {}", answer.status().as_u16()));
            }
            Late::File(file) => {
                let is_there = file.arrive(&self.store, &self.fates).await.is_ok();
                self.told(format!("late: {}: {}", file.about(), if is_there { "there" } else { "its place is taken" }));
                if self.process.is_some() {
                    self.publishing.looks_at_others();
                }
            }
        }
        self.fates().oracles.is_late = false;
    }

    /// Loses the right that it is to lose, once so much is written.
    pub(super) async fn loses_sight(&mut self) {
        let writes = self.fates().writes;
        if let Some((_, collection)) = self.loses.take_if(|it| writes >= it.0) {
            self.suffer(Mischief::Forbid(collection, BLIND)).await;
        }
    }

    pub(super) async fn suffer(&mut self, mischief: Mischief) {
        let cluster = self.view.cluster.clone();
        match &mischief {
            Mischief::Death => {
                if let Some(process) = self.process.take() {
                    process.wire.die();
                }
                self.is_dead();
            }
            Mischief::Cut(collection) => cluster.cut(collection),
            Mischief::Expire(collection) => {
                cluster.cut(collection);
                cluster.compact();
            }
            Mischief::Forbid(collection, time) => {
                self.give_the_right_back();
                cluster.forbid(Some(collection));
                self.forbidden_until = Some((Instant::now() + *time, collection.clone()));
                self.fates().trouble.lasts(*time + SEES_AGAIN);
            }
            Mischief::Bookmark(collection) => cluster.bookmark(collection),
            Mischief::Copy(path) => copies::copy(&cluster, path),
            Mischief::Clock(wrong_by) => {
                self.wrong_by.store(*wrong_by, Ordering::SeqCst);
                // How long anybody waits was said by the clock as it was.
                self.waits.values_mut().for_each(|it| *it = Duration::ZERO);
            }
            Mischief::Pause(pause) => {
                sleep(*pause).await;
                self.fates().trouble.was_slow();
            }
        }
        if !matches!(mischief, Mischief::Bookmark(_) | Mischief::Pause(_)) {
            self.fates().trouble.is_here();
        }
        self.told(format!("{mischief:?}"));
        sleep(Duration::from_millis(1)).await;
    }
}
