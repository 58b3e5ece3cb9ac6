//! Objects that do not fit their type: not in the cache, and yet there.
//!
//! Whoever lets go of something because nothing in the cache uses it must ask here first.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Namespace and name.
pub(super) type Key = (Option<String>, Option<String>);

/// Those of one kind, with the version that was reported; written by one watch, read by everybody.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreadable {
    known: Arc<RwLock<HashMap<Key, Option<String>>>>,
}

impl Unreadable {
    /// Whether that is news.
    pub(super) fn insert(&self, key: Key, version: Option<String>) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, version.clone()) != Some(version)
    }

    pub(super) fn remove(&self, key: &Key) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    pub(super) fn retain(&self, stays: impl Fn(&Key) -> bool) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).retain(|key, _| stays(key));
    }

    pub(super) fn count(&self) -> i64 {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        i64::try_from(known.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn contains(&self, namespace: &str, name: &str) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(&(Some(namespace.to_owned()), Some(name.to_owned())))
    }

    /// The first by name of those in the namespace.
    pub(super) fn first_in(&self, namespace: &str) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let here = known.keys().filter(|(of, _)| of.as_deref() == Some(namespace));
        here.filter_map(|(_, name)| name.clone()).min()
    }
}
