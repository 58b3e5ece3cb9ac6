//! Whether the API server holds Approvals to what the operator counts on: the admission policies are there, as they were shipped.
//!
//! An administrator can delete or change a policy, and an Approval that was written meanwhile would be anybody's word. So
//! the installed policies and their bindings are compared with the shipped ones, field by field, whenever something is to
//! be approved.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::ResourceExt;

/// How soon policies are looked at again that were not as they should be: nobody tells when they are.
pub const RETRY: Duration = Duration::from_secs(30);

/// Whether approvals count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Guard {
    /// The policies are in force.
    Ready,
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

/// What of a policy is not as shipped, if something is not.
#[must_use]
pub fn differs(shipped: &Shipped, installed: &Installed) -> Option<String> {
    let name = shipped.policy.name_any();
    let remedy = "upgrade the chart's release, which restores it";
    let of = |what: &str| format!("{what} {name} {{}}; {remedy}");
    match (&installed.policy, &installed.binding) {
        (None, _) => Some(of("the ValidatingAdmissionPolicy").replace("{}", "is not there")),
        (_, None) => Some(of("the ValidatingAdmissionPolicyBinding").replace("{}", "is not there")),
        (Some(it), _) if it.spec != shipped.policy.spec || it.metadata.deletion_timestamp.is_some() => {
            Some(of("the ValidatingAdmissionPolicy").replace("{}", "is not the shipped one"))
        }
        (_, Some(it)) if it.spec != shipped.binding.spec || it.metadata.deletion_timestamp.is_some() => {
            Some(of("the ValidatingAdmissionPolicyBinding").replace("{}", "is not the shipped one"))
        }
        _ => None,
    }
}
