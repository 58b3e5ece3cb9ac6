//! The purse: one amount of money, divided among ways to bet.

/// How many stakes there are.
pub(super) const STAKES: usize = 12;

/// Parts of the money that are staked at a time: each half of the one before. The largest serves rare events,
/// where one unit tells much; the smallest, differences that show in tens of millions of units.
pub(super) fn stakes() -> impl Iterator<Item = f64> + Clone {
    (0..STAKES as i32).map(|halvings| 0.9 * 0.5_f64.powi(halvings))
}

/// The logarithm of `Σ exp(part)`, without overflow.
pub(super) fn log_sum(parts: &[f64]) -> f64 {
    let largest = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + parts.iter().map(|part| (part - largest).exp()).sum::<f64>().ln()
}
