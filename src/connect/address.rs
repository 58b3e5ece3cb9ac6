//! Which addresses a user may have the operator call.
//!
//! A user who names a URL speaks with the operator's place in the network. Nobody serves numbers on
//! a link-local address, but clouds give credentials to whoever asks there; and on loopback are the operator's own
//! port and what else trusts its host. Private networks are what clusters are made of: NetworkPolicies say who of them
//! may be reached. The check is where connections are made, on the address that is connected to: a name
//! that is one address when it is looked at and another when it is called gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tower::BoxError;
use url::Host;

/// Metadata services outside of link-local: Scaleway over IPv6, Google over IPv6, Alibaba, Azure, Oracle. Those of AWS over
/// IPv6 have a prefix of their own, see [`Callable::check`].
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// Look-ups at the same time: each holds a thread, and who does not wait for one any more still does.
static LOOK_UPS: Semaphore = Semaphore::const_new(32);

/// An address that is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is an address that is never called (loopback, link-local, multicast, or a cloud's metadata service)")]
pub(crate) struct NeverCalled(IpAddr);

/// What may be called.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Callable {
    /// For a control plane on a developer's machine, where everything is on loopback.
    pub(crate) loopback: bool,
}

impl Callable {
    /// Whether this address may be.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check(self, address: IpAddr) -> Result<(), NeverCalled> {
        let meant = embedded(address);
        let special = |it: IpAddr| match it {
            IpAddr::V4(it) => it.is_link_local() || it.is_broadcast() || it.is_multicast() || it.octets()[0] == 0,
            IpAddr::V6(it) => {
                // fec0::/10 was for sites, and fd00:ec2::/32 is AWS': metadata and pod identities.
                let of_a_site = it.segments()[0] & 0xffc0 == 0xfec0;
                let of_aws = it.segments()[..2] == [0xfd00, 0x0ec2];
                it.is_unicast_link_local() || it.is_multicast() || it.is_unspecified() || of_a_site || of_aws
            }
        };
        let refused = special(meant) || METADATA.contains(&meant) || meant.is_loopback() && !self.loopback;
        if refused { Err(NeverCalled(address)) } else { Ok(()) }
    }

    /// Whether this host may be, if it is written as an address; a name is checked when it is looked up.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_literal<T>(self, host: &Host<T>) -> Result<(), NeverCalled> {
        match host {
            Host::Ipv4(address) => self.check(IpAddr::V4(*address)),
            Host::Ipv6(address) => self.check(IpAddr::V6(*address)),
            Host::Domain(_) => Ok(()),
        }
    }

    /// The addresses of a name or of an address, all of which may be called.
    ///
    /// # Errors
    /// It is not known, or one of them may not be called: that makes the others suspicious.
    pub(crate) async fn look_up(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        // A look-up cannot be called off: its place is given back when it ends, whoever waits for it.
        let place = LOOK_UPS.acquire().await?;
        let host = host.to_owned();
        let looking = tokio::spawn(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            drop(place);
            found.map(Iterator::collect)
        });
        let found: Vec<SocketAddr> = looking.await??;
        for address in &found {
            self.check(address.ip())?;
        }
        Ok(found)
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, translated (RFC 6052, RFC 8215) or tunnelled (6to4).
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match [a, b, c, d, e, f] {
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0 | 1, ..] => v4(g, h),
        // But ::1 and :: are themselves.
        [0, 0, 0, 0, 0, 0] if g != 0 => v4(g, h),
        [0x2002, ..] => v4(b, c),
        _ => address,
    }
}

impl Resolve for Callable {
    fn resolve(&self, name: Name) -> Resolving {
        let callable = *self;
        Box::pin(async move {
            let found = callable.look_up(name.as_str(), 0).await?;
            Ok::<Addrs, _>(Box::new(found.into_iter()))
        })
    }
}

/// Whether this is why a call came to nothing.
pub(crate) fn never_called(error: &(dyn std::error::Error + 'static)) -> Option<NeverCalled> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<NeverCalled>() {
            return Some(*found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_called(address: &str) -> bool {
        Callable::default().check(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_gives_credentials_or_trusts_its_own_host_is_never_called_however_it_is_written() {
        for address in [
            "169.254.169.254",
            "169.254.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "255.255.255.255",
            "224.0.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::",
            "::1",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:42::42",
            "fec0::1",
            "::ffff:0:169.254.169.254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:127.0.0.1",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(!is_called(address), "{address}");
        }
    }

    #[test]
    fn clusters_and_the_internet_are() {
        for address in ["10.96.0.10", "172.16.0.1", "192.168.1.1", "93.184.216.34", "fd00::1", "2606:4700::1111"] {
            assert!(is_called(address), "{address}");
        }
    }

    #[test]
    fn loopback_is_for_who_allows_it_and_metadata_is_for_nobody() {
        let callable = Callable { loopback: true };
        for (address, expected) in [("127.0.0.1", true), ("::1", true), ("169.254.169.254", false), ("0.0.0.0", false)]
        {
            assert_eq!(callable.check(address.parse().unwrap()).is_ok(), expected, "{address}");
        }
    }
}
