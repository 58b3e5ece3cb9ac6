//! The admission policies that the operator counts on when it counts approvals: those that the chart installs, from the same files.

use std::fmt;

use k8s_openapi::api::admissionregistration::v1::{
    ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingAdmissionPolicyBindingSpec,
    ValidatingAdmissionPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;

use crate::decide::approval::guard::Shipped;

/// A file of `charts/werkbank/files/policies/`: its name, what it says, and what it does where there is nothing to compare with.
const FILES: [(&str, &str, Option<&str>); 4] = [
    ("approvals", include_str!("../../charts/werkbank/files/policies/approvals.yaml"), None),
    (
        "approvals-of-entries",
        include_str!("../../charts/werkbank/files/policies/approvals-of-entries.yaml"),
        Some("Deny"),
    ),
    // Where there is no deployment, an Approval is of an entry.
    ("approvals-of-steps", include_str!("../../charts/werkbank/files/policies/approvals-of-steps.yaml"), Some("Allow")),
    ("submitters", include_str!("../../charts/werkbank/files/policies/submitters.yaml"), None),
];

/// A shipped policy cannot be read: a mistake in this build.
#[derive(Debug)]
pub struct Unreadable {
    name: &'static str,
    error: serde_yaml::Error,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "the policy {} that comes with this operator cannot be read: {}", self.name, self.error)
    }
}

impl std::error::Error for Unreadable {}

/// The policies and bindings of a release of this full name, with its delivery accounts.
///
/// # Errors
/// When a shipped file is no policy.
pub fn shipped(full_name: &str, delivery_accounts: &[String]) -> Result<Vec<Shipped>, Unreadable> {
    let accounts = serde_json::json!(delivery_accounts).to_string();
    let all = FILES.into_iter().map(|(name, text, not_found)| {
        let mut spec: ValidatingAdmissionPolicySpec =
            serde_yaml::from_str(text).map_err(|error| Unreadable { name, error })?;
        // Into what was read, so that no name can be more than a name.
        for it in spec.variables.iter_mut().flatten().filter(|it| it.expression == "DELIVERY_ACCOUNTS") {
            it.expression.clone_from(&accounts);
        }
        let name = format!("{full_name}-{name}");
        let metadata = || ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
        let binding = ValidatingAdmissionPolicyBindingSpec {
            policy_name: Some(name.clone()),
            validation_actions: Some(vec!["Deny".into()]),
            param_ref: not_found.map(|action| ParamRef {
                selector: Some(LabelSelector::default()),
                parameter_not_found_action: Some(action.into()),
                ..ParamRef::default()
            }),
            ..ValidatingAdmissionPolicyBindingSpec::default()
        };
        Ok(Shipped {
            policy: ValidatingAdmissionPolicy { metadata: metadata(), spec: Some(spec), status: None },
            binding: ValidatingAdmissionPolicyBinding { metadata: metadata(), spec: Some(binding) },
        })
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::approval::guard::{Installed, differs};

    fn installed(it: &Shipped) -> Installed {
        Installed { policy: Some(it.policy.clone()), binding: Some(it.binding.clone()) }
    }

    #[test]
    fn what_is_installed_as_shipped_is_in_force_and_every_change_of_it_is_seen() {
        for it in shipped("werkbank", &[]).unwrap() {
            let whole = installed(&it);
            assert_eq!(differs(&it, &whole), None);
            let name = it.policy.metadata.name.as_deref().unwrap();
            let without = Installed { policy: None, ..whole.clone() };
            assert!(
                differs(&it, &without)
                    .unwrap()
                    .starts_with(&format!("the ValidatingAdmissionPolicy {name} is not there; "))
            );
            let unbound = Installed { binding: None, ..whole.clone() };
            assert!(differs(&it, &unbound).unwrap().contains("Binding"));
            let mut audits = whole.clone();
            audits.binding.as_mut().unwrap().spec.as_mut().unwrap().validation_actions = Some(vec!["Audit".into()]);
            assert!(differs(&it, &audits).unwrap().contains("is not the shipped one"));
            let mut ignored = whole.clone();
            ignored.policy.as_mut().unwrap().spec.as_mut().unwrap().failure_policy = Some("Ignore".into());
            assert!(differs(&it, &ignored).unwrap().contains("is not the shipped one"));
            let mut shorter = whole;
            shorter.policy.as_mut().unwrap().spec.as_mut().unwrap().validations.as_mut().unwrap().pop();
            assert!(differs(&it, &shorter).is_some());
        }
    }

    #[test]
    fn a_delivery_account_is_a_name_in_a_list_whatever_it_is_called() {
        let strange = r#"a" , 'b'] || true || [""#.to_owned();
        let all = shipped("werkbank", &[strange.clone(), "argocd".into()]).unwrap();
        let of_submitters = all.last().unwrap().policy.spec.as_ref().unwrap();
        let expression = &of_submitters.variables.as_ref().unwrap()[0].expression;
        assert_eq!(serde_json::from_str::<Vec<String>>(expression).unwrap(), [strange, "argocd".into()]);
    }
}
