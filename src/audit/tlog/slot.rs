//! Where an entry becomes part of the log: a slot of the write-ahead log.
//!
//! `wal/<n>` is created once and never changed. Whoever creates it has appended its entries, in its order, behind those of
//! all slots before; tiles and checkpoint follow from the slots and can be made again from them. A slot holds a batch, so
//! that a thousand decisions at once take a few round trips to the store and not a thousand.
//!
//! It is text: a line that says where the batch begins and how many entries it has, and each entry in a line of its own, as it is
//! hashed (canonical JSON has no line ends).

use serde::{Deserialize, Serialize};

use super::tile;

/// Bytes of entries in one slot, at most.
const LARGEST: usize = 1 << 20;
/// Entries in one slot, at most.
const MOST: usize = 1024;

/// The entries of one slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Place in the log of the first.
    pub first: u64,
    /// Each as it is hashed.
    pub entries: Vec<Vec<u8>>,
}

/// The first line. Numbers are text: JSON's are exact up to 2^53 only.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    entries: String,
    first: String,
}

/// Why the bytes of a slot are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSlot {
    /// Its first line.
    #[error("its first line does not say where it begins and how many entries it has")]
    Head,
    /// It ends early, or goes on.
    #[error("it has {is} entries, and its first line says {due}")]
    Entries {
        /// Lines it has.
        is: usize,
        /// Lines it should have.
        due: usize,
    },
}

/// Where slot `number` is.
#[must_use]
pub fn path(number: u64) -> String {
    format!("wal/{}", tile::grouped(number))
}

impl Batch {
    /// Whether another entry of so many bytes has to wait for the next slot.
    #[must_use]
    pub fn has_no_room_for(&self, bytes: usize) -> bool {
        let held: usize = self.entries.iter().map(Vec::len).sum();
        !self.entries.is_empty() && (self.entries.len() >= MOST || held + bytes > LARGEST)
    }

    /// Place in the log of what follows it.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.first + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    /// The bytes of the slot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = format!(r#"{{"entries":"{}","first":"{}"}}"#, self.entries.len(), self.first).into_bytes();
        bytes.push(b'\n');
        for entry in &self.entries {
            bytes.extend_from_slice(entry);
            bytes.push(b'\n');
        }
        bytes
    }

    /// What a slot holds.
    ///
    /// # Errors
    /// It is none, or not whole.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoSlot> {
        let (first, entries) = lines(bytes)?;
        Ok(Self { first, entries: entries.into_iter().map(<[u8]>::to_vec).collect() })
    }
}

/// What a slot holds, where it lies: the place in the log of the first entry, and each of them.
///
/// # Errors
/// It is none, or not whole.
pub fn lines(bytes: &[u8]) -> Result<(u64, Vec<&[u8]>), NoSlot> {
    let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let mut lines = lines.split(|byte| *byte == b'\n');
    let head: Head = lines.next().and_then(|line| serde_json::from_slice(line).ok()).ok_or(NoSlot::Head)?;
    let (due, first) = head.entries.parse().ok().zip(head.first.parse().ok()).ok_or(NoSlot::Head)?;
    let entries: Vec<&[u8]> = lines.collect();
    // Without its last line end the last entry may be cut short.
    let is = entries.len() - usize::from(!bytes.ends_with(b"\n") && !entries.is_empty());
    if is == due && due > 0 { Ok((first, entries)) } else { Err(NoSlot::Entries { is, due }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_slot_can_be_read_by_people() {
        let batch = Batch { first: 41, entries: vec![br#"{"id":"a"}"#.to_vec(), br#"{"id":"b"}"#.to_vec()] };
        let text = "{\"entries\":\"2\",\"first\":\"41\"}\n{\"id\":\"a\"}\n{\"id\":\"b\"}\n";
        assert_eq!(String::from_utf8(batch.encode()).unwrap(), text);
        assert_eq!((batch.end(), path(1_234_067)), (43, "wal/x001/x234/067".into()));
    }

    #[test]
    fn a_slot_that_was_cut_or_written_on_is_told() {
        let whole = Batch { first: 7, entries: vec![b"one".to_vec(), b"two".to_vec()] }.encode();
        assert_eq!(Batch::decode(b""), Err(NoSlot::Head));
        assert_eq!(Batch::decode(b"{\"first\":\"7\"}\n"), Err(NoSlot::Head));
        for cut in 30..whole.len() {
            assert!(matches!(Batch::decode(&whole[..cut]), Err(NoSlot::Entries { due: 2, .. })), "{cut}");
        }
        let more = [&whole[..], b"three\n"].concat();
        assert_eq!(Batch::decode(&more), Err(NoSlot::Entries { is: 3, due: 2 }));
    }

    #[test]
    fn a_batch_is_full_at_its_number_or_its_bytes_and_takes_one_entry_in_any_case() {
        let mut batch = Batch::default();
        assert!(!batch.has_no_room_for(LARGEST + 1));
        batch.entries = vec![vec![b'x'; 10]; MOST - 1];
        assert!(!batch.has_no_room_for(10));
        batch.entries.push(vec![b'x'; 10]);
        assert!(batch.has_no_room_for(10));
        batch.entries.truncate(1);
        assert!(!batch.has_no_room_for(LARGEST - 10) && batch.has_no_room_for(LARGEST - 9));
    }

    proptest! {
        #[test]
        fn a_batch_comes_back_from_its_bytes(first in any::<u64>(), entries in prop::collection::vec("[ -~]{0,40}", 1..20)) {
            let batch = Batch { first, entries: entries.into_iter().map(String::into_bytes).collect() };
            prop_assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
        }
    }
}
