//! Whether the API server holds Approvals to what the operator counts on: the admission policies are there, as they were shipped.
//!
//! An administrator can delete or change a policy, and an Approval that was written meanwhile would be anybody's word. So
//! the installed policies and their bindings are compared with the shipped ones, field by field, whenever something is to
//! be approved; and no word counts that is older than the youngest of them. One that was changed and changed back has no age
//! to tell that by.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::ResourceExt;
use kube::core::ObjectMeta;

/// How soon policies are looked at again that were not as they should be: nobody tells when they are.
pub const RETRY: Duration = Duration::from_secs(30);

/// Whether approvals count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Guard {
    /// The policies are in force, the youngest of them since then: what was written before it was is anybody's word.
    Ready(DateTime<Utc>),
    /// They are not, or that is not known: why, and what to do.
    NotReady(String),
    /// Nothing is to be approved.
    #[default]
    NotAsked,
}

/// A policy with its binding, as shipped.
#[derive(Debug, Clone, PartialEq)]
pub struct Shipped {
    /// The policy.
    pub policy: ValidatingAdmissionPolicy,
    /// What puts it in force.
    pub binding: ValidatingAdmissionPolicyBinding,
}

/// A policy with its binding, as installed; `None` where it is not there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Installed {
    /// The policy.
    pub policy: Option<ValidatingAdmissionPolicy>,
    /// What puts it in force.
    pub binding: Option<ValidatingAdmissionPolicyBinding>,
}

/// When the younger of a policy and its binding was created.
#[must_use]
pub fn created(installed: &Installed) -> Option<DateTime<Utc>> {
    let policy = installed.policy.as_ref().and_then(|it| time_of(&it.metadata));
    let binding = installed.binding.as_ref().and_then(|it| time_of(&it.metadata));
    policy.max(binding)
}

/// `metadata.creationTimestamp`.
#[must_use]
pub fn time_of(metadata: &ObjectMeta) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(metadata.creation_timestamp.as_ref()?.0.as_second(), 0)
}

/// What of a policy is not as shipped, if something is not.
#[must_use]
pub fn differs(shipped: &Shipped, installed: &Installed) -> Option<String> {
    let name = shipped.policy.name_any();
    let of = |kind: &str, how: &str| {
        Some(format!("the {kind} {name} {how}; upgrade the chart's release, which restores it"))
    };
    let (policy, binding) = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding");
    let another = "is not the shipped one";
    match &installed.policy {
        None => return of(policy, "is not there"),
        Some(it) if it.spec != shipped.policy.spec || it.metadata.deletion_timestamp.is_some() => {
            return of(policy, another);
        }
        Some(_) => {}
    }
    match &installed.binding {
        None => of(binding, "is not there"),
        Some(it) if it.spec != shipped.binding.spec || it.metadata.deletion_timestamp.is_some() => of(binding, another),
        Some(_) => None,
    }
}
