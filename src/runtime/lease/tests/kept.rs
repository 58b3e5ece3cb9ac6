//! Acquiring, renewing and giving back, against an API server that has its bad days.

use std::sync::Arc;

use super::super::*;
use super::seconds;
use crate::runtime::Metrics;
use crate::sim::{Cluster, Fault};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/werkbank";

fn replica(cluster: &Cluster, identity: &str) -> Leadership {
    let options = LeaseOptions {
        name: "werkbank".into(),
        namespace: "ops".into(),
        identity: identity.into(),
        duration_seconds: 15,
        renew_deadline_seconds: 10,
        retry_seconds: 2,
    };
    let client = cluster.client(Arc::new(Metrics::new()));
    Leadership::new(client, &options, Authority::default(), Gauge::default()).unwrap()
}

/// `a` leads since now.
async fn leader(cluster: &Cluster) -> Leadership {
    let mut a = replica(cluster, "a");
    assert_eq!(a.acquire(&Shutdown::default()).await, Some(1));
    a
}

#[tokio::test(start_paused = true)]
async fn who_does_not_renew_in_time_has_lost_the_lease_even_if_it_could_be_had_again() {
    let cluster = Cluster::default();
    let mut a = leader(&cluster).await;
    let began = Instant::now();
    // The one that is tried in time is answered too late.
    cluster.faults(move |_| {
        Some(if began.elapsed() < seconds(8) { Fault::Refused(500) } else { Fault::Slow(Duration::from_millis(2500)) })
    });
    let lost = a.keep(&Shutdown::default()).await;
    assert!(matches!(&lost, Err(LeaseError::Lost { .. })), "{lost:?}");
    assert!(began.elapsed() < seconds(11), "{:?}", began.elapsed());
    assert_eq!(a.authority.epoch(), None);
}

#[tokio::test(start_paused = true)]
async fn one_renewal_that_hangs_does_not_cost_the_lease_and_its_epoch_is_shown() {
    let cluster = Cluster::default();
    let mut a = leader(&cluster).await;
    let began = Instant::now();
    cluster.faults(move |about| (about.starts_with("PUT") && began.elapsed() < seconds(3)).then_some(Fault::Hangs));
    assert!(timeout(seconds(60), a.keep(&Shutdown::default())).await.is_err(), "it is kept");
    assert_eq!((a.authority.epoch(), a.epoch.get()), (Some(2), 2), "what was sent may still arrive: a new epoch");
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_seen_when_the_answer_is_there_and_not_when_it_was_asked_for() {
    let cluster = Cluster::default();
    leader(&cluster).await;
    let (mut b, began) = (replica(&cluster, "b"), Instant::now());
    cluster.faults(|_| Some(Fault::Slow(seconds(3))));
    b.attempt().await.unwrap();
    assert_eq!(b.elector.seen.unwrap().1.duration_since(began), seconds(3));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_api_server_that_hangs_when_it_is_time_to_go() {
    let cluster = Cluster::default();
    let (mut a, mut b) = (leader(&cluster).await, replica(&cluster, "b"));
    cluster.faults(|_| Some(Fault::Hangs));
    let (stop, began) = (Shutdown::default(), Instant::now());
    let stopped = async {
        tokio::time::sleep(seconds(1)).await;
        stop.request();
    };
    let (kept, acquired, ()) = futures::join!(a.keep(&stop), b.acquire(&stop), stopped);
    assert!(kept.is_ok() && acquired.is_none());
    assert!(began.elapsed() < seconds(7), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_names_nobody() {
    let cluster = Cluster::default();
    let mut a = leader(&cluster).await;
    assert_eq!(cluster.get(LEASE)["spec"]["holderIdentity"], "a");
    let stop = Shutdown::default();
    stop.request();
    a.keep(&stop).await.unwrap();
    assert_eq!(cluster.get(LEASE)["spec"]["holderIdentity"], "");
    assert_eq!(a.authority.epoch(), None);
}
