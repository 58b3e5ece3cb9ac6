//! What looking all the time costs, beside a test that may look once.

use super::chance::Chance;
use super::table::runs;
use crate::stats::proportion::{Bets, Tally, log_wealth};
use crate::stats::{Period, Side};

const ALPHA: f64 = 0.05;
/// Rows: share of the candidate, its rate, the stable revision's, and the margin as a difference.
const ROWS: [(f64, f64, f64, f64); 8] = [
    (0.5, 0.08, 0.1, 0.0),
    (0.5, 0.05, 0.1, 0.0),
    (0.05, 0.05, 0.1, 0.0),
    (0.05, 0.1, 0.05, 0.0),
    (0.5, 0.1, 0.1, -0.01),
    (0.5, 0.5, 0.55, 0.0),
    (0.25, 0.003, 0.001, 0.0),
    (0.05, 0.0, 0.02, 0.0),
];

/// Units that a z-test of the two-sided error `ALPHA` needs to see this difference with a chance of 80 %: the formula of
/// Fleiss, Levin and Paik 2003 (4.14, without correction for continuity), with the rates at the margin under the null.
fn fixed_horizon((share, candidate, stable, limit): (f64, f64, f64, f64)) -> f64 {
    let variance = |p: f64, q: f64| p * (1.0 - p) / share + q * (1.0 - q) / (1.0 - share);
    let pooled = share * (candidate - limit) + (1.0 - share) * stable;
    let errors = 1.959_964 * variance(pooled + limit, pooled).sqrt() + 0.841_621 * variance(candidate, stable).sqrt();
    (errors / (candidate - stable - limit)).powi(2)
}

/// Units until the difference is seen, at most eight times those of the z-test.
fn units(row: (f64, f64, f64, f64), run: usize) -> f64 {
    let (share, candidate, stable, limit) = row;
    let mut chance = Chance::of("time to detect", run);
    let planned = fixed_horizon(row);
    let side = if candidate - stable > limit { Side::Above } else { Side::Below };
    let bets = [Bets::against(limit, side, share)];
    let mut counts = [[0.0; 2]; 2];
    let every = (planned / 200.0).ceil();
    let mut seen = 0.0;
    while seen < planned * 8.0 {
        seen += 1.0;
        let on_candidate = chance.happens(share);
        let success = chance.happens(if on_candidate { candidate } else { stable });
        let count = &mut counts[usize::from(on_candidate)];
        *count = [count[0] + f64::from(u8::from(success)), count[1] + 1.0];
        if seen % every == 0.0 {
            let [stable, candidate] = counts.map(|[k, n]| Tally::new(k, n).unwrap());
            let period = [Period::new(share, candidate, stable).unwrap()];
            if log_wealth(period.iter().zip(&bets)) >= (2.0 / ALPHA).ln() {
                break;
            }
        }
    }
    seen
}

fn measure(number: usize) -> Vec<(f64, f64)> {
    println!(
        "\n| share | candidate | stable | margin | z-test, once | anytime: half | 80 % | mean | by the z-test's end |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    ROWS.map(|row| {
        let planned = fixed_horizon(row);
        let mut all = runs(number, |it| units(row, it));
        all.sort_by(f64::total_cmp);
        let part = |part: f64| all[((number as f64 * part) as usize).min(number - 1)] / planned;
        let mean = all.iter().sum::<f64>() / number as f64 / planned;
        let by_then = all.iter().filter(|it| **it <= planned).count() as f64 / number as f64;
        let (share, candidate, stable, limit) = row;
        println!(
            "| {:.0} % | {:.1} % | {:.1} % | {:.1}pp | {planned:.0} | {:.2} × | {:.2} × | {mean:.2} × | {:.0} % |",
            share * 100.0,
            candidate * 100.0,
            stable * 100.0,
            limit.abs() * 100.0,
            part(0.5),
            part(0.8),
            by_then * 100.0,
        );
        (part(0.5), part(0.8))
    })
    .to_vec()
}

#[test]
#[ignore = "2,000 runs of each kind: make proof"]
fn proof_of_the_time_to_detect_a_difference() {
    for (half, most) in measure(2_000) {
        assert!(half < 2.0 && most < 3.0, "half of all differences took {half} times as long, 80 % {most}");
    }
}
