//! Which kinds can be read where: what may be decided, and what the operator waits for.
//!
//! A decision on half of what it rests on would be wrong: a Deployment that cannot be read looks like one
//! that is gone. So a namespace counts only once every kind was listed in it, or is not served at all. One that
//! the operator may not read is left out, and does not hold up the others.

use std::fmt::Write as _;

/// What is known of one kind in one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not listed yet.
    Filling,
    /// Listed, and watched since; or listed again after it broke off.
    Listed,
    /// The cluster does not serve this kind.
    Unserved,
    /// The operator may not list it, or not watch it.
    Forbidden,
}

/// Whether decisions rest on a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// None is made without it.
    Needed,
    /// They are made without it where it may not be read.
    Welcome(Loss),
}

/// What there is not where a kind may not be read without which decisions are made, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// What is not done.
    pub what: &'static str,
    /// The kind of role that gives the right back.
    pub role: &'static str,
}

/// All kinds in all scopes.
#[derive(Debug, Clone)]
pub(in crate::runtime) struct Standing {
    /// The watched namespaces; `None`: all.
    scopes: Vec<Option<String>>,
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone)]
struct Kind {
    /// As RBAC spells it: `deployments.apps`.
    resource: String,
    need: Need,
    /// By scope.
    phases: Vec<Phase>,
}

impl Standing {
    pub(super) fn new(scopes: Vec<Option<String>>) -> Self {
        Self { scopes, kinds: Vec::new() }
    }

    /// A further kind; returns its number.
    pub(super) fn add(&mut self, plural: &str, group: &str, need: Need) -> usize {
        let resource = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        self.kinds.push(Kind { resource, need, phases: vec![Phase::Filling; self.scopes.len()] });
        self.kinds.len() - 1
    }

    pub(super) fn scopes(&self) -> &[Option<String>] {
        &self.scopes
    }

    /// Sets a phase; whether it was another one before.
    pub(super) fn set(&mut self, kind: usize, scope: usize, phase: Phase) -> bool {
        let known = self.kinds.get_mut(kind).and_then(|it| it.phases.get_mut(scope));
        known.is_some_and(|known| std::mem::replace(known, phase) != phase)
    }

    /// Whether decisions rest on a kind.
    pub(super) fn need(&self, kind: usize) -> Need {
        self.kinds.get(kind).map_or(Need::Needed, |it| it.need)
    }

    /// In how many scopes a kind is in this phase.
    pub(super) fn count(&self, kind: usize, phase: Phase) -> usize {
        self.kinds.get(kind).map_or(0, |it| it.phases.iter().filter(|it| **it == phase).count())
    }

    /// Whether a kind may not be read in this namespace.
    pub(super) fn is_forbidden(&self, kind: usize, namespace: &str) -> bool {
        self.phase(kind, namespace) == Some(Phase::Forbidden)
    }

    /// Whether the cluster serves a kind, as far as known in this namespace.
    pub(super) fn is_served(&self, kind: usize, namespace: &str) -> bool {
        self.phase(kind, namespace) != Some(Phase::Unserved)
    }

    fn phase(&self, kind: usize, namespace: &str) -> Option<Phase> {
        self.kinds.get(kind)?.phases.get(self.scope_of(namespace)?).copied()
    }

    /// Whether the caches show all that a decision in this namespace rests on.
    pub(in crate::runtime) fn covers(&self, namespace: &str) -> bool {
        self.scope_of(namespace).is_some_and(|scope| self.is_complete(scope))
    }

    /// Whether nothing is waited for any more, and there is something to run.
    pub(in crate::runtime) fn is_ready(&self) -> bool {
        let mut phases = self.kinds.iter().flat_map(|it| &it.phases);
        phases.all(|it| *it != Phase::Filling) && (0..self.scopes.len()).any(|scope| self.is_complete(scope))
    }

    fn is_complete(&self, scope: usize) -> bool {
        let complete = |kind: &Kind| match kind.phases.get(scope) {
            Some(Phase::Listed | Phase::Unserved) => true,
            Some(Phase::Forbidden) => matches!(kind.need, Need::Welcome(_)),
            Some(Phase::Filling) | None => false,
        };
        self.kinds.iter().all(complete)
    }

    fn scope_of(&self, namespace: &str) -> Option<usize> {
        self.scopes.iter().position(|it| it.as_deref().is_none_or(|it| it == namespace))
    }

    /// For people: what is waited for, what is missing, and what to do about it.
    pub(in crate::runtime) fn report(&self) -> String {
        let mut report = String::new();
        let filling = self.kinds.iter().filter(|it| it.phases.contains(&Phase::Filling));
        let filling: Vec<&str> = filling.map(|it| it.resource.as_str()).collect();
        if !filling.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(report, "the caches are not filled yet: {}", filling.join(", "));
        }
        for (scope, namespace) in self.scopes.iter().enumerate() {
            let forbidden = self.kinds.iter().filter(|it| it.phases.get(scope) == Some(&Phase::Forbidden));
            let (needed, welcome): (Vec<_>, Vec<_>) = forbidden.partition(|it| it.need == Need::Needed);
            let needed: Vec<&str> = needed.into_iter().map(|it| it.resource.as_str()).collect();
            if !needed.is_empty() {
                let _ = writeln!(report, "{}", remedy(Need::Needed, namespace.as_deref(), &needed.join(", ")));
            }
            for it in welcome {
                let _ = writeln!(report, "{}", remedy(it.need, namespace.as_deref(), &it.resource));
            }
        }
        report
    }
}

/// What to do about resources that may not be read in a namespace, or in the cluster.
pub(super) fn remedy(need: Need, namespace: Option<&str>, resources: &str) -> String {
    match (need, namespace) {
        (Need::Welcome(Loss { what, role }), _) => format!(
            "{what}{}: the operator may not list and watch {resources}; grant both to its ServiceAccount in a {role} \
             (`helm upgrade` does)",
            namespace.map(|it| format!(" in namespace {it}")).unwrap_or_default()
        ),
        (Need::Needed, Some(namespace)) => format!(
            "namespace {namespace} is left out: the operator may not list and watch {resources} there; bind its role in the \
             namespace again (`helm upgrade` does), or take the namespace from watchNamespaces"
        ),
        (Need::Needed, None) => format!(
            "nothing is run: the operator may not list and watch {resources}; grant both to its ServiceAccount \
             (`helm upgrade` does)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{Filling, Forbidden, Listed, Unserved};
    use super::*;

    /// Two namespaces, two kinds.
    fn standing(phases: [[Phase; 2]; 2]) -> Standing {
        let mut standing = Standing::new(vec![Some("crm".into()), Some("ads".into())]);
        for (plural, phases) in ["deployments", "pods"].into_iter().zip(phases) {
            let kind = standing.add(plural, if plural == "pods" { "" } else { "apps" }, Need::Needed);
            for (scope, phase) in phases.into_iter().enumerate() {
                standing.set(kind, scope, phase);
            }
        }
        standing
    }

    #[test]
    fn a_namespace_counts_once_every_kind_was_listed_in_it_or_is_not_served() {
        let all = standing([[Listed, Listed], [Unserved, Listed]]);
        assert!(all.covers("crm") && all.covers("ads") && all.is_ready());
        assert_eq!(all.report(), "");
        assert!(!all.covers("elsewhere"), "nobody watches there");
        assert!(!all.is_served(1, "crm") && all.is_served(1, "ads"));
        let filling = standing([[Listed, Listed], [Listed, Filling]]);
        assert!(filling.covers("crm") && !filling.covers("ads") && !filling.is_ready());
        assert_eq!(filling.report(), "the caches are not filled yet: pods\n");
    }

    #[test]
    fn a_namespace_that_may_not_be_read_is_left_out_and_does_not_hold_up_the_others() {
        let one = standing([[Forbidden, Listed], [Forbidden, Listed]]);
        assert!(!one.covers("crm") && one.covers("ads") && one.is_ready());
        assert_eq!(
            one.report(),
            "namespace crm is left out: the operator may not list and watch deployments.apps, pods there; bind its role in \
             the namespace again (`helm upgrade` does), or take the namespace from watchNamespaces\n"
        );
        assert!(!standing([[Forbidden, Listed], [Listed, Forbidden]]).is_ready(), "there is nothing to run");
    }

    #[test]
    fn a_kind_that_may_not_be_read_in_the_cluster_stops_everything() {
        let mut standing = Standing::new(vec![None]);
        let (deployments, pods) =
            (standing.add("deployments", "apps", Need::Needed), standing.add("pods", "", Need::Needed));
        standing.set(deployments, 0, Listed);
        assert!(standing.set(pods, 0, Forbidden) && !standing.set(pods, 0, Forbidden));
        assert!(!standing.covers("crm") && !standing.is_ready());
        assert!(standing.report().starts_with("nothing is run: the operator may not list and watch pods;"));
        standing.set(pods, 0, Listed);
        assert!(standing.covers("crm") && standing.is_ready());
    }

    #[test]
    fn what_is_only_welcome_is_waited_for_and_done_without_where_it_may_not_be_read() {
        let mut standing = Standing::new(vec![Some("crm".into())]);
        let loss = |what| Need::Welcome(Loss { what, role: "Role" });
        let deployments = standing.add("deployments", "apps", Need::Needed);
        let namespaces = standing.add("namespaces", "", loss("suspension is not seen"));
        let jobs = standing.add("jobs", "batch", loss("metrics of provider job are not judged"));
        standing.set(deployments, 0, Listed);
        standing.set(jobs, 0, Listed);
        assert!(!standing.covers("crm") && !standing.is_ready(), "it may come yet");
        standing.set(namespaces, 0, Forbidden);
        assert!(standing.covers("crm") && standing.is_ready() && standing.is_forbidden(namespaces, "crm"));
        standing.set(jobs, 0, Forbidden);
        assert_eq!(
            standing.report(),
            "suspension is not seen in namespace crm: the operator may not list and watch namespaces; grant both to its \
             ServiceAccount in a Role (`helm upgrade` does)\nmetrics of provider job are not judged in namespace crm: the \
             operator may not list and watch jobs.batch; grant both to its ServiceAccount in a Role (`helm upgrade` does)\n"
        );
    }
}
