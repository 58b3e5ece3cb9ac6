//! Appending: entries wait in a queue, and whoever's turn it is writes all that wait into one slot.
//!
//! While one slot is on its way to the store, others queue up and go together in the next: a thousand decisions at once
//! take a few round trips. No task of its own does this. Of those who wait, one after the other holds what is known of the
//! log; the first to come carries the others' entries with its own, and they find their answers when they get there.

use std::collections::HashSet;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::sleep;

use super::super::store::{Fault, NotCreated};
use super::super::tlog::index::Judged;
use super::super::tlog::slot::{self, Batch};
use super::super::{Appended, Entry, TrailError};
use super::recover::Known;
use super::{Log, TURN_LIMIT};

/// Bytes of an entry, at most: what fits into a bundle.
const LONGEST: usize = u16::MAX as usize;

/// An entry that waits for its turn.
#[derive(Debug)]
pub(super) struct Waiting {
    entry: Entry,
    bytes: Vec<u8>,
    tell: oneshot::Sender<Result<Appended, TrailError>>,
}

impl Waiting {
    fn told(self, answer: Result<Appended, TrailError>) {
        // Who does not listen any more asks again.
        drop(self.tell.send(answer));
    }
}

impl Log {
    /// Appends, with whatever else waits.
    pub(super) async fn append_in_turn(&self, entry: &Entry) -> Result<Appended, TrailError> {
        let bytes = serde_json_canonicalizer::to_vec(entry).map_err(|error| {
            TrailError::Unavailable(format!("the entry cannot be written as JSON: {error}; report it"))
        })?;
        if bytes.len() > LONGEST {
            return Err(TrailError::Unavailable(format!(
                "an entry has {} bytes, and the log takes {LONGEST} at most; report it",
                bytes.len()
            )));
        }
        // Nobody waits behind those who try whether a store answers again.
        self.store.answers()?;
        loop {
            let (tell, mut told) = oneshot::channel();
            let waiting = Waiting { entry: entry.clone(), bytes: bytes.clone(), tell };
            self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(waiting);
            let mut known = tokio::select! {
                biased;
                answer = &mut told => match answer {
                    Ok(answer) => return answer,
                    Err(_) => continue,
                },
                known = self.known.lock() => known,
                () = sleep(TURN_LIMIT) => return Err(self.busy().into()),
            };
            loop {
                match told.try_recv() {
                    Ok(answer) => return answer,
                    Err(TryRecvError::Empty) => self.append_some(&mut known).await,
                    // Whoever carried it has been stopped on the way.
                    Err(TryRecvError::Closed) => break,
                }
            }
        }
    }

    /// Takes from the queue what fits into a slot, and tells each what became of it.
    async fn append_some(&self, known: &mut Option<Known>) {
        let mut some = self.turn();
        let appended = self.store.if_it_answers(self.append_all(known, &mut some)).await;
        if let Err(fault) = appended {
            if matches!(fault, Fault::Silent(_)) {
                // The call itself has been counted.
                self.store.was_silent_for(some.len().saturating_sub(1));
            }
            for waiting in some {
                waiting.told(Err(fault.clone().into()));
            }
        }
    }

    /// What goes into the next slot. Of one number there is one entry at a time: the next is judged by it.
    fn turn(&self) -> Vec<Waiting> {
        let mut queue = self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut some, mut later) = (Vec::new(), Vec::new());
        let (mut batch, mut numbers) = (Batch::default(), HashSet::new());
        // Who does not wait any more has decided something else meanwhile, or asks again.
        for waiting in queue.drain(..).filter(|it| !it.tell.is_closed()) {
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
        for waiting in std::mem::take(some) {
            let answer = match log.index.judge(&waiting.entry) {
                Judged::New => {
                    some.push(waiting);
                    continue;
                }
                Judged::AlreadyThere(_) => Ok(Appended::AlreadyThere),
                Judged::Spent => Err(TrailError::SequenceTaken { holder: Box::new(waiting.entry.clone()) }),
                Judged::Taken(at) => match self.entries_at(log, &[at]).await.map(|mut it| it.pop()) {
                    Ok(Some(holder)) => Err(TrailError::SequenceTaken { holder: Box::new(holder) }),
                    Ok(None) => return Err(self.damaged(&format!("entry {at}"), "is not where it should be")),
                    Err(fault) => {
                        some.push(waiting);
                        return Err(fault);
                    }
                },
            };
            waiting.told(answer);
        }
        Ok(())
    }
}
