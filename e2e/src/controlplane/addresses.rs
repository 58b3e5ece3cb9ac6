//! Loopback addresses of one's own.
//!
//! Linux answers on every address of 127.0.0.0/8 without configuration. Each
//! run takes a /24 of it, so that ten pods can all listen on port 8080 and two
//! runs side by side never meet. Blocks are handed out by file locks, which
//! the kernel releases with their holder. 127.0.0.0/24 is left alone: that is
//! where everything else on the machine lives.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context, Result, bail};

use crate::tools::cache::Cache;

/// Blocks to choose from: 127.77.0.0/24 … 127.77.255.0/24. Enough for any
/// number of runs a machine can bear, and a second octet that is easy to
/// recognise in a log.
const SECOND_OCTET: u8 = 77;

/// A /24 of loopback addresses that belongs to this run until it is dropped.
///
/// By convention `.1` is the control plane, `.2` Prometheus, `.3` the
/// gateway, and pods begin at [`AddressBlock::FIRST_POD`].
#[derive(Debug)]
pub struct AddressBlock {
    third_octet: u8,
    _lock: File,
}

impl AddressBlock {
    /// The last octet of the control plane's address.
    pub const CONTROL_PLANE: u8 = 1;
    /// The last octet of Prometheus' address.
    pub const PROMETHEUS: u8 = 2;
    /// The last octet of the gateway's address.
    pub const GATEWAY: u8 = 3;
    /// The last octet of the first pod's address; the last pod's is 254.
    pub const FIRST_POD: u8 = 10;

    /// Takes the first free block.
    ///
    /// # Errors
    ///
    /// When all 256 are taken.
    pub fn acquire(cache: &Cache) -> Result<Self> {
        for third_octet in 0..=u8::MAX {
            let name = format!("loopback-127.{SECOND_OCTET}.{third_octet}");
            if let Some(lock) = cache.try_lock(&name)? {
                return Ok(Self { third_octet, _lock: lock });
            }
        }
        bail!("all 256 blocks of loopback addresses are taken: end some of the workbenches that run")
    }

    /// The address of this block with the given last octet.
    pub fn ip(&self, last_octet: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, SECOND_OCTET, self.third_octet, last_octet)
    }

    /// A port that is free at the address with the given last octet. Nobody
    /// else uses the address, so it stays free until it is listened on.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on at all.
    pub fn free_port(&self, last_octet: u8) -> Result<SocketAddr> {
        let ip = self.ip(last_octet);
        TcpListener::bind((ip, 0))
            .and_then(|listener| listener.local_addr())
            .with_context(|| format!("cannot listen on the loopback address {ip}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_parallel_runs_are_different_and_free_again_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path()).unwrap();
        let first = AddressBlock::acquire(&cache).unwrap();
        let second = AddressBlock::acquire(&cache).unwrap();
        assert_ne!(first.ip(1), second.ip(1));
        let freed = first.ip(1);
        drop(first);
        assert_eq!(AddressBlock::acquire(&cache).unwrap().ip(1), freed);
    }

    #[test]
    fn the_loopback_addresses_everybody_uses_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let block = AddressBlock::acquire(&Cache::at(dir.path()).unwrap()).unwrap();
        let [first, second, _, last] = block.ip(200).octets();
        assert_eq!((first, last), (127, 200));
        assert_ne!(second, 0);
    }
}
