//! The log on a store in memory, or in a folder.

mod cluster;
mod damage;
mod flaky;
mod leaders;
mod numbers;
mod publishing;
mod store;
mod turns;

use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use self::flaky::Flaky;
use super::super::EntryKind;
use super::super::entry::sample;
use super::*;

fn entry(kind: EntryKind, sequence: i64, decision: &str) -> Entry {
    Entry { kind, sequence, decision: decision.into(), ..sample() }
}

/// A log in a folder that its checkpoints are signed in.
async fn trail(dir: &tempfile::TempDir) -> Log {
    Log::open(&format!("file://{}/trail", dir.path().display()), vec![key()]).unwrap()
}

fn key() -> Signer {
    Signer::of_seed("werkbank.dev/log/test/1", &[7; 32]).unwrap()
}

/// A store that answers nothing in time.
fn hung() -> Arc<ThrottledStore<InMemory>> {
    let forever = Duration::from_secs(3600);
    let waits = ThrottleConfig { wait_put_per_call: forever, wait_get_per_call: forever, ..Default::default() };
    Arc::new(ThrottledStore::new(InMemory::new(), waits))
}

fn in_store(store: Arc<dyn ObjectStore>) -> Log {
    Log::over(store, Path::from("trail"), "s3://models/trail".into(), vec![])
}

fn over(store: &Arc<Flaky>) -> Log {
    Log::over(store.clone(), Path::default(), "memory:///".into(), vec![key()])
}

fn numbered(resource: usize, sequence: i64) -> Entry {
    Entry { uid: format!("uid-{resource}"), ..entry(EntryKind::Intent, sequence, "Shift") }
}

/// All entries on the log, in its order, read by somebody who knows nothing of it.
async fn all(store: &Arc<Flaky>) -> Vec<Entry> {
    let reader = over(store);
    let mut known = reader.known.lock().await;
    let known = reader.recovered(&mut known).await.unwrap();
    let places: Vec<u64> = (0..known.edge.size()).collect();
    reader.entries_at(known, &places).await.unwrap()
}
