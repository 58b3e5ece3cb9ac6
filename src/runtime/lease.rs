//! Who leads: one `coordination.k8s.io` Lease, client-go's protocol, our own arithmetic.
//!
//! Another replica's lease is judged by how long *we* have seen it unchanged, on our own monotonic
//! clock; its timestamps are for people. Every write is a compare-and-swap on resourceVersion,
//! and every acquisition, also by the same replica, raises `leaseTransitions`: that number is the
//! epoch that status writes carry. (The crate kube-lease-manager compares the holder's wall clock
//! with ours, renews without resourceVersion, and raises transitions in a second patch.)
//!
//! Whoever leads may write for `renew deadline` after the start of its last successful renewal, and
//! others take over after `duration` without one; the difference is the margin. A leader that
//! loses the lease ends its process: nothing half-decided survives in memory, and nobody has to be
//! told that it leads again. So a renewal gets no more time than is left, and only a part of it, for
//! one request that hangs must not cost the lease.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep_until, timeout};

use super::Shutdown;
use super::backoff::spread;
use crate::act::{Authority, FIELD_MANAGER};

/// The longest wait for one try to acquire or renew; the lease's times may make it shorter.
const LONGEST_TRY: Duration = Duration::from_secs(5);
/// The longest wait for the lease to be given back.
const LONGEST_RELEASE: Duration = Duration::from_secs(3);

/// Where the lease is, and its times.
#[derive(Debug, Clone, clap::Args)]
pub struct LeaseOptions {
    /// Name of the Lease that replicas of the operator share.
    #[arg(
        id = "lease-name",
        value_name = "LEASE_NAME",
        long = "lease-name",
        env = "LEASE_NAME",
        default_value = "werkbank"
    )]
    pub name: String,
    /// Namespace of the Lease.
    #[arg(id = "lease-namespace", value_name = "LEASE_NAMESPACE", long = "lease-namespace", env = "POD_NAMESPACE")]
    pub namespace: String,
    /// This replica's name in the Lease; unique among replicas.
    #[arg(long = "identity", env = "POD_NAME")]
    pub identity: String,
    /// Seconds after which a lease that is not renewed is up for grabs.
    #[arg(long = "lease-duration-seconds", default_value_t = 15)]
    pub duration_seconds: u16,
    /// Seconds after its last renewal in which the leader may still write; less than the duration.
    #[arg(long = "lease-renew-deadline-seconds", default_value_t = 10)]
    pub renew_deadline_seconds: u16,
    /// Seconds between two tries to acquire or renew; less than the renew deadline.
    #[arg(long = "lease-retry-seconds", default_value_t = 2)]
    pub retry_seconds: u16,
}

/// Why this process does not lead (any more).
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Times that cannot work.
    #[error(
        "lease times must satisfy retry < renew deadline < duration, not {retry} s, {renew} s, {duration} s: set --lease-retry-seconds, --lease-renew-deadline-seconds and --lease-duration-seconds accordingly"
    )]
    Times {
        /// Between tries.
        retry: u16,
        /// Renew deadline.
        renew: u16,
        /// Duration.
        duration: u16,
    },
    /// Not renewed in time, or taken by another replica.
    #[error(
        "the lease {name} was lost ({why}); this process ends so that it starts afresh: check the API server's latency and the operator's CPU limit if this repeats"
    )]
    Lost {
        /// The lease.
        name: String,
        /// What happened.
        why: String,
    },
}

/// A replica's part in the election.
#[derive(Debug)]
pub struct Leadership {
    api: Api<Lease>,
    authority: Authority,
    elector: Elector,
    retry: Duration,
    /// Shows the epoch.
    epoch: Gauge,
}

impl Leadership {
    /// Takes part with these options; grants `authority` while it leads, and shows the epoch in `epoch`.
    ///
    /// # Errors
    /// When the times cannot work together.
    pub fn new(client: Client, options: &LeaseOptions, authority: Authority, epoch: Gauge) -> Result<Self, LeaseError> {
        let (retry, renew, duration) =
            (options.retry_seconds, options.renew_deadline_seconds, options.duration_seconds);
        if retry == 0 || retry >= renew || renew >= duration {
            return Err(LeaseError::Times { retry, renew, duration });
        }
        let elector = Elector {
            name: options.name.clone(),
            identity: options.identity.clone(),
            duration_seconds: duration,
            renew_deadline: Duration::from_secs(renew.into()),
            seen: None,
            held: None,
        };
        let api = Api::namespaced(client, &options.namespace);
        Ok(Self { api, authority, elector, retry: Duration::from_secs(retry.into()), epoch })
    }

    /// Waits until this replica leads, and returns the epoch; `None` on shutdown. A try that is under
    /// way then is awaited: a lease won without knowing would keep all others waiting.
    pub async fn acquire(&mut self, shutdown: &Shutdown) -> Option<i64> {
        let mut attempt = 0;
        loop {
            if shutdown.is_requested() {
                return None;
            }
            if let Err(why) = self.attempt_within(LONGEST_TRY).await {
                tracing::warn!(why, lease = self.elector.name, "the lease cannot be acquired");
            }
            if let Some(epoch) = self.authority.epoch() {
                tracing::info!(epoch, lease = self.elector.name, "this replica leads");
                return Some(epoch);
            }
            attempt += 1;
            tokio::select! {
                () = shutdown.requested() => return None,
                () = tokio::time::sleep(spread(self.retry, &self.elector.identity, attempt)) => {}
            }
        }
    }

    /// Keeps the lease until `stop`, then gives it back.
    ///
    /// # Errors
    /// When the lease is lost.
    pub async fn keep(&mut self, stop: &Shutdown) -> Result<(), LeaseError> {
        let mut next = Instant::now() + self.retry;
        let mut why = "this process did not get round to renewing it".to_owned();
        loop {
            tokio::select! {
                () = stop.requested() => {
                    self.release().await;
                    return Ok(());
                }
                () = sleep_until(next) => {}
            }
            let Some(until) = self.authority.until() else { return Err(self.lost(why)) };
            next = Instant::now() + self.retry;
            match self.attempt_within(until.duration_since(Instant::now())).await {
                Ok(()) => why = "another replica holds it".to_owned(),
                Err(failure) => why = failure,
            }
            if self.authority.epoch().is_none() {
                return Err(self.lost(why));
            }
        }
    }

    /// From here on nothing is granted any more.
    fn lost(&self, why: String) -> LeaseError {
        self.authority.revoke();
        LeaseError::Lost { name: self.elector.name.clone(), why }
    }

    /// One try, in the time that is left and no more than there may be two of until the deadline.
    async fn attempt_within(&mut self, left: Duration) -> Result<(), String> {
        let patience = left.min(self.elector.renew_deadline / 3).min(LONGEST_TRY);
        match timeout(patience, self.attempt()).await {
            Ok(tried) => tried.map_err(|error| brief(&error)),
            Err(_) => {
                // It may have been written, or be written yet: look before the next try.
                self.elector.held = None;
                Err("the API server does not answer".to_owned())
            }
        }
    }

    /// One try to acquire or renew.
    async fn attempt(&mut self) -> kube::Result<()> {
        let started = Instant::now();
        if self.elector.held.is_none() {
            let lease = self.api.get_opt(&self.elector.name).await?;
            // Not `started`: the answer may have taken long, and was then not seen all the while.
            self.elector.observe(lease, Instant::now());
        }
        let Some(lease) = self.elector.claim(started, Timestamp::now()) else {
            self.authority.revoke();
            return Ok(());
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        let answer = if lease.metadata.resource_version.is_none() {
            self.api.create(&params, &lease).await
        } else {
            self.api.replace(&self.elector.name, &params, &lease).await
        };
        match answer {
            Ok(lease) => {
                let (epoch, until) = self.elector.won(lease, started);
                self.authority.grant(epoch, until);
                self.epoch.set(epoch);
                Ok(())
            }
            Err(error) => {
                // Whatever it was, look before the next try.
                self.elector.held = None;
                Err(error)
            }
        }
    }

    async fn release(&mut self) {
        self.authority.revoke();
        if let Some(lease) = self.elector.released(Timestamp::now()) {
            let (params, name) = (PostParams::default(), self.elector.name.clone());
            let why = match timeout(LONGEST_RELEASE, self.api.replace(&name, &params, &lease)).await {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => brief(&error),
                Err(_) => "the API server does not answer".to_owned(),
            };
            tracing::info!(why, "the lease was not given back; it runs out by itself");
        }
    }
}

fn brief(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

/// The election's rules, without I/O; time comes in.
#[derive(Debug)]
struct Elector {
    name: String,
    identity: String,
    duration_seconds: u16,
    renew_deadline: Duration,
    /// The lease as last read, and when that version was first seen. `None` inside: there is none.
    seen: Option<(Option<Lease>, Instant)>,
    /// Our lease as last written, and when that began.
    held: Option<(Lease, Instant)>,
}

impl Elector {
    fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let version = |lease: &Option<Lease>| lease.as_ref().and_then(|it| it.metadata.resource_version.clone());
        match &self.seen {
            Some((known, _)) if version(known) == version(&lease) => {}
            _ => self.seen = Some((lease, now)),
        }
    }

    /// The lease to write now; `None` while somebody else's is valid.
    fn claim(&self, now: Instant, wall: Timestamp) -> Option<Lease> {
        if let Some((lease, _)) = &self.held {
            let mut lease = lease.clone();
            lease.spec.get_or_insert_default().renew_time = Some(MicroTime(wall));
            return Some(lease);
        }
        let (seen, since) = self.seen.as_ref()?;
        let spec = seen.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let duration = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let valid = !holder.is_empty() && now.duration_since(*since) < Duration::from_secs(duration);
        // Our own name with a lease we do not hold: an earlier process of the same pod, dead.
        if valid && holder != self.identity {
            return None;
        }
        let metadata = seen.as_ref().map_or_else(
            || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        );
        Some(Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: Some(i32::from(self.duration_seconds)),
                acquire_time: Some(MicroTime(wall)),
                renew_time: Some(MicroTime(wall)),
                lease_transitions: Some(epoch_of(&spec).saturating_add(1)),
                ..LeaseSpec::default()
            }),
        })
    }

    /// Our claim was accepted. Returns the epoch and until when it holds.
    fn won(&mut self, lease: Lease, started: Instant) -> (i64, Instant) {
        let epoch = lease.spec.as_ref().map_or(0, epoch_of);
        self.held = Some((lease, started));
        self.seen = None;
        (epoch.into(), started + self.renew_deadline)
    }

    /// The lease to write in order to give it back.
    fn released(&mut self, wall: Timestamp) -> Option<Lease> {
        let (mut lease, _) = self.held.take()?;
        let spec = lease.spec.get_or_insert_default();
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(wall));
        Some(lease)
    }
}

fn epoch_of(spec: &LeaseSpec) -> i32 {
    spec.lease_transitions.unwrap_or(0)
}

#[cfg(test)]
mod tests;
