//! The events of one watch, with pauses after failures.
//!
//! kube's watcher recovers, but two things of it are wrong for us. It announces each list before it has
//! asked for it, so that its backoff starts anew with each try: a kind that is not served would be asked for
//! every second for ever. And after a refused watch it goes on where it was without a word, so that nobody
//! can tell when the right is back: here it lists again.

use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream, Stream, StreamExt};
use kube::Api;
use kube::runtime::watcher::{self, Error, Event, watcher};

use super::{Guarded, Watchable};
use crate::runtime::backoff;

/// How long a watch lasts at the API server, in seconds. One that is silent for five seconds longer is dead, and
/// is made anew: canaries do not stand for minutes because a connection was cut without a word.
const LASTS: u32 = 60;
/// A watch that was refused before is taken to be had when it has not been refused for so long: kube does not say
/// when one begins.
const SETTLED: Duration = Duration::from_secs(2);
/// After this long without a failure the next one counts as the first.
const FORGIVEN: Duration = Duration::from_mins(2);

/// Why a watch cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The API server does not know the kind: its CRD is not installed.
    Unserved,
    /// The right is missing.
    Forbidden,
}

/// Whether an error says that more than this one try failed.
pub(super) fn refused(error: &Error) -> Option<Refused> {
    let (Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status))) =
        error
    else {
        return None;
    };
    match status.code {
        403 => Some(Refused::Forbidden),
        404 => Some(Refused::Unserved),
        _ => None,
    }
}

/// Whether it is listed again after this error, and not only watched from where it was.
fn begins_anew(error: &Error) -> bool {
    let is_expired = matches!(error, Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410);
    is_expired || refused(error).is_some()
}

struct Source<K: Watchable> {
    api: Api<Guarded<K>>,
    config: watcher::Config,
    /// For spreading the pauses.
    key: String,
    watch: BoxStream<'static, watcher::Result<Event<Guarded<K>>>>,
    failures: Failures,
    pause: Option<Duration>,
    /// What came while it was waited for a watch to be refused.
    next: Option<watcher::Result<Event<Guarded<K>>>>,
}

/// The events of a kind in one scope, for ever.
pub(super) fn events<K: Watchable>(
    api: Api<Guarded<K>>,
    config: &watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send + use<K> {
    let config = config.clone().timeout(LASTS);
    let (watch, key) = (watcher(api.clone(), config.clone()).boxed(), api.resource_url().to_owned());
    let source = Source { api, config, key, watch, failures: Failures::default(), pause: None, next: None };
    stream::unfold(source, Source::next)
}

impl<K: Watchable> Source<K> {
    async fn next(mut self) -> Option<(watcher::Result<Event<Guarded<K>>>, Self)> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        let mut event = self.event().await?;
        if self.failures.at_watch && matches!(event, Ok(Event::InitDone)) {
            match tokio::time::timeout(SETTLED, self.watch.next()).await {
                // A list that can be had without the watch after it is not told: it would come and go with each try.
                Ok(Some(Err(error))) => event = Err(error),
                Ok(next) => self.next = next,
                Err(_) => self.failures = Failures::default(),
            }
        }
        match &event {
            Ok(event) => self.failures.see(event),
            Err(error) => {
                let attempt = self.failures.count(error, Instant::now());
                self.pause = Some(backoff::after_watch_failure(&self.key, attempt));
                if begins_anew(error) {
                    self.watch = watcher(self.api.clone(), self.config.clone()).boxed();
                }
            }
        }
        Some((event, self))
    }

    async fn event(&mut self) -> Option<watcher::Result<Event<Guarded<K>>>> {
        match self.next.take() {
            Some(event) => Some(event),
            None => self.watch.next().await,
        }
    }
}

/// Failures in a row.
#[derive(Debug, Default)]
struct Failures {
    number: u32,
    last: Option<Instant>,
    /// The list works, the watch after it does not.
    at_watch: bool,
}

impl Failures {
    /// Counts one, and returns how many there are.
    fn count(&mut self, error: &Error, now: Instant) -> u32 {
        if self.last.is_some_and(|last| now.duration_since(last) > FORGIVEN) {
            self.number = 0;
        }
        self.number = self.number.saturating_add(1);
        self.last = Some(now);
        self.at_watch = matches!(error, Error::WatchStartFailed(_));
        self.number
    }

    /// Only what the API server has answered to its end is a success.
    fn see<K>(&mut self, event: &Event<K>) {
        let success = match event {
            Event::Init | Event::InitApply(_) => false,
            Event::InitDone => !self.at_watch,
            Event::Apply(_) | Event::Delete(_) => true,
        };
        if success {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api_error(code: u16) -> kube::Error {
        kube::Error::Api(Box::new(kube::core::Status { code, ..kube::core::Status::default() }))
    }

    #[test]
    fn what_is_refused_or_has_expired_is_listed_again() {
        let at_start = |code| begins_anew(&Error::WatchStartFailed(api_error(code)));
        assert_eq!([403, 404, 410, 500].map(at_start), [true, true, true, false]);
    }

    #[test]
    fn a_list_that_is_only_announced_is_no_success() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let fail = |failures: &mut Failures| {
            failures.see(&Event::<()>::Init);
            failures.count(&Error::InitialListFailed(api_error(404)), now)
        };
        assert_eq!([fail(&mut failures), fail(&mut failures), fail(&mut failures)], [1, 2, 3]);
        failures.see(&Event::<()>::InitDone);
        assert_eq!(fail(&mut failures), 1);
    }

    #[test]
    fn a_list_is_no_success_while_the_watch_after_it_is_refused() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let refused = || Error::WatchStartFailed(api_error(403));
        assert_eq!(failures.count(&refused(), now), 1);
        failures.see(&Event::<()>::InitDone);
        assert_eq!(failures.count(&refused(), now), 2);
        failures.see(&Event::Apply(()));
        assert_eq!(failures.count(&refused(), now), 1);
    }

    #[test]
    fn what_failed_long_ago_is_forgiven() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let failed = || Error::WatchStartFailed(api_error(500));
        failures.count(&failed(), now);
        assert_eq!(failures.count(&failed(), now + FORGIVEN), 2);
        assert_eq!(failures.count(&failed(), now + FORGIVEN * 3), 1);
    }
}
