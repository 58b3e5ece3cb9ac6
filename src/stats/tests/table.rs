//! Runs, shared among the processor's cores, and how often something happened in them.

use std::thread;

/// What one run found, out of `N` things that can go wrong.
pub(super) type Alarms<const N: usize> = [bool; N];

/// Does all runs; `run` gets its number.
pub(super) fn runs<T: Send, F: Fn(usize) -> T + Sync>(number: usize, run: F) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..cores)
            .map(|core| scope.spawn(move || (core..number).step_by(cores).map(run).collect::<Vec<T>>()))
            .collect();
        threads.into_iter().flat_map(|it| it.join().unwrap()).collect()
    })
}

/// How often each alarm was raised.
pub(super) fn rates<const N: usize>(alarms: &[Alarms<N>]) -> [f64; N] {
    std::array::from_fn(|kind| alarms.iter().filter(|it| it[kind]).count() as f64 / alarms.len() as f64)
}

/// The most that a rate of `alpha` gives in `runs` runs, but for bad luck of one in a thousand: three standard errors more.
pub(super) fn most(alpha: f64, runs: usize) -> f64 {
    alpha + 3.0 * (alpha * (1.0 - alpha) / runs as f64).sqrt()
}

/// A rate with its standard error, for people.
pub(super) fn percent(rate: f64, runs: usize) -> String {
    let error = (rate * (1.0 - rate) / runs as f64).sqrt();
    format!("{:.2} ± {:.2} %", rate * 100.0, error * 100.0)
}
