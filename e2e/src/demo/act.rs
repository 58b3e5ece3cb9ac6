//! What was seen of one version on its way. Pure: looks go in, and what they amount to comes out.

use std::collections::BTreeMap;
use std::time::Duration;

use werkbank::api::Weight;
use werkbank::api::model_deployment::{Attempt, AttemptState, ModelDeploymentStatus};

/// Requests that Envoy has sent, by Service.
pub(super) type Sent = BTreeMap<String, u64>;

/// One look at everything. What Envoy has sent is read before its weights, and both after the status.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// Since the version was deployed.
    pub(super) at: Duration,
    pub(super) status: ModelDeploymentStatus,
    /// The version's weight in Envoy; none before there is a route.
    pub(super) envoy: Option<Weight>,
    pub(super) sent: Sent,
}

/// One version on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Act {
    pub(super) entry: String,
    pub(super) revision: String,
    /// The weights that the status told of, and from when.
    pub(super) told: Vec<(Weight, Duration)>,
    /// The weights that Envoy worked with, and from when.
    pub(super) in_envoy: Vec<(Weight, Duration)>,
    /// The weights at which the version was watched.
    pub(super) held: Vec<Held>,
    /// The last look.
    pub(super) last: Look,
}

/// A time in which status and Envoy agreed on a weight, and what Envoy sent in it.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) weight: Weight,
    before: Sent,
    after: Sent,
}

impl Act {
    pub(super) fn of(entry: &str) -> Self {
        Self { entry: entry.to_owned(), ..Self::default() }
    }

    /// Takes up one more look. Those before the operator has taken up the version say nothing about it.
    pub(super) fn see(&mut self, look: Look) {
        let Some(attempt) = look.status.attempt.as_ref().filter(|it| it.entry.name == self.entry) else {
            self.last = look;
            return;
        };
        self.revision.clone_from(&attempt.revision);
        push_change(&mut self.told, attempt.weight, look.at);
        if let Some(weight) = look.envoy {
            push_change(&mut self.in_envoy, weight, look.at);
        }
        let watched = attempt.state == AttemptState::Observing && look.envoy == Some(attempt.weight);
        let held = self.held.last_mut().filter(|it| it.weight == attempt.weight);
        match held {
            Some(held) if watched => held.after.clone_from(&look.sent),
            // The weight was in force before these requests were counted, if the look before saw it in Envoy.
            None if watched && self.last.envoy == look.envoy => {
                self.held.push(Held { weight: attempt.weight, before: look.sent.clone(), after: look.sent.clone() })
            }
            _ => {}
        }
        self.last = look;
    }

    /// Whether it was promoted or taken back.
    pub(super) fn has_ended(&self) -> bool {
        self.attempt().is_some_and(|it| !it.state.is_active())
    }

    /// The operator's attempt at this version, once there is one.
    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.last.status.attempt.as_ref().filter(|it| it.entry.name == self.entry)
    }

    /// The highest weight that was told of or in Envoy.
    pub(super) fn highest(&self) -> (Weight, Weight) {
        let of = |all: &[(Weight, Duration)]| all.iter().map(|(weight, _)| *weight).max().unwrap_or(Weight::NONE);
        (of(&self.told), of(&self.in_envoy))
    }
}

impl Held {
    /// Requests that Envoy sent to this revision.
    pub(super) fn own(&self, revision: &str) -> u64 {
        self.between().filter(|(service, _)| service.contains(revision)).map(|(_, count)| count).sum()
    }

    /// Requests that Envoy sent.
    pub(super) fn all(&self) -> u64 {
        self.between().map(|(_, count)| count).sum()
    }

    /// By Service; one that has gone meanwhile had no weight any more.
    fn between(&self) -> impl Iterator<Item = (&str, u64)> {
        self.after.iter().map(|(service, after)| {
            let before = self.before.get(service).copied().unwrap_or_default();
            (service.as_str(), after.saturating_sub(before))
        })
    }
}

fn push_change(changes: &mut Vec<(Weight, Duration)>, weight: Weight, at: Duration) {
    if changes.last().is_none_or(|(last, _)| *last != weight) {
        changes.push((weight, at));
    }
}
