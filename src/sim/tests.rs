//! The scenarios, run: without faults, with the process dying at every write, and as chance has it.
//!
//! What fails prints the command that does it again, and that prints every step.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use super::case::{Case, SEEN, SIDES, STORM, right};
use super::run::Ended;
use super::scenario::Scenario;
use super::scenarios;

/// More passes than without faults that a run may need.
const MORE_PASSES: usize = 20;

/// What a run without faults came to.
struct Expected {
    violations: Vec<String>,
    fingerprint: String,
    digest: Vec<String>,
    writes: usize,
    /// Those to the API server.
    requests: usize,
    passes: usize,
    rights: BTreeSet<String>,
    /// What is watched.
    watched: Vec<String>,
}

/// How often a scenario at rest is looked at again: `LOOKS=100`, for which the fast loop has no time.
fn looks() -> usize {
    number("LOOKS").unwrap_or(3) as usize
}

fn expected(scenario: &Scenario) -> Expected {
    let ended = Case::Rest(looks()).of(scenario);
    let (violations, fingerprint) = (ended.violations, ended.fingerprint);
    let rights = ended.wrote.iter().map(|it| right(it)).collect();
    let (requests, passes) = (ended.wrote.len(), ended.passes);
    let (digest, writes, watched) = (ended.digest, ended.writes, ended.watched);
    Expected { violations, fingerprint, digest, writes, requests, passes, rights, watched }
}

/// Plays it; what is wrong with it, and how to see it again. `more` looks at what nobody else does.
fn complaint(
    scenario: &Scenario,
    expected: &Expected,
    case: &Case,
    more: impl FnOnce(&Ended) -> Option<String>,
) -> Option<String> {
    let ended = case.of(scenario);
    let mut wrong = ended.violations.clone();
    wrong.extend(more(&ended));
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
    Some(format!("{}:\n{}\n{}\n", scenario.name, wrong.join("\n"), how(scenario, case)))
}

fn how(scenario: &Scenario, case: &Case) -> String {
    let (name, case) = (scenario.name, case.written());
    format!("again: SCENARIO={name} {case} cargo test -p werkbank --lib sim::tests::again -- --exact --nocapture")
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

fn named(name: &str) -> &'static (Scenario, OnceLock<Expected>) {
    all().iter().find(|(it, _)| it.name == name).unwrap_or_else(|| panic!("there is no scenario {name}"))
}

/// Nothing more.
fn nothing(_: &Ended) -> Option<String> {
    None
}

fn of((scenario, known): &(Scenario, OnceLock<Expected>)) -> (&Scenario, &Expected) {
    (scenario, known.get_or_init(|| expected(scenario)))
}

#[test]
fn without_faults_every_scenario_ends_stays_at_rest_and_is_the_same_each_time() {
    let complaints = spread(all(), |it| {
        let (scenario, expected) = of(it);
        if !expected.violations.is_empty() {
            return complaint(scenario, expected, &Case::Rest(looks()), nothing);
        }
        // Of a few in the fast loop.
        if number("LOOKS").is_none() && !scenario.name.len().is_multiple_of(5) {
            return None;
        }
        differs(scenario, &Case::Rest(1), &expected.fingerprint)
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Whether a run is another one this time.
fn differs(scenario: &Scenario, case: &Case, fingerprint: &str) -> Option<String> {
    let again = case.of(scenario).fingerprint;
    let told = || format!("{}: two runs differ\n{}", scenario.name, how(scenario, case));
    (again != fingerprint).then(told)
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let seeds: Vec<u64> = (0..number("SEEDS").map_or(12, |it| it / 20)).collect();
    let complaints = spread(&seeds, |seed| {
        let (scenario, case) = (&all()[*seed as usize % all().len()].0, Case::Schedule(*seed));
        differs(scenario, &case, &case.of(scenario).fingerprint)
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// From A to B and back to A is as if nobody had left A, but for the way.
#[test]
fn there_and_back_leaves_what_was_there_before() {
    let ended = |name: &str| -> Vec<String> {
        let is_there =
            |it: &&String| ["/api", "phase ", "stable ", "revision "].iter().any(|place| it.starts_with(place));
        of(named(name)).1.digest.iter().filter(is_there).cloned().collect()
    };
    let (back, never_left) = (ended("there_and_back"), ended("first_deployment"));
    assert!(never_left.iter().any(|it| it.contains("/httproutes/")), "{never_left:#?}");
    assert_eq!(back, never_left);
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
        complaint(scenario, expected, &Case::Death(*write, *side), |ended| {
            let more = ended.passes.saturating_sub(expected.passes);
            most.fetch_max(more, Ordering::SeqCst);
            (more > MORE_PASSES).then(|| format!("{more} passes more"))
        })
    });
    println!("{} scenarios, {} deaths, at most {most:?} passes more", all().len(), work.len());
    none(&complaints, work.len());
}

/// Of each scenario, or with `SWEEP` unset of some.
#[test]
fn a_storm_of_conflicts_is_answered_with_no_storm_of_writes() {
    let every = number("SWEEP").map_or(9, |_| 1);
    let some: Vec<_> = all().iter().step_by(every).collect();
    let complaints = spread(&some, |it| {
        let (scenario, expected) = of(it);
        // Each is sent again, and what was decided may be decided anew.
        let requests = expected.requests + 2 * STORM;
        // Of each, the log may have an intent and that it was given up, and three files under a new checkpoint.
        let writes = requests + expected.writes - expected.requests + 5 * STORM;
        complaint(scenario, expected, &Case::Storm(expected.writes / 2), |ended| {
            let told = || format!("{} requests, {} writes, not {requests}, {writes}", ended.wrote.len(), ended.writes);
            (ended.wrote.len() > requests || ended.writes > writes).then(told)
        })
    });
    none(&complaints, some.len());
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
        complaint(scenario, expected, &Case::Outage(*write), nothing)
    });
    println!("{} scenarios, {} outages", all().len(), work.len());
    none(&complaints, work.len());
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
        complaint(scenario, expected, &Case::Right((*right).clone()), nothing)
    });
    println!("{} scenarios, {} rights", all().len(), work.len());
    none(&complaints, work.len());
}

/// Each kind that is watched, from the middle of each scenario on; with `SWEEP` unset some.
#[test]
fn what_may_not_be_read_for_a_while_is_told_and_changes_nothing_in_the_end() {
    let kinds = |it: &'static (Scenario, OnceLock<Expected>)| of(it).1.watched.iter().map(move |kind| (it, kind));
    expect_all();
    let every = number("SWEEP").map_or(97, |it| it.div_ceil(3).max(1)) as usize;
    let work: Vec<_> = all().iter().flat_map(kinds).step_by(every).collect();
    let complaints = spread(&work, |(it, kind)| {
        let (scenario, expected) = of(it);
        complaint(scenario, expected, &Case::Blind((*kind).clone(), expected.writes / 2), nothing)
    });
    println!("{} scenarios, {} kinds that may not be read", all().len(), work.len());
    none(&complaints, work.len());
}

#[test]
fn what_has_once_gone_wrong_does_not_go_wrong_again() {
    let all_seen: Vec<usize> = (0..SEEN.len()).collect();
    let complaints = spread(&all_seen, |number| {
        let (scenario, expected) = of(named(SEEN[*number].0));
        let struck = format!("{:?}", SEEN[*number].3);
        complaint(scenario, expected, &Case::Seen(*number), |ended| {
            let strikes = ended.trace.iter().any(|it| it.contains(SEEN[*number].1) && it.contains(&struck));
            (!strikes).then(|| format!("{struck} never came about"))
        })
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
        complaint(scenario, expected, &Case::Schedule(*seed), nothing)
    });
    println!("{} schedules of {} scenarios", seeds.len(), all().len());
    none(&complaints, seeds.len());
}

/// One run again, step by step: `SCENARIO`, and what [`Case`] says; the scenario alone, without faults.
#[test]
fn again() {
    let Ok(name) = std::env::var("SCENARIO") else { return };
    let (scenario, expected) = of(named(&name));
    let complaint = complaint(scenario, expected, &Case::read(|it| std::env::var(it).ok()), |ended| {
        println!("{}\n{}\ntrace {}", ended.trace.join("\n"), ended.digest.join("\n"), ended.fingerprint);
        None
    });
    if let Some(complaint) = complaint {
        panic!("{complaint}");
    }
}
