//! The difference of two proportions: exact at any time, for any rate, with a base rate that drifts.
//!
//! Against the claim "candidate − stable is at most `d`" one bets, with a stake `κ`, on each unit:
//!
//! ```text
//!   a unit of the candidate multiplies the wealth by   1 + κ·(c/w)·(Y − m_c)
//!   a unit of the stable revision by                   1 − κ·(c/(1 − w))·(Y − m_s)
//! ```
//!
//! with `Y` 1 for a success and 0 otherwise, `c = min(w, 1 − w)`, and two centres in [0, 1] that lie `d` apart:
//! `m_s = m·(1 − |d|) + max(−d, 0)`, `m_c = m_s + d`. Given all that came before, the unit's expected factor is
//! `1 + κ·c·(δ − d)`, where δ is the true difference at that moment: the centre cancels, because the draw does not know it.
//! Scores lie in [−1, 1], so with κ < 1 no factor is negative, and none needs a guess of the variance.
//!
//! **What is tested.** Let δ̄ be the mean of the true differences of all units so far, each with the weight `c` of its
//! period. As `Π (1 + κ·c·(δᵢ − d)) ≤ exp(κ·Σ c·(δᵢ − d))`, wealth against `d` exceeds a martingale only while δ̄ > d. So at
//! most α/2 of all rollouts ever find the candidate better than a margin while on average so far it is not, however base rate *and* effect
//! move; likewise for worse. With an effect that does not move, the interval covers it at all looks together with probability 1 − α.
//!
//! Both factors fall as `d` rises, so the differences that survive form an interval.

use super::bet::{STAKES, log_sum, stakes};
use super::interval::Interval;
use super::period::{NotCounts, Period, Side, count};

/// Centres `m` and what part of the money each gets, in twelfths. The nearer it is to the rate, the less
/// the draw itself adds to the noise; success and failure are treated alike.
const CENTRES: [(f64, f64); 5] = [(0.0, 3.0), (0.25, 2.0), (0.5, 2.0), (0.75, 2.0), (1.0, 3.0)];
const BETS: usize = STAKES * CENTRES.len();
/// Halvings of [−1, 1] to an end of the interval: to 2·10⁻¹¹.
const HALVINGS: usize = 36;

/// Successes among trials.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    successes: f64,
    failures: f64,
}

impl Tally {
    /// Counts as a metric source gives them: extrapolated, so no whole numbers, and a rate of 1 may be
    /// exceeded by a hair.
    ///
    /// # Errors
    /// When they cannot be counts of successes among trials.
    pub fn new(successes: f64, trials: f64) -> Result<Self, NotCounts> {
        let (successes, trials) = (count(successes)?, count(trials)?);
        if successes > trials * 1.01 + 1.0 {
            return Err(NotCounts::MoreThanAll);
        }
        Ok(Self { successes: successes.min(trials), failures: (trials - successes).max(0.0) })
    }

    /// All of them.
    #[must_use]
    pub fn trials(&self) -> f64 {
        self.successes + self.failures
    }

    /// Successes per trial.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.trials() > 0.0).then(|| self.successes / self.trials())
    }
}

/// The bets against one difference at one weight: what each kind of unit adds to the logarithm of each one's wealth.
pub(super) struct Bets([[f64; 4]; BETS]);

impl Bets {
    pub(super) fn against(difference: f64, side: Side, share: f64) -> Self {
        let smaller = share.min(1.0 - share);
        let (of_candidate, of_stable) = (smaller / share, smaller / (1.0 - share));
        let mut factors = [[0.0; 4]; BETS];
        let bets = stakes().flat_map(|stake| CENTRES.iter().map(move |(centre, _)| (stake, centre)));
        for (factor, (stake, centre)) in factors.iter_mut().zip(bets) {
            let stable = centre * (1.0 - difference.abs()) + (-difference).max(0.0);
            let candidate = stable + difference;
            let (k, l) = (side.sign() * stake * of_candidate, side.sign() * stake * of_stable);
            *factor =
                [k * (1.0 - candidate), -k * candidate, -l * (1.0 - stable), l * stable].map(|change| change.ln_1p());
        }
        Self(factors)
    }

    fn play(&self, period: &Period<Tally>, wealth: &mut [f64; BETS]) {
        let (candidate, stable) = (&period.candidate, &period.stable);
        for (wealth, [a, b, c, d]) in wealth.iter_mut().zip(&self.0) {
            *wealth += candidate.successes * a + candidate.failures * b + stable.successes * c + stable.failures * d;
        }
    }
}

/// The logarithm of all wealth together, after these periods, each with its bets.
pub(super) fn log_wealth<'a>(periods: impl Iterator<Item = (&'a Period<Tally>, &'a Bets)>) -> f64 {
    let total: f64 = CENTRES.iter().map(|(_, part)| part).sum::<f64>() * STAKES as f64;
    let mut wealth = [0.0; BETS];
    for (wealth, (_, part)) in wealth.iter_mut().zip(CENTRES.iter().cycle()) {
        *wealth = (part / total).ln();
    }
    for (period, bets) in periods {
        bets.play(period, &mut wealth);
    }
    log_sum(&wealth)
}

/// The logarithm of the evidence (an e-process) that candidate − stable is on this side of `difference`.
#[must_use]
pub fn log_evidence(periods: &[Period<Tally>], difference: f64, side: Side) -> f64 {
    let bets: Vec<Bets> = periods.iter().map(|it| Bets::against(difference, side, it.share())).collect();
    log_wealth(periods.iter().zip(&bets))
}

/// The confidence sequence at this look, with error `alpha`, half of it on each side.
#[must_use]
pub fn interval(periods: &[Period<Tally>], alpha: f64) -> Interval {
    let enough = (2.0 / alpha).ln();
    let is_refuted = |difference: f64, side| log_evidence(periods, difference, side) >= enough;
    // From an end that is refuted, if it is, halfway to what is not.
    let end = |from: f64, side: Side| {
        if !is_refuted(from, side) {
            return from;
        }
        let (mut refuted, mut open) = (from, -from);
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(refuted, open);
            if is_refuted(middle, side) { refuted = middle } else { open = middle }
        }
        refuted
    };
    let (low, high) = (end(-1.0, Side::Above), end(1.0, Side::Below));
    // Counts that contradict every difference contradict the draw: they say nothing.
    let (low, high) = if low <= high { (low, high) } else { (-1.0, 1.0) };
    Interval { low, high, estimate: estimate(periods) }
}

/// The difference within each period, combined by the size of its smaller side.
fn estimate(periods: &[Period<Tally>]) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for period in periods {
        let (Some(candidate), Some(stable)) = (period.candidate.rate(), period.stable.rate()) else { continue };
        let weight = period.share().min(1.0 - period.share()) * (period.candidate.trials() + period.stable.trials());
        sum += weight * (candidate - stable);
        weights += weight;
    }
    (weights > 0.0).then(|| sum / weights)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Counts = (f64, f64);

    fn period(share: f64, candidate: Counts, stable: Counts) -> Period<Tally> {
        let [candidate, stable] = [candidate, stable].map(|(successes, trials)| Tally::new(successes, trials).unwrap());
        Period::new(share, candidate, stable).unwrap()
    }

    fn stepped() -> [Period<Tally>; 3] {
        [
            period(0.05, (12.0, 210.0), (380.0, 3_990.0)),
            period(0.25, (61.0, 800.0), (260.0, 2_400.0)),
            period(0.5, (190.0, 2_000.0), (230.0, 2_010.0)),
        ]
    }

    /// By numpy, as a product over units, and scipy's brentq.
    #[test]
    fn intervals_are_those_computed_elsewhere() {
        let few = [period(0.05, (3.0, 1_000.0), (19.0, 19_000.0))];
        let most_traffic = [period(0.8, (70.0, 80.0), (10.0, 20.0))];
        let golden: [(&[Period<Tally>], f64, f64, f64); 4] = [
            (&stepped(), 0.05, -0.052_854_091_259, 0.005_095_959_691),
            (&stepped(), 0.01, -0.055_952_435_666, 0.008_280_426_389),
            (&few, 0.05, -0.007_228_766_743, 0.014_669_934_911),
            (&most_traffic, 0.05, -0.130_920_567_854, 0.850_442_055_450),
        ];
        for (periods, alpha, low, high) in golden {
            let ours = interval(periods, alpha);
            assert!((ours.low - low).abs() < 1e-9 && (ours.high - high).abs() < 1e-9, "{ours:?}");
        }
        assert!((log_evidence(&few, -0.02, Side::Above) - 15.124_809_298_092).abs() < 1e-9);
        assert!((log_evidence(&few, -0.02, Side::Below) + 0.677_354_829_709).abs() < 1e-9);
    }

    /// The mean of the wealth over all that can happen to these units, each with its own weight and stable rate,
    /// the candidate's being `difference` more.
    fn mean_wealth(units: &[(f64, f64)], difference: f64, side: Side) -> f64 {
        let outcomes = 4_usize.pow(u32::try_from(units.len()).unwrap());
        let one = |outcome: usize| {
            let (mut chance, mut periods) = (1.0, Vec::new());
            for (at, (share, stable)) in units.iter().enumerate() {
                let (on_candidate, success) = (outcome >> (2 * at) & 1 == 1, outcome >> (2 * at + 1) & 1 == 1);
                let rate = if on_candidate { stable + difference } else { *stable };
                chance *= if on_candidate { *share } else { 1.0 - share };
                chance *= if success { rate } else { 1.0 - rate };
                let (count, none) = ((f64::from(u8::from(success)), 1.0), (0.0, 0.0));
                let (candidate, stable) = if on_candidate { (count, none) } else { (none, count) };
                periods.push(period(*share, candidate, stable));
            }
            chance * log_evidence(&periods, difference, side).exp()
        };
        (0..outcomes).map(one).sum()
    }

    #[test]
    fn at_the_margin_nobody_wins_on_average_whatever_base_rate_and_weight_do() {
        let units = [(0.05, 0.3), (0.05, 0.9), (0.25, 0.31), (0.5, 0.6), (0.8, 0.45)];
        for difference in [-0.3, -0.01, 0.0, 0.1] {
            for side in [Side::Above, Side::Below] {
                let mean = mean_wealth(&units, difference, side);
                assert!((mean - 1.0).abs() < 1e-12, "{difference}, {side:?}: {mean}");
            }
        }
    }

    #[test]
    fn without_a_unit_everything_is_possible() {
        let nothing = Interval { low: -1.0, high: 1.0, estimate: None };
        assert_eq!(interval(&[], 0.05), nothing);
        assert_eq!(interval(&[period(0.05, (0.0, 0.0), (0.0, 0.0))], 0.05), nothing);
    }

    #[test]
    fn counts_that_the_draw_cannot_give_say_nothing() {
        let nobody_on_stable = [period(0.5, (1_500.0, 3_000.0), (0.0, 0.0))];
        assert!(log_evidence(&nobody_on_stable, 0.0, Side::Above) > 900.0);
        assert!(log_evidence(&nobody_on_stable, 0.0, Side::Below) > 900.0);
        assert_eq!(interval(&nobody_on_stable, 0.05), Interval { low: -1.0, high: 1.0, estimate: None });
    }

    #[test]
    fn periods_of_different_weight_are_not_pooled() {
        // Equal at each weight. Added up, the candidate has 27.1 % and the stable revision 14.8 %: Simpson's paradox.
        let periods = [period(0.05, (50.0, 500.0), (950.0, 9_500.0)), period(0.5, (900.0, 3_000.0), (900.0, 3_000.0))];
        let Interval { low, high, estimate } = interval(&periods, 0.05);
        assert!(low < 0.0 && high > 0.0 && estimate.unwrap().abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_counts_is_refused_and_a_hair_too_much_is_not() {
        assert_eq!(Tally::new(-1.0, 5.0), Err(NotCounts::NotACount));
        assert_eq!(Tally::new(1.0, f64::INFINITY), Err(NotCounts::NotACount));
        assert_eq!(Tally::new(200.0, 100.0), Err(NotCounts::MoreThanAll));
        assert_eq!(Tally::new(100.4, 100.0).unwrap().rate(), Some(1.0));
    }

    prop_compose! {
        fn counts()(trials in 0_u32..3_000, part in 0.0_f64..=1.0) -> Counts {
            (f64::from(trials) * part, f64::from(trials))
        }
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_interval_is_ordered_holds_its_estimate_or_says_nothing_and_mirrors(
            share in 0.01_f64..0.99, candidate in counts(), stable in counts(),
        ) {
            let ours = interval(&[period(share, candidate, stable)], 0.05);
            prop_assert!(-1.0 <= ours.low && ours.low <= ours.high && ours.high <= 1.0);
            // Failures for successes.
            let lost = |(successes, trials): Counts| (trials - successes, trials);
            let mirrored = interval(&[period(share, lost(candidate), lost(stable))], 0.05);
            prop_assert!(near(mirrored.low, -ours.high) && near(mirrored.high, -ours.low));
            // The stable revision for the candidate.
            let swapped = interval(&[period(1.0 - share, stable, candidate)], 0.05);
            prop_assert!(near(swapped.low, -ours.high) && near(swapped.high, -ours.low));
        }

        #[test]
        fn two_periods_of_one_weight_are_as_one(
            share in 0.01_f64..0.99, a in counts(), b in counts(), c in counts(), d in counts(),
        ) {
            let apart = [period(share, a, b), period(share, c, d)];
            let together = [period(share, (a.0 + c.0, a.1 + c.1), (b.0 + d.0, b.1 + d.1))];
            for side in [Side::Above, Side::Below] {
                let [apart, together] = [&apart[..], &together].map(|it| log_evidence(it, -0.01, side));
                prop_assert!((apart - together).abs() < 1e-6, "{apart}, {together}");
            }
        }

        #[test]
        fn evidence_falls_as_the_claim_rises(
            share in 0.01_f64..0.99, a in counts(), b in counts(), d in -1.0_f64..1.0, e in -1.0_f64..1.0,
        ) {
            let periods = [period(share, a, b)];
            let (low, high) = (d.min(e), d.max(e));
            prop_assert!(log_evidence(&periods, low, Side::Above) >= log_evidence(&periods, high, Side::Above) - 1e-9);
            prop_assert!(log_evidence(&periods, low, Side::Below) <= log_evidence(&periods, high, Side::Below) + 1e-9);
        }
    }
}
