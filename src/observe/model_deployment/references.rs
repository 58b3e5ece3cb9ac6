//! What the spec refers to: the entry, ConfigMaps of the template, shared metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::{join_all, join3, try_join_all};

use super::watches::suspend_of;
use super::{ModelDeployments, key};
use crate::api::approval::{ApprovalDecision, SubjectKind};
use crate::api::model_registry_entry::Lifecycle;
use crate::api::revision::ConfigMapContent;
use crate::api::{Approval, ModelDeployment, ModelRegistryEntry};
use crate::audit::people::Words;
use crate::audit::{Said, TrailError};
use crate::decide::approval;
use crate::decide::approval::guard::Guard;
use crate::decide::model_deployment::request;
use crate::decide::model_deployment::revocation::entries_of;

/// Key of shared metrics in their ConfigMap.
const METRICS_KEY: &str = "metrics.yaml";

/// What is in the ConfigMaps that a spec refers to, by name.
#[derive(Default)]
pub(super) struct ConfigMaps {
    /// Of the template; `None` where there is none.
    pub(super) of_template: BTreeMap<String, Option<ConfigMapContent>>,
    /// Shared metrics; `Err` says what is missing.
    pub(super) of_metrics: BTreeMap<String, Result<String, String>>,
    /// Those that are there and are not handed out, with what the API server says.
    pub(super) unread: BTreeMap<String, String>,
}

/// People, as the record names them.
pub(super) struct People {
    /// Who asks for something, if somebody does; for that nobody waits, it may be for a way back.
    pub(super) asks: Result<Option<String>, TrailError>,
    /// By the Approval's uid. `Err`: nothing that rests on them can be recorded.
    pub(super) said: Result<BTreeMap<String, Said>, TrailError>,
}

/// Whether it is about the entry as it is, or about a step of the attempt. The others may be many, and of long ago.
fn may_count(approval: &Approval, of_entry: Option<&str>, resource: &ModelDeployment) -> bool {
    let subject = &approval.spec.subject;
    let attempt = resource.status.as_ref().and_then(|it| it.attempt.as_ref());
    match subject.kind {
        SubjectKind::ModelRegistryEntry => of_entry == Some(subject.digest.as_str()),
        SubjectKind::ModelDeployment => {
            attempt.is_some_and(|it| it.approvals.iter().any(|step| step.digest == subject.digest))
        }
    }
}

impl ModelDeployments {
    pub(super) fn entry(&self, resource: &ModelDeployment) -> Option<Arc<ModelRegistryEntry>> {
        self.entries.get(key(resource).0, &resource.spec.model_ref.name)
    }

    /// What has been said of the entry and of this deployment, and whether it counts; nothing is looked for where nothing
    /// has to be approved.
    pub(super) async fn approvals(
        &self,
        resource: &ModelDeployment,
        entry: Option<&ModelRegistryEntry>,
    ) -> (Vec<Arc<Approval>>, Guard) {
        let of_entry = entry.is_some_and(|it| !approval::roles_of(it, &self.settings.approval_roles).is_empty());
        let of_steps = || resource.spec.rollout.iter().flat_map(|it| &it.steps).any(|it| it.approval.is_some());
        if !of_entry && !of_steps() {
            return (Vec::new(), Guard::NotAsked);
        }
        let (namespace, name) = key(resource);
        let of_entry = self.approvals.about(namespace, SubjectKind::ModelRegistryEntry, &resource.spec.model_ref.name);
        let of_steps = self.approvals.about(namespace, SubjectKind::ModelDeployment, name);
        ([of_entry, of_steps].concat(), self.approvals.guard().await)
    }

    /// Who has said what may count, and who asks for something, as the record names them; all are asked after at once, because a pass
    /// that takes weight away waits for that, too.
    pub(super) async fn people(
        &self,
        resource: &ModelDeployment,
        entry: Option<&ModelRegistryEntry>,
        approvals: &[Arc<Approval>],
    ) -> People {
        let asks = async {
            let Some(by) = request::by(resource) else { return Ok(None) };
            self.trail.said(by, None).await.map(|it| Some(it.actor))
        };
        let digest = entry.filter(|_| !approvals.is_empty()).map(|it| it.spec.digest());
        let meant = approvals.iter().filter(|it| may_count(it, digest.as_deref(), resource));
        let (yes, no): (Vec<_>, Vec<_>) = meant.partition(|it| it.spec.decision == ApprovalDecision::Approved);
        // Nothing rests on a no: for whose it is, nothing else waits, and it is asked again.
        let no = join_all(no.into_iter().filter_map(|it| self.said(it)));
        let yes = try_join_all(yes.into_iter().filter_map(|it| self.said(it)));
        let (asks, yes, no) = join3(asks, yes, no).await;
        People { asks, said: yes.map(|yes| yes.into_iter().chain(no.into_iter().flatten()).collect()) }
    }

    /// Whose an Approval is, by its uid.
    fn said<'a>(
        &'a self,
        approval: &'a Approval,
    ) -> Option<impl Future<Output = Result<(String, Said), TrailError>> + 'a> {
        let uid = approval.metadata.uid.as_ref()?;
        let words = approval.spec.comment.as_deref().map(|text| Words { uid, text });
        Some(async move { Ok((uid.clone(), self.trail.said(&approval.spec.approver, words).await?)) })
    }

    /// Names of the entries of the revisions that are alive, where they are revoked.
    pub(super) fn revoked(&self, resource: &ModelDeployment) -> BTreeSet<String> {
        let namespace = key(resource).0;
        let is_revoked =
            |name: &&str| self.entries.get(namespace, name).is_some_and(|it| it.spec.lifecycle() == Lifecycle::Revoked);
        resource.status.iter().flat_map(entries_of).filter(is_revoked).map(str::to_owned).collect()
    }

    /// What the namespace says of suspension: what was last seen, where it may not be read any more.
    pub(super) fn namespace_suspend(&self, resource: &ModelDeployment) -> Option<String> {
        let namespace = key(resource).0;
        suspend_of(self.namespaces.get(namespace, namespace)?.as_ref()).cloned()
    }

    /// The ConfigMaps that the spec refers to. One that cannot be read keeps nothing else from being decided.
    pub(super) async fn config_maps(&self, resource: &ModelDeployment) -> ConfigMaps {
        let namespace = key(resource).0;
        let mut found = ConfigMaps::default();
        // A template that is none refers to nothing; `decide` says what is wrong with it.
        for (name, _) in resource.spec.template.config_maps().into_iter().flatten() {
            match self.config_map(namespace, name).await {
                Ok(content) => {
                    found.of_template.insert(name.clone(), content.map(|it| ConfigMapContent::clone(&it)));
                }
                Err(why) => drop(found.unread.insert(name.clone(), why)),
            }
        }
        for source in &resource.spec.analysis.metrics_from {
            let name = &source.config_map_ref.name;
            let text = match self.config_map(namespace, name).await {
                Ok(content) => shared_metrics(name, content.as_deref()),
                Err(why) => {
                    found.unread.insert(name.clone(), why.clone());
                    Err(format!("spec.analysis.metricsFrom: ConfigMap {name} cannot be read: {why}"))
                }
            };
            found.of_metrics.insert(name.clone(), text);
        }
        found
    }

    async fn config_map(&self, namespace: &str, name: &str) -> Result<Option<Arc<ConfigMapContent>>, String> {
        let Some(seen) = self.config_maps.get(namespace, name) else { return Ok(None) };
        self.contents.of(&self.client, &seen).await
    }
}

fn shared_metrics(name: &str, content: Option<&ConfigMapContent>) -> Result<String, String> {
    let content = content.ok_or_else(|| {
        format!(
            "spec.analysis.metricsFrom: there is no ConfigMap {name} in this namespace; create it, or correct the name"
        )
    })?;
    content.data.get(METRICS_KEY).cloned().ok_or_else(|| {
        format!("spec.analysis.metricsFrom: ConfigMap {name} has no key {METRICS_KEY}; put the list of metrics there")
    })
}
