//! Appending: entries wait in a queue, and whoever's turn it is writes all that wait into one slot.
//!
//! While one slot is on its way to the store, others queue up and go together in the next: a thousand decisions at once
//! take a few round trips. No task of its own does this. Of those who wait, one after the other holds what is known of the
//! log; the first to come carries the others' entries with its own, and they find their answers when they get there.
//!
//! What one caller brings is in order, and may take more than one slot: an outcome is judged by its intent, which is on the log before. So behind
//! one that the log does not take it takes none of his: he comes again, with all of them, or has decided something else.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock, PoisonError};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::sleep;

use super::super::store::{Fault, NotCreated};
use super::super::tlog::index::Judged;
use super::super::tlog::slot::{self, Batch};
use super::super::{Appended, Entry, EntryKind, TrailError};
use super::recover::Known;
use super::{Log, TURN_LIMIT};

/// Bytes of an entry, at most: what fits into a bundle.
const LONGEST: usize = u16::MAX as usize;

/// An entry that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    entry: Entry,
    bytes: Vec<u8>,
    /// Whether it is its caller's first.
    leads: bool,
    /// Why none of its caller's is taken any more.
    stopped: Stopped,
    tell: oneshot::Sender<Answer>,
}

/// Once one of a caller's entries was refused, what those behind it are told.
type Stopped = Arc<OnceLock<TrailError>>;

impl Waiting {
    /// Tells it why, where one before it was refused.
    fn unless_stopped(self) -> Option<Self> {
        let Some(error) = self.stopped.get().cloned() else { return Some(self) };
        self.told(Err(error));
        None
    }

    fn told(self, answer: Answer) {
        let stops = answer.as_ref().err().and_then(|it| it.stops(&self.entry));
        if let Some(error) = stops {
            self.stopped.get_or_init(|| error);
        }
        // Who does not listen any more asks again.
        drop(self.tell.send(answer));
    }
}

/// What becomes of an entry.
type Answer = Result<Appended, TrailError>;

/// One caller's entries, in order, and what he has been told of them.
struct Errand<'a> {
    wanted: Vec<Wanted<'a>>,
    /// For as long as he waits, however often his entries are queued.
    stopped: Stopped,
}

struct Wanted<'a> {
    entry: &'a Entry,
    bytes: Vec<u8>,
    told: Told,
}

enum Told {
    /// In the queue, or on the way.
    NotYet(oneshot::Receiver<Answer>),
    /// Whoever carried it has been stopped; or nobody has been asked.
    Nothing,
    All(Answer),
}

impl<'a> Errand<'a> {
    fn of(entries: &'a [Entry]) -> Self {
        // Nothing goes before what is older: behind one that cannot be written, none is.
        let mut refused = None;
        let wanted = |entry| match refused.clone().map_or_else(|| written(entry), Err) {
            Ok(bytes) => Wanted { entry, bytes, told: Told::Nothing },
            Err(error) => {
                refused = Some(error.clone());
                Wanted { entry, bytes: Vec::new(), told: Told::All(Err(error)) }
            }
        };
        Self { wanted: entries.iter().map(wanted).collect(), stopped: Stopped::default() }
    }

    /// Queues up with all that has no answer; with what waits already, too, so that the order stays.
    fn queue_up(&mut self, queue: &mut Vec<Waiting>) {
        let mut leads = true;
        for wanted in self.wanted.iter_mut().filter(|it| !matches!(it.told, Told::All(_))) {
            if let Some(error) = self.stopped.get() {
                wanted.told = Told::All(Err(error.clone()));
                continue;
            }
            let (tell, told) = oneshot::channel();
            wanted.told = Told::NotYet(told);
            let (entry, bytes, stopped) = (wanted.entry.clone(), wanted.bytes.clone(), self.stopped.clone());
            queue.push(Waiting { entry, bytes, leads, stopped, tell });
            leads = false;
        }
    }

    /// Waits until everything has an answer, or something will have none.
    async fn hear_all(&mut self) {
        for wanted in &mut self.wanted {
            if let Told::NotYet(told) = &mut wanted.told {
                wanted.told = told.await.map_or(Told::Nothing, Told::All);
            }
            if matches!(wanted.told, Told::Nothing) {
                return;
            }
        }
    }

    /// What there is to hear now.
    fn hear(&mut self) {
        for wanted in &mut self.wanted {
            if let Told::NotYet(told) = &mut wanted.told {
                match told.try_recv() {
                    Ok(answer) => wanted.told = Told::All(answer),
                    Err(TryRecvError::Closed) => wanted.told = Told::Nothing,
                    Err(TryRecvError::Empty) => {}
                }
            }
        }
    }

    /// Whether all that has no answer will have one.
    fn waits(&self) -> bool {
        !self.is_answered() && !self.wanted.iter().any(|it| matches!(it.told, Told::Nothing))
    }

    fn is_answered(&self) -> bool {
        self.wanted.iter().all(|it| matches!(it.told, Told::All(_)))
    }

    /// The answers; this fault where there is none.
    fn end(self, fault: &Fault) -> Vec<Answer> {
        let answer = |wanted: Wanted<'_>| match wanted.told {
            Told::All(answer) => answer,
            Told::NotYet(_) | Told::Nothing => Err(fault.clone().into()),
        };
        self.wanted.into_iter().map(answer).collect()
    }
}

/// The line of an entry.
fn written(entry: &Entry) -> Result<Vec<u8>, TrailError> {
    let bytes = entry
        .line()
        .map_err(|error| TrailError::Unavailable(format!("the entry cannot be written as JSON: {error}; report it")))?;
    if bytes.len() > LONGEST {
        return Err(TrailError::Unavailable(format!(
            "an entry has {} bytes, and the log takes {LONGEST} at most; report it",
            bytes.len()
        )));
    }
    Ok(bytes)
}

impl Log {
    /// Appends in this order, with whatever else waits.
    pub(super) async fn append_in_turn(&self, entries: &[Entry]) -> Vec<Answer> {
        let mut errand = Errand::of(entries);
        // Nobody waits behind those who try whether a store answers again.
        if let Err(silent) = self.store.answers() {
            return errand.end(&silent);
        }
        while !errand.is_answered() {
            errand.queue_up(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
            let mut known = tokio::select! {
                biased;
                () = errand.hear_all() => continue,
                known = self.known.lock() => known,
                () = sleep(TURN_LIMIT) => break,
            };
            errand.hear();
            while errand.waits() {
                self.append_some(&mut known).await;
                errand.hear();
            }
        }
        errand.end(&self.busy())
    }

    /// Takes from the queue what fits into a slot, and tells each what became of it.
    async fn append_some(&self, known: &mut Option<Known>) {
        let mut some = self.turn();
        if some.is_empty() {
            return;
        }
        let appended = self.store.if_it_answers(self.append_all(known, &mut some)).await;
        if let Err(fault) = appended {
            if matches!(fault, Fault::Silent(_)) {
                // The call itself has been counted; each caller is one.
                self.store.was_silent_for(some.iter().filter(|it| it.leads).count().saturating_sub(1));
            }
            for waiting in some {
                waiting.told(Err(fault.clone().into()));
            }
        }
    }

    /// What goes into the next slot. Of one number there is one entry at a time: the next is judged by it.
    fn turn(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut some, mut later) = (Vec::new(), Vec::new());
        let (mut batch, mut numbers) = (Batch::default(), HashSet::new());
        // Who does not wait any more has decided something else meanwhile, or asks again.
        for waiting in queue.drain(..).filter(|it| !it.tell.is_closed()).filter_map(Waiting::unless_stopped) {
            let number = (waiting.entry.uid.clone(), waiting.entry.sequence);
            if later.is_empty() && !batch.has_no_room_for(waiting.bytes.len()) && numbers.insert(number) {
                batch.entries.push(waiting.bytes.clone());
                some.push(waiting);
            } else {
                later.push(waiting);
            }
        }
        *queue = later;
        some
    }

    async fn append_all(&self, known: &mut Option<Known>, some: &mut Vec<Waiting>) -> Result<(), Fault> {
        self.store.prove().await?;
        loop {
            let log = self.recovered(known).await?;
            self.answer_what_is_decided(log, some).await?;
            if some.is_empty() {
                return Ok(());
            }
            // Not before the log has been read: who cannot go on with it does not take it.
            self.store.is_this_clusters().await?;
            let entries = some.iter().map(|it| it.bytes.clone()).collect();
            let batch = Batch { first: log.edge.size(), entries };
            let (found, appended) = self.create_or_read(log.slot, &batch).await?;
            let is_own = found == batch;
            self.take(log, found)?;
            if is_own {
                log.own = true;
                for waiting in some.drain(..) {
                    waiting.told(Ok(appended));
                }
                return Ok(());
            }
            self.follow(log).await?;
        }
    }

    /// What the slot holds: this batch, if nobody else was first or others had decided the very same.
    async fn create_or_read(&self, number: u64, batch: &Batch) -> Result<(Batch, Appended), Fault> {
        let path = slot::path(number);
        let refused = match self.store.create(&path, batch.encode()).await {
            Ok(()) => return Ok((batch.clone(), Appended::New)),
            Err(refused) => refused,
        };
        // Somebody else's, or one's own whose answer got lost: what is there decides.
        match (self.store.read(&path).await, refused) {
            (Ok(Some((bytes, _))), NotCreated::Taken) => Ok((self.batch(number, &bytes)?, Appended::AlreadyThere)),
            (Ok(Some((bytes, _))), NotCreated::Unclear(_)) => Ok((self.batch(number, &bytes)?, Appended::New)),
            // Not there now; a write under way may still land, and is then found by the next call.
            (_, NotCreated::Unclear(why)) | (Err(why), NotCreated::Taken) => Err(why),
            (Ok(None), NotCreated::Taken) => {
                Err(Fault::Silent(format!("{path} in {} is taken, and not there", self.store.what())))
            }
        }
    }

    /// Tells those whose entry, or whose number, is on the log; the others stay.
    async fn answer_what_is_decided(&self, log: &Known, some: &mut Vec<Waiting>) -> Result<(), Fault> {
        let mut all = std::mem::take(some).into_iter();
        while let Some(waiting) = all.next() {
            let Some(waiting) = waiting.unless_stopped() else { continue };
            let answer = match log.index.judge(&waiting.entry) {
                Judged::New => {
                    some.push(waiting);
                    continue;
                }
                Judged::AlreadyThere(_) => Ok(Appended::AlreadyThere),
                Judged::Spent => {
                    let closed = Entry { kind: EntryKind::Void, ..waiting.entry.clone() };
                    Err(TrailError::SequenceTaken { holder: Box::new(closed) })
                }
                Judged::Taken(at) => match self.entries_at(log, &[at]).await.map(|mut it| it.pop()) {
                    Ok(Some(holder)) => Err(TrailError::SequenceTaken { holder: Box::new(holder) }),
                    // Nobody behind it is lost sight of.
                    found => {
                        let missing = || self.damaged(&format!("entry {at}"), "is not where it should be");
                        some.push(waiting);
                        some.extend(all);
                        return Err(found.err().unwrap_or_else(missing));
                    }
                },
            };
            waiting.told(answer);
        }
        Ok(())
    }
}
