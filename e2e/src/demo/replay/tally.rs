//! What the replay has seen, by revision: for Prometheus as counters, for the terminal as a snapshot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Code {
    /// An HTTP status.
    Http(u16),
    /// Connection refused or broken, or no answer in time.
    NoAnswer,
    /// A 2xx answer without a readable `at_risk`.
    NoPrediction,
}

impl Code {
    fn is_error(self) -> bool {
        !matches!(self, Self::Http(200..=299))
    }
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        match self {
            Self::Http(status) => write!(encoder, "{status}"),
            Self::NoAnswer => encoder.write_str("no_answer"),
            Self::NoPrediction => encoder.write_str("no_prediction"),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    revision: String,
    code: Code,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RevisionLabel {
    revision: String,
}

/// What one revision did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RevisionTally {
    /// Requests it answered, errors included.
    pub requests: u64,
    /// Requests it did not answer with a prediction.
    pub errors: u64,
    /// Customers it selected whose outcome is known.
    pub judged: u64,
    /// Of those, the customers who did not buy, as predicted.
    pub hits: u64,
}

impl RevisionTally {
    /// The share of judged predictions that came true; `None` before the first.
    pub fn hit_rate(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.hits as f64 / self.judged as f64)
    }
}

/// What has been observed, by revision; [`super::NO_REVISION`] holds answers that named none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Snapshot {
    /// The tally of each revision seen.
    pub revisions: BTreeMap<String, RevisionTally>,
}

impl Snapshot {
    /// All requests that ended.
    pub fn requests(&self) -> u64 {
        self.revisions.values().map(|r| r.requests).sum()
    }

    /// All requests that ended without a prediction.
    pub fn errors(&self) -> u64 {
        self.revisions.values().map(|r| r.errors).sum()
    }

    /// The share of all requests that `revision` answered; 0 when there were none.
    pub fn share(&self, revision: &str) -> f64 {
        let mine = self.revisions.get(revision).map_or(0, |r| r.requests);
        mine as f64 / self.requests().max(1) as f64
    }

    /// What came after `earlier`, a snapshot of the same replay.
    pub fn since(&self, earlier: &Self) -> Self {
        let none = RevisionTally::default();
        let revisions = self.revisions.iter().map(|(revision, now)| {
            let then = earlier.revisions.get(revision).unwrap_or(&none);
            let between = RevisionTally {
                requests: now.requests.saturating_sub(then.requests),
                errors: now.errors.saturating_sub(then.errors),
                judged: now.judged.saturating_sub(then.judged),
                hits: now.hits.saturating_sub(then.hits),
            };
            (revision.clone(), between)
        });
        Self { revisions: revisions.collect() }
    }
}

/// The counters and the snapshot, always moved together.
#[derive(Debug)]
pub(super) struct Tally {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    judged: Family<RevisionLabel, Counter>,
    hits: Family<RevisionLabel, Counter>,
    snapshot: Mutex<Snapshot>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("replay_requests", "Requests by the revision that answered", requests.clone());
        let judged = Family::default();
        registry.register("outcome_judged", "Selected customers whose outcome is known", judged.clone());
        let hits = Family::default();
        registry.register("outcome_hits", "Selected customers who did not buy, as predicted", hits.clone());
        Self { registry, requests, judged, hits, snapshot: Mutex::default() }
    }

    pub(super) fn requested(&self, revision: &str, code: Code) {
        let mut snapshot = self.lock();
        let tally = snapshot.revisions.entry(revision.to_owned()).or_default();
        tally.requests += 1;
        tally.errors += u64::from(code.is_error());
        self.requests.get_or_create(&RequestLabels { revision: revision.to_owned(), code }).inc();
    }

    pub(super) fn judged(&self, revision: &str, hit: bool) {
        let mut snapshot = self.lock();
        let tally = snapshot.revisions.entry(revision.to_owned()).or_default();
        tally.judged += 1;
        tally.hits += u64::from(hit);
        let label = RevisionLabel { revision: revision.to_owned() };
        self.judged.get_or_create(&label).inc();
        // Created even at zero hits: a rate over a missing series is no data, not 0 %.
        self.hits.get_or_create(&label).inc_by(u64::from(hit));
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    pub(super) fn text(&self) -> String {
        let _whole = self.lock();
        let mut text = String::new();
        // Writing to a String cannot fail; a cut text has no `# EOF`, which Prometheus refuses.
        let _ = text::encode(&mut text, &self.registry);
        text
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
