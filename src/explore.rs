//! Small worlds, exhausted: every order in which a few things can happen, until nothing new comes of it.
//!
//! Breadth first over the real `decide`. What two worlds are taken for one by, each kind of world says itself; some of those that look
//! the same are gone on with all the same, and have to lead where the other led. A search of forty lines needs no model checker:
//! stateright would want a model, and there is none besides the state machines themselves.
//!
//! A rule that is broken tells the way that led there.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// Worlds that the fast loop looks at; `EXPLORE=1` looks at all.
const NEAREST: usize = 250;
/// More than any of them has: a search that gets there has no end, or none that anybody can wait for, and fails.
const ENDLESS: usize = 400_000;
/// Of the worlds that look like one that was seen, one of so many is looked into.
const ONE_TWIN_OF: usize = 17;

type Key = [u8; 32];

/// A world in which things happen.
pub(crate) trait Small: Clone {
    /// What can happen.
    type Event: Copy + Debug;

    /// It happens. Panics when a rule is broken.
    fn happen(&mut self, event: Self::Event);

    /// What later decisions rest on. Two worlds that look the same are one.
    fn seen(&self) -> Value;
}

/// Exhausts it, and prints how many worlds there are, and how many ways between them.
pub(crate) fn explored<W: Small>(what: &str, first: W, events: &[W::Event]) {
    let (worlds, ways) = exhaust(first, events);
    println!("{what}: {worlds} worlds, {ways} ways");
}

fn exhaust<W: Small>(first: W, events: &[W::Event]) -> (usize, usize) {
    let begin = key(&first);
    let mut found = Found { came: HashMap::from([(begin, None)]), led: HashMap::new(), first: first.clone() };
    let mut open = VecDeque::from([(begin, first)]);
    let (mut twins, mut ways, all) = (Vec::new(), 0, std::env::var_os("EXPLORE").is_some());
    while let Some((from, world)) = open.pop_front().filter(|_| all || found.came.len() < NEAREST) {
        assert!(found.came.len() < ENDLESS, "{} worlds, and no end: make it smaller", found.came.len());
        let mut to = Vec::new();
        for event in events {
            let next = Way { found: &found, from, event: *event }.go(&world);
            let key = key(&next);
            ways += 1;
            to.push(key);
            if let Entry::Vacant(new) = found.came.entry(key) {
                new.insert(Some((from, *event)));
                open.push_back((key, next));
            } else if ways % ONE_TWIN_OF == 0 {
                twins.push((key, next));
            }
        }
        found.led.insert(from, to);
    }
    twins.iter().for_each(|(key, twin)| found.is_led_alike(key, twin, events));
    (found.came.len(), ways)
}

fn key(world: &impl Small) -> Key {
    Sha256::digest(world.seen().to_string()).into()
}

fn after<W: Small>(world: &W, event: W::Event) -> W {
    let mut next = world.clone();
    next.happen(event);
    next
}

/// Worlds that were found.
struct Found<W: Small> {
    first: W,
    /// From where, and by what.
    came: HashMap<Key, Option<(Key, W::Event)>>,
    /// Where each event leads; of the last ones of a search that is cut short it is not known.
    led: HashMap<Key, Vec<Key>>,
}

impl<W: Small> Found<W> {
    /// What was taken for a world that had been found has to lead where that one led.
    fn is_led_alike(&self, looks: &Key, twin: &W, events: &[W::Event]) {
        let Some(led) = self.led.get(looks) else { return };
        // (What goes wrong in a twin is told with the way to what it looks like.)
        let go = |event: W::Event| Way { found: self, from: *looks, event }.go(twin);
        let is_other = |(event, there): &(&W::Event, &Key)| key(&go(**event)) != **there;
        let Some((event, _)) = events.iter().zip(led).find(is_other) else { return };
        panic!(
            "{event:?} tells apart what looks the same: {:#}\nIt leads to {:#}\nand to {:#}",
            twin.seen(),
            after(twin, *event).seen(),
            after(&self.again(looks), *event).seen()
        );
    }

    /// The world that was found first of those that look like this.
    fn again(&self, key: &Key) -> W {
        match &self.came[key] {
            None => self.first.clone(),
            Some((from, event)) => after(&self.again(from), *event),
        }
    }

    /// What happened until it was found.
    fn way_to(&self, key: &Key) -> Vec<W::Event> {
        match self.came.get(key).and_then(Option::as_ref) {
            None => Vec::new(),
            Some((from, event)) => [self.way_to(from), vec![*event]].concat(),
        }
    }
}

/// The next step from a world that was found; one that panics is told with all that led there.
struct Way<'a, W: Small> {
    found: &'a Found<W>,
    from: Key,
    event: W::Event,
}

impl<W: Small> Way<'_, W> {
    fn go(self, world: &W) -> W {
        after(world, self.event)
    }
}

impl<W: Small> Drop for Way<'_, W> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the way there: {:?}, {:?}", self.found.way_to(&self.from), self.event);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A clock face with 24 hours, one of which must not be reached, seen by somebody whose eyes are good, or not.
    #[derive(Clone)]
    struct Face {
        hour: u32,
        forbidden: Option<u32>,
        eyes_are_good: bool,
    }

    impl Small for Face {
        type Event = u32;

        fn happen(&mut self, event: u32) {
            self.hour = (self.hour + event) % 24;
            assert_ne!(Some(self.hour), self.forbidden);
        }

        fn seen(&self) -> Value {
            json!(if self.eyes_are_good { self.hour } else { self.hour / 2 })
        }
    }

    #[test]
    fn every_world_is_found_once_and_a_broken_rule_or_a_bad_eye_fails() {
        let face = Face { hour: 0, forbidden: None, eyes_are_good: true };
        assert_eq!(exhaust(face.clone(), &[1, 3]), (24, 48));
        let fails = |face: Face| std::panic::catch_unwind(|| exhaust(face, &[1, 3])).is_err();
        assert!(fails(Face { forbidden: Some(7), ..face.clone() }));
        assert!(fails(Face { eyes_are_good: false, ..face }), "two hours look the same, and lead elsewhere");
    }
}
