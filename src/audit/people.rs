//! Who has said something, without saying who.
//!
//! What is on the log stays for ever, so no name is on it, and nothing in a person's own words. A person is there as an actor: a
//! pseudonym under a key that is that person's own. What they wrote is there as a salted digest, and beside the log, sealed under the same key:
//!
//! ```text
//! people/<SHA-256 of the name>/key            32 random bytes, created once
//! people/<SHA-256 of the name>/words/<uid>    what was written in the Approval of this uid, sealed
//! ```
//!
//! Who has the key can say of a name which actor it is, and read the words. Without the key nobody can, nor guess: deleting the folder
//! (`werkbank audit forget`) is forgetting, and the log still verifies. The folder is therefore not for everybody who may read the log.

use std::collections::HashMap;
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
use crate::text::hex::hex;

/// How long an actor is taken to be as it was found: who was forgotten meanwhile is somebody else from then on.
const FRESH: Duration = Duration::from_mins(10);
/// How long a pass waits for it: it may be one that takes weight away.
const PATIENCE: Duration = Duration::from_secs(1);
/// Actors that are remembered.
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
    /// By folder and uid.
    known: Mutex<HashMap<Place, (Instant, Said)>>,
}

type Place = (String, String);

impl Default for People {
    fn default() -> Self {
        Self { fresh: random, known: Mutex::default() }
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
struct Key([u8; 32]);

impl Key {
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

fn words_of(person: &str, uid: &str) -> String {
    format!("{}/words/{}", folder(person), hex(&Sha256::digest(uid), 16))
}

impl People {
    /// People whose keys follow from their names: for runs that have to be the same again.
    #[cfg(test)]
    pub(super) fn predictable() -> Self {
        Self { fresh: |path| Some(Sha256::digest(path).into()), known: Mutex::default() }
    }

    /// Who this is, and what stands for these words; whoever is new gets a key, and the words are kept. What was found a while ago is
    /// good enough where the store does not answer.
    pub(super) async fn said(&self, store: &Store, person: &str, words: Option<Words<'_>>) -> Result<Said, Fault> {
        let place = (folder(person), words.map_or_else(String::new, |it| it.uid.to_owned()));
        let found = self.known().get(&place).cloned();
        if let Some((_, said)) = found.as_ref().filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(said.clone());
        }
        let ask = async {
            let late =
                |_| Err(Fault::Silent(format!("{} does not answer within {} s", store.what(), PATIENCE.as_secs())));
            timeout(PATIENCE, self.ask(store, person, words)).await.unwrap_or_else(late)
        };
        match (store.if_it_answers(ask).await, found) {
            (Ok(said), _) => {
                let mut known = self.known();
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(place, (Instant::now(), said.clone()));
                Ok(said)
            }
            (Err(Fault::Silent(_)), Some((_, said))) => Ok(said),
            (Err(fault), _) => Err(fault),
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, (Instant, Said)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, store: &Store, person: &str, words: Option<Words<'_>>) -> Result<Said, Fault> {
        let key = self.key(store, person).await?;
        let comment = match words {
            Some(words) => {
                let sealed = key.seal(words).ok_or_else(|| Fault::Wrong("words cannot be sealed; report it".into()))?;
                match store.create(&words_of(person, words.uid), sealed).await {
                    Ok(()) | Err(NotCreated::Taken) => key.commitment(words),
                    Err(NotCreated::Unclear(why)) => return Err(why),
                }
            }
            None => String::new(),
        };
        Ok(Said { actor: key.actor(person), comment })
    }

    /// The person's key, which is made if there is none.
    async fn key(&self, store: &Store, person: &str) -> Result<Key, Fault> {
        let path = key_of(person);
        if let Some(key) = read(store, &path).await? {
            return Ok(key);
        }
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
    let Some((sealed, _)) = store.read(&words_of(person, uid)).await? else { return Ok(None) };
    let text = key.unseal(uid, &sealed);
    Ok(text.filter(|text| key.commitment(Words { uid, text }) == commitment))
}

/// Deletes what is kept of a person. `false`: there was nothing.
pub(super) async fn forget(store: &Store, person: &str) -> Result<bool, Fault> {
    let was_known = store.read(&key_of(person)).await?.is_some();
    store.remove_below(&folder(person)).await?;
    Ok(was_known)
}

#[cfg(test)]
#[path = "people_tests.rs"]
mod tests;
