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
    /// The version that was known to be unreadable, if one was.
    pub(super) fn insert(&self, key: Key, version: Option<String>) -> Option<Option<String>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(key, version)
    }

    /// Whether it was there.
    pub(super) fn remove(&self, key: &Key) -> bool {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(key).is_some()
    }

    /// Takes these out, and returns them.
    pub(super) fn take(&self, goes: impl Fn(&Key) -> bool) -> Vec<Key> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.extract_if(|key, _| goes(key)).map(|(key, _)| key).collect()
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
