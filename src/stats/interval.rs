//! What an interval says about a margin.

/// A confidence sequence at one look: the differences (candidate − stable) that the counts do not contradict.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The difference within each weight period, combined; absent as long as one side has nothing.
    pub estimate: Option<f64>,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Hit rates, orders.
    Higher,
    /// Error rates, complaints.
    Lower,
}

/// The candidate may be worse by less than `margin`, and not by more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NonInferiority {
    /// Which values are better.
    pub better: Better,
    /// By how much the candidate may be worse; not negative.
    pub margin: f64,
}

/// What is known about the candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// It is not worse than the margin allows.
    NotInferior,
    /// It is worse than the margin allows.
    Inferior,
    /// Both are still possible.
    Open,
}

impl NonInferiority {
    /// The difference (candidate − stable) at which the candidate is worse by exactly the margin.
    #[must_use]
    pub fn limit(&self) -> f64 {
        match self.better {
            Better::Higher => -self.margin,
            Better::Lower => self.margin,
        }
    }

    /// On which side of the margin the whole interval is.
    #[must_use]
    pub fn judge(&self, interval: &Interval) -> Finding {
        let limit = self.limit();
        let (above, below) = match self.better {
            Better::Higher => (Finding::NotInferior, Finding::Inferior),
            Better::Lower => (Finding::Inferior, Finding::NotInferior),
        };
        if interval.low > limit {
            above
        } else if interval.high < limit {
            below
        } else {
            Finding::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Better::*, Finding::*, *};

    fn judged(better: Better, margin: f64, low: f64, high: f64) -> Finding {
        NonInferiority { better, margin }.judge(&Interval { low, high, estimate: None })
    }

    #[test]
    fn the_whole_interval_has_to_be_on_one_side_of_the_margin() {
        assert_eq!(judged(Higher, 0.01, -0.009, 0.02), NotInferior);
        assert_eq!(judged(Higher, 0.01, -0.03, -0.011), Inferior);
        assert_eq!(judged(Higher, 0.01, -0.011, 0.02), Open);
        assert_eq!(judged(Lower, 0.01, -0.03, 0.009), NotInferior);
        assert_eq!(judged(Lower, 0.01, 0.011, 0.02), Inferior);
        assert_eq!(judged(Lower, 0.01, 0.009, 0.02), Open);
    }

    #[test]
    fn an_interval_that_touches_the_margin_leaves_it_open() {
        assert_eq!(judged(Higher, 0.01, -0.01, 0.02), Open);
        assert_eq!(judged(Lower, 0.0, 0.0, 0.1), Open);
    }
}
