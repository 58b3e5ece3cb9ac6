//! Sample ratio mismatch: do the units come as the weight says?
//!
//! Where they do not, something between the gateway and the count treats the revisions differently: retries, caches, lost
//! events, a route edited by hand. Then a difference in outcomes may be a difference in whom they were counted of, and no
//! comparison can be trusted (Fabijan et al. 2019, "Diagnosing Sample Ratio Mismatch in Online Controlled Experiments", KDD).
//!
//! The test may be looked at at any time, as that of Lindon and Malek 2022 ("Anytime-Valid Inference For Multinomial Count
//! Data", NeurIPS): the ratio of the likelihood of the counts, mixed over other shares, to that under the intended one
//! is a martingale if the intended one is true. The other shares are those of fixed bets, `w·(1 ± κ·(1 − w))`: a sum of
//! powers, no special function. Each period is a test of its own, and the results are multiplied: a mismatch that
//! begins with the third weight need not outweigh two that were right.
//!
//! Counts are never quite those of the gateway: what a pod answers before its metrics are read the first time is not among them.
//! So a share that is off by [`TOLERANCE`] is still right: the evidence is the least against any share so near, which is valid
//! under each of them, as its divisor is the largest of their likelihoods.

use super::bet::{STAKES, log_sum, stakes};
use super::period::{Period, Side};

/// The chance of ever calling a draw wrong that is right: it stops every comparison, so it had better be rare.
pub const ALPHA: f64 = 0.001;

/// By what part of the smaller side a share may be off.
pub const TOLERANCE: f64 = 0.02;

/// The logarithm of the evidence that units do not come as the shares say; the counts are those of units.
#[must_use]
pub fn log_evidence(periods: &[Period<f64>]) -> f64 {
    periods.iter().map(of_one).sum()
}

/// Whether the shares are refuted.
#[must_use]
pub fn is_mismatch(periods: &[Period<f64>]) -> bool {
    log_evidence(periods) >= (1.0 / ALPHA).ln()
}

fn of_one(period: &Period<f64>) -> f64 {
    // A bet on more units of the candidate's than w of all: what one of them pays, what another costs.
    let (won, lost) = (1.0 - period.share(), period.share());
    let prior = (2.0 * STAKES as f64).ln();
    let bets = stakes().flat_map(|stake| [Side::Above, Side::Below].map(|side| side.sign() * stake));
    let wealth: Vec<f64> = bets
        .map(|stake| period.candidate * (stake * won).ln_1p() + period.stable * (-stake * lost).ln_1p() - prior)
        .collect();
    log_sum(&wealth) - excused(period)
}

/// By how much the nearest tolerated share explains the counts better than the intended one.
fn excused(period: &Period<f64>) -> f64 {
    let (share, units) = (period.share(), period.candidate + period.stable);
    if units <= 0.0 {
        return 0.0;
    }
    let tolerated = TOLERANCE * share.min(1.0 - share);
    let nearest = (period.candidate / units).clamp(share - tolerated, share + tolerated);
    period.candidate * (nearest / share).ln() + period.stable * ((1.0 - nearest) / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(share: f64, candidate: f64, stable: f64) -> Period<f64> {
        Period::new(share, candidate, stable).unwrap()
    }

    #[test]
    fn a_draw_is_called_wrong_when_chance_alone_does_so_once_in_a_thousand_and_not_before() {
        // One in 325, and one in 1,400.
        for (candidate, is_wrong) in [(60.0, false), (57.0, true)] {
            let it = [period(0.05, candidate, 2_000.0 - candidate)];
            assert_eq!(is_mismatch(&it), is_wrong, "evidence {}", log_evidence(&it).exp());
        }
    }

    /// By scipy, from binomial probabilities.
    #[test]
    fn evidence_is_that_computed_elsewhere() {
        let golden: [(&[Period<f64>], f64); 4] = [
            (&[period(0.05, 80.0, 1_920.0)], -0.097_798_517_327),
            (&[period(0.05, 60.0, 1_940.0)], 5.784_055_823_248),
            (&[period(0.05, 100.0, 1_900.0), period(0.25, 480.0, 1_520.0)], -1.110_729_858_235),
            (&[period(0.8, 1_900.0, 400.0)], 0.724_610_207_058),
        ];
        for (periods, theirs) in golden {
            let ours = log_evidence(periods);
            assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}");
        }
    }

    #[test]
    fn as_many_units_as_intended_are_no_mismatch_and_far_too_few_or_too_many_are() {
        assert!(!is_mismatch(&[]));
        assert!(!is_mismatch(&[period(0.05, 5_000.0, 95_000.0)]));
        assert!(is_mismatch(&[period(0.05, 4_500.0, 95_500.0)]));
        assert!(is_mismatch(&[period(0.05, 5_500.0, 94_500.0)]));
        assert!(is_mismatch(&[period(0.05, 400.0, 0.0)]), "nobody counts the stable revision's");
    }

    #[test]
    fn a_mismatch_that_begins_late_is_still_noticed() {
        let right = [period(0.05, 50_000.0, 950_000.0), period(0.25, 250_000.0, 750_000.0)];
        assert!(!is_mismatch(&right));
        let [first, second] = right;
        assert!(is_mismatch(&[first, second, period(0.5, 900.0, 1_200.0)]));
    }

    /// All that can happen to twelve units, by the binomial distribution.
    #[test]
    fn under_the_intended_share_and_any_that_is_tolerated_nobody_wins_on_average() {
        for (share, off) in [(0.05_f64, 0.0), (0.5, 0.0), (0.8, 0.0), (0.05, 0.001), (0.5, -0.01), (0.8, 0.004)] {
            let (mut mean, mut ways) = (0.0, 1.0);
            for k in 0..=12 {
                let candidate = f64::from(k);
                let chance = ways * (share + off).powi(k) * (1.0 - share - off).powi(12 - k);
                mean += chance * log_evidence(&[period(share, candidate, 12.0 - candidate)]).exp();
                ways *= (12.0 - candidate) / (candidate + 1.0);
            }
            assert!(mean > 0.9 && mean < 1.0 + 1e-12, "{share}, off by {off}: {mean}");
        }
    }

    #[test]
    fn what_comes_before_the_first_scrape_is_no_mismatch() {
        assert!(!is_mismatch(&[period(0.05, 490_500.0, 9_509_500.0)]), "2 % of the candidate's, of ten million");
        assert!(is_mismatch(&[period(0.05, 475_000.0, 9_525_000.0)]), "5 %");
        assert!(!is_mismatch(&[period(0.95, 9_509_500.0, 490_500.0)]));
    }
}
