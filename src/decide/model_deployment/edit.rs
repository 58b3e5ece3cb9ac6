//! An edit of `spec.traffic.gateway`: the new is made before the old is broken.
//!
//! A Gateway that refuses a route programs it no more, and what is refused is known only
//! after it was written: a wrong `sectionName` in the one route would take all requests away.
//! So an edit is first written into a route of its own that no request takes (the *proposal*),
//! and into the true one when every Gateway it names has accepted that. Until then the
//! true route is written as it last was, with whatever weights are decided: no weight waits for an edit.
//!
//! A refused proposal stays, and with it the question: when the Gateway is corrected rather
//! than the spec, it is accepted without another write. Nothing is tried in a loop.
//!
//! A mirror (see `shadow`) is tried in the same way: a Gateway that has no such filter would refuse the whole route.
//!
//! While nothing has served there is nothing to keep: an edit goes into the route at once.

use chrono::{DateTime, Utc};

use super::acceptance::{self, RouteState};
use super::pass::Pass;
use super::{first, live, traffic};
use crate::api::Weight;
use crate::api::duration::{self, after};
use crate::api::gateway::HttpRoute;
use crate::api::model_deployment::{Cause, Gateway};
use crate::build::route::{self, Backend};
use crate::decide::ChildKind;

/// Where an edit stands that is not in effect.
pub(super) struct Edit {
    /// CamelCase, from the documented list.
    pub(super) reason: &'static str,
    /// What is awaited, or wrong, and what to do.
    pub(super) message: String,
    /// Waiting does not help.
    pub(super) in_vain: bool,
}

/// What the sentences about an edit end with.
const MEANWHILE: &str = "until then the route stays as it was last accepted";

impl Pass<'_> {
    /// What the route is written from: what the spec asks for, once the Gateways have accepted it; and
    /// as it was, if the spec asks for no route and one is still there.
    pub(super) fn gateway_in_effect(&self) -> Option<&Gateway> {
        let Some(traffic) = &self.resource.spec.traffic else {
            return self.applied_gateway();
        };
        let accepted = || {
            let proposed = self.observed.children.proposed.as_deref();
            self.asked(proposed).is_some_and(|it| acceptance::route_state(it) == RouteState::Accepted)
        };
        match self.kept() {
            Some(kept) if !accepted() => Some(kept),
            _ => Some(&traffic.gateway),
        }
    }

    /// What the live route was written from.
    fn applied_gateway(&self) -> Option<&Gateway> {
        let read = || route::gateway(self.observed.children.route.as_deref()?);
        self.applied_gateway.get_or_init(read).as_ref()
    }

    /// What the live route was written from, where the spec asks for something else.
    fn kept(&self) -> Option<&Gateway> {
        let wanted = &self.resource.spec.traffic.as_ref()?.gateway;
        // What has not served has nothing to lose by an edit; what was stopped must not be lost sight of by one.
        let has_served = self.status.stable.is_some()
            || self.active().is_some_and(|it| first::has_served_alone(&self.status, it))
            || self.status.taken_back.iter().any(|it| it.cause == Cause::Revoked);
        let kept = self.applied_gateway()?;
        (has_served && kept != wanted).then_some(kept)
    }

    /// The proposal that should be there: of an edit, or else of a mirror that no Gateway has accepted yet.
    pub(super) fn proposal(&self) -> Option<HttpRoute> {
        let edited = self.kept().is_some();
        // What is accepted goes into the true route as a whole: an edit is tried together with the mirror.
        let mirror = self.mirror().filter(|_| edited || self.awaits_mirror());
        if !self.observed.children.gateway_api || !edited && mirror.is_none() {
            return None;
        }
        let attempt = || self.status.attempt.as_ref().map(|it| &it.revision);
        let revision = self.status.stable.as_ref().map(|it| &it.revision).or_else(attempt)?;
        let backend =
            Backend { revision: revision.clone(), weight: Weight::FULL, port: traffic::port_of(self, revision) };
        Some(route::propose(self.resource, &self.resource.spec.traffic.as_ref()?.gateway, &backend, mirror.as_ref()))
    }

    /// What the Gateways say of the proposal that should be there.
    pub(super) fn proposal_state(&self) -> Option<RouteState> {
        self.asked(self.observed.children.proposed.as_deref()).map(acceptance::route_state)
    }

    /// The live proposal, if it asks what should be asked.
    fn asked<'b>(&self, proposed: Option<&'b HttpRoute>) -> Option<&'b HttpRoute> {
        let wanted = self.proposal()?;
        proposed.filter(|live| live.metadata.deletion_timestamp.is_none() && route::same(live, &wanted))
    }

    /// What keeps an edit from being in effect.
    pub(super) fn edit(&self) -> Option<Edit> {
        let _kept = self.kept()?;
        if let Some(message) = self.refused_proposal() {
            return Some(Edit { reason: "ChildRefused", message, in_vain: true });
        }
        let proposed = self.observed.children.proposed.as_deref();
        let state = self.asked(proposed).map(|it| (it, acceptance::route_state(it)));
        let pending = |message: String, in_vain| Edit { reason: "RoutePending", message, in_vain };
        Some(match state {
            Some((_, RouteState::Rejected(why))) => Edit {
                reason: "RouteRejected",
                message: format!(
                    "the edit of spec.traffic.gateway is refused by {why}; correct it or the Gateway: {MEANWHILE}"
                ),
                in_vain: true,
            },
            Some((live, RouteState::Pending)) => {
                let silent = acceptance::silent_parents(live).join(" and ");
                let limit = self.policy.progress_deadline;
                if proposed_at(live).is_some_and(|since| after(since, limit) <= self.now) {
                    let limit = duration::written(limit);
                    pending(
                        format!(
                            "no gateway has answered for {silent} within {limit}: create it, or correct spec.traffic.gateway.parentRefs; {MEANWHILE}"
                        ),
                        true,
                    )
                } else {
                    pending(
                        format!("waiting for {silent} to accept the edit of spec.traffic.gateway; {MEANWHILE}"),
                        false,
                    )
                }
            }
            Some((_, RouteState::Accepted)) | None => pending(
                format!("the edit of spec.traffic.gateway is being proposed to its Gateways; {MEANWHILE}"),
                false,
            ),
        })
    }

    /// What the API server has against the proposal.
    pub(super) fn refused_proposal(&self) -> Option<String> {
        let refused = self.observed.memory.refused.as_ref()?;
        let said = &refused.message;
        let is_its = refused.is_of(ChildKind::HttpRoute, &route::proposed_name(self.name()));
        is_its.then(|| {
            format!("the API server refuses the edit of spec.traffic.gateway: {said}; correct it: {MEANWHILE}")
        })
    }

    /// Looks again when an edit has waited too long for an answer.
    pub(super) fn await_edit(&mut self) {
        let proposed = self.observed.children.proposed.as_deref().filter(|_| self.kept().is_some());
        let at = proposed.and_then(proposed_at).map(|since| after(since, self.policy.progress_deadline));
        if let Some(at) = at.filter(|at| *at > self.now) {
            self.look_again(at);
        }
    }
}

fn proposed_at(proposed: &HttpRoute) -> Option<DateTime<Utc>> {
    live::moment(proposed.metadata.creation_timestamp.as_ref())
}
