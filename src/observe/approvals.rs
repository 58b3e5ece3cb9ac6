//! What people have approved, and whether the API server held them to anything when they did.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;

use crate::api::approval::{Approval, SubjectKind};
use crate::decide::approval::guard::{Guard, Installed, Shipped, differs};
use crate::runtime::{Cache, Clock, Watch};

/// How long the policies are taken to be as they were found.
const FRESH: Duration = Duration::from_secs(10);

/// What the operator is told of approvals.
#[derive(Debug, Clone, Default)]
pub struct ApprovalSettings {
    /// Roles that have to approve every entry.
    pub roles: Vec<String>,
    /// The admission policies that are to be in force; none: the operator was not told.
    pub policies: Vec<Shipped>,
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
        if let Some((at, guard)) = found.as_ref()
            && (now - at).to_std().is_ok_and(|age| age < FRESH)
        {
            return guard.clone();
        }
        let guard = policies.look().await;
        *found = Some((now, guard.clone()));
        guard
    }
}

impl Policies {
    async fn look(&self) -> Guard {
        if self.shipped.is_empty() {
            let why = "the operator was not told which admission policies guard them; install the chart with approvals.policies: true";
            return Guard::NotReady(why.into());
        }
        for shipped in &self.shipped {
            match self.installed(shipped).await {
                Ok(installed) => {
                    if let Some(difference) = differs(shipped, &installed) {
                        return Guard::NotReady(difference);
                    }
                }
                Err(error) => {
                    let why = match error {
                        kube::Error::Api(status) => format!("the API server says: {}", status.message),
                        _ => "the API server does not answer".into(),
                    };
                    return Guard::NotReady(format!("the admission policies cannot be read: {why}"));
                }
            }
        }
        Guard::Ready
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
