//! Somebody else edits the route, or the pods and the Service of a revision.
//!
//! The weights are the operator's. What an edit makes of them is reset at once, and a person who did it by hand
//! notices. Something that does it again and again (another controller, a pipeline with a copy of the route) must not be
//! fought at full speed: after three resets nothing advances, a condition says why, and the route is reset only
//! every ten seconds. Weight that is on its way to 0 is written at once in any case. Ten minutes without an edit end it.
//!
//! The same goes for a Deployment and a revision's Service ([`crate::decide::resets`]), except that the rollout goes on: weight waits for pods in
//! any case. What was put back of them is remembered by the process alone, and in no status.

use super::pass::Pass;
use super::traffic::{self, WantedRoute};
use crate::api::Weight;
use crate::api::duration::after;
use crate::api::model_deployment::{AttemptState, RouteContest};
use crate::decide::resets::{CALM, PAUSE, Reset, TOLERATED};
use crate::decide::{ChildKind, EventType};

impl Pass<'_> {
    /// Notes an edit of the route by somebody else, and that there has been none for long.
    pub(super) fn watch_route(&mut self) {
        let Some(edited) = traffic::route(self).and_then(|wanted| self.edited_route(&wanted)) else {
            return self.forgive();
        };
        let before = self.status.route_contest.clone().unwrap_or_default();
        if before.version == edited {
            return;
        }
        let contested = before.resets >= TOLERATED;
        let next = before.at.filter(|_| contested && !self.is_on_the_way_back()).map(|at| after(at, PAUSE));
        if let Some(next) = next.filter(|at| *at > self.now) {
            return self.look_again(next);
        }
        let resets = before.resets.saturating_add(1);
        self.status.route_contest = Some(RouteContest { resets, at: Some(self.now), version: edited });
        if resets == TOLERATED {
            let message = self.contested().unwrap_or_default();
            self.tell(EventType::Warning, "RouteContested", "ResetRoute", message);
        }
    }

    /// Whether an edit is left as it is for a moment.
    pub(super) fn leaves_route(&self, wanted: &WantedRoute) -> bool {
        let reset = self.status.route_contest.as_ref().map(|it| it.version.as_str());
        self.edited_route(wanted).is_some_and(|edited| reset != Some(&edited)) && !self.is_on_the_way_back()
    }

    /// What is to be said of a contest that goes on.
    pub(super) fn contested(&self) -> Option<String> {
        let contest = self.status.route_contest.as_ref().filter(|it| it.resets >= TOLERATED)?;
        Some(format!(
            "something else edits HTTPRoute {} again and again ({} resets): find it by the route's metadata.managedFields and stop it; nothing advances until there has been no edit for ten minutes",
            self.name(),
            contest.resets
        ))
    }

    /// What tells one edit from the next, of a route that somebody has edited since the operator wrote it.
    fn edited_route(&self, wanted: &WantedRoute) -> Option<String> {
        let live = self.observed.children.route.as_deref().filter(|_| self.has_gateway())?;
        let comparison = wanted.live?;
        let edited = comparison.is_edited || self.traffic_is_settled() && !comparison.weighs_alike;
        // Not the resourceVersion: a Gateway that says what it thinks of an edit makes no second one of it.
        let version = format!("{}/{}", live.metadata.uid.as_deref()?, live.metadata.generation?);
        (edited && live.metadata.deletion_timestamp.is_none()).then_some(version)
    }

    /// Whether the weights in status are those that were in effect: none are on their way.
    fn traffic_is_settled(&self) -> bool {
        self.active().is_none_or(|attempt| match attempt.state {
            AttemptState::Observing => true,
            AttemptState::Shadowing => attempt.observing_since.is_some(),
            AttemptState::Starting => attempt.weight > Weight::NONE,
            _ => false,
        })
    }

    /// Children other than the route that something else edits again and again.
    fn contested_children(&self) -> impl Iterator<Item = &Reset> {
        self.observed.memory.resets.iter().filter(|it| it.is_contested(self.now))
    }

    /// Whether an edit of this child is left as it is for a moment.
    pub(super) fn leaves_child(&self, kind: ChildKind, name: &str) -> bool {
        self.contested_children().any(|it| it.kind == kind && it.name == name && it.next().0 > self.now)
    }

    /// Looks again when they may be put back, and when the contest is over.
    pub(super) fn watch_children(&mut self) {
        let next = |it: &Reset| {
            let (again, over) = it.next();
            if again > self.now { again } else { over }
        };
        if let Some(next) = self.contested_children().map(next).min() {
            self.look_again(next);
        }
    }

    /// What is to be said of children that are contested.
    pub(super) fn contested_child(&self) -> Option<String> {
        let Reset { kind, name, times, .. } = self.contested_children().next()?;
        Some(format!(
            "something else edits {} {name} again and again (put back {times} times): find it by the object's metadata.managedFields and stop it; until there has been no edit for ten minutes it is put back every ten seconds only",
            kind.name()
        ))
    }

    fn forgive(&mut self) {
        let Some(at) = self.status.route_contest.as_ref().and_then(|it| it.at) else { return };
        let calm = after(at, CALM);
        if calm <= self.now {
            self.status.route_contest = None;
        } else {
            self.look_again(calm);
        }
    }
}
