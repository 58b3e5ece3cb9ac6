//! How the loop ends.

use super::*;
use crate::act::Authority;
use crate::runtime::operator::{Loops, Runner, lead};
use crate::runtime::{Leadership, LeaseError, LeaseOptions};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/werkbank";
/// What the chart gives, and Kubernetes by default.
const POD_GRACE: Duration = Duration::from_secs(30);

fn leadership(cluster: &Cluster, authority: Authority, metrics: &Arc<Metrics>) -> Leadership {
    let options = LeaseOptions {
        name: "werkbank".into(),
        namespace: "ops".into(),
        identity: "a".into(),
        duration_seconds: 15,
        renew_deadline_seconds: 10,
        retry_seconds: 2,
    };
    Leadership::new(cluster.client(metrics.clone()), &options, authority, metrics.epoch.clone()).unwrap()
}

/// A pass that takes this long and then writes is under way when the process is told to end, and then
/// `fault` befalls the API server; returns how it ends, and how long that takes.
async fn end_under_way(takes: Duration, fault: Option<Fault>) -> (Cluster, Result<(), LeaseError>, Duration) {
    let cluster = Cluster::default();
    cluster.put(&path("a"), probe("a"));
    let (controller, mut watches, authority, passes, metrics) = controller(&cluster, 1, move |_, _| {
        Box::pin(async move {
            sleep(takes).await;
            Ok(Plan { status: Some(json!({"step": 1})), ..Plan::default() })
        })
    });
    watches.start().await.unwrap();
    let (leadership, shutdown) = (leadership(&cluster, authority, &metrics), Shutdown::default());
    let mut loops = Loops::start(vec![Runner::of(controller)], watches.standing(), &shutdown);
    let ends = async {
        sleep(seconds(1)).await;
        cluster.put(&path("b"), probe("b"));
        if let Some(fault) = fault {
            cluster.faults(move |_| Some(fault));
        }
        shutdown.request();
        Instant::now()
    };
    let (ended, told) = futures::join!(lead(leadership, &mut loops, &metrics, &shutdown), ends);
    assert_eq!(passes.of("b").len(), 0, "nothing new is begun");
    let took = told.elapsed();
    sleep(seconds(60)).await;
    (cluster, ended, took)
}

#[tokio::test(start_paused = true)]
async fn a_pass_under_way_ends_and_then_the_lease_is_given_back() {
    let (cluster, ended, took) = end_under_way(seconds(5), None).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(cluster.get(&path("a"))["status"]["step"], 1);
    assert_eq!(cluster.get(LEASE)["spec"]["holderIdentity"], "");
    assert!(took < seconds(6), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_takes_too_long_is_not_waited_for_and_writes_nothing_later() {
    let (cluster, ended, took) = end_under_way(seconds(40), None).await;
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(cluster.get(LEASE)["spec"]["holderIdentity"], "");
    assert_eq!(cluster.get(&path("a"))["status"], json!(null));
    assert!(took < POD_GRACE, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_does_not_make_the_end_longer_than_the_grace() {
    let (_, ended, took) = end_under_way(seconds(40), Some(Fault::Hangs)).await;
    assert!(ended.is_err(), "it could not renew while the pass was under way");
    assert!(took + seconds(2) < POD_GRACE, "{took:?}, and events and probes are still to come");
}

#[tokio::test(start_paused = true)]
async fn without_its_own_kind_in_the_cluster_the_loop_ends_at_once() {
    let cluster = Cluster::default();
    cluster.faults(|about| about.ends_with("/probes").then_some(Fault::Refused(404)));
    let (controller, mut watches, _, _, _) = controller(&cluster, 1, |_, _| Box::pin(async { Ok(Plan::default()) }));
    watches.start().await.unwrap();
    let (shutdown, began) = (Shutdown::default(), Instant::now());
    shutdown.request();
    controller.run(shutdown).await;
    assert!(began.elapsed() < seconds(1), "{:?}", began.elapsed());
}
