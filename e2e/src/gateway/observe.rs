//! What the gateway watches, as caches, and one bell for "something changed".

use std::{collections::HashMap, hash::Hash, sync::Arc};

use anyhow::{Context, Result};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet};

use werkbank::api::gateway::GROUP;

use super::{
    api::{Gateway, GatewayClass, HttpRoute},
    translate::World,
};

/// Caches of everything that the translation depends on.
#[derive(Clone)]
pub(crate) struct Caches {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HttpRoute>,
    services: Store<Service>,
    pods: Store<Pod>,
    namespaces: Store<Namespace>,
}

impl Caches {
    /// Starts the watches and returns when all caches are filled.
    pub(crate) async fn start(client: &Client, tasks: &mut JoinSet<()>, changed: &Arc<Notify>) -> Result<Self> {
        let caches = Self {
            classes: cache(client, tasks, changed),
            gateways: cache(client, tasks, changed),
            routes: cache(client, tasks, changed),
            services: cache(client, tasks, changed),
            pods: cache(client, tasks, changed),
            namespaces: cache(client, tasks, changed),
        };
        let filled = async {
            caches.classes.wait_until_ready().await?;
            caches.gateways.wait_until_ready().await?;
            caches.routes.wait_until_ready().await?;
            caches.services.wait_until_ready().await?;
            caches.pods.wait_until_ready().await?;
            caches.namespaces.wait_until_ready().await?;
            anyhow::Ok(())
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), filled)
            .await
            .context("the gateway's watches are not filled after 30 s: are the Gateway API CRDs installed?")??;
        Ok(caches)
    }

    /// Copies the caches into the world.
    pub(crate) fn update(&self, world: &mut World) {
        world.classes = self.classes.state();
        world.gateways = self.gateways.state();
        world.routes = self.routes.state();
        world.services = self.services.state();
        world.pods = self.pods.state();
        let namespaces = self.namespaces.state();
        world.namespaces = namespaces.iter().map(|it| (it.name_any(), it.labels().clone())).collect();
    }
}

fn cache<K>(client: &Client, tasks: &mut JoinSet<()>, changed: &Arc<Notify>) -> Store<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
{
    let (store, writer) = reflector::store();
    let changed = changed.clone();
    let mut generations = Generations::default();
    let watch = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().reflect(writer);
    tasks.spawn(watch.for_each(move |event| {
        match event {
            Ok(event) if generations.are_news(&event) => changed.notify_one(),
            Ok(_) => {}
            Err(error) => tracing::warn!(kind = %K::kind(&()), %error, "watch interrupted; it is taken up again"),
        }
        futures::future::ready(())
    }));
    store
}

/// Generations by uid. A status of ours that comes back is no news: without
/// this, a thousand routes that are reported would cost a thousand passes more.
#[derive(Default)]
struct Generations(HashMap<String, i64>);

impl Generations {
    /// Objects without generations, such as pods, are news whenever they change.
    fn are_news<K: Resource<DynamicType = ()>>(&mut self, event: &watcher::Event<K>) -> bool {
        let object = match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => object,
            watcher::Event::Delete(object) => {
                self.0.remove(&object.uid().unwrap_or_default());
                return true;
            }
            watcher::Event::Init | watcher::Event::InitDone => return true,
        };
        let leaving = object.meta().deletion_timestamp.is_some();
        let by_spec = K::group(&()) == GROUP;
        let (Some(generation), true, false) = (object.meta().generation, by_spec, leaving) else { return true };
        self.0.insert(object.uid().unwrap_or_default(), generation) != Some(generation)
    }
}
