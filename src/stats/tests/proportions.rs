//! False alarms about proportions.

use super::chance::Chance;
use super::table::{Alarms, most, percent, rates, runs};
use crate::stats::proportion::{Bets, Tally, interval, log_wealth};
use crate::stats::{Better, Finding, NonInferiority, Period, Side};

const ALPHA: f64 = 0.05;

/// A rollout in which the candidate is worse by exactly the margin, or on average so: whatever is found is a false alarm.
struct Scenario {
    name: &'static str,
    /// The margin as a difference.
    limit: f64,
    /// Weight and number of units of each period.
    periods: &'static [(f64, usize)],
    /// Rates of candidate and stable; what they get is how far the rollout is, from 0 to 1.
    rates: fn(f64) -> (f64, f64),
}

const SCENARIOS: [Scenario; 10] = [
    Scenario { name: "equal, 10 %, weight 50 %", limit: 0.0, periods: &[(0.5, 10_000)], rates: |_| (0.1, 0.1) },
    Scenario { name: "equal, 50 %, weight 5 %", limit: 0.0, periods: &[(0.05, 10_000)], rates: |_| (0.5, 0.5) },
    Scenario { name: "equal, 99.5 %, weight 5 %", limit: 0.0, periods: &[(0.05, 10_000)], rates: |_| (0.995, 0.995) },
    Scenario {
        name: "base rate swings 2 % to 38 %, weight 20 %",
        limit: 0.0,
        periods: &[(0.2, 10_000)],
        rates: |at| alike(0.2 + 0.18 * (at * 40.0).sin()),
    },
    Scenario {
        name: "weights 5, 25, 50 %, base rate climbs 2 % to 30 %",
        limit: 0.0,
        periods: &[(0.05, 4_000), (0.25, 3_000), (0.5, 3_000)],
        rates: |at| alike(0.02 + 0.28 * at),
    },
    Scenario {
        name: "p = 0.001, weights 5, 25, 50 %",
        limit: 0.0,
        periods: &[(0.05, 20_000), (0.25, 20_000), (0.5, 20_000)],
        rates: |_| (0.001, 0.001),
    },
    Scenario {
        name: "p = 0.001 against 0.0015, margin 0.05pp",
        limit: -0.0005,
        periods: &[(0.05, 20_000), (0.25, 20_000), (0.5, 20_000)],
        rates: |_| (0.001, 0.0015),
    },
    Scenario {
        name: "at the margin of 2pp, weights 5, 25, 50 %, drifting",
        limit: -0.02,
        periods: &[(0.05, 4_000), (0.25, 3_000), (0.5, 3_000)],
        rates: |at| (0.08 + 0.1 * at, 0.1 + 0.1 * at),
    },
    Scenario {
        name: "effect swings by 8pp around nothing, weight 50 %",
        limit: 0.0,
        periods: &[(0.5, 10_000)],
        rates: |at| (0.2 + 0.08 * (at * 200.0).sin(), 0.2),
    },
    Scenario {
        name: "one in ten thousand, weight 1 %",
        limit: 0.0,
        periods: &[(0.01, 60_000)],
        rates: |_| (0.0001, 0.0001),
    },
];

fn alike(rate: f64) -> (f64, f64) {
    (rate, rate)
}

/// Found worse, found better, and what a z-test that forgets about time and weight would have found, at any look.
fn run(scenario: &Scenario, run: usize, every: usize) -> Alarms<3> {
    let mut chance = Chance::of(scenario.name, run);
    let total: usize = scenario.periods.iter().map(|(_, units)| units).sum();
    let (mut done, mut alarms) = (0, [false; 3]);
    let mut periods: Vec<Period<Tally>> = Vec::new();
    let bets = |side| scenario.periods.iter().map(move |(share, _)| Bets::against(scenario.limit, side, *share));
    let (worse, better): (Vec<_>, Vec<_>) = (bets(Side::Below).collect(), bets(Side::Above).collect());
    let enough = (2.0 / ALPHA).ln();
    for (share, units) in scenario.periods {
        let mut counts = [[0_u32; 2]; 2];
        periods.extend(Period::new(*share, Tally::default(), Tally::default()));
        for unit in 0..*units {
            let (candidate, stable) = (scenario.rates)(done as f64 / total as f64);
            done += 1;
            let on_candidate = chance.happens(*share);
            let success = chance.happens(if on_candidate { candidate } else { stable });
            let count = &mut counts[usize::from(on_candidate)];
            *count = [count[0] + u32::from(success), count[1] + 1];
            // Every unit at first, then every success of a rare kind.
            let is_look = unit < 100 || unit % every == 0 || (success && candidate < 0.01);
            if !is_look {
                continue;
            }
            let [stable, candidate] =
                counts.map(|[successes, trials]| Tally::new(f64::from(successes), f64::from(trials)).unwrap());
            let last = periods.len() - 1;
            periods[last] = Period::new(*share, candidate, stable).unwrap();
            alarms[0] |= log_wealth(periods.iter().zip(&worse)) >= enough;
            alarms[1] |= log_wealth(periods.iter().zip(&better)) >= enough;
            alarms[2] |= is_significant(&periods, scenario.limit);
        }
        let wealth = [&worse, &better].map(|bets| log_wealth(periods.iter().zip(bets)));
        check_verdict(scenario, &periods, wealth.map(|it| it >= enough));
    }
    alarms
}

/// The evidence that is looked at after each unit is what the interval, and so the verdict, says: a look costs a hundredth of it.
fn check_verdict(scenario: &Scenario, periods: &[Period<Tally>], [worse, better]: [bool; 2]) {
    let interval = interval(periods, ALPHA);
    let found = NonInferiority { better: Better::Higher, margin: -scenario.limit }.judge(&interval);
    let is_all = (interval.low, interval.high) == (-1.0, 1.0);
    let told = (found == Finding::Inferior, found == Finding::NotInferior);
    assert!(
        is_all || told == (worse, better),
        "{}: {interval:?} says {found:?}, the evidence {:?}",
        scenario.name,
        (worse, better)
    );
}

/// The test of the textbook on all counts added up, at a size for which it is made: 10 of each kind.
fn is_significant(periods: &[Period<Tally>], limit: f64) -> bool {
    let sum = |of: fn(&Period<Tally>) -> Tally| {
        periods
            .iter()
            .map(of)
            .fold((0.0, 0.0), |(k, n), it| (k + it.rate().unwrap_or_default() * it.trials(), n + it.trials()))
    };
    let ((k, m), (l, n)) = (sum(|it| it.candidate), sum(|it| it.stable));
    if k < 10.0 || l < 10.0 || m - k < 10.0 || n - l < 10.0 {
        return false;
    }
    let (p, q) = (k / m, l / n);
    (p - q - limit).abs() > 1.959_964 * (p * (1.0 - p) / m + q * (1.0 - q) / n).sqrt()
}

/// Looks after every so many units, and after each at first.
fn check(number: usize, every: usize) {
    println!("\n| proportions, {number} runs | found worse | found better | either | z-test at every look |");
    println!("|---|---|---|---|---|");
    for scenario in &SCENARIOS {
        let alarms = runs(number, |it| run(scenario, it, every));
        let either: Vec<Alarms<1>> = alarms.iter().map(|it| [it[0] || it[1]]).collect();
        let ([worse, better, naive], [any]) = (rates(&alarms), rates(&either));
        let [worse_, better_, any_, naive_] = [worse, better, any, naive].map(|rate| percent(rate, number));
        println!("| {} | {worse_} | {better_} | {any_} | {naive_} |", scenario.name);
        for one_sided in [worse, better] {
            assert!(one_sided <= most(ALPHA / 2.0, number), "{}: {one_sided}", scenario.name);
        }
        assert!(any <= most(ALPHA, number), "{}: {any}", scenario.name);
    }
}

#[test]
fn a_candidate_at_the_margin_is_called_neither_better_nor_worse_more_often_than_promised() {
    check(40, 200);
}

#[test]
#[ignore = "20,000 runs of each kind: make proof"]
fn proof_of_false_alarms_about_proportions() {
    check(20_000, 20);
}
