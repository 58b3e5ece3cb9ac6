//! What was counted at one weight.

/// One weight's counts of both revisions. All units of one weight may be added up, whenever they came: the odds of the
/// draw are the same.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Period<T> {
    /// The chance of a unit to go to the candidate, between 0 and 1, both excluded.
    share: f64,
    /// The candidate's counts.
    pub candidate: T,
    /// The stable revision's.
    pub stable: T,
}

impl<T> Period<T> {
    /// None where all units go to one side: there is nothing to compare.
    #[must_use]
    pub fn new(share: f64, candidate: T, stable: T) -> Option<Self> {
        (share > 0.0 && share < 1.0).then_some(Self { share, candidate, stable })
    }

    /// The chance of a unit to go to the candidate.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }
}

/// Which side of a value is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// More than it.
    Above,
    /// Less than it.
    Below,
}

impl Side {
    pub(super) fn sign(self) -> f64 {
        match self {
            Self::Above => 1.0,
            Self::Below => -1.0,
        }
    }
}

/// Why counts are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotCounts {
    /// Less than nothing, or no number.
    #[error("a count is negative or no number; count with increase() or count(), not with a gauge")]
    NotACount,
    /// More successes than trials.
    #[error("there are more successes than trials; every success must be one of the trials")]
    MoreThanAll,
    /// Squares that no numbers have.
    #[error(
        "sumSquares is less than the values of sum and count allow; it must sum the square of each value, over the same window"
    )]
    ImpossibleSquares,
}

/// A count, or why it is none.
pub(super) fn count(value: f64) -> Result<f64, NotCounts> {
    (value.is_finite() && value >= 0.0).then_some(value).ok_or(NotCounts::NotACount)
}
