//! What the cluster does, and what time does.

use super::*;

impl World {
    pub(in crate::decide::model_deployment::tests) fn advance(&mut self, seconds: i64) {
        self.now += TimeDelta::seconds(seconds);
    }

    /// Autoscalers without anything to go by: what has too few pods gets those it should have at least.
    pub(in crate::decide::model_deployment::tests) fn autoscalers_act(&mut self) {
        for (name, autoscaler) in &self.children.autoscalers.clone() {
            let (min, max) = {
                let spec = autoscaler.spec.as_ref().unwrap();
                (spec.min_replicas.unwrap_or(1), spec.max_replicas)
            };
            let Some(live) = self.children.deployments.get(name) else { continue };
            let has = live.spec.as_ref().unwrap().replicas.unwrap_or(1);
            if has > 0 && has.clamp(min, max) != has {
                self.autoscaled(name, has.clamp(min, max));
            }
        }
    }

    /// An autoscaler gives a Deployment so many pods.
    pub(in crate::decide::model_deployment::tests) fn autoscaled(&mut self, name: &str, pods: i32) {
        self.written += 1;
        let live = Arc::make_mut(self.children.deployments.get_mut(name).expect("a Deployment"));
        live.spec.as_mut().unwrap().replicas = Some(pods);
        live.metadata.generation = live.metadata.generation.map(|it| it + 1);
        live.metadata.resource_version = Some(self.written.to_string());
    }

    /// Every pod asked for is ready.
    pub(in crate::decide::model_deployment::tests) fn pods_ready(&mut self) {
        for deployment in self.children.deployments.values_mut() {
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            set_ready(Arc::make_mut(deployment), wanted);
        }
    }

    /// So many pods of one revision are.
    pub(in crate::decide::model_deployment::tests) fn pods_ready_of(&mut self, revision: &str, ready: i32) {
        let name = labels::name(&["churn", revision]);
        set_ready(Arc::make_mut(self.children.deployments.get_mut(&name).expect("a Deployment")), ready);
    }

    /// A pod of the candidate with this status.
    pub(in crate::decide::model_deployment::tests) fn pod(&mut self, status: Value) {
        let labels = [(labels::REVISION.to_owned(), self.attempt().revision)];
        let metadata = ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() };
        self.pods = vec![Arc::new(Pod { metadata, status: Some(from(status)), ..Pod::default() })];
    }

    /// Of the Gateways that exist, each accepts both routes, or refuses what it does not have.
    pub(in crate::decide::model_deployment::tests) fn gateway_accepts(&mut self) {
        self.gateway_says("True", "Accepted", "");
    }

    /// What the Gateway `infra/internal` says of the route. Of a proposal it says the same, unless that
    /// asks for what it does not have: a section `nowhere`, a filter `Unheard`. Of other Gateways nobody says anything.
    pub(in crate::decide::model_deployment::tests) fn gateway_says(
        &mut self,
        status: &str,
        reason: &str,
        message: &str,
    ) {
        let routes = [&mut self.children.route, &mut self.children.proposed];
        for route in routes.into_iter().flatten().map(Arc::make_mut) {
            let parents: Vec<Value> = route.spec.parent_refs.list().iter().filter_map(|parent| {
                let answer = |status: &str, reason: &str, message: &str| {
                    let condition = |type_: &str| {
                        json!({"type": type_, "status": status, "reason": reason, "message": message,
                            "observedGeneration": route.metadata.generation, "lastTransitionTime": "2026-11-24T00:00:00Z"})
                    };
                    json!({"parentRef": parent, "conditions": [condition("Accepted"), condition("ResolvedRefs")]})
                };
                let asked = json!(route.spec.rules).to_string();
                let unheard = asked.contains("Unheard") || self.has_no_mirrors && asked.contains("RequestMirror");
                match (parent["name"] == "internal", parent["sectionName"] == "nowhere", unheard) {
                    (false, ..) => None,
                    (true, true, _) => Some(answer("False", "NoMatchingParent", "no listener nowhere")),
                    (true, false, true) => Some(answer("False", "UnsupportedValue", "no filter Unheard")),
                    _ => Some(answer(status, reason, message)),
                }
            }).collect();
            route.status = Some(HttpRouteStatus { parents: from(json!(parents)) });
        }
    }

    /// `spec.traffic.gateway` is edited.
    pub(in crate::decide::model_deployment::tests) fn gateway(&mut self, gateway: Value) {
        self.edit(|spec| spec.traffic = Some(from(json!({"gateway": gateway}))));
    }

    /// What the metric source answers from now on; `samples` counts requests.
    pub(in crate::decide::model_deployment::tests) fn measure(&mut self, metric: &str, answer: Measurement) {
        self.sources.answers.insert((metric.into(), Side::Candidate), answer);
    }

    pub(in crate::decide::model_deployment::tests) fn measure_stable(&mut self, metric: &str, answer: Measurement) {
        self.sources.answers.insert((metric.into(), Side::Stable), answer);
    }

    /// What a proportion counts from now on: successes and trials of candidate and stable.
    pub(in crate::decide::model_deployment::tests) fn count(
        &mut self,
        metric: &str,
        candidate: (f64, f64),
        stable: (f64, f64),
    ) {
        for ((successes, trials), side) in [(candidate, Side::Candidate), (stable, Side::Stable)] {
            self.sources.answers.insert((format!("{metric} Successes"), side), Measurement::of(successes));
            self.sources.answers.insert((format!("{metric} Trials"), side), Measurement::of(trials));
        }
    }

    /// Pods ready, route accepted, the guardrail far from its bound.
    pub(in crate::decide::model_deployment::tests) fn all_is_well(&mut self) {
        self.autoscalers_act();
        self.pods_ready();
        self.gateway_accepts();
        self.measure("error-rate", Measurement::of(0.001));
    }

    /// The cluster's objects are gone, and the deployment is created again from a backup that has no status.
    pub(in crate::decide::model_deployment::tests) fn restore(&mut self) {
        self.resource.status = None;
        self.resource.metadata.uid = Some("99998888-7777".into());
        self.resource.metadata.generation = Some(1);
        self.resource.metadata.annotations = None;
        self.children = Children { gateway_api: true, ..Children::default() };
        self.pods.clear();
    }

    pub(in crate::decide::model_deployment::tests) fn trail_is_down(&mut self) {
        self.memory.trail_unavailable_since = Some(self.now);
    }

    /// Whatever happens in a healthy cluster until nothing is left to do.
    pub(in crate::decide::model_deployment::tests) fn come_to_rest(&mut self) {
        for _ in 0..200 {
            self.all_is_well();
            // Nothing to do, and nothing that only waits for its time.
            let plan = self.pass();
            if is_nothing(&plan) && plan.requeue.is_none() {
                return;
            }
            self.advance(60);
        }
        panic!("this world does not come to rest: {:#?}", self.status());
    }
}
