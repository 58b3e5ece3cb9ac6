//! Rights that are used = rights that are shipped.
//!
//! A right that is missing shows by itself: something is refused. A right that is too much shows
//! nowhere, until somebody misuses it. So the API server records what a ServiceAccount asks for
//! ([`Request`]), the bindings in the cluster say what it may ask for ([`shipped`]), and [`compare`] names
//! every difference in either direction: what was forbidden, what nobody asked for, what is granted in
//! every namespace and used in one, and what was only allowed by a binding of somebody else.
//!
//! Whoever compares has to make the account do everything it ever does first.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::controlplane::Request;

/// A ServiceAccount.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Where it is; for an operator, its home.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl Account<'_> {
    fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.name)
    }

    fn is(&self, subject: &Subject, home: Option<&str>) -> bool {
        let namespace = subject.namespace.as_deref().or(home);
        subject.kind == "ServiceAccount" && subject.name == self.name && namespace == Some(self.namespace)
    }
}

/// Where a right holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// In every namespace, and for all at once.
    Everywhere,
    /// In this namespace only.
    Namespace(String),
}

/// One verb on one resource, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// As RBAC spells it.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, with `/subresource` where one is meant.
    pub resource: String,
    /// Where.
    pub scope: Scope,
}

impl Right {
    /// Whether it is what allows the request.
    fn allows(&self, request: &Request) -> bool {
        let here = match &self.scope {
            Scope::Everywhere => true,
            Scope::Namespace(namespace) => request.namespace.as_ref() == Some(namespace),
        };
        let what = (&self.verb, &self.group, &self.resource);
        here && what == (&request.verb, &request.group, &request.resource)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = match &self.scope {
            Scope::Everywhere => None,
            Scope::Namespace(namespace) => Some(namespace.as_str()),
        };
        tell(f, &self.verb, &self.resource, &self.group, namespace)
    }
}

fn tell(f: &mut impl fmt::Write, verb: &str, resource: &str, group: &str, namespace: Option<&str>) -> fmt::Result {
    let group = if group.is_empty() { "core" } else { group };
    match namespace {
        Some(namespace) => write!(f, "`{verb} {resource}` ({group}) in namespace {namespace}"),
        None => write!(f, "`{verb} {resource}` ({group}) in all namespaces"),
    }
}

fn told(request: &Request) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = tell(&mut text, &request.verb, &request.resource, &request.group, request.namespace.as_deref());
    text
}

/// Everything that the bindings in the cluster grant an account by its name.
///
/// # Errors
///
/// When they cannot be read, or a rule is one that this comparison does not understand.
pub async fn shipped(client: &Client, account: Account<'_>) -> Result<BTreeSet<Right>> {
    let everything = ListParams::default();
    let mut rights = BTreeSet::new();
    for binding in Api::<ClusterRoleBinding>::all(client.clone()).list(&everything).await? {
        if binding.subjects.iter().flatten().any(|it| account.is(it, None)) {
            expand(&rules(client, &binding.role_ref, None).await?, &Scope::Everywhere, &mut rights)?;
        }
    }
    for binding in Api::<RoleBinding>::all(client.clone()).list(&everything).await? {
        let Some(home) = binding.namespace() else { continue };
        if binding.subjects.iter().flatten().any(|it| account.is(it, Some(&home))) {
            let rules = rules(client, &binding.role_ref, Some(&home)).await?;
            expand(&rules, &Scope::Namespace(home), &mut rights)?;
        }
    }
    Ok(rights)
}

async fn rules(client: &Client, role: &RoleRef, home: Option<&str>) -> Result<Vec<PolicyRule>> {
    let rules = match (role.kind.as_str(), home) {
        ("Role", Some(home)) => Api::<Role>::namespaced(client.clone(), home).get(&role.name).await?.rules,
        _ => Api::<ClusterRole>::all(client.clone()).get(&role.name).await?.rules,
    };
    Ok(rules.unwrap_or_default())
}

fn expand(rules: &[PolicyRule], scope: &Scope, rights: &mut BTreeSet<Right>) -> Result<()> {
    for rule in rules {
        let parts = [&rule.api_groups, &rule.resources, &Some(rule.verbs.clone())];
        let wild = parts.iter().filter_map(|it| it.as_ref()).flatten().any(|it| it.contains('*'));
        if let Some(names) = named_namespaces(rule).filter(|_| !wild && *scope == Scope::Everywhere) {
            for name in names {
                expand(
                    &[PolicyRule { resource_names: None, ..rule.clone() }],
                    &Scope::Namespace(name.clone()),
                    rights,
                )?;
            }
            continue;
        }
        if wild || rule.resource_names.is_some() || rule.non_resource_urls.is_some() {
            bail!("a rule with wildcards, resourceNames or nonResourceURLs cannot be compared with its use: {rule:?}");
        }
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| Right {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    scope: scope.clone(),
                }));
            }
        }
    }
    Ok(())
}

/// The namespaces that a rule names, if it is about Namespaces themselves: each is in itself.
fn named_namespaces(rule: &PolicyRule) -> Option<&Vec<String>> {
    let namespaces = rule.resources.iter().flatten().all(|it| it == "namespaces");
    rule.resource_names.as_ref().filter(|_| namespaces)
}

/// What an account was refused, each once.
pub fn forbidden(account: Account<'_>, requests: &[Request]) -> Vec<String> {
    let user = account.user();
    let refused = requests.iter().filter(|it| it.user == user && !it.allowed);
    let refused: BTreeSet<String> = refused.map(told).collect();
    let remedy = "grant it in src/runtime/rbac.rs, or do not ask for it";
    refused.into_iter().map(|what| format!("{what} was forbidden: {remedy}")).collect()
}

/// Every difference between what an account used and what it was shipped, as a sentence; none is as it should be.
pub fn compare(account: Account<'_>, shipped: &BTreeSet<Right>, requests: &[Request]) -> Vec<String> {
    let user = account.user();
    let asked: BTreeSet<&Request> = requests.iter().filter(|it| it.user == user && it.allowed).collect();
    let mut findings = forbidden(account, requests);
    findings.extend(shipped.iter().filter_map(|right| superfluous(account, right, shipped, &asked)));
    let others: BTreeSet<String> = asked
        .iter()
        .filter(|request| !shipped.iter().any(|it| it.allows(request)))
        .map(|it| format!("{} is not granted by the chart, only by another binding ({})", told(it), it.reason))
        .collect();
    findings.extend(others);
    findings
}

/// Why a right should not be there as it is.
fn superfluous(
    account: Account<'_>,
    right: &Right,
    shipped: &BTreeSet<Right>,
    asked: &BTreeSet<&Request>,
) -> Option<String> {
    let everywhere = Right { scope: Scope::Everywhere, ..right.clone() };
    if right.scope != Scope::Everywhere && shipped.contains(&everywhere) {
        return Some(format!("{right} is granted twice: it is granted in all namespaces, too"));
    }
    let mut uses = asked.iter().filter(|it| right.allows(it)).peekable();
    if uses.peek().is_none() {
        return Some(format!(
            "{right} is granted and never used: take it from src/runtime/rbac.rs, or let this test do what needs it"
        ));
    }
    let at_home = |it: &&&Request| it.namespace.as_deref() == Some(account.namespace);
    (right.scope == Scope::Everywhere && uses.all(|it| at_home(&it))).then(|| {
        format!("{right} is granted, and used in {} only: move it to the role `operator-namespace`", account.namespace)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATOR: Account<'_> = Account { namespace: "home", name: "operator" };

    fn right(verb: &str, resource: &str, scope: Scope) -> Right {
        Right { verb: verb.into(), group: "apps".into(), resource: resource.into(), scope }
    }

    fn request(verb: &str, resource: &str, namespace: Option<&str>) -> Request {
        Request {
            user: "system:serviceaccount:home:operator".into(),
            verb: verb.into(),
            group: "apps".into(),
            resource: resource.into(),
            namespace: namespace.map(str::to_owned),
            name: String::new(),
            pod: None,
            code: 200,
            allowed: true,
            reason: "because".into(),
        }
    }

    /// The one finding there should be.
    fn finding(shipped: &[Right], requests: &[Request]) -> String {
        let findings = compare(OPERATOR, &shipped.iter().cloned().collect(), requests);
        assert_eq!(findings.len(), 1, "{findings:?}");
        findings.into_iter().next().unwrap()
    }

    #[test]
    fn what_is_used_and_granted_gives_no_finding() {
        let shipped = [
            right("list", "deployments", Scope::Everywhere),
            right("patch", "deployments", Scope::Everywhere),
            right("get", "leases", Scope::Namespace("home".into())),
        ];
        let requests = [
            request("list", "deployments", None),
            request("patch", "deployments", Some("crm")),
            request("get", "leases", Some("home")),
        ];
        assert_eq!(compare(OPERATOR, &shipped.into(), &requests), [""; 0]);
    }

    #[test]
    fn a_planted_right_is_named_as_unused() {
        let shipped =
            [right("list", "deployments", Scope::Everywhere), right("delete", "deployments", Scope::Everywhere)];
        let finding = finding(&shipped, &[request("list", "deployments", None)]);
        assert!(
            finding.starts_with("`delete deployments` (apps) in all namespaces is granted and never used"),
            "{finding}"
        );
    }

    #[test]
    fn a_right_for_the_resource_is_none_for_its_subresource_and_the_other_way_round() {
        let shipped = [right("update", "deployments", Scope::Everywhere)];
        let requests = [request("update", "deployments/status", Some("crm"))];
        let findings = compare(OPERATOR, &shipped.into(), &requests);
        assert!(
            findings
                .iter()
                .any(|it| it.contains("`update deployments` (apps) in all namespaces is granted and never used"))
        );
        assert!(
            findings.iter().any(
                |it| it.contains("`update deployments/status` (apps) in namespace crm is not granted by the chart")
            )
        );
    }

    #[test]
    fn a_request_that_was_forbidden_is_named() {
        let refused = Request { allowed: false, ..request("watch", "deployments", Some("crm")) };
        let finding = finding(&[], &[refused.clone(), refused]);
        assert!(finding.starts_with("`watch deployments` (apps) in namespace crm was forbidden"), "{finding}");
    }

    #[test]
    fn a_right_for_all_namespaces_that_is_used_at_home_only_is_too_wide() {
        let shipped = [right("update", "leases", Scope::Everywhere)];
        let finding = finding(&shipped, &[request("update", "leases", Some("home"))]);
        assert!(finding.contains("used in home only"), "{finding}");
    }

    #[test]
    fn a_right_in_another_namespace_than_it_is_used_in_is_unused() {
        let shipped = [
            right("get", "leases", Scope::Namespace("crm".into())),
            right("get", "leases", Scope::Namespace("home".into())),
        ];
        let finding = finding(&shipped, &[request("get", "leases", Some("home"))]);
        assert!(finding.starts_with("`get leases` (apps) in namespace crm is granted and never used"), "{finding}");
    }

    #[test]
    fn a_right_that_is_granted_wide_and_narrow_is_granted_twice() {
        let shipped =
            [right("get", "leases", Scope::Everywhere), right("get", "leases", Scope::Namespace("crm".into()))];
        let finding = finding(&shipped, &[request("get", "leases", Some("crm"))]);
        assert!(finding.contains("granted twice"), "{finding}");
    }

    #[test]
    fn what_others_ask_for_does_not_count() {
        let other =
            Request { user: "system:serviceaccount:crm:default".into(), ..request("list", "deployments", None) };
        let finding = finding(&[right("list", "deployments", Scope::Everywhere)], &[other]);
        assert!(finding.contains("never used"), "{finding}");
    }

    #[test]
    fn a_rule_that_cannot_be_counted_is_refused_instead_of_passed_over() {
        let rule = |verbs: &[&str], names: Option<Vec<String>>| PolicyRule {
            api_groups: Some(vec!["apps".into()]),
            resources: Some(vec!["deployments".into()]),
            resource_names: names,
            verbs: verbs.iter().map(|it| (*it).to_owned()).collect(),
            ..PolicyRule::default()
        };
        let mut rights = BTreeSet::new();
        assert!(expand(&[rule(&["*"], None)], &Scope::Everywhere, &mut rights).is_err());
        assert!(expand(&[rule(&["get"], Some(vec!["a".into()]))], &Scope::Everywhere, &mut rights).is_err());
        expand(&[rule(&["get", "list"], None)], &Scope::Everywhere, &mut rights).unwrap();
        assert_eq!(rights.len(), 2);
    }

    #[test]
    fn a_rule_that_names_namespaces_holds_in_these() {
        let rule = PolicyRule {
            api_groups: Some(vec![String::new()]),
            resources: Some(vec!["namespaces".into()]),
            resource_names: Some(vec!["crm".into()]),
            verbs: vec!["list".into()],
            ..PolicyRule::default()
        };
        let mut rights = BTreeSet::new();
        expand(&[rule], &Scope::Everywhere, &mut rights).unwrap();
        let right = rights.pop_first().unwrap();
        assert_eq!((right.scope, rights.len()), (Scope::Namespace("crm".into()), 0));
    }
}
