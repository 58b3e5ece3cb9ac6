//! The difference of two means, of values with no known bounds: order values, ratings, minutes.
//!
//! In each weight period, `D` is the difference of the two sample means and `e = n_c·n_s / (n_c + n_s)` the size of
//! the comparison. All periods together give `Σ e·D / E` with `E = Σ e`, which has the variance `s²/E` with
//! `s² = Σ e²·var(D) / E`. The interval is that of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024, Theorem 2.2,
//! with `t = E` and `ρ² = 1/E₀`:
//!
//! ```text
//!   estimate ± s · sqrt( (E + E₀)/E² · ln( (E + E₀)/(E₀·α²) ) )
//! ```
//!
//! It is valid as the central limit theorem is: once there is enough of everything. Two things make "enough" come early.
//! `var(D)` is the larger of what each revision's own values say and what both together say: at a weight of 5 % the candidate
//! may not have seen its first large order yet, and the stable revision has. And nothing is said before each side has
//! values enough ([`START`]).

use super::interval::Interval;
use super::period::{NotCounts, Period, count};

/// `E₀`: the size of comparison, in units of the smaller side, at which the interval is about the tightest is eight times this.
const TIGHTEST: f64 = 500.0;
/// The size of comparison before which nothing is said.
pub const START: f64 = 100.0;

/// Values as their count, sum, and sum of squares.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    count: f64,
    sum: f64,
    sum_squares: f64,
}

impl Moments {
    /// Sums as a metric source gives them.
    ///
    /// # Errors
    /// When no values have these sums.
    pub fn new(sum: f64, sum_squares: f64, number: f64) -> Result<Self, NotCounts> {
        let (number, sum_squares) = (count(number)?, count(sum_squares)?);
        if !sum.is_finite() {
            return Err(NotCounts::NotACount);
        }
        // Cauchy and Schwarz; extrapolation and rounding may miss it by a hair.
        if sum * sum > number * sum_squares * 1.01 {
            return Err(NotCounts::ImpossibleSquares);
        }
        Ok(Self { count: number, sum, sum_squares })
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Their mean.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }

    /// The sum of squared distances from their mean.
    fn scatter(&self, mean: f64) -> f64 {
        (self.sum_squares - self.sum * mean).max(0.0)
    }
}

/// One period's part in the comparison.
struct Part {
    size: f64,
    difference: f64,
    variance: f64,
}

impl Part {
    fn of(period: &Period<Moments>) -> Option<Self> {
        let (candidate, stable) = (&period.candidate, &period.stable);
        let (m, n) = (candidate.count, stable.count);
        if m < 2.0 || n < 2.0 {
            return None;
        }
        let (mean, baseline) = (candidate.mean()?, stable.mean()?);
        let (scatter, scattered) = (candidate.scatter(mean), stable.scatter(baseline));
        let own = scatter / (m - 1.0) / m + scattered / (n - 1.0) / n;
        let together = (scatter + scattered) / (m + n - 2.0) * (1.0 / m + 1.0 / n);
        Some(Self { size: m * n / (m + n), difference: mean - baseline, variance: own.max(together) })
    }
}

/// The confidence sequence at this look, with error `alpha`, half of it on each side; everything is possible at the start.
#[must_use]
pub fn interval(periods: &[Period<Moments>], alpha: f64) -> Interval {
    let parts: Vec<Part> = periods.iter().filter_map(Part::of).collect();
    let size: f64 = parts.iter().map(|it| it.size).sum();
    if size <= 0.0 {
        return Interval { low: f64::NEG_INFINITY, high: f64::INFINITY, estimate: None };
    }
    let estimate = parts.iter().map(|it| it.size * it.difference).sum::<f64>() / size;
    let variance = parts.iter().map(|it| it.size * it.size * it.variance).sum::<f64>() / size;
    let wide = size + TIGHTEST;
    let radius = (variance * wide * (wide / (TIGHTEST * alpha * alpha)).ln()).sqrt() / size;
    let radius = if size < START { f64::INFINITY } else { radius };
    Interval { low: estimate - radius, high: estimate + radius, estimate: Some(estimate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(count: f64, sum: f64, sum_squares: f64) -> Moments {
        Moments::new(sum, sum_squares, count).unwrap()
    }

    /// Two periods of order values.
    fn orders() -> [Period<Moments>; 2] {
        [
            Period::new(0.05, moments(210.0, 10_920.0, 1.4e6), moments(3_990.0, 223_440.0, 3.1e7)).unwrap(),
            Period::new(0.5, moments(2_000.0, 118_000.0, 1.6e7), moments(2_010.0, 120_600.0, 1.7e7)).unwrap(),
        ]
    }

    /// By numpy, from the formulas above with unbiased variances.
    #[test]
    fn the_interval_is_the_one_computed_elsewhere() {
        let Interval { low, high, estimate } = interval(&orders(), 0.05);
        for (ours, theirs) in
            [(low, -7.803_000_351_718), (high, 4.807_154_920_343), (estimate.unwrap(), -1.497_922_715_687)]
        {
            assert!((ours - theirs).abs() < 1e-9, "{ours} is not {theirs}");
        }
    }

    #[test]
    fn nothing_is_said_before_each_side_has_values_enough() {
        let little = Period::new(0.05, moments(90.0, 90.0, 100.0), moments(1e6, 1e6, 1.1e6)).unwrap();
        let Interval { low, high, estimate } = interval(&[little], 0.05);
        assert_eq!((low, high, estimate), (f64::NEG_INFINITY, f64::INFINITY, Some(0.0)));
        assert_eq!(interval(&[], 0.05).estimate, None);
        let enough = Period::new(0.05, moments(110.0, 110.0, 120.0), moments(1e6, 1e6, 1.1e6)).unwrap();
        assert!(interval(&[enough], 0.05).low.is_finite());
    }

    #[test]
    fn a_candidate_that_has_not_seen_a_large_order_yet_is_not_taken_for_one_without_variance() {
        // 120 small orders of the candidate's, all alike; the stable revision's vary by 100.
        let period = Period::new(0.05, moments(120.0, 1_200.0, 12_000.0), moments(2_400.0, 50_000.0, 2.5e7)).unwrap();
        let interval = interval(&[period], 0.05);
        assert!(interval.low < -10.0 && interval.high > 10.0, "{interval:?}");
    }

    #[test]
    fn a_smaller_error_needs_a_wider_interval() {
        let [sure, surer] = [0.05, 0.001].map(|alpha| interval(&orders(), alpha));
        assert!(surer.low < sure.low && surer.high > sure.high);
    }

    #[test]
    fn sums_that_no_values_have_are_refused() {
        assert_eq!(Moments::new(10.0, 9.0, 10.0), Err(NotCounts::ImpossibleSquares));
        assert_eq!(Moments::new(f64::NAN, 9.0, 10.0), Err(NotCounts::NotACount));
        assert_eq!(Moments::new(1.0, 9.0, -1.0), Err(NotCounts::NotACount));
        assert!(Moments::new(-10.0, 10.0, 10.0).is_ok(), "all of them −1");
    }
}
