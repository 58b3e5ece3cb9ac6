//! What the Gateways say of a route: the one answer, from all of its parents.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::gateway::{HttpRoute, ParentRef, RouteParentStatus};

/// What the Gateways say of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteState {
    /// Every parent has accepted this generation and resolved its backends.
    Accepted,
    /// Some parent has not looked at this generation yet.
    Pending,
    /// A parent refuses this generation: which one, its reason and message.
    Rejected(String),
}

/// Whether every Gateway the route names has accepted its present generation.
#[must_use]
pub fn route_state(route: &HttpRoute) -> RouteState {
    let answers = answers(route);
    if let Some((parent, why)) = answers.iter().find_map(|(parent, it)| Some((parent, it.as_ref().err()?.as_ref()?))) {
        return RouteState::Rejected(format!("{parent}: {why}"));
    }
    if answers.is_empty() || answers.iter().any(|(_, it)| it.is_err()) {
        return RouteState::Pending;
    }
    RouteState::Accepted
}

/// The parents that have not said anything of the present generation.
#[must_use]
pub fn silent_parents(route: &HttpRoute) -> Vec<String> {
    let silent = answers(route).into_iter().filter(|(_, it)| *it == Err(None));
    silent.map(|(parent, _)| parent).collect()
}

/// Per parent its name for people, and: yes, no and why, or nothing yet.
fn answers(route: &HttpRoute) -> Vec<(String, Result<(), Option<String>>)> {
    let generation = route.metadata.generation.unwrap_or_default();
    let home = route.metadata.namespace.as_deref().unwrap_or_default();
    let told = route.status.as_ref().map(|it| it.parents.as_slice()).unwrap_or_default();
    let names = |it: &RouteParentStatus, parent: &ParentRef| it.parent_ref.resolved(home) == parent.resolved(home);
    let answer = |parent: Option<ParentRef>| match parent {
        None => ("a parentRef without a name".to_owned(), Err(None)),
        Some(parent) => {
            let answer = told.iter().find(|it| names(it, &parent)).map_or(Err(None), |it| verdict(it, generation));
            (parent.to_string(), answer)
        }
    };
    route.spec.parents().into_iter().map(answer).collect()
}

fn verdict(answer: &RouteParentStatus, generation: i64) -> Result<(), Option<String>> {
    let mut all = Ok(());
    for type_ in ["Accepted", "ResolvedRefs"] {
        let current = |it: &&Condition| it.type_ == type_ && it.observed_generation.unwrap_or_default() >= generation;
        match answer.conditions.iter().find(current) {
            Some(it) if it.status == "True" => {}
            Some(it) => return Err(Some(format!("{}: {}", it.reason, it.message))),
            None => all = Err(None),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn route(parents: Value, status: Value) -> HttpRoute {
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "churn", "namespace": "crm", "generation": 3},
            "spec": {"parentRefs": parents}, "status": {"parents": status},
        }))
        .unwrap()
    }

    fn says(parent: Value, generation: i64, accepted: &str, resolved: &str) -> Value {
        let condition = |type_: &str, status: &str| {
            json!({"type": type_, "status": status, "reason": "Why", "message": "because",
                "observedGeneration": generation, "lastTransitionTime": "2026-11-24T00:00:00Z"})
        };
        json!({"parentRef": parent, "controllerName": "x", "conditions": [condition("Accepted", accepted), condition("ResolvedRefs", resolved)]})
    }

    #[test]
    fn a_route_is_accepted_when_every_parent_has_accepted_this_generation() {
        let (one, two) = (json!({"name": "one"}), json!({"name": "two", "namespace": "infra"}));
        let both = json!([one, two]);
        let state = |answers: Value| route_state(&route(both.clone(), answers));
        let yes = |parent: &Value| says(parent.clone(), 3, "True", "True");
        assert_eq!(state(json!([yes(&one), yes(&two)])), RouteState::Accepted);
        assert_eq!(state(json!([yes(&one)])), RouteState::Pending);
        assert_eq!(state(json!([yes(&one), says(two.clone(), 2, "True", "True")])), RouteState::Pending);
        assert_eq!(
            state(json!([yes(&one), says(two.clone(), 2, "False", "True")])),
            RouteState::Pending,
            "it may be better now"
        );
        assert_eq!(
            state(json!([yes(&one), says(two, 3, "True", "False")])),
            RouteState::Rejected("Gateway infra/two: Why: because".into())
        );
        assert_eq!(route_state(&route(json!([]), json!([]))), RouteState::Pending);
    }

    #[test]
    fn parents_are_told_apart_by_namespace_section_and_port() {
        let wanted = json!({"name": "one", "sectionName": "https"});
        let state = |answer: Value| route_state(&route(json!([wanted]), json!([says(answer, 3, "True", "True")])));
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "namespace": "crm"})), RouteState::Accepted);
        assert_eq!(state(json!({"name": "one"})), RouteState::Pending);
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "namespace": "infra"})), RouteState::Pending);
        assert_eq!(state(json!({"name": "one", "sectionName": "https", "port": 443})), RouteState::Pending);
    }
}
