//! What a decision consists of.
//!
//! The loop carries a plan out in this order, and stops at the first refusal:
//! trail entries (intents) → status by compare-and-swap → events → ops. A plan
//! therefore leaves no choice to whoever carries it out, and a crash between
//! any two of its writes is repaired by deciding again: ops are derived from
//! the status that was written before them, never from the live children.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service};

use super::resets::Contended;
use crate::api::gateway::HttpRoute;
use crate::audit::Entry;

/// Everything one pass wants done for one resource. The default plan does
/// nothing: that is what a converged resource gets.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan<Status> {
    /// For the trail, before anything else. An advancing decision waits until
    /// its intent is stored.
    pub entries: Vec<Entry>,
    /// The new status, whole; `None` when it would equal the present one, and nothing has to be confirmed ([`confirms_first`]).
    pub status: Option<Status>,
    /// Writes to children, in order.
    pub ops: Vec<Op>,
    /// Which of those put back what somebody else has edited.
    pub resets: Vec<Contended>,
    /// The kind's finalizer: held before anything else is written, released
    /// after everything else was.
    pub finalizer: Option<Finalizer>,
    /// Kubernetes Events, told once the status write they speak of has won.
    pub events: Vec<Event>,
    /// When to look again if nothing changes before; `None`: when something changes.
    pub requeue: Option<Duration>,
    /// Its writes take weight away: one that does not get through is tried again soon, however
    /// often it failed.
    pub urgent: bool,
}

impl<Status> Default for Plan<Status> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            status: None,
            ops: Vec::new(),
            resets: Vec::new(),
            finalizer: None,
            events: Vec::new(),
            requeue: None,
            urgent: false,
        }
    }
}

/// Whether the status is written before these ops although it says nothing new. The list that a process starts from can be older than what
/// the process before it has decided, and ops that follow from it would undo that. The status write is refused in that case, and the ops with
/// it; `unconfirmed` until one was accepted.
#[must_use]
pub fn confirms_first(unconfirmed: bool, ops: &[Op]) -> bool {
    unconfirmed && !ops.is_empty()
}

/// What to do with the kind's finalizer on the resource itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finalizer {
    /// Deletion has to wait: something still uses the resource.
    Hold,
    /// Nothing uses it any more.
    Release,
}

/// A write to a child. Closed, idempotent, self-contained, named deterministically.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Create it; refused by the API server if the name is taken, so a foreign
    /// object is never adopted.
    Create(Child),
    /// Write over the very object that was observed: what the operator sets is as given here, the rest stays.
    Apply(Child, Precondition),
    /// Delete the very object that was observed; its dependents go by ownerReference.
    Delete(ChildKind, String, Precondition),
}

/// Which incarnation and version of an object a write is meant for. A leader
/// that was paused and wakes carries old ones and is refused with 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// `metadata.uid` of the observed object.
    pub uid: String,
    /// `metadata.resourceVersion` of the observed object.
    pub resource_version: String,
}

/// A child the operator owns.
#[derive(Debug, Clone, PartialEq)]
pub enum Child {
    /// The record of a revision; owner of everything that belongs to the revision.
    Revision(Box<ControllerRevision>),
    /// An immutable copy of a ConfigMap the template refers to.
    ConfigMap(Box<ConfigMap>),
    /// The pods of one revision.
    Deployment(Box<Deployment>),
    /// How many pods one revision has.
    Autoscaler(Box<HorizontalPodAutoscaler>),
    /// The address of one revision, or of the stable one (blue-green).
    Service(Box<Service>),
    /// The weights.
    HttpRoute(Box<HttpRoute>),
    /// What computes the number of a metric.
    Job(Box<Job>),
}

/// The kinds of [`Child`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// `apps/v1` ControllerRevision.
    Revision,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `apps/v1` Deployment.
    Deployment,
    /// `autoscaling/v2` HorizontalPodAutoscaler.
    Autoscaler,
    /// `v1` Service.
    Service,
    /// `gateway.networking.k8s.io/v1` HTTPRoute.
    HttpRoute,
    /// `batch/v1` Job.
    Job,
}

impl ChildKind {
    /// The kind as Kubernetes spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revision => "ControllerRevision",
            Self::ConfigMap => "ConfigMap",
            Self::Deployment => "Deployment",
            Self::Autoscaler => "HorizontalPodAutoscaler",
            Self::Service => "Service",
            Self::HttpRoute => "HTTPRoute",
            Self::Job => "Job",
        }
    }
}

/// A write the API server will not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Kind of the object, as Kubernetes spells it.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The API server's message.
    pub message: String,
}

impl Refusal {
    /// Whether it is about this child.
    #[must_use]
    pub fn is_of(&self, kind: ChildKind, name: &str) -> bool {
        self.kind == kind.name() && self.name == name
    }
}

/// As people read it.
impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}: {}", self.kind, self.name, self.message)
    }
}

impl Child {
    /// Which kind it is.
    #[must_use]
    pub fn kind(&self) -> ChildKind {
        match self {
            Self::Revision(_) => ChildKind::Revision,
            Self::ConfigMap(_) => ChildKind::ConfigMap,
            Self::Deployment(_) => ChildKind::Deployment,
            Self::Autoscaler(_) => ChildKind::Autoscaler,
            Self::Service(_) => ChildKind::Service,
            Self::HttpRoute(_) => ChildKind::HttpRoute,
            Self::Job(_) => ChildKind::Job,
        }
    }

    /// Its `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        let metadata = match self {
            Self::Revision(child) => &child.metadata,
            Self::ConfigMap(child) => &child.metadata,
            Self::Deployment(child) => &child.metadata,
            Self::Autoscaler(child) => &child.metadata,
            Self::Service(child) => &child.metadata,
            Self::HttpRoute(child) => &child.metadata,
            Self::Job(child) => &child.metadata,
        };
        metadata.name.as_deref().unwrap_or_default()
    }
}

/// A Kubernetes Event (`events.k8s.io/v1`) about the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub type_: EventType,
    /// CamelCase, from the documented list.
    pub reason: String,
    /// What was done, CamelCase (`Promote`, `RollBack`).
    pub action: String,
    /// One sentence; no personal data.
    pub note: String,
    /// Id of the entry on the audit log that has the decision it tells of, if it tells of one.
    pub entry: Option<String>,
}

/// How loud an [`Event`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// As planned.
    Normal,
    /// A person should look.
    Warning,
}
