//! How many calls to whom users name are under way.
//!
//! All of them together have a bound, which is what bounds their memory, and each host a smaller one: a host that
//! hangs leaves places for the others until it is known to hang, and is then not waited for any more. That is known for each
//! namespace by itself: who asks with a wrong certificate, or for too much, must not silence others.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::outage::{self, Outage};
use crate::decide::Measurement;
use crate::decide::model_deployment::question::LONGEST_TIMEOUT;

/// Hosts, and namespaces that ask them, of which something is remembered.
const MOST: usize = 1024;

/// Places for calls.
#[derive(Debug)]
pub(super) struct Places {
    all: Semaphore,
    of_one: usize,
    hosts: Known<String, Semaphore>,
    outages: Known<(String, String), Outage>,
}

type Known<K, T> = Mutex<HashMap<K, Arc<T>>>;

/// Why a call has nothing to read.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answered in time.
    Silent(String),
    /// The host is well, or at least there, and this is no answer to the question.
    Answered(Measurement),
}

impl Places {
    /// For so many calls, and so many to one host.
    pub(super) fn new(all: usize, of_one: usize) -> Self {
        Self { all: Semaphore::new(all), of_one, hosts: Mutex::default(), outages: Mutex::default() }
    }

    /// Makes a namespace's call to a host when there is a place for it.
    ///
    /// # Errors
    /// The measurement that comes of a call without an answer.
    pub(super) async fn call<T>(
        &self,
        namespace: &str,
        host: &str,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Measurement> {
        let places = known(&self.hosts, host.to_owned(), || Semaphore::new(self.of_one));
        let asking = (namespace.to_owned(), host.to_owned());
        let outage = known(&self.outages, asking, || Outage::of_calls(LONGEST_TIMEOUT));
        let Ok(_of_host) = places.acquire().await else { return Err(ending()) };
        let began = Instant::now();
        if let Err(silent_for) = outage.admit(began) {
            let why = format!("{host} {}; check that it runs", outage::told(silent_for));
            return Err(Measurement::ProviderError(why));
        }
        let Ok(_of_all) = self.all.acquire().await else { return Err(ending()) };
        let answer = call.await;
        if let Err(Failure::Silent(_)) = answer {
            outage.silent(began, Instant::now());
        } else {
            outage.answered();
        }
        answer.map_err(|failure| match failure {
            Failure::Silent(why) => Measurement::ProviderError(why),
            Failure::Answered(measurement) => measurement,
        })
    }
}

/// What is known of a key. With too many, those that nobody asks about at the moment are forgotten.
fn known<K: Eq + Hash, T>(all: &Known<K, T>, key: K, new: impl FnOnce() -> T) -> Arc<T> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= MOST && !all.contains_key(&key) {
        all.retain(|_, it| Arc::strong_count(it) > 1);
    }
    all.entry(key).or_insert_with(|| Arc::new(new())).clone()
}

fn ending() -> Measurement {
    Measurement::ProviderError("the operator is ending".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_not_remembered_without_end() {
        let all = Known::default();
        for number in 0..3 * MOST {
            known(&all, number, || ());
        }
        assert!(all.lock().unwrap().len() <= MOST);
    }

    #[tokio::test]
    async fn who_gets_no_answer_silences_nobody_in_another_namespace() {
        let places = Places::new(4, 4);
        let silent = || std::future::ready(Err::<(), _>(Failure::Silent("no answer".into())));
        for _ in 0..3 {
            assert!(places.call("hasty", "db:5432", silent()).await.is_err());
        }
        let answer = || std::future::ready(Ok(7));
        let Err(Measurement::ProviderError(why)) = places.call("hasty", "db:5432", answer()).await else { panic!() };
        assert!(why.contains("is left alone"), "{why}");
        assert_eq!(places.call("calm", "db:5432", answer()).await, Ok(7));
    }
}
