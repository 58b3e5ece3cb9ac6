//! What a decision about a ModelDeployment rests on, besides the resource itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};

use super::inquiry::{Answered, Asked};
use super::policy::Policy;
use super::restored::History;
use crate::api::gateway::HttpRoute;
use crate::api::revision::ConfigMapContent;
use crate::api::{Approval, ModelRegistryEntry};
use crate::audit::Entry;
use crate::audit::Said;
use crate::build::record::Recorded;
use crate::decide::Refusal;
use crate::decide::approval::guard::Guard;
use crate::decide::live_job::LiveJob;
use crate::decide::resets::Reset;

/// Everything read from the cluster and the metric source for one pass.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The entry that `modelRef` names, if it exists.
    pub entry: Option<Arc<ModelRegistryEntry>>,
    /// Names of the entries that status names (see [`super::revocation::entries_of`]) and that are revoked. Not their uids:
    /// an entry that is replaced by force has another one, and is the same to whoever revokes it.
    pub revoked: BTreeSet<String>,
    /// Approvals that are about an entry of that name, or about this deployment.
    pub approvals: Vec<Arc<Approval>>,
    /// Whether they count.
    pub guard: Guard,
    /// Who gave them, and what stands for their words, as the record has it: by the Approval's uid.
    pub said: BTreeMap<String, Said>,
    /// Since when the record does not say who has given those that count; nothing that rests on them can be recorded.
    pub people_unknown_since: Option<DateTime<Utc>>,
    /// Which actor of the record the request on the resource is by.
    pub asked_by: Option<String>,
    /// Since when the record takes entries, as far as is known, and does not say that.
    pub asker_unknown_since: Option<DateTime<Utc>>,
    /// Contents of the ConfigMaps that the template refers to; `None` where there is none.
    pub config_maps: BTreeMap<String, Option<ConfigMapContent>>,
    /// ConfigMaps that the spec refers to and the API server does not hand out, with what it says: whether they
    /// have changed is unknown.
    pub unread_config_maps: BTreeMap<String, String>,
    /// What the annotation `werkbank.dev/suspend` of the namespace says, if it has one.
    pub namespace_suspend: Option<String>,
    /// The rules, as read from the spec and the shared metrics.
    pub policy: Policy,
    /// The operator's children.
    pub children: Children,
    /// The candidate's pods, while some are awaited or missing.
    pub pods: Vec<Arc<Pod>>,
    /// All pods of the candidate, of the stable revision, and of what is kept to go back to.
    pub running: Vec<Arc<Pod>>,
    /// What metric sources have answered since the last pass.
    pub answered: Vec<Answered>,
    /// What they have been asked, and what is under way.
    pub asked: Asked,
    /// What the loop remembers of earlier passes.
    pub memory: Memory,
    /// What the record knows of this namespace and name.
    pub history: History,
    /// The operator's configuration.
    pub settings: Settings,
}

/// Live children, by name.
#[derive(Debug, Clone, Default)]
pub struct Children {
    /// Records of revisions.
    pub records: BTreeMap<String, Arc<Recorded>>,
    /// Immutable copies of ConfigMaps.
    pub copies: BTreeMap<String, Arc<ConfigMap>>,
    /// One per revision.
    pub deployments: BTreeMap<String, Arc<Deployment>>,
    /// One per revision, where one decides how many pods there are.
    pub autoscalers: BTreeMap<String, Arc<HorizontalPodAutoscaler>>,
    /// One per revision; without a gateway also the deployment's own.
    pub services: BTreeMap<String, Arc<Service>>,
    /// The weights.
    pub route: Option<Arc<HttpRoute>>,
    /// The route that an edit of `spec.traffic.gateway` is proposed to the Gateways with.
    pub proposed: Option<Arc<HttpRoute>>,
    /// Whether the cluster has the Gateway API.
    pub gateway_api: bool,
    /// What computes metrics' numbers.
    pub jobs: BTreeMap<String, LiveJob>,
    /// Whether the operator may not see Jobs in this namespace.
    pub jobs_hidden: bool,
}

/// What the loop remembers between passes and a decision needs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// Epoch of this leader.
    pub lease_epoch: i64,
    /// No write of this leader has shown yet that the status is the newest.
    pub unconfirmed: bool,
    /// Intents that are on the trail although no status showed them when they were last looked for.
    pub lost: Vec<Entry>,
    /// Since when the trail has not answered.
    pub trail_unavailable_since: Option<DateTime<Utc>>,
    /// Names of our children that belong to somebody else, as `Kind/name`.
    pub foreign_children: Vec<String>,
    /// The last write that the API server refused.
    pub refused: Option<Refusal>,
    /// Children that somebody else edits, and that were put back.
    pub resets: Vec<Reset>,
}

/// The operator's own configuration, as far as decisions depend on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    /// Region → node labels (key → allowed values).
    pub regions: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// Whether artifacts are verified before anything begins to roll out.
    pub verify_artifacts: bool,
    /// Image of the fetching init container.
    pub fetch_image: String,
    /// Roles that have to approve every entry.
    pub approval_roles: crate::decide::approval::Roles,
    /// Whether every entry has to say what it is for, how risky it is, and who answers for it.
    pub require_governance: bool,
}
