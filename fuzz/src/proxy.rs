//! The PROXY header, and whom `X-Forwarded-For` names: however the bytes come in pieces, the answer
//! is the same, and nothing behind the header is taken.

use std::net::SocketAddr;

use cofferdam::config::Proxies;
use cofferdam::net::proxy::client_of;
use cofferdam::net::proxy::header::{LENGTH_MAX, Progress, parse};

/// The bytes are what a connection begins with; as text, also the value of the field.
pub fn proxy(bytes: &[u8]) {
    let at_once = parse(bytes);
    match at_once {
        Ok(Progress::Whole(header)) => assert!(header.length <= bytes.len().min(LENGTH_MAX)),
        Ok(Progress::Partial) => assert!(bytes.len() < LENGTH_MAX),
        Err(_) => {}
    }
    let mut fronts = (0..=bytes.len()).map(|front| parse(&bytes[..front]));
    let first = fronts.find(|answer| *answer != Ok(Progress::Partial));
    assert_eq!(first.unwrap_or(Ok(Progress::Partial)), at_once);
    if let Ok(text) = std::str::from_utf8(bytes) {
        forwarded(text);
    }
}

fn forwarded(text: &str) {
    let listed = ["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()];
    let proxies = Proxies::parse(&listed).expect("networks");
    let stranger = SocketAddr::from(([192, 0, 2, 1], 9));
    assert_eq!(client_of(stranger, text, &proxies), stranger);
    // What the last proxy wrote holds, whatever stands before it.
    let proxy = SocketAddr::from(([10, 0, 0, 1], 9));
    let told = format!("{text}, 192.0.2.7");
    let client = SocketAddr::from(([192, 0, 2, 7], 0));
    assert_eq!(client_of(proxy, &told, &proxies), client);
    let _ = client_of(proxy, text, &proxies);
}
