//! One rule of a route, as Envoy's routes.
//!
//! What a rule asks for and this gateway does not implement is refused with the
//! field's path ([`unsupported`]): a route is translated whole or not at all.
//!
//! A share of traffic whose Service does not exist is answered with 500, as the
//! Gateway API demands, by naming a cluster that Envoy does not have. So is a
//! rule whose weights are all zero.
//!
//! Each request that found no connection, or lost it before anything was sent,
//! is tried once more on another endpoint, as production gateways do: such a
//! request has certainly not been worked on. Nothing else is retried.

use std::cmp::Reverse;

use serde_json::{Value, json};

use super::api::{BackendRef, Filter, Header, HttpRouteSpec, Match, Rest, Rule};

/// Envoy's answer to a backend that does not exist.
const MISSING: &str = "missing";

/// A reference to a backend, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Backend {
    /// The cluster of a Service's port.
    Cluster(String),
    /// Nothing to send to: reason and message of the `ResolvedRefs` condition.
    Unresolved(&'static str, String),
}

/// How specific a match is; sorts the most specific first, as the Gateway API orders them.
pub(crate) type Precedence = (bool, Reverse<usize>, bool, Reverse<usize>);

/// What the rule asks for that this gateway does not implement, in one sentence.
pub(crate) fn unsupported(spec: &HttpRouteSpec) -> Option<String> {
    rest("spec", &spec.rest).or_else(|| {
        let mut rules = spec.rules.iter().enumerate();
        rules.find_map(|(index, rule)| unsupported_rule(&format!("spec.rules[{index}]"), rule))
    })
}

fn unsupported_rule(at: &str, rule: &Rule) -> Option<String> {
    let matches = || {
        let mut all = rule.matches.iter().enumerate();
        all.find_map(|(index, it)| unsupported_match(&format!("{at}.matches[{index}]"), it))
    };
    let filters = || {
        let mut all = rule.filters.iter().enumerate();
        all.find_map(|(index, it)| unsupported_filter(&format!("{at}.filters[{index}]"), it))
    };
    let timeouts = || {
        let timeouts = rule.timeouts.as_ref()?;
        rest(&format!("{at}.timeouts"), &timeouts.rest).or_else(|| {
            let request = timeouts.request.as_ref()?;
            seconds(request)
                .is_none()
                .then(|| format!("{at}.timeouts.request: {request:?} is no duration; write for example 2s or 500ms"))
        })
    };
    let backends = || {
        let mut all = rule.backend_refs.iter().enumerate();
        all.find_map(|(index, it)| rest(&format!("{at}.backendRefs[{index}]"), &it.rest))
    };
    rest(at, &rule.rest).or_else(matches).or_else(filters).or_else(timeouts).or_else(backends)
}

fn unsupported_match(at: &str, it: &Match) -> Option<String> {
    if let Some(message) = rest(at, &it.rest) {
        return Some(message);
    }
    let path = it.path.as_ref().and_then(|path| path.kind.as_deref()).unwrap_or("PathPrefix");
    if !["Exact", "PathPrefix"].contains(&path) {
        return Some(format!("{at}.path: type {path} is not supported; use Exact or PathPrefix"));
    }
    let header = it.headers.iter().find_map(|header| header.kind.as_deref().filter(|it| *it != "Exact"))?;
    Some(format!("{at}.headers: type {header} is not supported; use Exact"))
}

fn unsupported_filter(at: &str, filter: &Filter) -> Option<String> {
    match (&*filter.kind, &filter.request_header_modifier, &filter.request_mirror) {
        ("RequestHeaderModifier", Some(_), None) => rest(at, &filter.rest),
        ("RequestMirror", None, Some(mirror)) => {
            rest(at, &filter.rest).or_else(|| rest(&format!("{at}.requestMirror"), &mirror.rest))
        }
        (kind, ..) => Some(format!("{at}: {kind} is not supported; use RequestHeaderModifier or RequestMirror")),
    }
}

fn rest(at: &str, rest: &Rest) -> Option<String> {
    let (name, _) = rest.first_key_value()?;
    Some(format!("{at}.{name} is not supported by this gateway; remove it"))
}

/// Envoy's routes for the rule, one per match; `name` is the prefix of their names.
pub(crate) fn routes(
    name: &str,
    generation: i64,
    rule: &Rule,
    resolve: &mut dyn FnMut(&BackendRef) -> Backend,
) -> Vec<(Precedence, Value)> {
    let everything = [Match::default()];
    let matches = if rule.matches.is_empty() { &everything[..] } else { &rule.matches };
    let mut route = action(rule, resolve);
    if let Some(fields) = route.as_object_mut() {
        fields.extend(header_changes(&rule.filters));
        // Shown by config_dump: which generation of the route Envoy works with.
        let metadata = json!({"filter_metadata": {"gateway": {"generation": generation}}});
        fields.insert("metadata".to_owned(), metadata);
    }
    let each = matches.iter().enumerate().map(|(index, it)| {
        let mut route = route.clone();
        if let Some(fields) = route.as_object_mut() {
            fields.insert("name".to_owned(), json!(format!("{name}/{index}")));
            fields.insert("match".to_owned(), request_match(it));
        }
        (precedence(it), route)
    });
    each.collect()
}

fn action(rule: &Rule, resolve: &mut dyn FnMut(&BackendRef) -> Backend) -> Value {
    // The mirrors are resolved in any case: a missing one must be reported.
    let mirrors = mirrors(&rule.filters, resolve);
    let mut clusters = Vec::new();
    for reference in &rule.backend_refs {
        let cluster = match resolve(reference) {
            Backend::Cluster(name) => name,
            Backend::Unresolved(..) => MISSING.to_owned(),
        };
        clusters.push(json!({"name": cluster, "weight": reference.weight.unwrap_or(1)}));
    }
    if rule.backend_refs.iter().all(|it| it.weight == Some(0)) {
        return json!({"direct_response": {"status": 500}});
    }
    let mut route = json!({
        "weighted_clusters": {"clusters": clusters},
        "cluster_not_found_response_code": "INTERNAL_SERVER_ERROR",
        "retry_policy": {"retry_on": "connect-failure,refused-stream,reset-before-request", "num_retries": 1},
    });
    if let Some(fields) = route.as_object_mut() {
        if !mirrors.is_empty() {
            fields.insert("request_mirror_policies".to_owned(), json!(mirrors));
        }
        let timeout = rule.timeouts.as_ref().and_then(|it| it.request.as_deref()).and_then(seconds);
        if let Some(timeout) = timeout {
            fields.insert("timeout".to_owned(), json!(timeout));
        }
    }
    json!({"route": route})
}

fn mirrors(filters: &[Filter], resolve: &mut dyn FnMut(&BackendRef) -> Backend) -> Vec<Value> {
    let mirrors = filters.iter().filter_map(|it| it.request_mirror.as_ref());
    mirrors
        .filter_map(|mirror| match resolve(&mirror.backend_ref) {
            Backend::Unresolved(..) => None,
            Backend::Cluster(cluster) => Some(json!({
                "cluster": cluster,
                "runtime_fraction": {"default_value": {"numerator": mirror.percent.unwrap_or(100), "denominator": "HUNDRED"}},
            })),
        })
        .collect()
}

fn header_changes(filters: &[Filter]) -> serde_json::Map<String, Value> {
    let modifiers: Vec<_> = filters.iter().filter_map(|it| it.request_header_modifier.as_ref()).collect();
    let change = |header: &Header, action: &str| {
        // A percent sign starts a variable in Envoy's header values; the Gateway API has none.
        let value = header.value.replace('%', "%%");
        json!({"header": {"key": header.name, "value": value}, "append_action": action})
    };
    let mut changes = Vec::new();
    for modifier in &modifiers {
        changes.extend(modifier.set.iter().map(|it| change(it, "OVERWRITE_IF_EXISTS_OR_ADD")));
        changes.extend(modifier.add.iter().map(|it| change(it, "APPEND_IF_EXISTS_OR_ADD")));
    }
    let removed: Vec<_> = modifiers.iter().flat_map(|it| &it.remove).collect();
    let mut fields = serde_json::Map::new();
    if !changes.is_empty() {
        fields.insert("request_headers_to_add".to_owned(), json!(changes));
    }
    if !removed.is_empty() {
        fields.insert("request_headers_to_remove".to_owned(), json!(removed));
    }
    fields
}

fn path(it: &Match) -> (bool, &str) {
    let kind = it.path.as_ref().and_then(|path| path.kind.as_deref());
    let value = it.path.as_ref().and_then(|path| path.value.as_deref()).unwrap_or("/");
    (kind == Some("Exact"), value)
}

fn request_match(it: &Match) -> Value {
    let mut fields = match path(it) {
        (true, value) => json!({"path": value}),
        (false, value) => match value.trim_end_matches('/') {
            "" => json!({"prefix": "/"}),
            prefix => json!({"path_separated_prefix": prefix}),
        },
    };
    let header = |name: &str, value: &str| json!({"name": name, "string_match": {"exact": value}});
    let mut headers: Vec<_> = it.headers.iter().map(|it| header(&it.name, &it.value)).collect();
    headers.extend(it.method.iter().map(|method| header(":method", method)));
    if let Some(fields) = fields.as_object_mut().filter(|_| !headers.is_empty()) {
        fields.insert("headers".to_owned(), json!(headers));
    }
    fields
}

fn precedence(it: &Match) -> Precedence {
    let (exact, value) = path(it);
    (!exact, Reverse(value.len()), it.method.is_none(), Reverse(it.headers.len()))
}

/// A Gateway API duration (`1h30m`, `500ms`) in the seconds that protobuf's JSON wants.
fn seconds(duration: &str) -> Option<String> {
    let mut millis: u64 = 0;
    let mut left = duration;
    while !left.is_empty() {
        let digits = left.find(|it: char| !it.is_ascii_digit())?;
        let (number, unit) = left.split_at(digits);
        let end = unit.find(|it: char| it.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, rest) = unit.split_at(end);
        let factor = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        left = rest;
    }
    (!duration.is_empty()).then(|| format!("{}.{:03}s", millis / 1000, millis % 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(rule: Value) -> HttpRouteSpec {
        serde_json::from_value(json!({"rules": [rule]})).unwrap()
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_the_path_of_its_field() {
        let cases = [
            (json!({"retry": {"attempts": 3}}), "spec.rules[0].retry is not supported"),
            (json!({"filters": [{"type": "URLRewrite", "urlRewrite": {}}]}), "spec.rules[0].filters[0]: URLRewrite"),
            (json!({"matches": [{}, {"queryParams": []}]}), "spec.rules[0].matches[1].queryParams"),
            (json!({"matches": [{"path": {"type": "RegularExpression", "value": "a+"}}]}), "type RegularExpression"),
            (
                json!({"matches": [{"headers": [{"type": "RegularExpression", "name": "a", "value": "b"}]}]}),
                "use Exact",
            ),
            (json!({"timeouts": {"backendRequest": "1s"}}), "timeouts.backendRequest"),
            (json!({"timeouts": {"request": "soon"}}), "is no duration"),
            (json!({"backendRefs": [{"name": "a", "filters": []}]}), "backendRefs[0].filters"),
        ];
        for (rule, expected) in cases {
            let message = unsupported(&spec(rule)).unwrap_or_default();
            assert!(message.contains(expected), "{message:?} should say {expected:?}");
        }
        assert_eq!(unsupported(&spec(json!({"matches": [{"path": {"type": "Exact", "value": "/"}}]}))), None);
    }

    #[test]
    fn durations_of_the_gateway_api_become_seconds() {
        assert_eq!(seconds("1h30m").as_deref(), Some("5400.000s"));
        assert_eq!(seconds("2s500ms").as_deref(), Some("2.500s"));
        assert_eq!(seconds("0s").as_deref(), Some("0.000s"));
        for wrong in ["", "5", "s", "1d", "-1s"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_most_specific_match_comes_first() {
        let it = |value| serde_json::from_value::<Match>(value).unwrap();
        let mut all = [
            it(json!({})),
            it(json!({"path": {"value": "/a"}, "headers": [{"name": "x", "value": "y"}]})),
            it(json!({"path": {"value": "/a"}, "method": "GET"})),
            it(json!({"path": {"value": "/a/b"}})),
            it(json!({"path": {"type": "Exact", "value": "/"}})),
        ];
        let expected: Vec<_> = all.iter().rev().cloned().collect();
        all.sort_by_key(precedence);
        assert_eq!(all.to_vec(), expected);
    }

    #[test]
    fn weights_that_are_all_zero_answer_500() {
        let rule = serde_json::from_value(json!({"backendRefs": [{"name": "a", "port": 80, "weight": 0}]})).unwrap();
        let routes = routes("ns/r/0", 1, &rule, &mut |it| Backend::Cluster(it.name.clone()));
        assert_eq!(routes[0].1["direct_response"]["status"], 500);
    }
}
