//! What the operator may do, and why: the one table.
//!
//! Rights are granted where they are explained. Every row names one resource,
//! the verbs used on it and the reason, and everything that speaks of rights is
//! generated from the rows: the rules of the chart's roles
//! (`charts/werkbank/files/rbac/`) and the reference page
//! (`docs/reference/permissions.md`). `UPDATE=1 cargo test rbac` rewrites both.
//! That each right is used, and none is missing, is what `e2e/tests/canary/rights.rs` finds out
//! from an API server's audit log: a new row needs a part there that uses it.
//!
//! What is *not* here matters as much. No wildcard: a right for everything
//! cannot be reviewed. No Secrets: tenants who want one read bind a Role with
//! `resourceNames` themselves, and `SecretNotReadable` prints it. No nodes: a region is a node affinity, and the
//! scheduler reads nodes. No `update` of a spec: the operator writes only
//! `status` and its own children. No `bind`, `escalate` or `impersonate`.

use std::fmt::Write as _;

/// One resource, what is done with it, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name, with `/subresource` where one is meant.
    pub resource: &'static str,
    /// Of which objects; all if empty.
    pub names: &'static [&'static str],
    /// In alphabetical order.
    pub verbs: &'static [&'static str],
    /// One sentence for the person who reviews the role.
    pub why: &'static str,
}

/// A role of the chart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// The name of its file in `charts/werkbank/files/rbac/`, without `.yaml`.
    pub name: &'static str,
    /// One sentence: who gets it, and where it holds.
    pub purpose: &'static str,
    /// What it grants.
    pub rules: &'static [Rule],
}

/// One verb on one resource: what a test of "rights used = rights granted" counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// Plural name, with `/subresource` where one is meant.
    pub resource: &'static str,
    /// The verb as RBAC spells it.
    pub verb: &'static str,
}

const fn rule(group: &'static str, resource: &'static str, verbs: &'static [&'static str], why: &'static str) -> Rule {
    Rule { group, resource, names: &[], verbs, why }
}

/// A rule for these objects and no others.
const fn named(names: &'static [&'static str], of: Rule) -> Rule {
    Rule { names, ..of }
}

const CORE: &str = "";
const APPS: &str = "apps";
const WERKBANK: &str = "werkbank.dev";
const ADMISSION: &str = "admissionregistration.k8s.io";
const READ: &[&str] = &["get", "list", "watch"];
const EDIT: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// As `EDIT`, and what may be asked of a rollout: the verbs of requests are checked by the chart's admission policy.
const EDIT_AND_ASK: &[&str] =
    &["abort", "create", "delete", "deletecollection", "patch", "pause", "promote", "resume", "retry", "update"];
/// A child is created (never adopted) and applied over; it goes with its owner. One `get` tells
/// a foreign object of its name, which no cache shows, from one the cache has not seen yet.
const OWN: &[&str] = &["create", "get", "list", "patch", "watch"];
/// A child is created and never changed, but deleted: what belongs to it goes with it.
const KEEP: &[&str] = &["create", "delete", "get", "list", "watch"];

/// The operator, in every namespace it watches.
pub const OPERATOR: Role = Role {
    name: "operator",
    purpose: "The operator, in every namespace it watches.",
    rules: &[
        rule(
            WERKBANK,
            "modeldeployments",
            &["list", "watch"],
            "What users declare. `list` is also asked before an entry is let go of: a watch can be behind.",
        ),
        rule(
            WERKBANK,
            "modeldeployments/status",
            &["update"],
            "Phase, weight, verdicts and conditions; the spec stays the user's.",
        ),
        rule(
            WERKBANK,
            "modelregistryentries",
            &["list", "patch", "watch"],
            "Where a model's bytes are, and the digest they must have. `patch`: the finalizer of an entry while revisions of it are alive.",
        ),
        rule(WERKBANK, "modelregistryentries/status", &["update"], "Whether an entry is usable."),
        rule(WERKBANK, "approvals", &["list", "watch"], "What people have approved, or rejected."),
        rule(APPS, "controllerrevisions", KEEP, "The record of each revision; it owns the revision's other children."),
        rule(APPS, "deployments", OWN, "The pods of each revision."),
        rule(
            "autoscaling",
            "horizontalpodautoscalers",
            &["create", "delete", "get", "list", "patch", "watch"],
            "How many pods each revision has at least, where `autoscaling` decides the rest; it goes when that is taken from the spec.",
        ),
        rule(
            "batch",
            "jobs",
            &["create", "delete", "list", "watch"],
            "What computes the number of a metric of provider `job`, and what reads an entry's artifact; each goes when it has said what it found.",
        ),
        rule(
            CORE,
            "services",
            OWN,
            "The address of each revision, and the one that switches when there is no gateway.",
        ),
        rule(
            CORE,
            "configmaps",
            &["create", "get", "list", "watch"],
            "Read: shared metrics and what a template refers to. Written: only the immutable copies of each revision.",
        ),
        rule(
            CORE,
            "pods",
            &["list", "watch"],
            "Why a revision's pods do not come up, and what Jobs have said; pods are never written.",
        ),
        rule(
            "gateway.networking.k8s.io",
            "httproutes",
            &["create", "delete", "get", "list", "patch", "watch"],
            "The weights, and whether the gateway accepted them; it goes when `traffic` is taken from the spec. And the proposal of an edit, until it is accepted.",
        ),
        rule(
            "events.k8s.io",
            "events",
            &["create", "patch"],
            "Tells people what was decided; a repeated event is patched into a series.",
        ),
    ],
};

/// The operator, for the Namespaces themselves. One rule: the chart names the watched namespaces under it.
pub const OPERATOR_NAMESPACES: Role = Role {
    name: "operator-namespaces",
    purpose: "The operator, for the Namespaces themselves: those it watches, by name, or all.",
    rules: &[rule(
        CORE,
        "namespaces",
        &["list", "watch"],
        "The annotation `werkbank.dev/suspend`, and nothing else of them.",
    )],
};

/// The operator, for what is in no namespace.
pub const OPERATOR_CLUSTER: Role = Role {
    name: "operator-cluster",
    purpose: "The operator, for what is in no namespace.",
    rules: &[
        rule(ADMISSION, "validatingadmissionpolicies", &["get"], "Whether approvals are guarded: if not, none counts."),
        rule(ADMISSION, "validatingadmissionpolicybindings", &["get"], "Whether what guards them is in force."),
        named(
            &["kube-system"],
            rule(
                CORE,
                "namespaces",
                &["get"],
                "Its uid tells one cluster from another: an audit log is one cluster's.",
            ),
        ),
    ],
};

/// The operator, in the namespace it runs in.
pub const OPERATOR_NAMESPACE: Role = Role {
    name: "operator-namespace",
    purpose: "The operator, in the namespace it runs in.",
    rules: &[rule(
        "coordination.k8s.io",
        "leases",
        &["create", "get", "update"],
        "Leader election: one replica decides, the other takes over.",
    )],
};

/// People who may look; aggregated to `view` (and with it to `edit` and `admin`).
pub const VIEWER: Role = Role {
    name: "viewer",
    purpose: "People who may look; aggregated to the cluster role `view`.",
    rules: &[
        rule(WERKBANK, "modeldeployments", READ, "See rollouts, their verdicts and conditions."),
        rule(WERKBANK, "modeldeployments/scale", &["get"], "See how many replicas are asked for."),
        rule(WERKBANK, "modelregistryentries", READ, "See which models exist and where from."),
        rule(WERKBANK, "approvals", READ, "See who has approved what."),
    ],
};

/// People who may change; aggregated to `edit` (and with it to `admin`).
pub const EDITOR: Role = Role {
    name: "editor",
    purpose: "People who may change; aggregated to the cluster role `edit`. Reading comes with `viewer`.",
    rules: &[
        rule(WERKBANK, "modeldeployments", EDIT_AND_ASK, "Start, change, steer and remove rollouts."),
        rule(
            WERKBANK,
            "modeldeployments/scale",
            &["patch", "update"],
            "`kubectl scale` changes replicas and starts no rollout.",
        ),
        rule(WERKBANK, "modelregistryentries", EDIT, "Register models and take them back."),
    ],
};

/// People and accounts that steer rollouts and are no editors: bound by name, aggregated to nothing.
pub const RELEASE_MANAGER: Role = Role {
    name: "release-manager",
    purpose: "People and accounts that steer rollouts; aggregated to nothing, to be bound by name.",
    rules: &[rule(
        WERKBANK,
        "modeldeployments",
        &["abort", "get", "list", "patch", "pause", "promote", "resume", "retry", "watch"],
        "Make requests: a request is an annotation, so it takes `patch`, and with it the spec.",
    )],
};

/// People who approve, or reject: bound by name, aggregated to nothing.
pub const APPROVER: Role = Role {
    name: "approver",
    purpose: "People who approve, or reject; aggregated to nothing, to be bound by name, beside a Role with the verbs `approve-<role>`.",
    rules: &[
        rule(
            WERKBANK,
            "approvals",
            &["create", "delete", "get", "list", "watch"],
            "Say it, and take it back: an admission policy holds both to one's own name, and the first to the verb `approve-<role>` on the subject.",
        ),
        rule(WERKBANK, "modeldeployments", READ, "See what a step is asked for."),
        rule(WERKBANK, "modelregistryentries", READ, "See what is to be approved."),
    ],
};

/// Every role of the chart.
pub const ROLES: [Role; 8] =
    [OPERATOR, OPERATOR_NAMESPACES, OPERATOR_CLUSTER, OPERATOR_NAMESPACE, VIEWER, EDITOR, RELEASE_MANAGER, APPROVER];

impl Role {
    /// Everything it grants, one verb at a time.
    pub fn rights(&self) -> impl Iterator<Item = Right> + use<> {
        self.rules
            .iter()
            .flat_map(|rule| rule.verbs.iter().map(|verb| Right { group: rule.group, resource: rule.resource, verb }))
    }

    /// The list under `rules:` as the chart ships it, each rule under its reason.
    #[must_use]
    pub fn rules_yaml(&self) -> String {
        let mut yaml = format!(
            "# Generated from src/runtime/rbac.rs; `UPDATE=1 cargo test rbac` rewrites it.\n# {}\n",
            self.purpose
        );
        for Rule { group, resource, names, verbs, why } in self.rules {
            let group = if group.is_empty() { "\"\"" } else { group };
            let verbs = verbs.join(", ");
            // Writing to a String cannot fail.
            let _ = write!(yaml, "# {why}\n- apiGroups: [{group}]\n  resources: [{resource}]\n  verbs: [{verbs}]\n");
            if !names.is_empty() {
                let _ = writeln!(yaml, "  resourceNames: [{}]", names.join(", "));
            }
        }
        yaml
    }
}

/// The reference page: every row of every role.
#[must_use]
pub fn reference_page() -> String {
    let mut page = String::from(
        "<!-- Generated from src/runtime/rbac.rs; `UPDATE=1 cargo test rbac` rewrites it. -->\n\
         # Permissions\n\n\
         Everything the chart grants, and why. There is no wildcard, no right to read Secrets or nodes,\n\
         and none to write a spec: the operator writes `status` and its own children.\n\n\
         An end-to-end test lets the operator do everything it ever does, reads from the API server's audit log what\n\
         it asked for, and fails on a right that is missing, that nothing used, or that holds in more namespaces than it is\n\
         used in. With `watchNamespaces` set, `operator` is bound in these namespaces only, and `operator-namespaces`\n\
         names them (a Namespace is in no namespace: no Role can grant it); the test checks that, too.\n",
    );
    for role in ROLES {
        let _ = write!(
            page,
            "\n## {}\n\n{}\n\n| API group | resource | verbs | why |\n|---|---|---|---|\n",
            role.name, role.purpose
        );
        for Rule { group, resource, names, verbs, why } in role.rules {
            let group = if group.is_empty() { "core" } else { group };
            let of = if names.is_empty() { String::new() } else { format!(" `{}` alone", names.join("`, `")) };
            let _ = writeln!(page, "| {group} | `{resource}`{of} | {} | {why} |", verbs.join(", "));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use k8s_openapi::api::rbac::v1::PolicyRule;

    use super::*;

    /// The file says what the table says; `UPDATE=1` makes it so.
    fn generated(path: &str, expected: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, expected).unwrap();
        }
        let shipped = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            shipped == expected,
            "{} is not what src/runtime/rbac.rs generates: run `make generated` and review the difference",
            path.display()
        );
    }

    #[test]
    fn the_chart_ships_the_table() {
        for role in ROLES {
            let path = format!("charts/werkbank/files/rbac/{}.yaml", role.name);
            generated(&path, &role.rules_yaml());
        }
        // And nothing else: a file of a role that is gone would go on granting.
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/werkbank/files/rbac");
        let shipped: BTreeSet<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let expected = ROLES.iter().map(|role| format!("{}.yaml", role.name)).collect();
        assert_eq!(shipped, expected);
    }

    #[test]
    fn the_reference_page_says_what_the_table_says() {
        generated("docs/reference/permissions.md", &reference_page());
    }

    #[test]
    fn what_is_rendered_grants_exactly_the_rights_of_the_table() {
        for role in ROLES {
            let rules: Vec<PolicyRule> = serde_yaml::from_str(&role.rules_yaml()).unwrap();
            let mut granted = BTreeSet::new();
            for rule in &rules {
                for group in rule.api_groups.as_ref().unwrap() {
                    for resource in rule.resources.as_ref().unwrap() {
                        for verb in &rule.verbs {
                            granted.insert((group.as_str(), resource.as_str(), verb.as_str()));
                        }
                    }
                }
            }
            let expected = role.rights().map(|right| (right.group, right.resource, right.verb)).collect();
            assert_eq!(granted, expected, "{}", role.name);
        }
    }

    #[test]
    fn no_right_is_a_wildcard_or_a_way_to_more_rights() {
        for right in ROLES.iter().flat_map(Role::rights) {
            for part in [right.group, right.resource, right.verb] {
                assert!(!part.contains('*'), "{right:?}");
            }
            assert!(!["bind", "escalate", "impersonate"].contains(&right.verb), "{right:?}");
            assert_ne!(right.group, "rbac.authorization.k8s.io", "{right:?}");
        }
    }

    #[test]
    fn nothing_is_granted_on_secrets_nodes_or_tokens() {
        for right in ROLES.iter().flat_map(Role::rights) {
            let resource = right.resource.split('/').next().unwrap();
            assert!(!["secrets", "nodes", "serviceaccounts"].contains(&resource), "{right:?}");
        }
    }

    #[test]
    fn the_operator_never_writes_a_spec_of_a_user() {
        let writes = ["create", "delete", "deletecollection", "patch", "update"];
        for right in OPERATOR
            .rights()
            .chain(OPERATOR_NAMESPACES.rights())
            .chain(OPERATOR_CLUSTER.rights())
            .chain(OPERATOR_NAMESPACE.rights())
        {
            // RBAC has no right to finalizers alone: an admission policy of the chart holds this one to them.
            let finalizers = right.resource == "modelregistryentries" && right.verb == "patch";
            if right.group == "werkbank.dev" && writes.contains(&right.verb) && !finalizers {
                assert!(right.resource.ends_with("/status"), "{right:?}");
            }
        }
    }

    #[test]
    fn the_role_under_whose_last_rule_the_chart_names_the_watched_namespaces_has_one_rule() {
        assert_eq!(OPERATOR_NAMESPACES.rules.len(), 1);
    }

    #[test]
    fn every_resource_has_one_row_with_sorted_verbs_and_a_reason() {
        for role in ROLES {
            let mut seen = BTreeSet::new();
            for rule in role.rules {
                assert!(seen.insert((rule.group, rule.resource)), "two rows for {rule:?}");
                assert!(!rule.verbs.is_empty(), "{rule:?}");
                assert!(rule.verbs.is_sorted_by(|a, b| a < b), "unsorted or twice: {rule:?}");
                assert!(rule.why.ends_with('.'), "a reason is a sentence: {rule:?}");
            }
        }
    }
}
