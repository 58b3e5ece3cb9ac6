//! Who is to be looked at.

use futures::channel::mpsc;
use kube::runtime::reflector::{Lookup, ObjectRef};

/// Wakes resources of kind `R`.
#[derive(Debug)]
pub struct Queue<R: Lookup<DynamicType = ()> + 'static> {
    pub(in crate::runtime) sender: mpsc::UnboundedSender<ObjectRef<R>>,
    pub(in crate::runtime) receiver: mpsc::UnboundedReceiver<ObjectRef<R>>,
}

impl<R: Lookup<DynamicType = ()> + 'static> Default for Queue<R> {
    fn default() -> Self {
        // Bounded by what the applier does with it: it drains into a set without waiting.
        let (sender, receiver) = mpsc::unbounded();
        Self { sender, receiver }
    }
}

impl<R: Lookup<DynamicType = ()> + 'static> Queue<R> {
    /// For those who learn something between two passes.
    #[must_use]
    pub fn waker(&self) -> Waker<R> {
        Waker { sender: self.sender.clone() }
    }

    /// Whom it has woken since it was last asked.
    #[cfg(test)]
    pub(crate) fn woken(&mut self) -> Vec<ObjectRef<R>> {
        std::iter::from_fn(|| self.receiver.try_recv().ok()).collect()
    }
}

/// Puts resources into a [`Queue`].
#[derive(Debug)]
pub struct Waker<R: Lookup<DynamicType = ()> + 'static> {
    sender: mpsc::UnboundedSender<ObjectRef<R>>,
}

impl<R: Lookup<DynamicType = ()> + 'static> Waker<R> {
    /// A pass of this resource, soon. At shutdown nobody listens.
    pub fn wake(&self, namespace: &str, name: &str) {
        drop(self.sender.unbounded_send(ObjectRef::new(name).within(namespace)));
    }
}

impl<R: Lookup<DynamicType = ()> + 'static> Clone for Waker<R> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}
