//! Clients behind proxies: whose address is it?
//!
//! A proxy that is listed for a listener (`[[listener]] proxies`) tells the address of the client
//! that it speaks for, in one of two ways: with a [`header`] before anything else on the connection
//! (the PROXY protocol), or in the request that becomes a WebSocket ([`client_of`] reads
//! `X-Forwarded-For`). Whoever is not listed is never believed. What is learned here becomes the
//! `Peer` of the connection, so that audit, limits and metrics see the client.
//!
//! `listener` reads the header before the connection reaches a shard's core; `layers` asks about
//! `X-Forwarded-For`.

pub mod header;

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr as _;

use tokio::net::TcpStream;

use self::header::{Header, HeaderError, Progress};
use crate::config::Proxies;

/// Bytes of a header that are looked at in one go.
const PIECE: usize = 512;

/// Why a connection from a proxy has no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unintroduced {
    /// It was closed before anything came, as a probe does.
    #[error("nothing came")]
    Silent,
    /// It was closed in the middle of the header, or the socket failed.
    #[error("the connection ended within the PROXY header")]
    Gone,
    /// What came is no PROXY header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Reads the header that a proxy begins its connection with, and not a byte beyond it. `None`: the
/// proxy speaks for itself.
pub(super) async fn introduction(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, Unintroduced> {
    let mut held = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let seen = tcp.peek(&mut piece).await.unwrap_or(0);
        if seen == 0 {
            return Err(match held.is_empty() {
                true => Unintroduced::Silent,
                false => Unintroduced::Gone,
            });
        }
        let before = held.len();
        held.extend_from_slice(&piece[..seen]);
        let (taken, header) = match header::parse(&held)? {
            Progress::Whole(header) => (header.length - before, Some(header)),
            // The header does not end here, so all of it is the header's.
            Progress::Partial => (seen, None),
        };
        take(tcp, taken).await?;
        if let Some(Header { client, .. }) = header {
            return Ok(client);
        }
    }
}

/// Takes bytes that are there off the socket.
async fn take(tcp: &mut TcpStream, count: usize) -> Result<(), Unintroduced> {
    use tokio::io::AsyncReadExt as _;
    let mut taken = [0; PIECE];
    let taken = tcp.read_exact(&mut taken[..count]).await;
    taken.map(drop).map_err(|_| Unintroduced::Gone)
}

/// The client behind `peer`, by what proxies have written into `X-Forwarded-For`, the nearest last.
///
/// Each proxy adds the address that it was called from, so the list is walked from its end for as
/// long as those who wrote it are listed: the first address that is not is the client's, and what
/// stands before it is the client's own invention. Where a listed proxy has written something that
/// is no address (`unknown`, a name), nobody behind it is known, and it stands for itself. The port
/// is 0 where none was told.
pub fn client_of(peer: SocketAddr, forwarded_for: &str, proxies: &Proxies) -> SocketAddr {
    let mut nearest = peer;
    for written in forwarded_for.rsplit(',') {
        if !proxies.contains(nearest.ip()) {
            break;
        }
        match address(written.trim()) {
            Some(address) => nearest = address,
            None => break,
        }
    }
    nearest
}

/// An address as proxies write it: alone, or with a port; of IPv6, with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let alone = IpAddr::from_str(bare.unwrap_or(text)).ok();
    let address = alone.map(|ip| SocketAddr::new(ip, 0));
    address.or_else(|| text.parse().ok()).map(canonical)
}

/// An IPv4 address in the guise of an IPv6 one is the IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
