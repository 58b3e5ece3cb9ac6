//! Signed notes: C2SP's signed-note, as Go's `golang.org/x/mod/sumdb/note` reads and writes them.
//!
//! A note is a text that ends in a newline, an empty line, and lines that sign the text:
//!
//! ```text
//! werkbank.dev/log/production
//! 42
//! qbR0…=
//!
//! — werkbank.dev/log/production 2u3Xk0…=
//! ```
//!
//! Keys are written as Go's package writes them, so that its tools make and read them: the private one as
//! `PRIVATE+KEY+<name>+<id>+<key>`, the public one as `<name>+<id>+<key>`. The algorithm is the first byte of the key;
//! Ed25519, the only one here, is 1.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::{Digest, Sha256};

/// Ed25519, as the first byte of a key.
const ALGORITHM: u8 = 1;
/// What a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";
/// How a line that signs begins: an em dash and a space.
const SIGNED_BY: &str = "\u{2014} ";
/// Lines that sign, at most: as many as Go's package reads.
const MOST_SIGNATURES: usize = 100;
/// Bytes of a note, at most.
const LONGEST: usize = 1_000_000;

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// It is written in another way.
    #[error("a {0} key is written {1}; make one with `werkbank audit key`")]
    Malformed(&'static str, &'static str),
    /// Its id is not that of this name and key.
    #[error("the id in the key is not that of its name and key; copy the whole line")]
    OtherId,
    /// Of an algorithm that is not Ed25519.
    #[error("the key's algorithm is {0}; Werkbank signs with 1, Ed25519")]
    Algorithm(u8),
}

/// Why a note is not to be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoNote {
    /// It is no signed note at all.
    #[error("it is no signed note")]
    Malformed,
    /// Nobody asked for has signed it.
    #[error("none of the keys given has signed it; the keys that have: {}", signers(.0))]
    Unsigned(Vec<KeyId>),
    /// Signed by a key that was given, and the signature is wrong.
    #[error("the signature of {0} is wrong: the text or the signature has been changed")]
    Forged(KeyId),
}

fn signers(ids: &[KeyId]) -> String {
    if ids.is_empty() { "none".into() } else { ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ") }
}

/// Which key: its name, and four bytes of a digest over name and key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyId {
    /// Usually the origin of the log it signs.
    pub name: String,
    /// The digest's first four bytes.
    pub digest: u32,
}

impl fmt::Display for KeyId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}+{:08x}", self.name, self.digest)
    }
}

impl KeyId {
    fn of(name: &str, key: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(key).finalize();
        let [a, b, c, d, ..] = <[u8; 32]>::from(digest);
        Self { name: name.into(), digest: u32::from_be_bytes([a, b, c, d]) }
    }
}

/// Who signs.
pub struct Signer {
    id: KeyId,
    pair: Ed25519KeyPair,
}

/// Nothing of the key.
impl fmt::Debug for Signer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Signer({})", self.id)
    }
}

impl Signer {
    /// Reads a private key.
    ///
    /// # Errors
    /// It is none, and the error holds nothing of it.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let malformed = NoKey::Malformed("private", "PRIVATE+KEY+<name>+<id>+<key>");
        let text = text.trim().strip_prefix(PRIVATE).ok_or(malformed.clone())?;
        let (name, digest, seed) = parts(text, malformed.clone())?;
        let signer = Self::of_seed(name, &seed).ok_or(malformed)?;
        if signer.id.digest == digest { Ok(signer) } else { Err(NoKey::OtherId) }
    }

    /// The key of these 32 secret bytes, or what is wrong with name or length as `None`.
    #[must_use]
    pub fn of_seed(name: &str, seed: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok().filter(|_| is_name(name))?;
        let id = KeyId::of(name, &tagged(pair.public_key().as_ref()));
        Some(Self { id, pair })
    }

    /// The private key of these 32 bytes as text.
    #[must_use]
    pub fn text(&self, seed: &[u8]) -> String {
        format!("{PRIVATE}{}+{}", self.id, STANDARD.encode(tagged(seed)))
    }

    /// Which key it signs with.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Who checks what it signs.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        Verifier { id: self.id.clone(), key: self.pair.public_key().as_ref().to_vec() }
    }

    fn line(&self, text: &str) -> String {
        let signature = self.pair.sign(text.as_bytes());
        let bytes = [&self.id.digest.to_be_bytes(), signature.as_ref()].concat();
        format!("{SIGNED_BY}{} {}\n", self.id.name, STANDARD.encode(bytes))
    }
}

/// Who checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    id: KeyId,
    key: Vec<u8>,
}

impl Verifier {
    /// Reads a public key.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Self, NoKey> {
        let malformed = NoKey::Malformed("public", "<name>+<id>+<key>");
        let (name, digest, key) = parts(text.trim(), malformed.clone())?;
        let id = KeyId::of(name, &tagged(&key));
        match (key.len(), id.digest == digest) {
            (32, true) => Ok(Self { id, key }),
            (32, false) => Err(NoKey::OtherId),
            _ => Err(malformed),
        }
    }

    /// Which key it checks with.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    fn has_signed(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.key).verify(text.as_bytes(), signature).is_ok()
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}+{}", self.id, STANDARD.encode(tagged(&self.key)))
    }
}

/// `text`, signed by each. It ends in a newline and has no empty line.
#[must_use]
pub fn sign(text: &str, signers: &[Signer]) -> String {
    let lines: String = signers.iter().map(|it| it.line(text)).collect();
    format!("{text}\n{lines}")
}

/// The text of a note that at least one of `by` has signed, and who of them. What others say of it is not looked at.
///
/// # Errors
/// It is no note, nobody of `by` has signed it, or one whose signature is wrong.
pub fn open<'a, 'b>(note: &'a [u8], by: &'b [Verifier]) -> Result<(&'a str, Vec<&'b KeyId>), NoNote> {
    let note = std::str::from_utf8(note).map_err(|_| NoNote::Malformed)?;
    let is_plain = note.len() <= LONGEST && !note.chars().any(|it| it < ' ' && it != '\n');
    let at = note.rfind("\n\n").filter(|_| is_plain).ok_or(NoNote::Malformed)?;
    let (text, lines) = note.split_at_checked(at + 1).ok_or(NoNote::Malformed)?;
    let lines = lines.strip_prefix('\n').and_then(|it| it.strip_suffix('\n')).ok_or(NoNote::Malformed)?;
    let mut signed = Vec::new();
    let mut others = Vec::new();
    for (count, line) in lines.split('\n').enumerate() {
        let (id, signature) = signature(line).filter(|_| count < MOST_SIGNATURES).ok_or(NoNote::Malformed)?;
        match by.iter().find(|it| it.id == id) {
            None => others.push(id),
            Some(verifier) if signed.contains(&&verifier.id) => {}
            Some(verifier) if verifier.has_signed(text, &signature) => signed.push(&verifier.id),
            Some(_) => return Err(NoNote::Forged(id)),
        }
    }
    if signed.is_empty() { Err(NoNote::Unsigned(others)) } else { Ok((text, signed)) }
}

/// Key and signature of a line.
fn signature(line: &str) -> Option<(KeyId, Vec<u8>)> {
    let (name, signature) = line.strip_prefix(SIGNED_BY)?.split_once(' ')?;
    let bytes = STANDARD.decode(signature).ok()?;
    let (digest, signature) = bytes.split_first_chunk::<4>().filter(|(_, it)| !it.is_empty() && is_name(name))?;
    Some((KeyId { name: name.into(), digest: u32::from_be_bytes(*digest) }, signature.to_vec()))
}

/// Name, digest and key of `<name>+<id>+<base64 of algorithm and key>`.
fn parts(text: &str, malformed: NoKey) -> Result<(&str, u32, Vec<u8>), NoKey> {
    let split = text.split_once('+').and_then(|(name, rest)| Some((name, rest.split_once('+')?)));
    let (name, (digest, key)) = split.filter(|it| is_name(it.0)).ok_or(malformed.clone())?;
    let number = u32::from_str_radix(digest, 16).ok().filter(|_| digest.len() == 8);
    let key = STANDARD.decode(key).ok();
    match (number, key.as_ref().and_then(|it| it.split_first())) {
        (Some(number), Some((&ALGORITHM, key))) => Ok((name, number, key.to_vec())),
        (Some(_), Some((other, _))) => Err(NoKey::Algorithm(*other)),
        _ => Err(malformed),
    }
}

fn tagged(key: &[u8]) -> Vec<u8> {
    [&[ALGORITHM], key].concat()
}

/// What a key may be called: not empty, without spaces and `+`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|it| it.is_whitespace() || it == '+' || it.is_control())
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
