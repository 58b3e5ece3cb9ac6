//! Requests by verb and resource, as a process counted them itself: the operator's own metric
//! tells what it sent, the API server's tells what everybody sent. And the passes they came from.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;

/// What was asked of whom, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Request {
    /// As the operator's metric spells it (`apply`, `update`, `watch`, …).
    pub verb: String,
    /// Plural, with the subresource behind a slash.
    pub resource: String,
    /// Whether the API server did what was asked (2xx).
    pub accepted: bool,
}

/// Whose account a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The rollouts themselves.
    Rollouts,
    /// What the entries say of who uses them, and that nobody does is asked before one is let go of: thousands of rollouts can share two entries.
    Entries,
    /// Kubernetes Events, limited to 25 per second whatever happens.
    Events,
    /// The leader's lease, every two seconds.
    Lease,
    /// Watches: a few for each process, renewed every few minutes.
    Watches,
}

impl Request {
    /// Whose account it goes to.
    #[must_use]
    pub fn account(&self) -> Account {
        match (self.verb.as_str(), self.resource.as_str()) {
            ("watch", _) => Account::Watches,
            (_, "events") => Account::Events,
            (_, "leases") => Account::Lease,
            (_, "modelregistryentries" | "modelregistryentries/status") | ("list", "modeldeployments") => {
                Account::Entries
            }
            _ => Account::Rollouts,
        }
    }

    /// Whether it is a GET or a LIST.
    #[must_use]
    pub fn reads(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list")
    }

    /// Whether it may change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "apply" | "patch" | "delete" | "deletecollection")
    }
}

/// How often each request was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests(BTreeMap<Request, u64>);

impl Requests {
    /// From the operator's `/metrics`.
    ///
    /// # Errors
    /// When a counter of requests cannot be read: a benchmark that miscounts says nothing.
    pub fn of_operator(text: &str) -> Result<Self> {
        Self::read(text, "werkbank_kube_requests_total", |labels| {
            Some(Request {
                verb: labels.get("verb")?.clone(),
                resource: labels.get("resource")?.clone(),
                accepted: labels.get("code")?.starts_with('2'),
            })
        })
    }

    /// From the API server's `/metrics`: the requests of all clients.
    ///
    /// # Errors
    /// When a counter of requests cannot be read.
    pub fn of_api_server(text: &str) -> Result<Self> {
        Self::read(text, "apiserver_request_total", |labels| {
            let verb = match labels.get("verb")?.as_str() {
                "POST" => "create".to_owned(),
                "PUT" => "update".to_owned(),
                verb => verb.to_lowercase(),
            };
            let resource = match (labels.get("resource")?, labels.get("subresource")?) {
                (plural, part) if part.is_empty() => plural.clone(),
                (plural, part) => format!("{plural}/{part}"),
            };
            Some(Request { verb, resource, accepted: labels.get("code")?.starts_with('2') })
        })
    }

    fn read(text: &str, metric: &str, request: impl Fn(&BTreeMap<String, String>) -> Option<Request>) -> Result<Self> {
        counters(text, metric, request).map(Self)
    }

    /// What was sent after `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let count = |request: &Request| earlier.0.get(request).copied().unwrap_or(0);
        let later = self.0.iter().map(|(request, now)| (request.clone(), now.saturating_sub(count(request))));
        Self(later.filter(|(_, sent)| *sent > 0).collect())
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Request, u64)> {
        self.0.iter().map(|(request, sent)| (request, *sent))
    }

    /// How many satisfy this.
    pub fn count(&self, which: impl Fn(&Request) -> bool) -> u64 {
        self.iter().filter(|(request, _)| which(request)).map(|(_, sent)| sent).sum()
    }

    /// How many go to this account.
    #[must_use]
    pub fn of(&self, account: Account) -> u64 {
        self.count(|request| request.account() == account)
    }

    /// How many GETs and LISTs go to this account.
    #[must_use]
    pub fn reads(&self, account: Account) -> u64 {
        self.count(|request| request.account() == account && request.reads())
    }

    /// How many writes, to anything.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.count(Request::writes)
    }

    /// How many writes for the rollouts.
    #[must_use]
    pub fn rollout_writes(&self) -> u64 {
        self.count(|request| request.account() == Account::Rollouts && request.writes())
    }
}

/// Passes over ModelDeployments by outcome, from the operator's `/metrics`.
///
/// # Errors
/// When a counter of passes cannot be read.
pub fn passes(text: &str) -> Result<BTreeMap<String, u64>> {
    let all = counters(text, "werkbank_reconciles_total", |labels| {
        Some((labels.get("kind")?.clone(), labels.get("outcome")?.clone()))
    })?;
    Ok(all.into_iter().filter(|((kind, _), _)| kind == "ModelDeployment").map(|((_, it), n)| (it, n)).collect())
}

/// The values of a counter, summed over what `name` makes of its labels.
fn counters<T: Ord>(
    text: &str,
    metric: &str,
    name: impl Fn(&BTreeMap<String, String>) -> Option<T>,
) -> Result<BTreeMap<T, u64>> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix(metric).and_then(|rest| rest.strip_prefix('{')) else { continue };
        let unreadable = || format!("this line of the metrics cannot be read: {line}");
        let (labels, value) = rest.rsplit_once("} ").with_context(unreadable)?;
        let value: f64 = value.split(' ').next().and_then(|it| it.parse().ok()).with_context(unreadable)?;
        *counts.entry(name(&pairs(labels)).with_context(unreadable)?).or_default() += value as u64;
    }
    Ok(counts)
}

/// Labels of a line: `a="b",c="d"`. None of the labels read here holds a quote or a comma.
fn pairs(labels: &str) -> BTreeMap<String, String> {
    let pair = |it: &str| it.split_once('=').map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()));
    labels.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = r#"
# TYPE werkbank_kube_requests counter
werkbank_kube_requests_total{verb="apply",resource="httproutes",code="200"} 10
werkbank_kube_requests_total{verb="get",resource="leases",code="200"} 1
werkbank_kube_retries_total{verb="apply"} 7
"#;
    const AFTER: &str = r#"
werkbank_kube_requests_total{verb="apply",resource="httproutes",code="200"} 16
werkbank_kube_requests_total{verb="apply",resource="httproutes",code="409"} 1
werkbank_kube_requests_total{verb="update",resource="modeldeployments/status",code="200"} 12
werkbank_kube_requests_total{verb="get",resource="configmaps",code="404"} 2
werkbank_kube_requests_total{verb="get",resource="leases",code="200"} 2
werkbank_kube_requests_total{verb="update",resource="leases",code="200"} 3
werkbank_kube_requests_total{verb="create",resource="events",code="201"} 4
werkbank_kube_requests_total{verb="watch",resource="pods",code="200"} 5
"#;

    fn sent() -> Requests {
        Requests::of_operator(AFTER).unwrap().since(&Requests::of_operator(BEFORE).unwrap())
    }

    #[test]
    fn only_what_was_sent_in_between_counts() {
        let apply = |accepted| sent().count(|it| it.verb == "apply" && it.accepted == accepted);
        assert_eq!((apply(true), apply(false)), (6, 1));
        assert_eq!(sent().since(&sent()), Requests::default());
    }

    #[test]
    fn events_lease_and_watches_are_on_accounts_of_their_own() {
        let of = |account| sent().of(account);
        assert_eq!(of(Account::Rollouts), 6 + 1 + 12 + 2, "refused requests are requests too");
        assert_eq!((of(Account::Events), of(Account::Lease), of(Account::Watches)), (4, 4, 5));
    }

    #[test]
    fn a_get_for_the_lease_is_no_read_of_a_rollout() {
        assert_eq!(sent().reads(Account::Rollouts), 2);
        assert_eq!(sent().writes(), 6 + 1 + 12 + 3 + 4);
    }

    #[test]
    fn the_api_servers_own_words_are_translated() {
        let text = r#"
apiserver_request_total{code="200",component="apiserver",dry_run="",group="gateway.networking.k8s.io",resource="httproutes",scope="resource",subresource="status",verb="PATCH",version="v1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="apps",resource="deployments",scope="resource",subresource="",verb="PUT",version="v1"} 1.2e+03
"#;
        let requests = Requests::of_api_server(text).unwrap();
        let read: Vec<_> = requests.iter().map(|(it, sent)| (it.verb.as_str(), it.resource.as_str(), sent)).collect();
        assert_eq!(read, [("patch", "httproutes/status", 3), ("update", "deployments", 1200)]);
    }

    #[test]
    fn passes_are_those_over_deployments() {
        let text = r#"
werkbank_reconciles_total{kind="ModelDeployment",outcome="done"} 30
werkbank_reconciles_total{kind="ModelDeployment",outcome="waiting"} 4
werkbank_reconciles_total{kind="ModelRegistryEntry",outcome="done"} 2
"#;
        let expected = [("done", 30), ("waiting", 4)].map(|(outcome, count)| (outcome.to_owned(), count));
        assert_eq!(passes(text).unwrap(), expected.into());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_an_error_and_not_a_zero() {
        let broken = r#"werkbank_kube_requests_total{verb="apply",resource="httproutes"} 10"#;
        assert!(Requests::of_operator(broken).is_err());
        let broken = r#"werkbank_kube_requests_total{verb="apply",resource="httproutes",code="200"} many"#;
        assert!(Requests::of_operator(broken).is_err());
    }
}
