//! What people have approved, and whether the API server held them to anything when they did.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;

use crate::api::approval::{Approval, SubjectKind};
use crate::connect::progress::ProgressSource;
use crate::decide::approval::Roles;
use crate::decide::approval::guard::{Guard, Installed, Shipped, created, differs};
use crate::decide::model_registry_entry::verification;
use crate::runtime::{Cache, Clock, Watch};

/// How long the policies are taken to be as they were found.
const FRESH: Duration = Duration::from_secs(10);
/// And for how long while they cannot be read.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the API server has to hand them out: a pass waits for it.
const ANSWER: Duration = Duration::from_secs(2);

/// What the operator is told of approvals, and of what entries have to say.
#[derive(Debug, Clone, Default)]
pub struct GovernanceSettings {
    /// Which roles there are.
    pub roles: Roles,
    /// The admission policies that are to be in force; none: the operator was not told.
    pub policies: Vec<Shipped>,
    /// Whether every entry has to say what it is for, how risky it is, and who answers for it.
    pub required: bool,
    /// How artifacts are verified, if they are.
    pub verification: Option<verification::Settings>,
    /// What asks how far that is; nothing, if nobody is asked.
    pub progress: Option<ProgressSource>,
}

/// Approvals, and what is known of the policies that guard them.
#[derive(Clone)]
pub struct Approvals {
    cache: Cache<Approval>,
    policies: Arc<Policies>,
}

struct Policies {
    client: Client,
    clock: Clock,
    shipped: Vec<Shipped>,
    found: Mutex<Option<(DateTime<Utc>, Guard)>>,
}

/// The watch of Approvals, which are found by what they are about.
pub fn watch() -> Watch<Approval> {
    Watch::new(kube::runtime::watcher::Config::default())
        .index(|it: &Approval| vec![key(it.spec.subject.kind, &it.spec.subject.name)])
}

fn key(kind: SubjectKind, name: &str) -> String {
    format!("{kind:?}/{name}")
}

impl Approvals {
    /// Of the objects in `cache`.
    #[must_use]
    pub fn new(cache: Cache<Approval>, client: Client, clock: Clock, shipped: Vec<Shipped>) -> Self {
        Self { cache, policies: Arc::new(Policies { client, clock, shipped, found: Mutex::default() }) }
    }

    /// Those about something of this name.
    #[must_use]
    pub fn about(&self, namespace: &str, kind: SubjectKind, name: &str) -> Vec<Arc<Approval>> {
        self.cache.find(namespace, &key(kind, name))
    }

    /// Whether they count.
    pub async fn guard(&self) -> Guard {
        let policies = &self.policies;
        let now = policies.clock.now();
        // One pass looks for all that ask at the same time.
        let mut found = policies.found.lock().await;
        let age = |at: DateTime<Utc>| (now - at).to_std().unwrap_or(Duration::MAX);
        if let Some((_, guard)) = found.as_ref().filter(|(at, _)| age(*at) < FRESH) {
            return guard.clone();
        }
        match policies.look().await {
            Ok(guard) => {
                *found = Some((now, guard.clone()));
                guard
            }
            // That they cannot be read for a moment closes no gate that was open.
            Err(why) => match found.as_ref() {
                Some((at, guard @ Guard::Ready(_))) if age(*at) < PATIENCE => guard.clone(),
                _ => Guard::NotReady(format!("the admission policies cannot be read: {why}")),
            },
        }
    }
}

impl Policies {
    async fn look(&self) -> Result<Guard, String> {
        if self.shipped.is_empty() {
            let why = "the operator was not told which admission policies guard them; install the chart with approvals.policies: true";
            return Ok(Guard::NotReady(why.into()));
        }
        let all = try_join_all(self.shipped.iter().map(|it| self.installed(it)));
        let all = match tokio::time::timeout(ANSWER, all).await {
            Ok(Ok(all)) => all,
            Ok(Err(kube::Error::Api(status))) => return Err(format!("the API server says: {}", status.message)),
            Ok(Err(_)) | Err(_) => return Err("the API server does not answer".into()),
        };
        let difference = self.shipped.iter().zip(&all).find_map(|(shipped, installed)| differs(shipped, installed));
        let since = all.iter().filter_map(created).max().unwrap_or_default();
        Ok(difference.map_or(Guard::Ready(since), Guard::NotReady))
    }

    async fn installed(&self, shipped: &Shipped) -> Result<Installed, kube::Error> {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(self.client.clone());
        let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(self.client.clone());
        Ok(Installed {
            policy: policies.get_opt(&shipped.policy.name_any()).await?,
            binding: bindings.get_opt(&shipped.binding.name_any()).await?,
        })
    }
}
