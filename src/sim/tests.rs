//! The scenarios, run: without faults, with the process dying at every write, and as chance has it.
//!
//! What fails prints the command that does it again, and that prints every step.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::run::{Ended, natural, no_faults, seeded};
use super::scenario::Scenario;
use super::scenarios;
use super::wire::{self, Fate};

/// More passes than without faults that a run may need.
const MORE_PASSES: usize = 20;

/// What a run without faults came to.
struct Expected {
    violations: Vec<String>,
    fingerprint: String,
    digest: Vec<String>,
    writes: usize,
    passes: usize,
    rights: BTreeSet<String>,
}

/// How often a scenario at rest is looked at again: `LOOKS=100`, for which the fast loop has no time.
fn looks() -> usize {
    number("LOOKS").unwrap_or(3) as usize
}

fn expected(scenario: &Scenario) -> Expected {
    let ended = natural(scenario, no_faults(), looks());
    let (violations, fingerprint) = (ended.violations, ended.fingerprint);
    let rights = ended.wrote.iter().map(|it| right(it)).collect();
    Expected { violations, fingerprint, digest: ended.digest, writes: ended.writes, passes: ended.passes, rights }
}

/// What is wrong with a run, and how to see it again.
fn complaint(scenario: &Scenario, expected: &Expected, ended: &Ended, again: &str) -> Option<String> {
    let mut wrong = ended.violations.clone();
    if wrong.is_empty() && ended.digest != expected.digest {
        let only = |one: &[String], other: &[String], sign: &str| -> Vec<String> {
            one.iter().filter(|it| !other.contains(it)).map(|it| format!("{sign} {it}")).collect()
        };
        wrong.push("it ended elsewhere than without faults:".into());
        wrong.extend(only(&expected.digest, &ended.digest, "-"));
        wrong.extend(only(&ended.digest, &expected.digest, "+"));
    }
    if wrong.is_empty() {
        return None;
    }
    let name = scenario.name;
    Some(format!(
        "{name}:\n{}\nagain: SCENARIO={name} {again} cargo test -p werkbank --lib sim::tests::again -- --exact --nocapture\n",
        wrong.join("\n")
    ))
}

/// All of this, spread over the processors; the first complaint of each worker.
pub(super) fn spread<T: Sync>(work: &[T], run: impl Fn(&T) -> Option<String> + Sync) -> Vec<String> {
    let (next, complaints) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(it) = work.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Some(complaint) = run(it) {
                        complaints.lock().unwrap().push(complaint);
                    }
                }
            });
        }
    });
    complaints.into_inner().unwrap()
}

/// The first complaints in full, of the others how to see them.
fn none(complaints: &[String], runs: usize) {
    let again = |it: &String| it.lines().find(|line| line.starts_with("again: ")).unwrap_or_default().to_owned();
    let rest: Vec<String> = complaints.iter().skip(5).map(again).collect();
    let first = complaints.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
    assert!(complaints.is_empty(), "{} of {runs} failed\n{first}\n{}", complaints.len(), rest.join("\n"));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|it| it.parse().unwrap_or_else(|_| panic!("{variable} is no number: {it}")))
}

/// The scenarios, and what becomes of them without faults, found out once; with `FROM=name`, those from this one on.
fn all() -> &'static [(Scenario, OnceLock<Expected>)] {
    static ALL: OnceLock<Vec<(Scenario, OnceLock<Expected>)>> = OnceLock::new();
    ALL.get_or_init(|| {
        let from = std::env::var("FROM").unwrap_or_default();
        let them = scenarios::all().into_iter().skip_while(|it| !from.is_empty() && it.name != from);
        let them: Vec<_> = them.map(|it| (it, OnceLock::new())).collect();
        assert!(!them.is_empty(), "there is no scenario {from}");
        them
    })
}

/// Finds out about each in parallel, before they are asked for one by one.
fn expect_all() {
    spread(all(), |it| {
        of(it);
        None
    });
}

fn of((scenario, known): &(Scenario, OnceLock<Expected>)) -> (&Scenario, &Expected) {
    (scenario, known.get_or_init(|| expected(scenario)))
}

/// What can become of a write: the ways a process can die at it, and that it is sent twice.
const SIDES: [Fate; 4] = [Fate::DiesBefore, Fate::DiesAfter, Fate::ArrivesLate, Fate::Twice];
/// Conflicts in a row.
const STORM: usize = 25;

fn dying(scenario: &Scenario, write: usize, side: Fate) -> Ended {
    natural(scenario, Box::new(move |number, _| if number == write { side } else { Fate::Arrives }), 2)
}

#[test]
fn without_faults_every_scenario_ends_stays_at_rest_and_is_the_same_each_time() {
    let complaints = spread(all(), |it| {
        let (scenario, expected) = of(it);
        if !expected.violations.is_empty() {
            return complaint(scenario, expected, &natural(scenario, no_faults(), looks()), "");
        }
        // Of a few in the fast loop.
        if number("LOOKS").is_none() && !scenario.name.len().is_multiple_of(5) {
            return None;
        }
        let again = natural(scenario, no_faults(), 1).fingerprint;
        (again != expected.fingerprint).then(|| format!("{}: two runs differ", scenario.name))
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// `SWEEP=1` for each of them, `SWEEP=n` for every n-th; `SIDES=3` for writes that arrive late, `SIDES=4` for those
/// that are sent twice, too.
#[test]
fn dying_at_any_write_ends_where_it_would_have_ended_within_twenty_passes_more() {
    let most = AtomicUsize::new(0);
    expect_all();
    let every = number("SWEEP").unwrap_or(199) as usize;
    let sides = number("SIDES").map_or(2, |it| SIDES.len().min(it as usize));
    let work = all().iter().flat_map(|it| {
        (1..=of(it).1.writes).flat_map(move |write| SIDES[..sides].iter().map(move |side| (it, write, *side)))
    });
    let work: Vec<_> = work.step_by(every.max(1)).collect();
    let complaints = spread(&work, |(it, write, side)| {
        let (scenario, expected) = of(it);
        let ended = dying(scenario, *write, *side);
        let more = ended.passes.saturating_sub(expected.passes);
        most.fetch_max(more, Ordering::SeqCst);
        let mut wrong = ended.clone();
        wrong.violations.extend((more > MORE_PASSES).then(|| format!("{more} passes more")));
        complaint(scenario, expected, &wrong, &format!("WRITE={write} SIDE={side:?}"))
    });
    println!("{} scenarios, {} deaths, at most {most:?} passes more", all().len(), work.len());
    none(&complaints, work.len());
}

fn in_a_storm(scenario: &Scenario, expected: &Expected) -> Ended {
    let (mut left, from) = (STORM, expected.writes / 2);
    let plan = move |number, about: &str| {
        let strikes = number >= from && left > 0 && !about.starts_with("TRAIL");
        left -= usize::from(strikes);
        if strikes { Fate::Refused(409) } else { Fate::Arrives }
    };
    natural(scenario, Box::new(plan), 2)
}

/// Of each scenario, or with `SWEEP` unset of some.
#[test]
fn a_storm_of_conflicts_is_answered_with_no_storm_of_writes() {
    let every = number("SWEEP").map_or(9, |_| 1);
    let some: Vec<_> = all().iter().step_by(every).collect();
    let complaints = spread(&some, |it| {
        let (scenario, expected) = of(it);
        let ended = in_a_storm(scenario, expected);
        let mut wrong = ended.clone();
        // Each may be a decision, whose intent was on the trail, and is given up there.
        let most = expected.writes + 4 * STORM;
        wrong.violations.extend((ended.writes > most).then(|| format!("{} writes, not {most}", ended.writes)));
        complaint(scenario, expected, &wrong, "STORM=1")
    });
    none(&complaints, some.len());
}

/// Longer than the loop's patience with it, and than a step.
const AWAY: u64 = 150;

/// The trail is away from this write on, and the next write to a child fails once.
fn without_trail(scenario: &Scenario, from: usize) -> Ended {
    let mut is_still_to_fail = true;
    let plan = move |number, about: &str| {
        if number == from {
            return Fate::TrailGoes(AWAY);
        }
        let fails = number > from && wire::is_of_child(about) && is_still_to_fail;
        is_still_to_fail &= !fails;
        if fails { Fate::Refused(500) } else { Fate::Arrives }
    };
    natural(scenario, Box::new(plan), 2)
}

/// What a breach demands does not wait for the trail, whatever else fails; all other decisions do, and are taken
/// when it is back.
#[test]
fn a_trail_that_is_away_for_minutes_delays_no_rollback_and_changes_nothing_in_the_end() {
    expect_all();
    let every = number("SWEEP").unwrap_or(199) as usize;
    let writes = |it: &'static (Scenario, OnceLock<Expected>)| (1..=of(it).1.writes).map(move |write| (it, write));
    let work: Vec<_> = all().iter().flat_map(writes).step_by(every.max(1)).collect();
    let complaints = spread(&work, |(it, write)| {
        let (scenario, expected) = of(it);
        complaint(scenario, expected, &without_trail(scenario, *write), &format!("AWAY={write}"))
    });
    println!("{} scenarios, {} outages", all().len(), work.len());
    none(&complaints, work.len());
}

/// Refusals until the right is given back.
const REFUSALS: usize = 4;

/// The right that a write takes: its verb, and the collection or what is below it.
fn right(write: &str) -> String {
    let is_named = !write.starts_with("POST ");
    let (place, below) = write.strip_suffix("/status").map_or((write, ""), |it| (it, "/status"));
    let collection = if is_named { place.rsplit_once('/').map_or(place, |it| it.0) } else { place };
    format!("{collection}{below}")
}

fn without_right(scenario: &Scenario, wanted: &str) -> Ended {
    let (wanted, mut left) = (wanted.to_owned(), REFUSALS);
    let plan = move |_, about: &str| {
        let strikes = left > 0 && right(about) == wanted;
        left -= usize::from(strikes);
        if strikes { Fate::Refused(403) } else { Fate::Arrives }
    };
    natural(scenario, Box::new(plan), 2)
}

/// Each right to write that each scenario takes; with `SWEEP` unset some.
#[test]
fn a_right_that_is_missing_for_a_while_is_told_and_changes_nothing_in_the_end() {
    let rights = |it: &'static (Scenario, OnceLock<Expected>)| of(it).1.rights.iter().map(move |right| (it, right));
    expect_all();
    let every = number("SWEEP").map_or(97, |it| it.div_ceil(3).max(1)) as usize;
    let work: Vec<_> = all().iter().flat_map(rights).step_by(every).collect();
    let complaints = spread(&work, |(it, right)| {
        let (scenario, expected) = of(it);
        complaint(scenario, expected, &without_right(scenario, right), &format!("RIGHT='{right}'"))
    });
    println!("{} scenarios, {} rights", all().len(), work.len());
    none(&complaints, work.len());
}

/// What has once gone wrong: the scenario, the write, which of them, and what became of it.
const SEEN: [(&str, &str, usize, Fate); 2] = [
    (
        "no_failure_tolerated",
        "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/crm/httproutes/churn",
        1,
        Fate::ArrivesLate,
    ),
    // The record cannot be read, and nothing is to be written to it: whoever waits for it has to ask again.
    (
        "restored_without_status_after_a_rollback",
        "PUT /apis/werkbank.dev/v1alpha1/namespaces/crm/modeldeployments/churn/status",
        14,
        Fate::TrailGoes(AWAY),
    ),
];

#[test]
fn what_has_once_gone_wrong_does_not_go_wrong_again() {
    let complaints = spread(&SEEN, |(name, write, which, side)| {
        let it = all().iter().find(|(it, _)| it.name == *name).unwrap_or_else(|| panic!("there is no scenario {name}"));
        let (scenario, expected) = of(it);
        let mut left = *which;
        let (write, side) = (*write, *side);
        let plan = move |_, about: &str| {
            left = left.wrapping_sub(usize::from(about == write));
            if about == write && left == 0 { side } else { Fate::Arrives }
        };
        let ended = natural(scenario, Box::new(plan), 2);
        complaint(scenario, expected, &ended, &format!("({side:?} at {write}, {which}.)"))
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// `SEEDS=n` for more of them than the fast loop has time for.
#[test]
fn whatever_order_and_whatever_goes_wrong_a_run_ends_where_it_should() {
    let first = number("FIRST").unwrap_or(0);
    let seeds: Vec<u64> = (first..first + number("SEEDS").unwrap_or(36)).collect();
    let complaints = spread(&seeds, |seed| {
        let (scenario, expected) = of(&all()[*seed as usize % all().len()]);
        complaint(scenario, expected, &seeded(scenario, *seed), &format!("SEED={seed}"))
    });
    println!("{} schedules of {} scenarios", seeds.len(), all().len());
    none(&complaints, seeds.len());
}

/// One run again, step by step: `SCENARIO` and `SEED`, or `WRITE` and `SIDE`, or `AWAY`, or `STORM`, or `RIGHT`; the scenario alone, without faults.
#[test]
fn again() {
    let Ok(name) = std::env::var("SCENARIO") else { return };
    let it = all().iter().find(|(it, _)| it.name == name).unwrap_or_else(|| panic!("there is no scenario {name}"));
    let (scenario, expected) = of(it);
    let side = std::env::var("SIDE").unwrap_or_default();
    let side = SIDES.into_iter().find(|it| format!("{it:?}") == side).unwrap_or(Fate::DiesAfter);
    let ended = match (number("SEED"), number("WRITE")) {
        (Some(seed), _) => seeded(scenario, seed),
        (None, Some(write)) => dying(scenario, write as usize, side),
        (None, None) if let Some(write) = number("AWAY") => without_trail(scenario, write as usize),
        (None, None) if number("STORM").is_some() => in_a_storm(scenario, expected),
        (None, None) if let Ok(right) = std::env::var("RIGHT") => without_right(scenario, &right),
        (None, None) => natural(scenario, no_faults(), 1),
    };
    println!("{}\n{}\ntrace {}", ended.trace.join("\n"), ended.digest.join("\n"), ended.fingerprint);
    if let Some(complaint) = complaint(scenario, expected, &ended, "") {
        panic!("{complaint}");
    }
}
