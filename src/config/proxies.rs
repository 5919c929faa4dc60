//! `proxies` of a listener: the addresses whose word about others is taken.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

/// Addresses and networks of proxies; without any, nobody is one. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies(Arc<[IpNet]>);

impl Proxies {
    /// From addresses (`::1`) and networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// A sentence about the first that is neither, or about there being none.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        if texts.is_empty() {
            return Err("names no proxy: leave it out".to_owned());
        }
        texts.iter().map(|text| network(text)).collect()
    }

    /// Whether this address is one of theirs. An IPv4 address is the same in the guise of an IPv6
    /// one, as a socket for both sees it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Nobody is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A network that everybody's address is in, of one family.
    pub fn everybody(&self) -> Option<IpNet> {
        self.0.iter().find(|it| it.prefix_len() == 0).copied()
    }

    /// As in the configuration.
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl FromIterator<IpNet> for Proxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().map_err(|_| {
            format!(
                "{text:?} is no address or network: write \"192.0.2.7\", \"10.0.0.0/8\" or \"::1\""
            )
        })?,
    };
    match network.trunc() == network {
        true => Ok(network),
        // More likely a slip than meant: which of the two is not ours to guess.
        false => Err(format!(
            "{text:?} is an address within {}: write one or the other",
            network.trunc()
        )),
    }
}
