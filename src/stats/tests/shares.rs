//! False alarms about the draw, and how soon a wrong one is noticed.

use super::chance::Chance;
use super::table::{Alarms, most, percent, rates, runs};
use crate::stats::Period;
use crate::stats::share::is_mismatch;

/// Weights, and the chance with which units really come to the candidate, in parts of the weight.
const SCENARIOS: [(&str, &[f64], f64); 6] = [
    ("as intended, weights 5, 25, 50 %", &[0.05, 0.25, 0.5], 1.0),
    ("as intended, weight 0.5 %", &[0.005], 1.0),
    ("as nearly as is tolerated, weight 50 %", &[0.5], 0.98),
    ("the candidate gets 10 % too few, weight 50 %", &[0.5], 0.9),
    ("the candidate gets 20 % too few, weight 5 %", &[0.05], 0.8),
    ("the candidate gets nothing, weight 5 %", &[0.05], 0.0),
];
const UNITS: usize = 30_000;
/// How often a draw that is right may be called wrong: once in a thousand rollouts.
const PROMISED: f64 = 0.001;

/// After how many units the draw is called wrong.
fn run((name, shares, part): (&str, &[f64], f64), run: usize) -> Option<usize> {
    let mut chance = Chance::of(name, run);
    let mut periods: Vec<Period<f64>> = Vec::new();
    let each = UNITS / shares.len();
    for (index, share) in shares.iter().enumerate() {
        periods.extend(Period::new(*share, 0.0, 0.0));
        for unit in 1..=each {
            let period = &mut periods[index];
            let side = if chance.happens(share * part) { &mut period.candidate } else { &mut period.stable };
            *side += 1.0;
            if (unit < 200 || unit % 10 == 0) && is_mismatch(&periods) {
                return Some(index * each + unit);
            }
        }
    }
    None
}

fn check(number: usize) {
    println!("\n| shares, {number} runs of {UNITS} units | called a mismatch | half of those within |");
    println!("|---|---|---|");
    for scenario in SCENARIOS {
        let mut found = runs(number, |it| run(scenario, it));
        let alarms: Vec<Alarms<1>> = found.iter().map(|it| [it.is_some()]).collect();
        let [rate] = rates(&alarms);
        found.retain(Option::is_some);
        found.sort();
        let half = found.get(found.len() / 2).copied().flatten().map_or("–".to_owned(), |it| format!("{it} units"));
        println!("| {} | {} | {half} |", scenario.0, percent(rate, number));
        if scenario.2 < 0.98 {
            assert!(rate > 0.9, "{}: noticed in {rate} of all runs", scenario.0);
        } else {
            assert!(rate <= most(PROMISED, number), "{}: {rate}", scenario.0);
        }
    }
}

#[test]
fn a_draw_that_is_right_is_hardly_ever_called_wrong_and_one_that_is_wrong_is() {
    check(50);
}

#[test]
#[ignore = "20,000 runs of each kind: make proof"]
fn proof_of_false_alarms_about_shares() {
    check(20_000);
}
