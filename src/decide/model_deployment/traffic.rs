//! What takes requests to the pods: the route and its proposal, or the Service of the deployment's name.

use std::cell::RefCell;
use std::rc::Rc;

use k8s_openapi::api::core::v1::Service;

use super::children::Work;
use super::pass::Pass;
use crate::api::Weight;
use crate::api::gateway::HttpRoute;
use crate::api::labels;
use crate::api::model_deployment::{Attempt, AttemptState, Gateway, RevisionRole};
use crate::build;
use crate::build::route::{Backend, Comparison};
use crate::decide::{Child, ChildKind};

/// What a route is written from, besides the deployment.
#[derive(PartialEq)]
struct Draft {
    gateway: Gateway,
    backends: Vec<Backend>,
    mirror: Option<Backend>,
    fence: Option<i64>,
}

/// The route that a status asks for, beside the live one.
pub(super) struct WantedRoute {
    pub(super) route: HttpRoute,
    /// How the live one compares, if there is one.
    pub(super) live: Option<Comparison>,
    /// The live one is as it is asked for, fence included.
    pub(super) stands: bool,
}

/// The route that was asked for last in this pass. A pass asks many times, and seldom for another one: writing a route and
/// comparing two is the dearest thing that deciding does.
#[derive(Default)]
pub(super) struct LastRoute(RefCell<Option<(Draft, Rc<WantedRoute>)>>);

impl Work<'_> {
    /// The route, or the Service that switches. Neither goes before the other has taken over.
    pub(super) fn traffic(&mut self) {
        if self.pass.has_gateway() {
            // A route that is not there yet may be refused, and nothing is written after that.
            let service_first = self.children.route.is_none() && self.children.services.contains_key(self.pass.name());
            if service_first {
                self.stable_service();
            }
            self.route();
            if service_first {
                return;
            }
            // Who called the Service before there was a gateway goes on calling it.
            if self.children.services.contains_key(self.pass.name()) {
                self.stable_service();
            }
        } else {
            if stable_service_is_current(self.pass) {
                self.no_route();
            } else if self.children.route.is_some()
                && let Some(wanted) = route(self.pass)
            {
                self.write_wanted(&wanted);
            }
            self.stable_service();
        }
    }

    /// A route that the spec does not ask for any more would keep its last weights for ever.
    fn no_route(&mut self) {
        self.delete_route(self.children.route.as_deref());
    }

    fn delete_route(&mut self, live: Option<&HttpRoute>) {
        if let Some(live) = live {
            self.delete(ChildKind::HttpRoute, &live.metadata);
        }
    }

    fn route(&mut self) {
        if !self.children.gateway_api {
            return self.blocked("GatewayApiMissing", "spec.traffic.gateway: this cluster has no Gateway API (HTTPRoute v1); install its CRDs and a gateway, or remove spec.traffic".into());
        }
        if let Some(wanted) = route(self.pass).filter(|wanted| !self.pass.leaves_route(wanted)) {
            self.write_wanted(&wanted);
        }
    }

    fn write_wanted(&mut self, wanted: &WantedRoute) {
        if !wanted.stands {
            self.write_route(self.children.route.as_deref(), wanted.route.clone());
        }
    }

    fn write_route(&mut self, live: Option<&HttpRoute>, wanted: HttpRoute) {
        match live {
            None => self.create(Child::HttpRoute(Box::new(wanted))),
            Some(live) => self.write_over(&live.metadata, Child::HttpRoute(Box::new(wanted))),
        }
    }

    /// Last, and not while there is something to tell: a proposal that the API server refuses ends the
    /// pass, and nothing else may wait for it.
    pub(super) fn proposal(&mut self) {
        let live = self.children.proposed.as_deref();
        match (self.pass.proposal(), live) {
            (None, live) => self.delete_route(live),
            (Some(_), _) if self.pass.has_news() => {}
            // Another edit begins anew, so that its age tells how long it has been waiting.
            (Some(wanted), Some(live)) if build::route::gateway(live) != build::route::gateway(&wanted) => {
                self.delete_route(Some(live));
            }
            (Some(wanted), Some(live)) if build::route::same(live, &wanted) => {}
            (Some(wanted), live) => self.write_route(live, wanted),
        }
    }

    fn stable_service(&mut self) {
        if let Some(wanted) = stable_service(self.pass) {
            self.service(self.pass.name(), wanted);
        }
    }
}

/// The route the status asks for; `None` before anything has traffic.
pub(super) fn route(pass: &Pass<'_>) -> Option<Rc<WantedRoute>> {
    let gateway = pass.gateway_in_effect()?;
    let attempt = pass.status.attempt.as_ref().filter(|it| it.state.is_active() && it.weight > Weight::NONE);
    let stable = pass.status.stable.as_ref().map(|it| it.revision.as_str());
    let backend = |revision: &str, weight| Backend { revision: revision.into(), weight, port: port_of(pass, revision) };
    let backends = match (stable, attempt) {
        // All of the traffic: the route is written as it stays, not with an empty backend now and without it later.
        (Some(_), Some(attempt)) if attempt.weight == Weight::FULL => vec![backend(&attempt.revision, Weight::FULL)],
        (Some(stable), Some(attempt)) => {
            vec![backend(stable, attempt.weight.rest()), backend(&attempt.revision, attempt.weight)]
        }
        (Some(stable), None) => vec![backend(stable, Weight::FULL)],
        (None, Some(attempt)) => vec![backend(&attempt.revision, attempt.weight)],
        // What is there was not written for this status, which is old then, and about to be followed by the present one.
        (None, None) if is_ahead_of_status(pass, gateway) => return None,
        // A first deployment that was taken back: the route stays, without weight.
        (None, None) => {
            let children = &pass.observed.children;
            let comes = children.gateway_api && may_come_late(pass, ChildKind::HttpRoute);
            children.route.as_ref().map(drop).or(comes.then_some(()))?;
            vec![backend(&pass.status.attempt.as_ref()?.revision, Weight::NONE)]
        }
    };
    let mirror = pass.mirror().filter(|_| pass.mirror_is_accepted());
    Some(pass.last_route.of(pass, gateway, backends, mirror))
}

impl LastRoute {
    fn of(
        &self,
        pass: &Pass<'_>,
        gateway: &Gateway,
        backends: Vec<Backend>,
        mirror: Option<Backend>,
    ) -> Rc<WantedRoute> {
        let fence = fence(pass);
        let is_it =
            |it: &Draft| it.backends == backends && it.mirror == mirror && it.fence == fence && it.gateway == *gateway;
        if let Some((_, wanted)) = self.0.borrow().as_ref().filter(|(draft, _)| is_it(draft)) {
            return wanted.clone();
        }
        let draft = Draft { gateway: gateway.clone(), backends, mirror, fence };
        let wanted = Rc::new(draft.write(pass));
        self.0.replace(Some((draft, wanted.clone())));
        wanted
    }
}

impl Draft {
    fn write(&self, pass: &Pass<'_>) -> WantedRoute {
        let mut route = build::route::write(pass.resource, &self.gateway, &self.backends, self.mirror.as_ref());
        self.fence.into_iter().for_each(|it| build::fence::raise(&mut route.metadata, it));
        let live = pass.observed.children.route.as_deref();
        let comparison = live.map(|live| build::route::compare(live, &route));
        let fenced = live.is_some_and(|live| build::fence::stands(&live.metadata, &route.metadata));
        WantedRoute { stands: fenced && comparison.is_some_and(|it| it.is_same), live: comparison, route }
    }
}

/// The decision that took requests back, copied ones among them, while that is under way: see [`build::fence`]. Who
/// never was to get any has nothing on its way.
fn fence(pass: &Pass<'_>) -> Option<i64> {
    let had_requests = |it: &&Attempt| it.taken_from.or(it.withdrawn_from).or(it.copied).is_some();
    pass.active().filter(|_| pass.is_on_the_way_back()).filter(had_requests).map(|it| it.decided)
}

/// Whether the route, or the Service, of a first deployment may still come into being by a late write. One that is
/// there already cannot be created; nor can one whose name is somebody else's, or that the API server has just refused.
fn may_come_late(pass: &Pass<'_>, kind: ChildKind) -> bool {
    let had_weight = |it: &&Attempt| it.taken_from.or(it.withdrawn_from).is_some();
    let memory = &pass.observed.memory;
    let taken = memory.foreign_children.contains(&format!("{}/{}", kind.name(), pass.name()));
    let refused = memory.refused.as_ref().is_some_and(|it| it.is_of(kind, pass.name()));
    pass.active().filter(had_weight).is_some() && !taken && !refused
}

/// Whether the route is as the operator writes it when all of the traffic goes to an attempt that, as far as status says, waits for
/// its first: that was decided later, and status is old. A process that begins may read one beside a new route. An edit by
/// somebody else does not look like that.
fn is_ahead_of_status(pass: &Pass<'_>, gateway: &Gateway) -> bool {
    let is_new =
        |it: &&Attempt| it.state == AttemptState::Starting && it.weight == Weight::NONE && it.withdrawn_from.is_none();
    let Some(attempt) = pass.active().filter(is_new).filter(|_| pass.status.stable.is_none()) else { return false };
    let (revision, port) = (attempt.revision.clone(), port_of(pass, &attempt.revision));
    let promoted =
        build::route::write(pass.resource, gateway, &[Backend { revision, weight: Weight::FULL, port }], None);
    pass.observed.children.route.as_deref().is_some_and(|live| build::route::same(live, &promoted))
}

/// The port a revision's pods listen on, from its record: the spec may have moved on.
pub(super) fn port_of(pass: &Pass<'_>, revision: &str) -> i32 {
    pass.recorded(revision).and_then(|it| it.port).unwrap_or(pass.resource.spec.port)
}

/// Whether a live Service is the wanted one.
pub(super) fn same_service(live: &Service, wanted: &Service) -> bool {
    build::service::same(live, wanted) && build::fence::stands(&live.metadata, &wanted.metadata)
}

/// A value that is no revision's: those have ten characters.
const NOBODY: &str = "none";

/// The deployment's own Service, selecting the revision that is to serve.
fn stable_service(pass: &Pass<'_>) -> Option<Service> {
    let promoted =
        pass.status.attempt.as_ref().filter(|it| it.state == AttemptState::Promoting).map(|it| it.revision.as_str());
    // A first deployment that was taken back: the Service stays, and selects nothing.
    let is_there = pass.observed.children.services.contains_key(pass.name());
    let nobody = (is_there || may_come_late(pass, ChildKind::Service)).then_some(NOBODY);
    let revision = promoted.or(pass.status.stable.as_ref().map(|it| it.revision.as_str())).or(nobody)?;
    let mut service = build::service::of_deployment(pass.resource, revision, port_of(pass, revision));
    fence(pass).into_iter().for_each(|it| build::fence::raise(&mut service.metadata, it));
    Some(service)
}

/// Whether the Service already selects it.
fn stable_service_is_current(pass: &Pass<'_>) -> bool {
    let Some(wanted) = stable_service(pass) else { return true };
    pass.observed.children.services.get(pass.name()).is_some_and(|live| same_service(live, &wanted))
}

/// Whether what is live takes requests to a revision that served until it was revoked, and only ends its last ones.
pub(super) fn goes_to_what_leaves(pass: &Pass<'_>) -> bool {
    let draining = pass.status.revisions.iter().filter(|it| it.role == RevisionRole::Draining);
    let leaving = draining.filter(|it| pass.is_revoked(&it.revision));
    let leaving: Vec<String> = leaving.map(|it| labels::name(&[pass.name(), &it.revision])).collect();
    if leaving.is_empty() {
        return false;
    }
    let children = &pass.observed.children;
    let weights = children.route.iter().flat_map(|it| build::route::weights(it)).flatten();
    let selected = children.services.get(pass.name()).and_then(|it| build::service::selected(it));
    let mut named = weights.filter(|(_, weight)| *weight > 0).map(|(name, _)| name);
    named.any(|it| leaving.contains(&it))
        || selected.is_some_and(|it| leaving.contains(&labels::name(&[pass.name(), it])))
}

/// Whether it does, where there is one to be kept: without a gateway, and for who called it before there was one.
pub(super) fn service_follows(pass: &Pass<'_>) -> bool {
    let kept = !pass.has_gateway() || pass.observed.children.services.contains_key(pass.name());
    !kept || stable_service_is_current(pass)
}
