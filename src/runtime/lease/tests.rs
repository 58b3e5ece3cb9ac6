use super::*;

fn elector(identity: &str) -> Elector {
    Elector {
        name: "werkbank".into(),
        identity: identity.into(),
        duration_seconds: 15,
        renew_deadline: Duration::from_secs(10),
        seen: None,
        held: None,
    }
}

/// As the API server would store it.
fn stored(mut lease: Lease, version: &str) -> Lease {
    lease.metadata.resource_version = Some(version.into());
    lease
}

const WALL: Timestamp = Timestamp::UNIX_EPOCH;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// `a` leads since `now`.
fn led_by_a(now: Instant) -> (Elector, Lease) {
    let mut a = elector("a");
    a.observe(None, now);
    let lease = stored(a.claim(now, WALL).unwrap(), "1");
    assert_eq!(a.won(lease.clone(), now), (1, now + seconds(10)));
    (a, lease)
}

#[test]
fn the_first_replica_creates_the_lease_with_epoch_one() {
    let now = Instant::now();
    let mut a = elector("a");
    assert!(a.claim(now, WALL).is_none(), "nothing is claimed unseen");
    a.observe(None, now);
    let lease = a.claim(now, WALL).unwrap();
    assert_eq!(lease.metadata.resource_version, None, "refused if it exists by then");
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(1));
}

#[test]
fn others_wait_until_they_have_seen_the_lease_unchanged_for_its_duration() {
    let now = Instant::now();
    let (_, lease) = led_by_a(now);
    let mut b = elector("b");
    b.observe(Some(lease.clone()), now + seconds(100));
    assert!(b.claim(now + seconds(114), WALL).is_none());
    b.observe(Some(lease.clone()), now + seconds(115));
    let claim = b.claim(now + seconds(115), WALL).unwrap();
    assert_eq!(claim.spec.as_ref().unwrap().lease_transitions, Some(2), "a new epoch");
    assert_eq!(claim.metadata.resource_version.as_deref(), Some("1"), "compare-and-swap");
}

#[test]
fn a_renewal_starts_the_others_wait_anew() {
    let now = Instant::now();
    let (a, lease) = led_by_a(now);
    let mut b = elector("b");
    b.observe(Some(lease), now);
    b.observe(Some(stored(a.claim(now, WALL).unwrap(), "2")), now + seconds(14));
    assert!(b.claim(now + seconds(28), WALL).is_none());
    assert!(b.claim(now + seconds(29), WALL).is_some());
}

#[test]
fn a_lease_lasts_as_long_as_its_holder_has_said_whatever_others_are_told() {
    let now = Instant::now();
    let (_, mut lease) = led_by_a(now);
    lease.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
    let mut b = elector("b");
    b.observe(Some(lease.clone()), now);
    assert!(b.claim(now + seconds(59), WALL).is_none(), "an upgrade shortens it to 15 s");
    assert!(b.claim(now + seconds(60), WALL).is_some());
    lease.spec.as_mut().unwrap().lease_duration_seconds = Some(5);
    b.observe(Some(stored(lease, "2")), now + seconds(100));
    assert!(b.claim(now + seconds(105), WALL).is_some());
}

#[test]
fn wall_clocks_decide_nothing() {
    let now = Instant::now();
    let (_, mut lease) = led_by_a(now);
    lease.spec.as_mut().unwrap().renew_time = Some(MicroTime(Timestamp::MIN));
    let mut b = elector("b");
    b.observe(Some(lease), now);
    assert!(b.claim(now + seconds(1), WALL).is_none());
}

#[test]
fn a_renewal_keeps_the_epoch_and_prolongs_from_its_start() {
    let now = Instant::now();
    let (mut a, _) = led_by_a(now);
    let renewal = stored(a.claim(now + seconds(2), WALL).unwrap(), "2");
    assert_eq!(a.won(renewal, now + seconds(2)), (1, now + seconds(12)));
}

#[test]
fn a_restarted_replica_takes_its_own_lease_at_once_with_a_new_epoch() {
    let now = Instant::now();
    let (_, lease) = led_by_a(now);
    let mut again = elector("a");
    again.observe(Some(lease), now);
    assert_eq!(again.claim(now, WALL).unwrap().spec.unwrap().lease_transitions, Some(2));
}

#[test]
fn a_lease_given_back_is_taken_at_once() {
    let now = Instant::now();
    let (mut a, _) = led_by_a(now);
    let mut b = elector("b");
    b.observe(Some(stored(a.released(WALL).unwrap(), "2")), now);
    assert_eq!(b.claim(now, WALL).unwrap().spec.unwrap().lease_transitions, Some(2));
    assert!(a.released(WALL).is_none(), "only what is held is given back");
}

/// Against an API server.
mod kept;

/// An API server that takes every lease, and so long for an answer.
fn slow(takes: Duration) -> Client {
    let server = tower::service_fn(move |request: http::Request<kube::client::Body>| async move {
        let (parts, body) = request.into_parts();
        let sent = body.collect_bytes().await?;
        tokio::time::sleep(takes).await;
        let (code, answer) = if parts.method == http::Method::GET {
            let status = serde_json::json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"});
            (404, status)
        } else {
            let mut lease: serde_json::Value = serde_json::from_slice(&sent)?;
            lease["metadata"]["resourceVersion"] = "1".into();
            (200, lease)
        };
        let answer = kube::client::Body::from(serde_json::to_vec(&answer)?);
        Ok::<_, tower::BoxError>(http::Response::builder().status(code).body(answer)?)
    });
    Client::new(server, "default")
}

/// Others have counted since then: a leader that counted from the answer would write beside its successor.
#[tokio::test(start_paused = true)]
async fn a_lease_is_held_from_the_moment_it_was_asked_for_however_long_the_answer_took() {
    let options = LeaseOptions {
        name: "werkbank".into(),
        namespace: "werkbank-system".into(),
        identity: "a".into(),
        duration_seconds: 15,
        renew_deadline_seconds: 10,
        retry_seconds: 2,
    };
    let authority = Authority::default();
    let mut leadership = Leadership::new(slow(seconds(1)), &options, authority.clone(), Gauge::default()).unwrap();
    let asked = Instant::now();
    assert_eq!(leadership.acquire(&Shutdown::default()).await, Some(1));
    assert!(Instant::now() >= asked + seconds(2), "it was looked for, and then written");
    assert_eq!(authority.until(), Some(asked + seconds(10)));
}
