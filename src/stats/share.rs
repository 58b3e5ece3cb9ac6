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

use super::bet::{STAKES, log_sum, stakes};
use super::period::{Period, Side};

/// The chance of ever calling a draw wrong that is right: it stops every comparison, so it had better be rare.
pub const ALPHA: f64 = 0.001;

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
    log_sum(&wealth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(share: f64, candidate: f64, stable: f64) -> Period<f64> {
        Period::new(share, candidate, stable).unwrap()
    }

    /// By numpy and scipy's logsumexp.
    #[test]
    fn evidence_is_that_computed_elsewhere() {
        let golden: [(&[Period<f64>], f64); 3] = [
            (&[period(0.05, 80.0, 1_920.0)], 0.305_974_562_815),
            (&[period(0.05, 60.0, 1_940.0)], 6.612_924_608_756),
            (&[period(0.05, 100.0, 1_900.0), period(0.25, 480.0, 1_520.0)], -0.708_324_438_268),
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
    fn under_the_intended_share_nobody_wins_on_average() {
        for share in [0.05_f64, 0.5, 0.8] {
            let mut mean = 0.0;
            let mut ways = 1.0;
            for k in 0..=12 {
                let candidate = f64::from(k);
                let chance = ways * share.powi(k) * (1.0 - share).powi(12 - k);
                mean += chance * log_evidence(&[period(share, candidate, 12.0 - candidate)]).exp();
                ways *= (12.0 - candidate) / (candidate + 1.0);
            }
            assert!((mean - 1.0).abs() < 1e-12, "{share}: {mean}");
        }
    }
}
