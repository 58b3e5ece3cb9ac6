//! Comparing a candidate with the stable revision by counts, at any time and as often as one likes.
//!
//! A test with a fixed sample size that is looked at every thirty seconds cries wolf: its 5 % hold for one look.
//! Everything here is *anytime-valid* instead: the promised error holds for all looks together, whenever they come and
//! whyever one stops. And it follows from cumulative counts alone, so a restart forgets nothing.
//!
//! Three facts carry it.
//!
//! 1. **The draw is ours.** Within a weight period the gateway sends each unit to the candidate with the known chance
//!    `w`, whatever happens in the shop meanwhile. So with `c = min(w, 1 − w)` and any centre `m`, the score
//!    `Z = c/w·(Y − m)` of the candidate's units and `Z = −c/(1 − w)·(Y − m)` of the stable revision's has the mean
//!    `c · (difference of the two at that moment)`: inverse propensity weighting (Horvitz and Thompson 1952; for
//!    experiments that are watched, Ham, Bojinov, Lindon and Tingley 2022, "Design-Based Confidence Sequences",
//!    arXiv:2210.08639). A base rate that drifts moves both alike and cancels; no period is pooled with one of another weight,
//!    so Simpson's paradox has no way in. Periods are combined by the size of their smaller side.
//! 2. **Bets that cannot win.** If the difference is at most `d`, someone who stakes a fixed part of their money on each
//!    `Z − c·d` being positive has no winning system: their wealth is a nonnegative supermartingale, and the chance that it
//!    ever passes 1/α is at most α (Ville 1939). The differences against which nobody has won form the confidence sequence
//!    (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", JRSS B 86(1), section 4).
//!    A stake that is fixed makes the wealth a product of powers of the counts; a mixture of stakes
//!    (as in Orabona and Jun 2024, "Tight Concentrations and Confidence Sequences from the Regret of Universal Portfolio",
//!    IEEE Trans. Inf. Theory 70(1)) finds the right one without having to remember what was known when. [`proportion`]
//!    does this, exactly: no approximation, so it holds at ten units and at rates of one in a thousand.
//! 3. **Means of what has no upper end** allow no exact statement of that kind. [`mean`] uses the asymptotic confidence
//!    sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2024 ("Time-uniform central limit theory and asymptotic
//!    confidence sequences", Annals of Statistics 52(6), Theorem 2.2), after a start that is long enough.
//!
//! [`share`] bets in the same way against the draw itself: a sample ratio mismatch. How often each of them errs,
//! and how long it takes, is measured in `tests` (`make proof`) and told in `docs/explanation/counted-metrics.md`.

mod bet;
pub mod interval;
pub mod mean;
pub mod period;
pub mod proportion;
pub mod share;

#[cfg(test)]
mod tests;

pub use interval::{Better, Finding, Interval, NonInferiority};
pub use period::{Period, Side};
