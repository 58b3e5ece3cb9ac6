//! One container's life: started, probed, restarted with backoff, ended in time.
//!
//! A task per container. It ends when the container will not be started again:
//! because its restart policy says so, or because its pod asked it to end.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Container, jiff::Timestamp};
use tokio::{sync::watch, time::Instant};

use super::{
    facts::{Ended, State, update},
    launch::{Launch, PodContext, Refusal, termination_message},
    probe::{self, Prober},
    process::{Exit, Process},
    volume::Volumes,
};

/// How long a refused start waits before it is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// What a container has at least between SIGTERM and SIGKILL after its preStop
/// used up the grace period, as in the kubelet.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// When a container is started again after it ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restart {
    /// Whatever its exit code.
    Always,
    /// Unless it succeeded.
    OnFailure,
    /// Never.
    Never,
}

impl Restart {
    fn applies(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// A container and what its task needs.
pub(super) struct Life {
    pub(super) context: Arc<PodContext>,
    pub(super) volumes: Arc<Volumes>,
    pub(super) container: Container,
    pub(super) restart: Restart,
    /// By when it must have ended, once its pod is asked to go.
    pub(super) stop: watch::Receiver<Option<Instant>>,
}

impl Life {
    /// Runs the container until it will not be started again.
    pub(super) async fn live(mut self) {
        let mut exits = 0;
        let mut restarts = 0;
        while let Some(launch) = self.launchable(restarts).await {
            let begun = Instant::now();
            let ended = self.run(&launch, restarts).await;
            exits = if self.context.node.options.backoff.forgives(begun.elapsed()) { 1 } else { exits + 1 };
            if self.stopping() || !self.restart.applies(ended.exit_code) {
                return self.finish(ended);
            }
            if !self.back_off(ended.clone(), exits).await {
                return self.finish(ended);
            }
            restarts += 1;
        }
        self.finish_unstarted();
    }

    fn stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    /// Waits until it can start; nothing if it is asked to end before.
    async fn launchable(&mut self, restarts: i32) -> Option<Launch> {
        let mut refused = false;
        loop {
            if self.stopping() {
                return None;
            }
            match self.context.launch(&self.container, &self.volumes, restarts).await {
                Ok(launch) => return Some(launch),
                Err(refusal) => self.show(refusal, refused),
            }
            refused = true;
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = asked_to_end(&mut self.stop) => {}
            }
        }
    }

    fn show(&self, refusal: Refusal, again: bool) {
        let Refusal { mut reason, mut message } = refusal;
        if reason == "ErrImagePull" && again {
            let image = self.container.image.as_deref().unwrap_or_default();
            reason = "ImagePullBackOff";
            message = format!("Back-off pulling image {image:?}: ErrImagePull: {message}");
        }
        self.update(|record| record.state = State::Waiting { reason, message });
    }

    fn update(&self, change: impl FnOnce(&mut super::facts::Record)) {
        update(&self.context.facts, &self.container.name, change);
    }

    /// One run of the process, from its start to its end.
    async fn run(&mut self, launch: &Launch, restarts: i32) -> Ended {
        let started_at = Timestamp::now();
        let process = match Process::spawn(&self.context.node.supervisor, &launch.invocation) {
            Ok(process) => process,
            Err(error) => return start_error(&error, started_at),
        };
        self.update(|record| {
            record.image_id.clone_from(&launch.image_id);
            record.state = State::Running(started_at);
            record.restarts = restarts;
        });
        let exit = {
            let context = Arc::clone(&self.context);
            let _listed = context.node.list(&context, &self.container.name, process.pid());
            self.until_exit(&process).await
        };
        let ended = Ended {
            exit_code: exit.code,
            signal: exit.signal,
            reason: if exit.code == 0 { "Completed" } else { "Error" },
            message: termination_message(&self.container, launch, exit),
            started_at,
            finished_at: Timestamp::now(),
        };
        self.update(|record| (record.started, record.ready) = (false, false));
        ended
    }

    async fn until_exit(&mut self, process: &Process) -> Exit {
        let context = Arc::clone(&self.context);
        let container = self.container.clone();
        let mut stop = self.stop.clone();
        let prober = Prober {
            container: &container,
            address: context.address(),
            facts: &context.facts,
            http: &context.node.http,
        };
        tokio::select! {
            exit = process.wait() => exit,
            why = prober.until_unhealthy() => {
                tracing::info!(pod = context.name(), container = container.name, why, "restarting");
                let deadline = Instant::now() + self.grace();
                self.end(process, deadline).await
            }
            () = asked_to_end(&mut stop) => {
                let mut deadline = self.deadline().unwrap_or_else(Instant::now);
                if self.pre_stop(process, deadline).await {
                    deadline = deadline.max(Instant::now() + LEAST_GRACE);
                }
                self.end(process, deadline).await
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        *self.stop.borrow()
    }

    fn grace(&self) -> Duration {
        let of_pod = self.context.pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let probes = [&self.container.startup_probe, &self.container.liveness_probe];
        let of_probe = probes.into_iter().flatten().find_map(|probe| probe.termination_grace_period_seconds);
        Duration::from_secs(of_probe.or(of_pod).and_then(|s| u64::try_from(s).ok()).unwrap_or(30))
    }

    /// SIGTERM, and SIGKILL at the deadline, which the pod's own may shorten.
    async fn end(&mut self, process: &Process, mut deadline: Instant) -> Exit {
        process.stop();
        loop {
            tokio::select! {
                exit = process.wait() => return exit,
                () = tokio::time::sleep_until(deadline) => {
                    process.kill();
                    return process.wait().await;
                }
                Ok(()) = self.stop.changed() => {
                    deadline = self.deadline().map_or(deadline, |stop| stop.min(deadline));
                }
            }
        }
    }

    /// Does what `preStop` says, no longer than the grace period; whether there
    /// was anything to do.
    async fn pre_stop(&self, process: &Process, deadline: Instant) -> bool {
        let handler = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(handler) = handler else { return false };
        let hook = async {
            if let Some(sleep) = &handler.sleep {
                tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            } else if let Some(action) = &handler.http_get {
                let address = self.context.address();
                if let Err(error) = probe::get(&self.context.node.http, action, &self.container, address).await {
                    tracing::warn!(container = self.container.name, error = format!("{error:#}"), "preStop failed");
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout_at(deadline, hook) => {}
            _ = process.wait() => {}
        }
        true
    }

    /// Waits before the next start; false if asked to end meanwhile.
    async fn back_off(&mut self, ended: Ended, exits: u32) -> bool {
        let delay = self.context.node.options.backoff.delay(exits);
        let context = &self.context;
        let message = format!(
            "back-off {delay:?} restarting failed container={} pod={}_{}({})",
            self.container.name,
            context.name(),
            context.namespace(),
            context.uid()
        );
        self.update(|record| {
            record.last = Some(ended);
            record.state = State::Waiting { reason: "CrashLoopBackOff", message };
        });
        tokio::select! {
            () = tokio::time::sleep(delay) => true,
            () = asked_to_end(&mut self.stop) => false,
        }
    }

    fn finish(&self, ended: Ended) {
        self.update(|record| {
            record.state = State::Terminated(ended);
            record.finished = true;
        });
    }

    /// Asked to end while it waited to be started (again).
    fn finish_unstarted(&self) {
        let now = Timestamp::now();
        let never = Ended {
            exit_code: 137,
            signal: None,
            reason: "ContainerStatusUnknown",
            message: Some("The container had not been started when its pod was deleted".to_owned()),
            started_at: now,
            finished_at: now,
        };
        let last = self.context.facts.borrow().get(&self.container.name).and_then(|record| record.last.clone());
        self.finish(last.unwrap_or(never));
    }
}

fn start_error(error: &anyhow::Error, now: Timestamp) -> Ended {
    Ended {
        exit_code: 128,
        signal: None,
        reason: "StartError",
        message: Some(format!("{error:#}")),
        started_at: now,
        finished_at: now,
    }
}

/// Returns once a container's pod wants it to end.
async fn asked_to_end(stop: &mut watch::Receiver<Option<Instant>>) {
    if stop.wait_for(Option::is_some).await.is_err() {
        // Nobody is left to ask: this task is about to be aborted.
        std::future::pending::<()>().await;
    }
}
