//! Finding what is cached by what it says, not by its name.
//!
//! A cluster with ten thousand deployments changes some ConfigMap every second: looking through all
//! deployments for those that use it would be most of what an idle operator does.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use kube::Resource;
use kube::core::ObjectMeta;

/// What an object is found by.
pub(super) type Keys<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// Namespace, and key or name.
pub(super) type Place = (String, String);

/// Names by namespace and key; written by one watch, read by everybody.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    names: Arc<RwLock<HashMap<Place, BTreeSet<String>>>>,
}

impl Index {
    /// The names of what has this key.
    pub(super) fn names(&self, namespace: &str, key: &str) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&(namespace.to_owned(), key.to_owned())).into_iter().flatten().cloned().collect()
    }

    /// The names of what refers to this one, by the key of its name, of what refers to that, and so on, so far; each once.
    pub(super) fn kin(
        &self,
        namespace: &str,
        name: &str,
        key: impl Fn(&str) -> String,
        far: usize,
    ) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut last = vec![name.to_owned()];
        for _ in 0..far {
            last = last.iter().flat_map(|it| self.names(namespace, &key(it))).collect();
            last.retain(|it| found.insert(it.clone()));
        }
        found
    }

    /// How many have it.
    pub(super) fn count(&self, namespace: &str, key: &str) -> usize {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&(namespace.to_owned(), key.to_owned())).map_or(0, BTreeSet::len)
    }

    /// Some of them: those of `known` that are there, and then the last by name. What shows only some changes seldom this way, in
    /// whatever order they come and go: they are rarely those that come or go next.
    pub(super) fn some_names(&self, namespace: &str, key: &str, known: &[&str], most: usize) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let Some(names) = names.get(&(namespace.to_owned(), key.to_owned())) else { return Vec::new() };
        let stay = known.iter().filter_map(|it| names.get(*it));
        let more = names.iter().rev().filter(|it| !known.contains(&it.as_str()));
        stay.chain(more).take(most).cloned().collect()
    }

    /// An object changed: what it was, if it was, and what it is, if it still is. Returns where it is found from now on and was
    /// not, or was and is not any more.
    pub(super) fn change<K: Resource>(&self, keys: &Keys<K>, before: Option<&K>, after: Option<&K>) -> Vec<Place> {
        let of = |object: Option<&K>| object.map(|it| (place(it.meta()), keys(it)));
        let (before, after) = (of(before), of(after));
        if before == after {
            return Vec::new();
        }
        let places = |object: &Option<(Place, Vec<String>)>| -> BTreeSet<Place> {
            object
                .iter()
                .flat_map(|((namespace, _), keys)| keys.iter().map(|key| (namespace.clone(), key.clone())))
                .collect()
        };
        let changed = places(&before).symmetric_difference(&places(&after)).cloned().collect();
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(((namespace, name), keys)) = before {
            for key in keys {
                let place = (namespace.clone(), key);
                if let Some(found) = names.get_mut(&place) {
                    found.remove(&name);
                    if found.is_empty() {
                        names.remove(&place);
                    }
                }
            }
        }
        if let Some(((namespace, name), keys)) = after {
            for key in keys {
                names.entry((namespace.clone(), key)).or_default().insert(name.clone());
            }
        }
        changed
    }
}

fn place(meta: &ObjectMeta) -> Place {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn service(namespace: &str, name: &str, label: &str) -> Service {
        let labels = [("app".to_owned(), label.to_owned())].into();
        let (namespace, name) = (Some(namespace.into()), Some(name.into()));
        Service {
            metadata: ObjectMeta { namespace, name, labels: Some(labels), ..ObjectMeta::default() },
            ..Service::default()
        }
    }

    #[test]
    fn what_refers_to_each_other_is_found_behind_an_object_as_far_as_asked_and_once_in_a_circle() {
        let (index, keys): (_, Keys<Service>) =
            (Index::default(), Box::new(|it| it.metadata.labels.iter().flatten().map(|(_, it)| it.clone()).collect()));
        for (name, refers_to) in [("b", "a"), ("c", "b"), ("d", "c"), ("x", "b"), ("a", "d")] {
            index.change(&keys, None, Some(&service("crm", name, refers_to)));
        }
        let of = |far| Vec::from_iter(index.kin("crm", "a", str::to_owned, far));
        assert_eq!((of(0), of(1)), (vec![], vec!["b".to_owned()]));
        assert_eq!(of(2), ["b", "c", "x"]);
        assert_eq!(of(9), ["a", "b", "c", "d", "x"]);
        assert!(index.kin("other", "a", str::to_owned, 9).is_empty());
    }

    #[test]
    fn an_object_is_found_by_what_it_says_now_and_not_by_what_it_said() {
        let (index, keys): (_, Keys<Service>) =
            (Index::default(), Box::new(|it| it.metadata.labels.iter().flatten().map(|(_, it)| it.clone()).collect()));
        let (one, other) = (service("a", "one", "x"), service("a", "other", "x"));
        index.change(&keys, None, Some(&one));
        index.change(&keys, None, Some(&other));
        index.change(&keys, None, Some(&service("b", "one", "x")));
        assert_eq!(index.names("a", "x"), ["one", "other"]);
        assert_eq!(index.some_names("a", "x", &["gone", "one"], 1), ["one"]);
        assert_eq!(index.some_names("a", "x", &["gone", "one"], 9), ["one", "other"]);
        assert_eq!(index.some_names("a", "z", &["one"], 9), Vec::<String>::new());
        let place = |key: &str| ("a".to_owned(), key.to_owned());
        assert_eq!(index.change(&keys, Some(&one), Some(&service("a", "one", "y"))), [place("x"), place("y")]);
        assert_eq!(index.change(&keys, Some(&other), Some(&other)), []);
        assert_eq!((index.names("a", "x"), index.names("a", "y")), (vec!["other".into()], vec!["one".into()]));
        index.change(&keys, Some(&other), None);
        assert_eq!(index.names("a", "x"), Vec::<String>::new());
        assert_eq!(index.names.read().unwrap().len(), 2, "what nothing has any more takes no room");
    }

    /// How often what is shown of a thousand changes, ten at a time, while they come and go in these orders.
    fn changes(coming: impl Iterator<Item = usize>, going: impl Iterator<Item = usize>) -> usize {
        let (index, keys): (_, Keys<Service>) = (Index::default(), Box::new(|_| vec!["x".into()]));
        let object = |number: usize| service("a", &format!("churn-{number:04}"), "x");
        let (mut shown, mut changes) = (Vec::new(), 0);
        let mut look = || {
            let known: Vec<&str> = shown.iter().map(String::as_str).collect();
            let mut now = index.some_names("a", "x", &known, 10);
            now.sort_unstable();
            changes += usize::from(now != shown);
            shown = now;
        };
        for number in coming {
            index.change(&keys, None, Some(&object(number)));
            look();
        }
        for number in going {
            index.change(&keys, Some(&object(number)), None);
            look();
        }
        changes
    }

    #[test]
    fn what_is_shown_of_a_fleet_changes_seldom_in_whatever_order_it_comes_and_goes() {
        let shuffled = || (0..1000).map(|it| it * 383 % 1000);
        assert_eq!(changes(0..1000, 0..1000), 30);
        assert_eq!(changes(0..1000, (0..1000).rev()), 20);
        assert_eq!(changes((0..1000).rev(), 0..1000), 20);
        assert!(changes(shuffled(), shuffled()) < 150);
    }
}
