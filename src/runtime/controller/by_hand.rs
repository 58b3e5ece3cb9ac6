//! The loop without kube's applier: whoever holds it decides when a pass runs, and of whom.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Controller, Loop};
use crate::runtime::{Machine, Queue};

/// Namespace and name.
pub(crate) type Key = (String, String);

/// The loop of one kind, pass by pass.
pub(crate) trait ByHand: Send {
    /// The kind.
    fn kind(&self) -> &'static str;

    /// Everything in the cache, as when this process becomes the leader.
    fn all(&self) -> BTreeSet<Key>;

    /// Whom the watches woke since they were last asked.
    fn woken(&mut self) -> BTreeSet<Key>;

    /// One pass of what the cache has under this key; returns how soon it wants the next one. What the
    /// cache does not have is forgotten.
    fn pass(&self, key: &Key) -> BoxFuture<'static, Option<Duration>>;
}

impl<M: Machine> Controller<M> {
    pub(in crate::runtime) fn by_hand(self) -> Box<dyn ByHand> {
        Box::new(Hand { queue: self.queue, context: self.context })
    }
}

struct Hand<M: Machine> {
    queue: Queue<M::Resource>,
    context: Arc<Loop<M>>,
}

impl<M: Machine> ByHand for Hand<M> {
    fn kind(&self) -> &'static str {
        M::KIND
    }

    fn all(&self) -> BTreeSet<Key> {
        self.context.cache.store().state().iter().map(|it| super::identity(it.as_ref()).0).collect()
    }

    fn woken(&mut self) -> BTreeSet<Key> {
        let key = |it: kube::runtime::reflector::ObjectRef<M::Resource>| (it.namespace.unwrap_or_default(), it.name);
        self.queue.woken().into_iter().map(key).collect()
    }

    fn pass(&self, key: &Key) -> BoxFuture<'static, Option<Duration>> {
        match self.context.cache.get(&key.0, &key.1) {
            Some(resource) => self.context.clone().task(resource).boxed(),
            None => {
                self.context.forget(key);
                std::future::ready(None).boxed()
            }
        }
    }
}
