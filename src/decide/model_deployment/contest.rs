//! Somebody else edits the route, or the pods and the Service of a revision.
//!
//! The weights are the operator's. What an edit makes of them is reset at once, and a person who did it by hand
//! notices. Something that does it again and again (another controller, a pipeline with a copy of the route) must not be
//! fought at full speed: after three resets nothing advances, a condition says why, and the route is reset only
//! every ten seconds. Weight that is on its way to 0 is written at once in any case. Ten minutes without an edit end it.
//!
//! The same goes for a Deployment and a revision's Service ([`crate::decide::resets`]): pods that are not the revision's, or not reached, must
//! not count for more weight. What is put back of them waits for nothing on the way back, where it may be what the traffic needs, or what
//! must not run. How often it was is remembered by the process alone, and in no status.

use super::children::Problem;
use super::pass::Pass;
use super::traffic::{self, WantedRoute};
use crate::api::Weight;
use crate::api::duration::after;
use crate::api::model_deployment::{AttemptState, RouteContest};
use crate::decide::resets::{CALM, Contended, PAUSE, Reset, TOLERATED, becomes_contest};
use crate::decide::{ChildKind, EventType};

/// Reason: of the route.
const ROUTE: &str = "RouteContested";
/// Reason: of another child.
const CHILD: &str = "ChildContested";

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
        // (A clock that was set back since does not make it wait for longer.)
        let last = before.at.filter(|at| contested && *at <= self.now && !self.is_on_the_way_back());
        if let Some(next) = last.map(|at| after(at, PAUSE)).filter(|at| *at > self.now) {
            return self.look_again(next);
        }
        let resets = before.resets.saturating_add(1);
        self.status.route_contest = Some(RouteContest { resets, at: Some(self.now), version: edited });
        if resets == TOLERATED {
            let message = self.contested_route().unwrap_or_default();
            self.tell(EventType::Warning, ROUTE, "ResetRoute", message);
        }
    }

    /// Whether an edit is left as it is for a moment.
    pub(super) fn leaves_route(&self, wanted: &WantedRoute) -> bool {
        let reset = self.status.route_contest.as_ref().map(|it| it.version.as_str());
        self.edited_route(wanted).is_some_and(|edited| reset != Some(&edited)) && !self.is_on_the_way_back()
    }

    /// The contests that go on.
    pub(super) fn contests(&self) -> impl Iterator<Item = Problem> {
        let route = self.contested_route().map(|message| Problem { reason: ROUTE, message });
        let child = self.contested_children().next().map(|it| Problem { reason: CHILD, message: words(&it.child) });
        route.into_iter().chain(child)
    }

    /// Whether nothing advances because of one. Where the stable revision does not serve, only that of the route counts: it would have to
    /// carry the weight.
    pub(super) fn is_held_by_contest(&self) -> bool {
        self.contested_route().is_some() || !self.is_emergency() && self.contested_children().next().is_some()
    }

    fn contested_route(&self) -> Option<String> {
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

    /// Children other than the route that something else edits again and again, and that are still there.
    fn contested_children(&self) -> impl Iterator<Item = &Reset> {
        self.observed.memory.resets.iter().filter(|it| it.is_contested(self.now) && self.is_there(&it.child))
    }

    fn is_there(&self, it: &Contended) -> bool {
        let children = &self.observed.children;
        let uid = match it.kind {
            ChildKind::Deployment => children.deployments.get(&it.name).and_then(|it| it.metadata.uid.as_ref()),
            ChildKind::Service => children.services.get(&it.name).and_then(|it| it.metadata.uid.as_ref()),
            _ => None,
        };
        uid == Some(&it.uid)
    }

    /// Whether an edit of this child is left as it is for a moment.
    pub(super) fn leaves_child(&self, child: &Contended) -> bool {
        let goes_back = self.is_on_the_way_back() || self.recalled_until().is_some();
        !goes_back && self.contested_children().any(|it| it.child == *child && it.is_left(self.now))
    }

    /// Looks again when they may be put back, and when the contest is over.
    pub(super) fn watch_children(&mut self) {
        if let Some(next) = self.contested_children().map(|it| it.next(self.now)).min() {
            self.look_again(next);
        }
    }

    /// Once, when these writes make a contest of it.
    pub(super) fn tell_of_contest(&mut self, resets: &[Contended]) {
        let (before, now) = (&self.observed.memory.resets, self.now);
        for child in resets.iter().filter(|it| becomes_contest(before, it, now)) {
            self.tell(EventType::Warning, CHILD, "PutBack", words(child));
        }
    }

    /// Without an edit for long it is over. Of a time that is still to come, by a clock that was set back since, nobody knows how long.
    fn forgive(&mut self) {
        let Some(contest) = self.status.route_contest.as_mut() else { return };
        let Some(at) = contest.at else { return };
        if at > self.now {
            contest.at = Some(self.now);
        }
        let calm = after(at.min(self.now), CALM);
        if calm <= self.now {
            self.status.route_contest = None;
        } else {
            self.look_again(calm);
        }
    }
}

/// What is to be said of a contested child.
fn words(Contended { kind, name, .. }: &Contended) -> String {
    format!(
        "something else edits {} {name} again and again: find it by the object's metadata.managedFields and stop it; nothing advances until there has been no edit for ten minutes",
        kind.name()
    )
}
