//! What chance does to a run: which step comes next, and what goes wrong.

use std::time::Duration;

use super::others::copies;
use super::random::Random;
use super::server::Cluster;
use super::wire::{self, Fate};

/// How far the operator's clock is from the right one at most, in milliseconds: what two processes tell apart is less than a rollout has to
/// make progress (`progressDeadline`), because then it would rightly be taken back.
const WRONG_BY: usize = 290_000;

/// What befalls a run between two steps.
#[derive(Debug, Clone)]
pub(super) enum Mischief {
    /// The process is killed.
    Death,
    /// A watch breaks off, and goes on from where it was.
    Cut(String),
    /// It breaks off for so long that it has to list anew.
    Expire(String),
    /// The right to it is lost for so long.
    Forbid(String, Duration),
    /// It says how far it is.
    Bookmark(String),
    /// Somebody makes a copy of one of the operator's objects.
    Copy(String),
    /// The operator's clock is wrong by so many milliseconds.
    Clock(i64),
    /// Time passes although something could happen.
    Pause(Duration),
}

/// See the module.
pub(super) struct Chance {
    random: Random,
    /// How much may still go wrong.
    left: usize,
    /// Writes to the API server that fail in a row.
    storm: (usize, Fate),
}

impl Chance {
    pub(super) fn of(seed: u64) -> Self {
        let mut random = Random::of(seed);
        // Some runs have no faults, only another order.
        let left = random.below(8);
        Self { random, left, storm: (0, Fate::Arrives) }
    }

    pub(super) fn pick<T>(&mut self, steps: &[T]) -> usize {
        self.random.pick(steps)
    }

    fn strikes(&mut self, permille: usize) -> bool {
        let strikes = self.left > 0 && self.random.chance(permille);
        self.left -= usize::from(strikes);
        strikes
    }

    /// What becomes of a write.
    pub(super) fn fate(&mut self, about: &str) -> Fate {
        if wire::is_of_log(about) {
            return match self.fate_of_file() {
                // Whose entries are next is disputed, and nothing else.
                Fate::Overtaken if !about.contains(": ") => Fate::Twice,
                fate => fate,
            };
        }
        if self.storm.0 > 0 {
            self.storm.0 -= 1;
            return self.storm.1;
        }
        if !self.strikes(60) {
            return Fate::Arrives;
        }
        let fate = self.one_of(&[409, 429, 500, 504]);
        if matches!(fate, Fate::Refused(_) | Fate::Overtaken) {
            self.storm = (self.random.below(4), fate);
        }
        fate
    }

    /// There are as many files as other writes, and of most of them less depends.
    fn fate_of_file(&mut self) -> Fate {
        if self.strikes(10) {
            let most = [2, 20, 200];
            let most = most[self.random.pick(&most)];
            return Fate::TrailGoes(self.random.below(most) as u64);
        }
        if !self.strikes(30) {
            return Fate::Arrives;
        }
        self.one_of(&[503])
    }

    /// What can become of any write, or that it is refused with one of these codes.
    fn one_of(&mut self, codes: &[u16]) -> Fate {
        let any = [Fate::DiesBefore, Fate::DiesAfter, Fate::ArrivesLate, Fate::Unclear, Fate::Twice, Fate::Overtaken];
        let fates: Vec<Fate> = any.into_iter().chain(codes.iter().map(|it| Fate::Refused(*it))).collect();
        fates[self.random.pick(&fates)]
    }

    /// How long the metric source takes to answer.
    pub(super) fn takes(&mut self) -> Duration {
        let is_slow = self.random.chance(150);
        Duration::from_millis(if is_slow { self.random.below(9_000) as u64 } else { 0 })
    }

    /// Whether it does not answer this time.
    pub(super) fn is_silent(&mut self) -> bool {
        self.strikes(20)
    }

    /// The version that a new process finds, if it is not the newest.
    pub(super) fn snapshot(&mut self, newest: u64) -> Option<u64> {
        self.strikes(300).then(|| newest.saturating_sub(1 + self.random.below(12) as u64))
    }

    /// What goes wrong before the next step, if anything does.
    pub(super) fn mischief(&mut self, cluster: &Cluster) -> Option<Mischief> {
        if self.random.chance(30) {
            return Some(Mischief::Pause(Duration::from_millis(self.random.below(3000) as u64)));
        }
        let watched = cluster.watched();
        if self.random.chance(10) && !watched.is_empty() {
            return Some(Mischief::Bookmark(watched[self.random.pick(&watched)].clone()));
        }
        if !self.strikes(15) {
            return None;
        }
        let collection = watched.get(self.random.pick(&watched)).cloned();
        match (self.random.below(7), collection) {
            (0, _) | (_, None) => Some(Mischief::Death),
            (1, Some(collection)) => Some(Mischief::Cut(collection)),
            (2, Some(collection)) => Some(Mischief::Expire(collection)),
            (3, Some(_)) => Some(Mischief::Clock(self.random.below(2 * WRONG_BY) as i64 - WRONG_BY as i64)),
            (4, Some(collection)) => Some(Mischief::Cut(collection)),
            (5, Some(_)) => {
                let originals = copies::originals(cluster);
                let copied = originals.get(self.random.pick(&originals)).cloned();
                Some(copied.map_or(Mischief::Death, Mischief::Copy))
            }
            (_, Some(collection)) => {
                Some(Mischief::Forbid(collection, Duration::from_secs(1 + self.random.below(180) as u64)))
            }
        }
    }
}
