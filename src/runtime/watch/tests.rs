use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;

use super::server::Server;
use super::*;

const ALL_SERVICES: &str = "/api/v1/services";
const CRM: &str = "/api/v1/namespaces/crm/services";
const ADS: &str = "/api/v1/namespaces/ads/services";
const ADS_DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ads/deployments";

fn services() -> Watch<Service> {
    Watch::new(watcher::Config::default())
}

fn both() -> Scope {
    Scope::Namespaces(vec!["crm".into(), "ads".into(), "crm".into()])
}

/// Soon it stands like this.
async fn until(watches: &Watches, stands: impl FnMut(&Standing) -> bool) {
    let mut standing = watches.standing();
    let seen = tokio::time::timeout(Duration::from_secs(10), standing.wait_for(stands)).await;
    if seen.is_err() {
        panic!("{:?}", watches.standing().borrow());
    }
}

/// Soon this many objects are cached.
async fn until_cached(cache: &Cache<Service>, number: usize) {
    for _ in 0..1000 {
        if cache.store().len() == number {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", cache.store().state());
}

#[tokio::test]
async fn several_namespaces_are_in_one_cache_and_stay_there_when_all_are_listed_again() {
    let server = Server::new();
    server.holds(CRM, "crm", &["one", "two"]);
    server.holds(ADS, "ads", &["one", "two"]);
    let (mut watches, _) = server.watches(both());
    let (queue, gone) = (Queue::<Service>::default(), Arc::default());
    let told: Arc<std::sync::Mutex<Vec<String>>> = Arc::clone(&gone);
    let cache = watches.add(services().wakes(&queue, move |service| {
        let meta = service.meta();
        told.lock().unwrap().push(format!("{}/{}", meta.namespace.clone().unwrap(), meta.name.clone().unwrap()));
        Vec::new()
    }));
    watches.start().await.unwrap();
    assert_eq!(cache.store().len(), 4);
    gone.lock().unwrap().clear();
    server.holds(ADS, "ads", &["one"]);
    server.expires(&[CRM, ADS]);
    until_cached(&cache, 3).await;
    assert_eq!(*gone.lock().unwrap(), ["ads/two"]);
    assert!(cache.get("crm", "two").is_some() && cache.get("ads", "two").is_none());
    let of_crm = server.requests().iter().filter(|it| it.starts_with(CRM) && it.contains("watch=true")).count();
    assert!(of_crm <= 2, "a namespace that is named twice is watched once");
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_is_left_out_until_it_may() {
    let server = Server::new();
    server.holds(CRM, "crm", &["one"]);
    server.holds(ADS, "ads", &["one"]);
    server.refuses(ADS_DEPLOYMENTS, 403);
    let (mut watches, metrics) = server.watches(both());
    let cache = watches.add(services());
    watches.add(Watch::<Deployment>::new(watcher::Config::default()));
    watches.start().await.unwrap();
    let sights = watches.sights();
    assert!(sights.cover("crm") && !sights.cover("ads"));
    assert_eq!(cache.store().len(), 2, "what may be read of it is kept for later");
    let report = watches.standing().borrow().report();
    assert!(report.contains("namespace ads is left out") && report.contains("deployments.apps"), "{report}");
    let forbidden = |number: u8| format!("werkbank_watch_forbidden{{kind=\"Deployment\"}} {number}\n");
    assert!(metrics.text().unwrap().contains(&forbidden(1)));
    server.serves(ADS_DEPLOYMENTS);
    until(&watches, |it| it.covers("ads")).await;
    assert_eq!(watches.standing().borrow().report(), "");
    assert!(metrics.text().unwrap().contains(&forbidden(0)));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_may_be_listed_and_not_watched_is_left_out_and_does_not_come_and_go() {
    let server = Server::new();
    server.holds(ADS, "ads", &["one"]);
    server.only_lists(ADS);
    let (mut watches, _) = server.watches(both());
    watches.add(services());
    watches.start().await.unwrap();
    until(&watches, |it| !it.covers("ads")).await;
    let mut standing = watches.standing();
    standing.mark_unchanged();
    let changed = tokio::time::timeout(Duration::from_mins(5), standing.changed()).await;
    assert!(changed.is_err(), "{:?}", standing.borrow());
    let tries = server.requests().iter().filter(|it| it.starts_with(ADS) && it.contains("watch=true")).count();
    assert!(tries > 5, "it is tried again: {tries}");
    server.serves(ADS);
    let again = tokio::time::timeout(Duration::from_mins(1), standing.wait_for(|it| it.covers("ads"))).await;
    assert!(again.is_ok());
}

#[tokio::test]
async fn a_right_that_is_lost_and_comes_back_while_watching_is_noticed_both_times() {
    let server = Server::new();
    server.holds(ADS, "ads", &["one"]);
    let (mut watches, _) = server.watches(both());
    let cache = watches.add(services());
    watches.start().await.unwrap();
    server.refuses(ADS, 403);
    until(&watches, |it| !it.covers("ads")).await;
    assert!(watches.sights().cover("crm"));
    server.holds(ADS, "ads", &["two"]);
    server.serves(ADS);
    until(&watches, |it| it.covers("ads")).await;
    assert!(cache.get("ads", "one").is_none() && cache.get("ads", "two").is_some(), "it was listed again");
}

#[tokio::test]
async fn nothing_starts_while_a_kind_may_not_be_read_in_the_cluster_and_everything_when_it_may() {
    let server = Server::new();
    server.refuses(ALL_SERVICES, 403);
    let (mut watches, _) = server.watches(Scope::Cluster);
    watches.add(services());
    let standing = watches.standing();
    let started = tokio::time::timeout(Duration::from_millis(300), watches.start()).await;
    assert!(started.is_err(), "it runs on a half-empty view");
    assert!(standing.borrow().report().starts_with("nothing is run: the operator may not list and watch services;"));
    server.serves(ALL_SERVICES);
    tokio::time::timeout(Duration::from_secs(10), watches.start()).await.unwrap().unwrap();
    assert!(watches.sights().cover("crm"));
}

#[tokio::test]
async fn a_kind_that_went_is_not_there_again_before_it_was_listed_again() {
    let server = Server::new();
    server.holds(ALL_SERVICES, "crm", &["one"]);
    let (mut watches, _) = server.watches(Scope::Cluster);
    let cache = watches.add(services());
    watches.start().await.unwrap();
    assert!(cache.is_available("crm"));
    server.refuses(ALL_SERVICES, 404);
    until(&watches, |it| !it.is_served(0, "crm")).await;
    let asked = server.requests().len();
    server.is_silent(ALL_SERVICES);
    while server.requests().len() == asked {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!cache.is_available("crm"), "the list is not answered yet");
    server.serves(ALL_SERVICES);
    until(&watches, |it| it.is_served(0, "crm")).await;
    assert!(cache.is_available("crm"));
}

#[tokio::test]
async fn a_watch_that_panics_is_not_passed_over() {
    let server = Server::new();
    server.holds(ALL_SERVICES, "crm", &["one"]);
    let (mut watches, _) = server.watches(Scope::Cluster);
    watches.add(services().wakes(&Queue::<Service>::default(), |_| panic!("a test")));
    let ended = watches.start().await.unwrap_err().to_string();
    assert!(ended.starts_with("the watch of Service ended"), "{ended}");
}

#[tokio::test]
async fn watches_last_a_minute_so_that_a_dead_one_is_noticed_soon_after() {
    let server = Server::new();
    let (mut watches, _) = server.watches(Scope::Cluster);
    watches.add(services());
    watches.start().await.unwrap();
    let watch = loop {
        if let Some(request) = server.requests().into_iter().find(|it| it.contains("watch=true")) {
            break request;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(watch.contains("timeoutSeconds=60"), "{watch}");
}

const ALL_NAMESPACES: &str = "/api/v1/namespaces";

fn namespaces() -> Watch<NamespaceMeta> {
    Watch::new(watcher::Config::default())
}

#[tokio::test]
async fn namespaces_are_found_in_themselves_one_by_one_where_only_some_are_watched() {
    let server = Server::new();
    server.holds(ALL_NAMESPACES, "", &["crm", "ads"]);
    let (mut watches, _) = server.watches(both());
    let cache = watches.add_namespaces(namespaces());
    watches.start().await.unwrap();
    assert!(cache.get("crm", "crm").is_some() && cache.get("ads", "ads").is_some());
    let asked: Vec<String> = server.requests().into_iter().filter(|it| !it.contains("watch=true")).collect();
    assert!(asked.len() == 2 && asked.iter().all(|it| it.contains("fieldSelector=metadata.name%3D")), "{asked:?}");
}

#[tokio::test]
async fn without_a_right_to_namespaces_everything_else_goes_on_and_it_is_said() {
    let server = Server::new();
    server.holds(ALL_SERVICES, "crm", &["one"]);
    server.refuses(ALL_NAMESPACES, 403);
    let (mut watches, metrics) = server.watches(Scope::Cluster);
    let (services, namespaces) = (watches.add(services()), watches.add_namespaces(namespaces()));
    watches.start().await.unwrap();
    assert!(watches.sights().cover("crm") && services.get("crm", "one").is_some());
    let report = watches.standing().borrow().report();
    assert!(
        report.starts_with(
            "the annotation werkbank.dev/suspend of the Namespace is not seen: the operator may not list and watch"
        ),
        "{report}"
    );
    assert!(metrics.text().unwrap().contains("werkbank_watch_forbidden{kind=\"Namespace\"} 1\n"));
    server.holds(ALL_NAMESPACES, "", &["crm"]);
    server.serves(ALL_NAMESPACES);
    until(&watches, |it| it.report().is_empty()).await;
    assert!(namespaces.get("crm", "crm").is_some());
    // What was seen stays when the right is lost: an annotation that is there does not go with it.
    server.refuses(ALL_NAMESPACES, 403);
    server.expires(&[ALL_NAMESPACES]);
    until(&watches, |it| !it.report().is_empty()).await;
    assert!(watches.sights().cover("crm") && namespaces.get("crm", "crm").is_some());
}
