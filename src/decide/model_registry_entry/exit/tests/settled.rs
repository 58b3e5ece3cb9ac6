//! In whatever order entries come, change and go, each says in the end what it would say if it were looked at once more.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::decide::model_registry_entry::{Observed, decide};

/// Entries by name, those that are to be looked at, and who is woken by whom.
#[derive(Default)]
struct Namespace {
    entries: BTreeMap<String, ModelRegistryEntry>,
    queue: BTreeSet<String>,
}

impl Namespace {
    /// What one pass makes of it.
    fn looked_at(&self, name: &str) -> Option<ModelRegistryEntry> {
        let entry = self.entries.get(name)?;
        let all: Vec<ModelRegistryEntry> = self.entries.values().cloned().collect();
        let observed = Observed { way_out: way(entry, &all), ..Observed::default() };
        let plan = decide(entry, &observed, DateTime::UNIX_EPOCH);
        let status = plan.status.or_else(|| entry.status.clone());
        Some(ModelRegistryEntry { status, ..entry.clone() })
    }

    /// Something comes, changes, or goes: it is looked at, and so are those that read it, if that is news to them.
    fn becomes(&mut self, name: &str, now: Option<ModelRegistryEntry>) {
        let before = self.entries.remove(name);
        let news = match (&before, &now) {
            (Some(before), Some(now)) => is_news(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        if now.as_ref().map(|it| &it.spec) != before.as_ref().map(|it| &it.spec) {
            self.queue.insert(name.to_owned());
        }
        self.entries.extend(now.map(|it| (name.to_owned(), it)));
        if news {
            self.queue.extend(self.kin(name));
        }
    }

    /// As the watch finds them.
    fn kin(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut last = vec![name.to_owned()];
        for _ in 0..=MOST {
            let refers = |it: &&ModelRegistryEntry| last.iter().any(|name| fallback_of(&it.spec) == Some(name));
            last = self.entries.values().filter(refers).map(ResourceExt::name_any).collect();
            found.extend(last.iter().cloned());
        }
        found
    }

    fn settles(&mut self) {
        let mut passes = 0;
        while let Some(name) = self.queue.pop_first() {
            let Some(now) = self.looked_at(&name) else { continue };
            self.becomes(&name, Some(now));
            passes += 1;
            assert!(passes < 10_000, "they wake each other for ever");
        }
    }
}

/// An entry of this number, that falls back on another one or is one's own.
fn registered(number: usize, fallback: Option<usize>) -> ModelRegistryEntry {
    let name = |it: usize| format!("entry-{it}");
    let mut it = fallback.map_or_else(|| own(&name(number)), |it| vendors(&name(number), &name(it)));
    it.spec.data_sources = serde_json::from_value(json!([{"name": "briefs", "personalData": false}])).unwrap();
    it.metadata.uid = Some(format!("uid-{number}"));
    it.status = None;
    it
}

/// What happens to an entry.
#[derive(Debug, Clone, Copy)]
enum Event {
    Registered(Option<usize>),
    Lifecycle(Lifecycle),
    Deleted,
}

fn event() -> impl Strategy<Value = Event> {
    let fallback = prop::option::weighted(0.8, 0_usize..12);
    prop_oneof![
        6 => fallback.prop_map(Event::Registered),
        1 => prop_oneof![Just(Lifecycle::Active), Just(Lifecycle::Deprecated), Just(Lifecycle::Revoked)]
            .prop_map(Event::Lifecycle),
        1 => Just(Event::Deleted),
    ]
}

proptest! {
    #[test]
    fn nothing_waits_for_a_wake_up_that_does_not_come(events in prop::collection::vec((0_usize..12, event(), any::<bool>()), 1..60)) {
        let mut namespace = Namespace::default();
        for (number, event, settles) in events {
            let name = format!("entry-{number}");
            let there = namespace.entries.get(&name).cloned();
            let now = match (event, there) {
                (Event::Registered(fallback), None) => Some(registered(number, fallback)),
                (Event::Lifecycle(lifecycle), Some(mut it)) => {
                    it.spec.lifecycle = Some(lifecycle);
                    Some(it)
                }
                (Event::Deleted, _) => None,
                (_, there) => there,
            };
            namespace.becomes(&name, now);
            if settles {
                namespace.settles();
            }
        }
        namespace.settles();
        for (name, entry) in &namespace.entries {
            let once_more = namespace.looked_at(name);
            prop_assert_eq!(once_more.as_ref(), Some(entry));
        }
    }
}

#[test]
fn a_chain_that_becomes_too_long_at_its_end_is_known_to_be_so_at_its_beginning() {
    let mut namespace = Namespace::default();
    for number in 0..=MOST + 1 {
        namespace.becomes(&format!("entry-{number}"), Some(registered(number, Some(number + 1))));
        namespace.settles();
    }
    let first = namespace.entries["entry-0"].status.clone().unwrap();
    let said = condition::find(&first.conditions, CONDITION).unwrap();
    assert_eq!(said.reason, "FallbackWithoutEnd", "{said:?}");
}
