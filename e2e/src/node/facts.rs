//! What the node knows of one pod: the only state its tasks share.
//!
//! Container and probe tasks write here, `status` turns it into a PodStatus,
//! `report` watches for changes. Keeping it plain data keeps the status a pure
//! function and lets every wait be "until the facts say so".

use std::net::Ipv4Addr;

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    jiff::Timestamp,
};
use tokio::sync::watch;

/// One run of a container that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// 128 + the signal's number if a signal ended it.
    pub(super) exit_code: i32,
    pub(super) signal: Option<i32>,
    pub(super) reason: &'static str,
    /// The termination message.
    pub(super) message: Option<String>,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
}

/// What a container is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not running, and why.
    Waiting {
        /// In CamelCase, as the kubelet would say it.
        reason: &'static str,
        /// A sentence, or nothing if the reason says all.
        message: String,
    },
    /// Running since.
    Running(Timestamp),
    /// Ended, and not (or not yet) waiting to be started again.
    Terminated(Ended),
}

/// What is known of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    /// An init container that runs beside the others (`restartPolicy: Always`).
    pub(super) sidecar: bool,
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    pub(super) restarts: i32,
    /// The startup probe passed, or there is none and it runs.
    pub(super) started: bool,
    /// The readiness probe passes, or there is none and it started.
    pub(super) ready: bool,
    /// It will not be started again.
    pub(super) finished: bool,
}

impl Record {
    fn new(container: &Container, init: bool) -> Self {
        Self {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            image_id: String::new(),
            sidecar: init && container.restart_policy.as_deref() == Some("Always"),
            state: State::Waiting { reason: "PodInitializing", message: String::new() },
            last: None,
            restarts: 0,
            started: false,
            ready: false,
            finished: false,
        }
    }

    /// Whether it ended with success and for good.
    pub(super) fn succeeded(&self) -> bool {
        self.finished && matches!(&self.state, State::Terminated(ended) if ended.exit_code == 0)
    }

    /// Whether it ended without success and for good.
    pub(super) fn failed(&self) -> bool {
        self.finished && !self.succeeded()
    }

    /// Whether, as an init container, it lets the next one start.
    pub(super) fn initialized(&self) -> bool {
        if self.sidecar { self.started } else { self.succeeded() }
    }
}

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) address: Ipv4Addr,
    pub(super) node_address: Ipv4Addr,
    pub(super) since: Timestamp,
    /// It has been asked to go.
    pub(super) deleting: bool,
    pub(super) init: Vec<Record>,
    pub(super) main: Vec<Record>,
}

impl Facts {
    /// A pod of which nothing has been started.
    pub(super) fn new(pod: &Pod, address: Ipv4Addr, node_address: Ipv4Addr, since: Timestamp) -> Self {
        let records = |containers: &[Container], init| containers.iter().map(|c| Record::new(c, init)).collect();
        let spec = pod.spec.as_ref();
        let init = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
        let main = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
        let mut facts = Self {
            address,
            node_address,
            since,
            deleting: false,
            init: records(init, true),
            main: records(main, false),
        };
        if facts.init.is_empty() {
            facts.all_waiting("ContainerCreating", "");
        }
        facts
    }

    /// The record of a container by name (names are unique within a pod).
    pub(super) fn record(&mut self, name: &str) -> Option<&mut Record> {
        self.init.iter_mut().chain(&mut self.main).find(|record| record.name == name)
    }

    /// The record of a container by name.
    pub(super) fn get(&self, name: &str) -> Option<&Record> {
        self.init.iter().chain(&self.main).find(|record| record.name == name)
    }

    /// Every container that never ran waits for this.
    pub(super) fn all_waiting(&mut self, reason: &'static str, message: &str) {
        for record in self.init.iter_mut().chain(&mut self.main) {
            if matches!(record.state, State::Waiting { .. }) && record.last.is_none() {
                record.state = State::Waiting { reason, message: message.to_owned() };
            }
        }
    }
}

/// The facts of one pod, shared and watched.
pub(super) type SharedFacts = watch::Sender<Facts>;

/// Changes one container's record; watchers wake only if something changed.
pub(super) fn update(facts: &SharedFacts, name: &str, change: impl FnOnce(&mut Record)) {
    facts.send_if_modified(|facts| match facts.record(name) {
        None => false,
        Some(record) => {
            let before = record.clone();
            change(record);
            *record != before
        }
    });
}
