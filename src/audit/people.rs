//! Who has said something, without saying who.
//!
//! What is on the log stays for ever, so no name is on it, and nothing in a person's own words. A person is there as an actor: a
//! pseudonym under a key that is that person's own. What they wrote is there as a salted digest, and beside the log, sealed under the same key:
//!
//! ```text
//! people/<SHA-256 of the name>/key            32 random bytes, created once
//! people/<SHA-256 of the name>/words/<…>      what was written in an Approval, sealed; named by a digest of its uid under the key
//! ```
//!
//! Nothing outside of the folder, names of files included, leads from an entry into it. Who has the key can say of a name which actor it is, and read the words. Without the key nobody can, nor guess: deleting the folder
//! (`werkbank audit forget`) is forgetting, and the log still verifies. The folder is therefore not for everybody who may read the log.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::Said;
use super::store::{Fault, NotCreated, Store};
use crate::connect::outage::Outage;
use crate::text::hex::hex;

/// How long an actor is taken to be as it was found: who was forgotten meanwhile is somebody else from then on.
const FRESH: Duration = Duration::from_mins(10);
/// How long a pass waits for it: it may be one that takes weight away.
const PATIENCE: Duration = Duration::from_secs(1);
/// And how long it is good enough where the store does not answer.
const LONGEST: Duration = Duration::from_hours(1);
/// People that are remembered.
const REMEMBERED: usize = 4096;
const NONCE: usize = 12;

/// Words that are to be kept beside the log.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Of the object they are in.
    pub uid: &'a str,
    /// As they were written.
    pub text: &'a str,
}

/// The people of one log.
#[derive(Debug)]
pub(super) struct People {
    fresh: fn(&str) -> Option<[u8; 32]>,
    known: Mutex<Known>,
    /// Apart from that of the log's own files: who is asked after waits less, and must not silence the log.
    outage: Outage,
}

/// What is remembered, by the person's folder.
#[derive(Default)]
struct Known(HashMap<String, Person>);

struct Person {
    key: Key,
    since: Instant,
    /// Uids of what is kept of their words.
    kept: HashSet<String>,
}

/// Nobody.
impl fmt::Debug for Known {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} people", self.0.len())
    }
}

impl Default for People {
    fn default() -> Self {
        Self { fresh: random, known: Mutex::default(), outage: Outage::of_calls(PATIENCE) }
    }
}

fn random(_: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).ok().map(|()| key)
}

/// The file of a key.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    key: String,
}

/// One person's key. Nothing of it is ever printed.
#[derive(Clone, Copy)]
struct Key([u8; 32]);

impl Key {
    fn said(&self, person: &str, words: Option<Words<'_>>) -> Said {
        Said { actor: self.actor(person), comment: words.map(|it| self.commitment(it)).unwrap_or_default() }
    }

    fn mac(&self, what: &str, of: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0));
        for part in [what, of] {
            context.update(part.as_bytes());
            context.update(&[0]);
        }
        let mut mac = [0; 32];
        mac.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        mac
    }

    fn actor(&self, person: &str) -> String {
        hex(&self.mac("actor", person), 16)
    }

    fn commitment(&self, words: Words<'_>) -> String {
        let salted = Sha256::new().chain_update(self.mac("salt", words.uid)).chain_update(words.text);
        format!("sha256:{}", hex(&salted.finalize(), 32))
    }

    /// Where the words are: the uid is on the log, and must not lead here.
    fn place_of_words(&self, person: &str, uid: &str) -> String {
        format!("{}/words/{}", folder(person), hex(&self.mac("words", uid), 16))
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.mac("seal", "")).ok().map(LessSafeKey::new)
    }

    /// The same words of the same object are sealed to the same bytes, so that whoever writes them twice writes one file; others have
    /// another nonce.
    fn seal(&self, words: Words<'_>) -> Option<Vec<u8>> {
        let nonce = self.mac("nonce", &format!("{}\0{}", words.uid, words.text));
        let nonce: [u8; NONCE] = *nonce.first_chunk()?;
        let mut sealed = words.text.as_bytes().to_vec();
        let aad = Aad::from(words.uid.as_bytes());
        self.cipher()?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed).ok()?;
        Some([nonce.as_slice(), &sealed].concat())
    }

    fn unseal(&self, uid: &str, sealed: &[u8]) -> Option<String> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let (nonce, mut bytes) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
        let text = self.cipher()?.open_in_place(nonce, Aad::from(uid.as_bytes()), &mut bytes).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// Where what is kept of a person is.
fn folder(person: &str) -> String {
    format!("people/{}", hex(&Sha256::digest(person), 32))
}

fn key_of(person: &str) -> String {
    format!("{}/key", folder(person))
}

impl People {
    /// People whose keys follow from their names: for runs that have to be the same again.
    #[cfg(test)]
    pub(super) fn predictable() -> Self {
        Self { fresh: |path| Some(Sha256::digest(path).into()), ..Self::default() }
    }

    /// Who this is, and what stands for these words; whoever is new gets a key, and the words are kept. What was found a while ago is
    /// good enough for some time where the store does not answer.
    pub(super) async fn said(&self, store: &Store, person: &str, words: Option<Words<'_>>) -> Result<Said, Fault> {
        if let Some(said) = self.remembered(person, words, FRESH) {
            return Ok(said);
        }
        match self.ask_in_time(store, person, words).await {
            Err(Fault::Silent(why)) => self.remembered(person, words, LONGEST).ok_or(Fault::Silent(why)),
            answer => answer,
        }
    }

    async fn ask_in_time(&self, store: &Store, person: &str, words: Option<Words<'_>>) -> Result<Said, Fault> {
        let began = Instant::now();
        let silent = || Fault::Silent(format!("{} does not say in time who somebody is", store.what()));
        self.outage.admit(began).map_err(|_| silent())?;
        let answer = timeout(PATIENCE, self.ask(store, person, words)).await.unwrap_or_else(|_| Err(silent()));
        match &answer {
            Err(Fault::Silent(_)) => self.outage.silent(began, Instant::now()),
            _ => self.outage.answered(),
        }
        answer
    }

    /// What is known of a person and these words, and was looked at not longer ago than this.
    fn remembered(&self, person: &str, words: Option<Words<'_>>, within: Duration) -> Option<Said> {
        let known = self.known();
        let it = known.0.get(&folder(person)).filter(|it| it.since.elapsed() < within)?;
        words.is_none_or(|words| it.kept.contains(words.uid)).then(|| it.key.said(person, words))
    }

    /// Looked at now; what was kept under another key is to be kept again.
    fn remember(&self, person: &str, key: Key) {
        let mut known = self.known();
        if known.0.len() >= REMEMBERED {
            known.0.retain(|_, it| it.since.elapsed() < FRESH);
        }
        if known.0.len() >= REMEMBERED {
            known.0.clear();
        }
        let before = known.0.remove(&folder(person)).filter(|it| it.key.0 == key.0);
        let kept = before.map(|it| it.kept).unwrap_or_default();
        known.0.insert(folder(person), Person { key, since: Instant::now(), kept });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, store: &Store, person: &str, words: Option<Words<'_>>) -> Result<Said, Fault> {
        let key = self.key(store, person).await?;
        self.remember(person, key);
        if let Some(words) = words.filter(|_| self.remembered(person, words, FRESH).is_none()) {
            keep(store, person, &key, words).await?;
            if let Some(it) = self.known().0.get_mut(&folder(person)) {
                it.kept.insert(words.uid.to_owned());
            }
        }
        Ok(key.said(person, words))
    }

    /// The person's key, which is made if there is none.
    async fn key(&self, store: &Store, person: &str) -> Result<Key, Fault> {
        let path = key_of(person);
        if let Some(key) = read(store, &path).await? {
            return Ok(key);
        }
        store.is_not_anothers().await?;
        let fresh = (self.fresh)(&path).ok_or_else(|| Fault::Wrong("the machine has no randomness to give".into()))?;
        let file = KeyFile { key: STANDARD.encode(fresh) };
        let file = serde_json::to_vec(&file).map_err(|error| Fault::Wrong(error.to_string()))?;
        match store.create(&path, file).await {
            Ok(()) => Ok(Key(fresh)),
            // Another operator's, or one's own whose answer got lost: what is there counts.
            Err(refused) => match (read(store, &path).await?, refused) {
                (Some(key), _) => Ok(key),
                (None, NotCreated::Unclear(why)) => Err(why),
                (None, NotCreated::Taken) => {
                    Err(Fault::Silent(format!("a key in {} is taken, and not there", store.what())))
                }
            },
        }
    }
}

/// Keeps the words. What is there already is the same: under this key, of an object that never changes.
async fn keep(store: &Store, person: &str, key: &Key, words: Words<'_>) -> Result<(), Fault> {
    store.is_not_anothers().await?;
    let sealed = key.seal(words).ok_or_else(|| Fault::Wrong("words cannot be sealed; report it".into()))?;
    match store.create(&key.place_of_words(person, words.uid), sealed).await {
        Ok(()) | Err(NotCreated::Taken) => Ok(()),
        Err(NotCreated::Unclear(why)) => Err(why),
    }
}

/// A key, if there is one.
async fn read(store: &Store, path: &str) -> Result<Option<Key>, Fault> {
    let Some((bytes, _)) = store.read(path).await? else { return Ok(None) };
    let file = serde_json::from_slice::<KeyFile>(&bytes).ok();
    let key = file.and_then(|it| STANDARD.decode(it.key).ok()).and_then(|it| it.try_into().ok());
    // Without it nobody can be told from somebody else: that is not to be guessed.
    let damaged = || {
        // As much of the name's digest as finds the file, and is nobody's.
        let file = path.get(..15).unwrap_or(path);
        Fault::Damaged(format!(
            "{file}… in {} is no key of a person; restore it, or remove it: then that person is somebody new",
            store.what()
        ))
    };
    key.map(Key).map(Some).ok_or_else(damaged)
}

/// Which actor a person is; `None`: there is no key, and so nobody can tell.
pub(super) async fn actor_of(store: &Store, person: &str) -> Result<Option<String>, Fault> {
    Ok(read(store, &key_of(person)).await?.map(|it| it.actor(person)))
}

/// What the person wrote in the object of this uid, if it is what this commitment is of.
pub(super) async fn words(store: &Store, person: &str, uid: &str, commitment: &str) -> Result<Option<String>, Fault> {
    let Some(key) = read(store, &key_of(person)).await? else { return Ok(None) };
    let Some((sealed, _)) = store.read(&key.place_of_words(person, uid)).await? else { return Ok(None) };
    let text = key.unseal(uid, &sealed);
    Ok(text.filter(|text| key.commitment(Words { uid, text }) == commitment))
}

/// Deletes what is kept of a person. `false`: there was nothing.
pub(super) async fn forget(store: &Store, person: &str) -> Result<bool, Fault> {
    let was_known = store.read(&key_of(person)).await?.is_some();
    // Again, for what an operator was about to write.
    for _ in 0..2 {
        store.remove_below(&folder(person)).await?;
    }
    Ok(was_known)
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
