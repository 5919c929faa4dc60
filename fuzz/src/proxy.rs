//! What proxies tell of their clients: the PROXY header, and `X-Forwarded-For`. However the header
//! is cut, what comes of it is the same; and nobody can say more than a listed proxy has said.

use std::net::{IpAddr, SocketAddr};

use cofferdam::config::Proxies;
use cofferdam::net::proxy::client_of;
use cofferdam::net::proxy::header::{Header, HeaderError, LENGTH_MAX, Progress, parse};

use super::input::{Input, Lengths};

/// By the first byte a header, with how its reads are split; or a client's own address and the
/// list.
pub fn proxy(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    match input.u8() % 2 {
        0 => header(input.u16(), input.rest()),
        _ => forwarded_for(input),
    }
}

fn header(splits: u16, bytes: &[u8]) {
    let all = parse(bytes);
    let mut front = 0;
    for length in Lengths::new(splits, 600) {
        is_the_front_of(all, parse(&bytes[..front]), front);
        if front == bytes.len() {
            break;
        }
        front = bytes.len().min(front + length.max(1));
    }
    let Ok(Progress::Whole(Header { length, client })) = all else {
        return;
    };
    assert!(length <= bytes.len() && length <= LENGTH_MAX);
    assert_eq!(parse(&bytes[..length]), all);
    assert_eq!(parse(&bytes[..length - 1]), Ok(Progress::Partial));
    if let Some(client) = client {
        assert_eq!(client.ip(), client.ip().to_canonical());
        let again = Ok(Progress::Whole(Header {
            length: if client.is_ipv4() { 28 } else { 52 },
            client: Some(client),
        }));
        assert_eq!(parse(&written(client)), again);
    }
}

/// More bytes complete what was partial and change nothing else.
fn is_the_front_of(
    all: Result<Progress, HeaderError>,
    front: Result<Progress, HeaderError>,
    length: usize,
) {
    match front {
        Ok(Progress::Partial) => assert!(length < LENGTH_MAX),
        settled => assert_eq!(settled, all),
    }
}

/// A header of version 2.
fn written(client: SocketAddr) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    let (family, source) = match client.ip() {
        IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    header.extend([family, 0, 2 * (source.len() as u8 + 2)]);
    header.extend(&source);
    header.extend(vec![0; source.len()]);
    header.extend(client.port().to_be_bytes());
    header.extend([0, 0]);
    header
}

fn forwarded_for(mut input: Input<'_>) {
    let listed = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(String::from);
    let proxies = Proxies::parse(&listed).expect("proxies");
    let peer = input.pick(&[
        "10.1.2.3:1",
        "192.0.2.7:2",
        "[::ffff:10.0.0.1]:3",
        "198.51.100.1:4",
    ]);
    let peer: SocketAddr = peer.parse().expect("an address");
    let Ok(list) = std::str::from_utf8(input.rest()) else {
        return;
    };
    let client = client_of(peer, list, &proxies);
    if !proxies.contains(peer.ip()) {
        assert_eq!(client, peer);
    }
    if !proxies.contains(client.ip()) {
        // What stands before it is the client's own word.
        for invented in ["10.0.0.1", "203.0.113.5", "unknown"] {
            let list = format!("{invented},{list}");
            assert_eq!(client_of(peer, &list, &proxies), client);
        }
    }
}
