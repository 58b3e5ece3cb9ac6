//! How many calls to whom users name are under way.
//!
//! All of them together have a bound, which is what bounds their memory, and each host a smaller one: a host that
//! hangs leaves places for the others until it is known to hang, and is then not waited for any more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::outage::{self, Outage};
use crate::decide::Measurement;

/// Hosts of which it is remembered whether they answer.
const MOST_HOSTS: usize = 1024;

/// Places for calls.
#[derive(Debug)]
pub(super) struct Places {
    all: Semaphore,
    of_one: usize,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

/// One host and port.
#[derive(Debug)]
struct Host {
    outage: Outage,
    places: Semaphore,
}

/// Why a call has nothing to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answered.
    Silent(String),
    /// The host is well, or at least there, and this is no answer to the question.
    Answered(Measurement),
}

impl Places {
    /// For so many calls, and so many to one host.
    pub(super) fn new(all: usize, of_one: usize) -> Self {
        Self { all: Semaphore::new(all), of_one, hosts: Mutex::default() }
    }

    /// Makes the call when there is a place for it.
    ///
    /// # Errors
    /// The measurement that comes of a call without an answer.
    pub(super) async fn call<T>(
        &self,
        host: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Measurement> {
        let asked = self.host(host);
        let Ok(_of_host) = asked.places.acquire().await else { return Err(ending()) };
        let began = Instant::now();
        if let Err(silent_for) = asked.outage.admit(began) {
            let why = format!("{host} {}; check that it runs", outage::told(silent_for));
            return Err(Measurement::ProviderError(why));
        }
        let Ok(_of_all) = self.all.acquire().await else { return Err(ending()) };
        let answer = call.await;
        if let Err(Failure::Silent(_)) = answer {
            asked.outage.silent(began, Instant::now());
        } else {
            asked.outage.answered();
        }
        answer.map_err(|failure| match failure {
            Failure::Silent(why) => Measurement::ProviderError(why),
            Failure::Answered(measurement) => measurement,
        })
    }

    /// What is known of this host. With too many, those that nobody asks at the moment are forgotten.
    fn host(&self, host: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= MOST_HOSTS && !hosts.contains_key(host) {
            hosts.retain(|_, it| Arc::strong_count(it) > 1);
        }
        let new = || Arc::new(Host { outage: Outage::default(), places: Semaphore::new(self.of_one) });
        hosts.entry(host.to_owned()).or_insert_with(new).clone()
    }
}

fn ending() -> Measurement {
    Measurement::ProviderError("the operator is ending".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_not_remembered_without_end() {
        let places = Places::new(1, 1);
        for number in 0..3 * MOST_HOSTS {
            places.host(&format!("host-{number}"));
        }
        assert!(places.hosts.lock().unwrap().len() <= MOST_HOSTS);
    }
}
