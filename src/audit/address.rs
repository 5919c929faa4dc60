//! Addresses so that a database finds those of a network: all as IPv6, in hexadecimal digits, whose
//! order is that of the addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Addresses from the first to the last, both included, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    pub(super) first: String,
    pub(super) last: String,
}

impl Range {
    /// One address, or a network as `192.0.2.0/24` or `2001:db8::/32`.
    ///
    /// # Errors
    /// In words, when it is neither.
    pub fn parse(text: &str) -> Result<Self, String> {
        let net = text
            .parse::<IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| {
                format!("{text:?} is no address: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32")
            })?;
        let (first, last) = match net {
            IpNet::V4(net) => (mapped(net.network()), mapped(net.broadcast())),
            IpNet::V6(net) => (net.network(), net.broadcast()),
        };
        Ok(Self {
            first: key(first),
            last: key(last),
        })
    }

    /// The stored form of `address:port`.
    pub(super) fn key_of(remote: &str) -> Option<String> {
        let address: SocketAddr = remote.parse().ok()?;
        Some(key(match address.ip() {
            IpAddr::V4(address) => mapped(address),
            IpAddr::V6(address) => address,
        }))
    }
}

fn mapped(address: Ipv4Addr) -> Ipv6Addr {
    address.to_ipv6_mapped()
}

fn key(address: Ipv6Addr) -> String {
    format!("{:032x}", u128::from(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(net: &str, remote: &str) -> bool {
        let range = Range::parse(net).expect("a network");
        let key = Range::key_of(remote).expect("an address");
        range.first <= key && key <= range.last
    }

    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        assert!(has("192.0.2.7", "192.0.2.7:1"));
        assert!(!has("192.0.2.7", "192.0.2.8:1"));
        assert!(has("192.0.2.0/24", "192.0.2.255:9"));
        assert!(!has("192.0.2.0/24", "192.0.3.0:9"));
        assert!(has("2001:db8::/32", "[2001:db8:1::7]:9"));
        assert!(!has("2001:db8::/32", "[2001:db9::]:9"));
        // An IPv4 client of a listener for both.
        assert!(has("192.0.2.0/24", "[::ffff:192.0.2.9]:9"));
        for wrong in ["", "alice", "192.0.2", "192.0.2.0/33", "192.0.2.7:1"] {
            assert!(Range::parse(wrong).is_err(), "{wrong}");
        }
    }
}
