//! The way from a process to API server and to the log's store: counted, and cut where the plan says.
//!
//! Each write has a number in its run: each request that changes something, and each file (see [`super::store`]). What becomes of it is asked of the run's [`Fates`]: it arrives, it is
//! refused, its answer is lost, others are faster, or the process dies at it. A process that has died
//! reaches nobody any more, whatever is left of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::body::Body as Answer;
use chrono::TimeDelta;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::time::Instant;
use tower::{BoxError, service_fn};

use super::oracles::{Oracles, PROMISE};
use super::others;
use super::server::{Asked, Cluster, reason, refusal, reply};
use super::store::File;
use super::stories::Answered;
use super::trouble::Trouble;
use crate::runtime::{Metrics, connect_to};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// What should.
    Arrives,
    /// The process dies before it is sent.
    DiesBefore,
    /// It is done, and the process dies before the answer.
    DiesAfter,
    /// The process dies, and the write arrives some time later.
    ArrivesLate,
    /// Nothing happens, and this is the answer.
    Refused(u16),
    /// It is done, and nobody can tell: 504.
    Unclear,
    /// It is sent twice, and the second answer is told.
    Twice,
    /// Somebody else has written the object in the meantime, or has the place in the log.
    Overtaken,
    /// It arrives, unless it was for the log: its store is away from now on, for so many seconds.
    TrailGoes(u64),
}

impl Fate {
    /// Whether the process dies of it.
    pub(super) fn kills(self) -> bool {
        matches!(self, Self::DiesBefore | Self::DiesAfter | Self::ArrivesLate)
    }
}

/// Something that was sent before its process died.
pub(super) enum Late {
    /// Of the process of this epoch.
    Request(Asked, i64),
    File(File),
}

/// Decides what becomes of a write, by its number and what it is.
pub(super) type Plan = Box<dyn FnMut(usize, &str) -> Fate + Send>;

/// A write that was refused for want of a right.
#[derive(Clone)]
pub(super) struct Forbidden {
    pub(super) write: String,
    /// Whether a status has said so since.
    pub(super) is_told: bool,
}

/// What all processes of a run share on their way out.
pub(super) struct Fates {
    /// Writes so far.
    pub(super) writes: usize,
    /// The write to a child that was last refused for want of a right, until it gets through.
    pub(super) forbidden: Option<Forbidden>,
    /// Until when the log's store is away.
    pub(super) trail_is_away_until: Option<Instant>,
    /// From the answer that makes a breach to the write of weight 0; none, once more has gone wrong than may be.
    pub(super) promise: Option<TimeDelta>,
    pub(super) trouble: Trouble,
    pub(super) plan: Plan,
    pub(super) late: Vec<Late>,
    pub(super) oracles: Oracles,
    /// What was written, for people.
    pub(super) told: Vec<String>,
    /// The same with the API server's answers, and the Events that were told.
    pub(super) answered: Vec<Answered>,
    pub(super) events: Vec<Value>,
}

impl Fates {
    pub(super) fn of(plan: Plan, verifies: bool) -> Self {
        Self {
            writes: 0,
            forbidden: None,
            trail_is_away_until: None,
            promise: Some(PROMISE),
            trouble: Trouble::none(),
            plan,
            late: Vec::new(),
            oracles: Oracles::of(verifies),
            told: Vec::new(),
            answered: Vec::new(),
            events: Vec::new(),
        }
    }

    pub(super) fn trail_is_away(&self) -> bool {
        self.trail_is_away_until.is_some_and(|until| Instant::now() < until)
    }
}

/// Whether a write is to the log's store.
pub(super) fn is_of_log(about: &str) -> bool {
    about.starts_with("STORE")
}

/// Whether a write is to a child, and neither to the log nor to a status.
pub(super) fn is_of_child(about: &str) -> bool {
    !is_of_log(about) && !about.contains("/apis/werkbank.dev/")
}

/// What a store that is away answers.
const AWAY: Fate = Fate::Refused(503);
/// Until a write that has failed once is sent again, where haste is needed.
const SENT_AGAIN: TimeDelta = TimeDelta::seconds(2);

/// One process' way out.
pub(super) struct Wire {
    is_alive: AtomicBool,
    epoch: i64,
    cluster: Cluster,
    fates: Arc<Mutex<Fates>>,
}

impl Wire {
    /// Of the process of this epoch.
    pub(super) fn new(epoch: i64, cluster: Cluster, fates: Arc<Mutex<Fates>>) -> Arc<Self> {
        Arc::new(Self { is_alive: AtomicBool::new(true), epoch, cluster, fates })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::SeqCst)
    }

    pub(super) fn die(&self) {
        self.is_alive.store(false, Ordering::SeqCst);
    }

    /// A client that sends each request once.
    pub(super) fn client(self: &Arc<Self>, metrics: Arc<Metrics>) -> Client {
        let wire = self.clone();
        connect_to(service_fn(move |request: Request<Body>| wire.clone().send(request)), 1, metrics)
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn all_fates(&self) -> &Mutex<Fates> {
        &self.fates
    }

    pub(super) fn fates(&self) -> MutexGuard<'_, Fates> {
        self.fates.lock().unwrap()
    }

    /// The number of a write, and what becomes of it.
    pub(super) fn fate(&self, about: &str) -> (usize, Fate) {
        let mut fates = self.fates();
        fates.writes += 1;
        let number = fates.writes;
        let fate = if is_of_log(about) && fates.trail_is_away() { AWAY } else { (fates.plan)(number, about) };
        if let Fate::TrailGoes(seconds) = fate {
            fates.trail_is_away_until = Some(Instant::now() + Duration::from_secs(seconds));
        }
        if fate != Fate::Arrives {
            // Where the store is away, it goes wrong until that is back.
            let away = fates.trail_is_away_until.map(|it| it.saturating_duration_since(Instant::now()));
            fates.trouble.lasts(away.unwrap_or_default());
        }
        fates.promise = fates.promise.and_then(|it| match fate {
            Fate::Arrives | Fate::TrailGoes(_) => Some(it),
            // Who takes weight away does not wait for the log.
            _ if is_of_log(about) && !fate.kills() => Some(it),
            // It is sent again after a while.
            Fate::Refused(500) => Some(it + SENT_AGAIN),
            _ => None,
        });
        if fate == Fate::Refused(403) && is_of_child(about) {
            fates.forbidden = Some(Forbidden { write: about.to_owned(), is_told: false });
        } else if fates.forbidden.as_ref().is_some_and(|it| it.write == about) {
            fates.forbidden = None;
        }
        fates.told.push(match fate {
            Fate::Arrives => format!("{number}. {about}"),
            fate => format!("{number}. {about}: {fate:?}"),
        });
        (number, fate)
    }

    async fn send(self: Arc<Self>, request: Request<Body>) -> Result<Response<Answer>, BoxError> {
        if !self.is_alive() {
            return Err("this process is dead".into());
        }
        let asked = Asked::read(request).await?;
        if asked.path.contains("/apis/events.k8s.io/") {
            let mut fates = self.fates();
            fates.oracles.tells_no_name("an Event", &asked.body.to_string());
            fates.events.push(asked.body.clone());
            drop(fates);
            return Ok(reply((201, asked.body)));
        }
        if !asked.is_write() {
            return Ok(self.cluster.answer(&asked));
        }
        match self.fate(&asked.about()).1 {
            Fate::Arrives | Fate::TrailGoes(_) => Ok(self.write(&asked)),
            Fate::DiesBefore => self.dead(),
            Fate::DiesAfter => {
                self.write(&asked);
                self.dead()
            }
            Fate::ArrivesLate => {
                self.fates().late.push(Late::Request(asked, self.epoch));
                self.dead()
            }
            Fate::Refused(code) => Ok(reply(refusal(code, reason(code), ""))),
            Fate::Unclear => {
                self.write(&asked);
                Ok(reply(refusal(504, reason(504), "")))
            }
            Fate::Twice => {
                self.write(&asked);
                Ok(self.write(&asked))
            }
            Fate::Overtaken => {
                others::touch(&self.cluster, &asked.path);
                Ok(self.write(&asked))
            }
        }
    }

    fn dead<T>(&self) -> Result<T, BoxError> {
        self.die();
        Err("this process died".into())
    }

    fn write(&self, asked: &Asked) -> Response<Answer> {
        write(&self.cluster, &mut self.fates(), self.epoch, asked)
    }
}

/// A write of the operator's in this epoch, watched by the oracles.
pub(super) fn write(cluster: &Cluster, fates: &mut Fates, epoch: i64, asked: &Asked) -> Response<Answer> {
    let path = &asked.object();
    let before = cluster.get(path);
    let answer = cluster.answer(asked);
    let after = cluster.get(path);
    let code = answer.status().as_u16();
    if let Some(last) = fates.told.last_mut() {
        *last += &format!(" → {code}");
    }
    fates.answered.push(Answered { method: asked.method.to_string(), path: asked.path.clone(), code });
    assert!(
        asked.method != Method::POST || code != 201 || before != after,
        "{} was created, and no oracle sees it",
        asked.path
    );
    if answer.status().is_success() && before != after {
        fates.oracles.written(cluster, path, epoch, &before, &after);
    }
    answer
}
