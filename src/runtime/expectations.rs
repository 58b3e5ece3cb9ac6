//! Read your own writes.
//!
//! A pass that wrote leaves behind what it expects to see. The next pass of that resource decides
//! only once the caches show it, so no decision rests on a world in which the last one did not
//! happen yet. The wait is bounded: a watch that lost an event must not stop a rollback.

use std::time::Duration;

use tokio::time::Instant;

use crate::act::{Left, Written};

/// After this long a pass goes ahead anyway, and a metric says so. Nothing wrong can come of
/// it: every write carries the version it was decided on, and a child is written after the status ([`crate::decide::confirms_first`]).
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the caches know of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) uid: String,
    pub(super) resource_version: String,
}

/// What the next pass of a resource waits for.
#[derive(Debug, Clone, Default)]
pub(super) struct Expectations {
    expected: Vec<Expected>,
    since: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Expected {
    kind: String,
    name: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// What a write left behind.
    Written(Left),
    /// Anything but this stale version, which a write was refused for.
    Changed(Option<Seen>),
}

/// Whether a pass may decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    /// The caches show everything.
    Clear,
    /// Not yet.
    Waiting,
    /// Still not; go ahead anyway.
    Overdue,
}

impl Expectations {
    /// Expects to see a write.
    pub(super) fn written(&mut self, written: &Written, now: Instant) {
        self.expect(&written.kind, &written.name, What::Written(written.left.clone()), now);
    }

    /// Expects to see something else than `stale`, which was refused with a conflict.
    pub(super) fn changed(&mut self, kind: &str, name: &str, stale: Option<Seen>, now: Instant) {
        self.expect(kind, name, What::Changed(stale), now);
    }

    fn expect(&mut self, kind: &str, name: &str, what: What, now: Instant) {
        self.expected.retain(|it| it.kind != kind || it.name != name);
        self.expected.push(Expected { kind: kind.to_owned(), name: name.to_owned(), what });
        self.since.get_or_insert(now);
    }

    /// Drops what `seen` shows by now, and tells whether anything is left. `seen` answers for
    /// (kind, name): `None` if that kind is not watched, else what its cache holds.
    pub(super) fn sight(&mut self, now: Instant, seen: impl Fn(&str, &str) -> Option<Option<Seen>>) -> Sight {
        self.expected.retain(|it| seen(&it.kind, &it.name).is_some_and(|seen| !it.what.is_met(seen.as_ref())));
        let waited = self.since.map_or(Duration::ZERO, |since| now.duration_since(since));
        if self.expected.is_empty() {
            self.since = None;
            return Sight::Clear;
        }
        if waited < PATIENCE {
            return Sight::Waiting;
        }
        *self = Self::default();
        Sight::Overdue
    }
}

impl What {
    fn is_met(&self, seen: Option<&Seen>) -> bool {
        match (self, seen) {
            (Self::Written(Left::Gone { uid }), seen) => seen.is_none_or(|seen| seen.uid != *uid),
            (Self::Written(Left::Present { .. }), None) => false,
            (Self::Written(Left::Present { uid, resource_version }), Some(seen)) => {
                seen.uid != *uid || at_least(&seen.resource_version, resource_version)
            }
            (Self::Changed(stale), seen) => stale.as_ref() != seen,
        }
    }
}

/// Resource versions of one kind grow; should a server ever use others, only equality counts.
fn at_least(seen: &str, wanted: &str) -> bool {
    match (seen.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(seen), Ok(wanted)) => seen >= wanted,
        _ => seen == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(left: Left) -> Written {
        Written { kind: "Service".into(), name: "churn".into(), left }
    }

    fn present(uid: &str, version: &str) -> Left {
        Left::Present { uid: uid.into(), resource_version: version.into() }
    }

    fn seen(uid: &str, version: &str) -> Option<Seen> {
        Some(Seen { uid: uid.into(), resource_version: version.into() })
    }

    /// What a pass would do right after `left` was written, with this in the cache.
    fn sight(left: Left, cache: Option<Seen>) -> Sight {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        expectations.written(&written(left), now);
        expectations.sight(now, |_, _| Some(cache.clone()))
    }

    #[test]
    fn a_pass_waits_for_the_version_it_wrote_or_a_newer_one() {
        assert_eq!(sight(present("1", "10"), None), Sight::Waiting);
        assert_eq!(sight(present("1", "10"), seen("1", "9")), Sight::Waiting);
        assert_eq!(sight(present("1", "10"), seen("1", "10")), Sight::Clear);
        assert_eq!(sight(present("1", "10"), seen("1", "11")), Sight::Clear);
        assert_eq!(sight(present("1", "10"), seen("2", "5")), Sight::Clear, "replaced since");
        assert_eq!(sight(present("1", "b"), seen("1", "c")), Sight::Waiting, "not comparable");
    }

    #[test]
    fn a_pass_waits_until_what_it_deleted_is_gone() {
        let gone = || Left::Gone { uid: "1".into() };
        assert_eq!(sight(gone(), seen("1", "10")), Sight::Waiting);
        assert_eq!(sight(gone(), None), Sight::Clear);
        assert_eq!(sight(gone(), seen("2", "11")), Sight::Clear);
    }

    #[test]
    fn after_a_conflict_a_pass_waits_for_any_other_version() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        expectations.changed("Service", "churn", seen("1", "10"), now);
        assert_eq!(expectations.sight(now, |_, _| Some(seen("1", "10"))), Sight::Waiting);
        assert_eq!(expectations.sight(now, |_, _| Some(seen("1", "12"))), Sight::Clear);
    }

    #[test]
    fn patience_ends_and_starts_anew_with_the_next_write() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        expectations.written(&written(present("1", "10")), now);
        assert_eq!(expectations.sight(now + PATIENCE, |_, _| Some(None)), Sight::Overdue);
        assert_eq!(expectations.sight(now + PATIENCE, |_, _| Some(None)), Sight::Clear);
        expectations.written(&written(present("1", "11")), now + PATIENCE);
        assert_eq!(expectations.sight(now + PATIENCE, |_, _| Some(None)), Sight::Waiting);
    }

    #[test]
    fn what_is_not_watched_cannot_be_waited_for() {
        let (mut expectations, now) = (Expectations::default(), Instant::now());
        expectations.written(&written(present("1", "10")), now);
        assert_eq!(expectations.sight(now, |_, _| None), Sight::Clear);
    }
}
