//! Pods' addresses: a /24 of the loopback network per node.
//!
//! All of 127.0.0.0/8 is local on Linux without configuration, so a pod can
//! have an address for the price of a number. `.1` is the node's; pods get `.2`
//! to `.254`, in turn, so that an address is not given again right after its pod
//! has gone and a client that still knows it is not answered by a stranger.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr, str::FromStr};

use anyhow::{Context as _, bail};

/// A /24 below 127.0.0.0/8, written as `127.20.3` or `127.20.3.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressBlock(u8, u8);

impl AddressBlock {
    /// The block 127.x.y.0/24.
    #[must_use]
    pub fn new(x: u8, y: u8) -> Self {
        Self(x, y)
    }

    /// The node's own address.
    #[must_use]
    pub fn node(self) -> Ipv4Addr {
        self.at(1)
    }

    fn at(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, last)
    }
}

impl fmt::Display for AddressBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "127.{}.{}.0/24", self.0, self.1)
    }
}

impl FromStr for AddressBlock {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let prefix = text.strip_suffix(".0/24").unwrap_or(text);
        let wanted = || format!("{text:?} is no address block: write it as 127.x.y.0/24");
        let mut parts = prefix.split('.').map(str::parse::<u8>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(127)), Some(x), Some(y), None) => Ok(Self(x.with_context(wanted)?, y.with_context(wanted)?)),
            _ => bail!(wanted()),
        }
    }
}

/// Which addresses of a block are taken.
#[derive(Debug)]
pub(super) struct Addresses {
    block: AddressBlock,
    taken: BTreeSet<u8>,
    last: u8,
}

impl Addresses {
    const FIRST: u8 = 2;
    const LAST: u8 = 254;

    pub(super) fn new(block: AddressBlock) -> Self {
        Self { block, taken: BTreeSet::new(), last: Self::FIRST - 1 }
    }

    /// An address for a pod; `wish` is the one it had before, if any.
    pub(super) fn take(&mut self, wish: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let wished = wish.map(|ip| ip.octets()).and_then(|[_, x, y, last]| {
            ((x, y) == (self.block.0, self.block.1) && (Self::FIRST..=Self::LAST).contains(&last)).then_some(last)
        });
        let next = (self.last.saturating_add(1)..=Self::LAST).chain(Self::FIRST..=self.last);
        let last = wished.into_iter().chain(next).find(|last| !self.taken.contains(last))?;
        self.taken.insert(last);
        self.last = last;
        Some(self.block.at(last))
    }

    /// Gives an address back.
    pub(super) fn release(&mut self, ip: Ipv4Addr) {
        let [.., last] = ip.octets();
        self.taken.remove(&last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_block_is_read_with_or_without_its_mask() {
        assert_eq!("127.20.3.0/24".parse::<AddressBlock>().unwrap(), AddressBlock::new(20, 3));
        assert_eq!("127.20.3".parse::<AddressBlock>().unwrap().to_string(), "127.20.3.0/24");
        for bad in ["10.0.0.0/24", "127.300.1", "127.1", "127.1.2.3", ""] {
            assert!(bad.parse::<AddressBlock>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_released_address_is_not_given_again_at_once() {
        let mut addresses = Addresses::new(AddressBlock::new(20, 3));
        let first = addresses.take(None).unwrap();
        addresses.release(first);
        assert_ne!(addresses.take(None).unwrap(), first);
    }

    #[test]
    fn a_pod_that_had_an_address_gets_it_back_if_it_is_of_this_block() {
        let mut addresses = Addresses::new(AddressBlock::new(20, 3));
        let had = Ipv4Addr::new(127, 20, 3, 77);
        assert_eq!(addresses.take(Some(had)), Some(had));
        assert_ne!(addresses.take(Some(had)), Some(had));
        assert_eq!(addresses.take(Some(Ipv4Addr::new(127, 9, 9, 9))).unwrap().octets()[..3], [127, 20, 3]);
    }

    proptest! {
        #[test]
        fn no_two_pods_share_an_address(steps in prop::collection::vec(any::<bool>(), 0..600)) {
            let mut addresses = Addresses::new(AddressBlock::new(1, 1));
            let mut held = Vec::new();
            for take in steps {
                if take {
                    match addresses.take(None) {
                        Some(ip) => { prop_assert!(!held.contains(&ip)); held.push(ip); }
                        None => prop_assert_eq!(held.len(), 253),
                    }
                } else if !held.is_empty() {
                    addresses.release(held.remove(0));
                }
            }
        }
    }
}
