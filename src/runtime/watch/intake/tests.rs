use std::collections::{BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::Service;
use kube::runtime::reflector::store;
use proptest::prelude::*;

use super::*;

fn intake(namespaces: &[Option<&str>]) -> Intake<Service> {
    let (reader, writer) = store();
    let by_version: Keys<Service> = Box::new(|it| it.metadata.resource_version.iter().cloned().collect());
    let namespaces = namespaces.iter().map(|it| it.map(str::to_owned)).collect();
    Intake::new(writer, reader, namespaces, (by_version, Index::default()), Unreadable::default())
}

/// What is found by this key in namespace `a`.
fn found(intake: &Intake<Service>, key: &str) -> Vec<String> {
    intake.index.1.names("a", key)
}

fn metadata(namespace: &str, name: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.into()),
        name: Some(name.into()),
        uid: Some(format!("{namespace}/{name}")),
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    }
}

fn good(namespace: &str, name: &str, version: &str) -> Guarded<Service> {
    let metadata = metadata(namespace, name, version);
    Guarded::Good(Box::new(Service { metadata, ..Service::default() }))
}

fn bad(name: &str, version: &str) -> Guarded<Service> {
    Guarded::Malformed { metadata: Box::new(metadata("a", name, version)), error: "no".into() }
}

fn names(news: &News<Service>) -> Vec<&str> {
    let mut names: Vec<_> = news.changed.iter().filter_map(|it| it.now.metadata.name.as_deref()).collect();
    names.sort_unstable();
    names
}

fn list(intake: &mut Intake<Service>, scope: usize, objects: Vec<Guarded<Service>>) -> News<Service> {
    let mut news = intake.take(scope, Event::Init);
    let applied = objects.into_iter().map(Event::InitApply).chain([Event::InitDone]);
    for event in applied {
        let next = intake.take(scope, event);
        news.changed.extend(next.changed);
        news.malformed.extend(next.malformed);
        news.unreadable.extend(next.unreadable);
    }
    news
}

#[test]
fn what_vanished_while_the_watch_was_down_is_told_as_deleted() {
    let mut intake = intake(&[None]);
    let first = list(&mut intake, 0, vec![good("a", "x", "1"), good("a", "y", "1")]);
    assert_eq!(names(&first), ["x", "y"]);
    let again = list(&mut intake, 0, vec![good("a", "x", "1")]);
    assert_eq!(names(&again), ["y"], "and what did not change is no news");
    assert_eq!(intake.store.len(), 1);
}

#[test]
fn of_changes_only_what_matters_is_told_and_a_deletion_always() {
    let labelled = |version: &str, value: &str| {
        let labels = Some([("suspend".to_owned(), value.to_owned())].into());
        let metadata = ObjectMeta { labels, ..metadata("a", "x", version) };
        Guarded::Good(Box::new(Service { metadata, ..Service::default() }))
    };
    let mut intake = intake(&[None]).telling(Box::new(|before, after| {
        before.and_then(|it| it.metadata.labels.as_ref()) != after.metadata.labels.as_ref()
    }));
    assert_eq!(names(&list(&mut intake, 0, vec![good("a", "y", "1"), labelled("1", "no")])), ["x"]);
    assert!(intake.take(0, Event::Apply(labelled("2", "no"))).changed.is_empty());
    assert_eq!(intake.store.find(|it| it.metadata.resource_version.as_deref() == Some("2")).map(|_| ()), Some(()));
    assert_eq!(names(&intake.take(0, Event::Apply(labelled("3", "yes")))), ["x"]);
    assert_eq!(names(&intake.take(0, Event::Delete(labelled("3", "yes")))), ["x"]);
}

#[test]
fn one_namespaces_list_does_not_touch_anothers_objects() {
    let mut intake = intake(&[Some("a"), Some("b")]);
    assert_eq!(names(&list(&mut intake, 0, vec![good("a", "x", "1")])), ["x"]);
    assert_eq!(names(&list(&mut intake, 1, vec![good("b", "y", "1")])), ["y"]);
    assert_eq!(names(&list(&mut intake, 0, vec![])), ["x"]);
    assert_eq!(intake.store.len(), 1);
}

#[test]
fn a_list_that_breaks_off_takes_nothing_away() {
    let mut intake = intake(&[None]);
    list(&mut intake, 0, vec![good("a", "x", "1"), good("a", "y", "1")]);
    intake.take(0, Event::Init);
    intake.take(0, Event::InitApply(good("a", "x", "1")));
    assert_eq!(intake.store.len(), 2);
    assert_eq!(
        names(&list(&mut intake, 0, vec![good("a", "y", "1")])),
        ["x"],
        "only the list that came to its end counts"
    );
}

#[test]
fn the_index_shows_what_the_cache_holds_however_it_came_and_went() {
    let mut intake = intake(&[None]);
    list(&mut intake, 0, vec![good("a", "x", "1"), good("a", "y", "1"), good("a", "z", "1")]);
    assert_eq!(found(&intake, "1"), ["x", "y", "z"]);
    intake.take(0, Event::Apply(good("a", "x", "2")));
    assert_eq!((found(&intake, "1").len(), found(&intake, "2")), (2, vec!["x".to_owned()]));
    intake.take(0, Event::Delete(good("a", "x", "3")));
    intake.take(0, Event::Apply(bad("y", "3")));
    assert_eq!((found(&intake, "1"), found(&intake, "2").len()), (vec!["z".to_owned()], 0));
    list(&mut intake, 0, vec![]);
    assert_eq!(found(&intake, "1").len(), 0, "a list that does not name it any more");
}

#[test]
fn what_is_deleted_before_all_namespaces_are_listed_does_not_come_back() {
    let mut intake = intake(&[Some("a"), Some("b")]);
    list(&mut intake, 0, vec![good("a", "x", "1")]);
    intake.take(0, Event::Delete(good("a", "x", "1")));
    list(&mut intake, 1, vec![]);
    assert_eq!(intake.store.len(), 0);
}

#[test]
fn a_malformed_object_is_reported_once_per_version_and_not_served() {
    let mut intake = intake(&[None]);
    list(&mut intake, 0, vec![good("a", "x", "1")]);
    let news = intake.take(0, Event::Apply(bad("x", "2")));
    assert_eq!((names(&news), news.malformed.len()), (vec!["x"], 1));
    assert_eq!((intake.store.len(), intake.unreadable.count()), (0, 1));
    assert!(list(&mut intake, 0, vec![bad("x", "2")]).malformed.is_empty());
    assert_eq!(intake.take(0, Event::Apply(bad("x", "3"))).malformed.len(), 1);
    intake.take(0, Event::Apply(good("a", "x", "4")));
    assert_eq!((intake.store.len(), intake.unreadable.count()), (1, 0));
}

#[test]
fn what_cannot_be_read_is_told_when_it_comes_and_when_it_goes_and_once() {
    let mut intake = intake(&[None]);
    let x = [(Some("a".to_owned()), Some("x".to_owned()))];
    let all = list(&mut intake, 0, vec![bad("x", "1")]).unreadable;
    assert_eq!(all, x, "it was never readable, so nothing else tells");
    assert_eq!(intake.take(0, Event::Apply(bad("x", "2"))).unreadable, []);
    assert_eq!(intake.take(0, Event::Delete(bad("x", "3"))).unreadable, x);
    list(&mut intake, 0, vec![bad("x", "4")]);
    assert_eq!(list(&mut intake, 0, Vec::new()).unreadable, x, "gone while the watch was down");
    list(&mut intake, 0, vec![good("a", "x", "5")]);
    let broken = intake.take(0, Event::Apply(bad("x", "6")));
    assert_eq!((broken.unreadable.as_slice(), names(&broken)), (&[][..], vec!["x"]), "as if it had gone");
    let mended = intake.take(0, Event::Apply(good("a", "x", "7")));
    assert_eq!((mended.unreadable.as_slice(), names(&mended)), (&[][..], vec!["x"]), "as if it had come");
}

#[test]
fn a_malformed_object_that_went_while_the_watch_was_down_is_not_counted_any_more() {
    let mut intake = intake(&[Some("a"), Some("b")]);
    list(&mut intake, 0, vec![bad("x", "1")]);
    list(&mut intake, 1, vec![]);
    assert_eq!(intake.unreadable.count(), 1, "another namespace's list says nothing about it");
    list(&mut intake, 0, vec![]);
    assert_eq!(intake.unreadable.count(), 0);
}

const NAMES: [&str; 3] = ["x", "y", "z"];

/// Some of the names.
fn some() -> impl Strategy<Value = BTreeSet<&'static str>> {
    proptest::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len()).prop_map(|names| names.into_iter().collect())
}

/// The names in one namespace as the cache shows them.
fn shown(intake: &Intake<Service>, namespace: &str) -> BTreeSet<String> {
    let objects = intake.store.state();
    let there = objects.iter().filter(|it| it.metadata.namespace.as_deref() == Some(namespace));
    there.filter_map(|it| it.metadata.name.clone()).collect()
}

proptest! {
    /// An API server that restarts makes all watches list again, one among the other.
    #[test]
    fn lists_of_several_namespaces_in_any_order_lose_nothing_and_tell_no_deletion_that_was_none(
        lists in proptest::collection::vec(proptest::collection::vec(some(), 1..4), 2..4),
        order in proptest::collection::vec(any::<proptest::sample::Index>(), 0..60),
    ) {
        let namespaces: Vec<String> = (0..lists.len()).map(|scope| format!("n{scope}")).collect();
        let mut intake = intake(&namespaces.iter().map(|it| Some(it.as_str())).collect::<Vec<_>>());
        let mut waiting: Vec<VecDeque<Event<Guarded<Service>>>> = Vec::new();
        for (namespace, lists) in namespaces.iter().zip(&lists) {
            let listed = lists.iter().flat_map(|names| {
                let objects = names.iter().map(|name| Event::InitApply(good(namespace, name, "1")));
                [Event::Init].into_iter().chain(objects).chain([Event::InitDone])
            });
            waiting.push(listed.collect());
        }
        let mut done = vec![0; lists.len()];
        let mut order = order.iter();
        while waiting.iter().any(|it| !it.is_empty()) {
            let left: Vec<usize> = (0..lists.len()).filter(|scope| !waiting[*scope].is_empty()).collect();
            let scope = order.next().map_or(left[0], |index| *index.get(&left));
            let event = waiting[scope].pop_front().unwrap();
            if matches!(event, Event::InitDone) {
                done[scope] += 1;
            }
            let news = intake.take(scope, event);
            for told in &news.changed {
                let (namespace, name) = (told.now.metadata.namespace.clone().unwrap(), told.now.metadata.name.clone().unwrap());
                let of = namespaces.iter().position(|it| *it == namespace).unwrap();
                if !shown(&intake, &namespace).contains(&name) {
                    let last = &lists[of][done[of] - 1];
                    prop_assert!(!last.contains(name.as_str()), "{namespace}/{name} is told as deleted, and was listed");
                }
            }
            for (of, namespace) in namespaces.iter().enumerate().filter(|(of, _)| done[*of] > 0) {
                let shown = shown(&intake, namespace);
                let lost: Vec<_> = lists[of][done[of] - 1].iter().filter(|it| !shown.contains(**it)).collect();
                prop_assert!(lost.is_empty(), "{namespace}: {lost:?} was listed and is not shown");
            }
        }
        for (namespace, lists) in namespaces.iter().zip(&lists) {
            let last: BTreeSet<String> = lists.last().unwrap().iter().map(|it| (*it).to_owned()).collect();
            prop_assert_eq!(shown(&intake, namespace), last);
        }
    }
}

/// Whoever lets go of something because nothing uses it asks the one and the other, while objects come.
#[test]
fn what_becomes_unreadable_or_readable_is_found_as_the_one_or_as_the_other_at_any_moment() {
    let mut intake = intake(&[None]);
    let (index, unreadable) = (intake.index.1.clone(), intake.unreadable.clone());
    intake.index.0 = Box::new(|_| vec!["users".into()]);
    intake.take(0, Event::Apply(bad("x", "0")));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut missed = 0;
            while !done.load(std::sync::atomic::Ordering::SeqCst) {
                let before = unreadable.first_in("a").is_some();
                let is_there = before || !index.names("a", "users").is_empty() || unreadable.first_in("a").is_some();
                missed += usize::from(!is_there);
            }
            missed
        });
        for version in 1..20_000 {
            intake.take(0, Event::Apply(good("a", "x", &format!("{version}"))));
            intake.take(0, Event::Apply(bad("x", &format!("{version}b"))));
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(looks.join().unwrap(), 0);
    });
}
