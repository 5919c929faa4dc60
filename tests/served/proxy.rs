//! Clients behind proxies: a listed proxy is believed, and nobody else. What the audit has as
//! `remote` is what limits and metrics see.

use std::io::Write as _;
use std::net::Ipv4Addr;

use crate::running::{
    Broker, Bystander, Client, Link, Record, Setup, Stream, Tls, World, eventually,
};
use cofferdam::wire::Version;
use serde_json::json;
use tungstenite::client::IntoClientRequest as _;

/// A listed proxy's own address.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 200, 0, 1);
/// The client's, as the proxy tells it.
const CLIENT: &str = "203.0.113.7:4711";

/// Beside the listeners of every test: the four transports behind proxies by the PROXY protocol,
/// and a WebSocket behind proxies of HTTP.
fn setup() -> Setup {
    let mut more = String::new();
    for (name, transport) in [
        ("p-tcp", "tcp"),
        ("p-tls", "tls"),
        ("p-ws", "ws"),
        ("p-wss", "wss"),
    ] {
        more += &format!(
            "[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\n\
             bind = \"127.0.0.1:0\"\nproxies = [\"127.200.0.0/16\"]\nproxy_protocol = true\n"
        );
    }
    more += "[[listener]]\nname = \"forwarded\"\ntransport = \"ws\"\nbind = \"127.0.0.1:0\"\n\
             proxies = [\"127.200.0.0/16\", \"10.0.0.0/8\"]\n";
    Setup::new().and_config(&more)
}

fn version_1() -> Vec<u8> {
    b"PROXY TCP4 203.0.113.7 198.51.100.2 4711 8883\r\n".to_vec()
}

/// With an extension of a kilobyte, as proxies that pass on a certificate have them.
fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    header.extend((12 + 3 + 1024_u16).to_be_bytes());
    header.extend([203, 0, 113, 7, 198, 51, 100, 2]);
    header.extend([4711_u16.to_be_bytes(), 8883_u16.to_be_bytes()].concat());
    header.extend([0xE0, 4, 0]);
    header.extend([7; 1024]);
    header
}

/// A connection from a proxy that has sent this.
fn from_proxy(broker: &Broker, listener: &str, header: &[u8]) -> Stream {
    let mut stream = Stream::tcp_from(PROXY, broker.address(listener));
    stream.write_all(header).expect("sent");
    stream
}

/// Goes on as the listener's transport has it, up to where MQTT begins.
fn client(broker: &Broker, listener: &str, stream: Stream) -> Client {
    let stream = match listener {
        "p-tls" | "p-wss" => stream.into_tls(&broker.tls(Tls::Any)),
        _ => stream,
    };
    let transport = listener.trim_start_matches("p-");
    Client::over(Link::open(transport, "/mqtt", stream), Version::V5)
}

#[test]
fn behind_a_listed_proxy_it_is_the_clients_address_that_is_on_record_over_every_transport() {
    let broker = setup().start();
    for header in [version_1(), version_2()] {
        for listener in ["p-tcp", "p-tls", "p-ws", "p-wss"] {
            let stream = from_proxy(&broker, listener, &header);
            let mut client = client(&broker, listener, stream);
            client.connect(&World::alice().connect(Version::V5));
            client.assert_quiet();
            broker.audited(|row| {
                row["event"] == "connect" && row["listener"] == listener && row["remote"] == CLIENT
            });
            drop(client);
            broker.audited(|row| {
                row["event"] == "disconnect"
                    && row["listener"] == listener
                    && row["remote"] == CLIENT
            });
        }
    }
    let rows = broker.place().audit();
    let own = rows.iter().filter(|row| {
        let remote = row["remote"].as_str().unwrap_or_default();
        remote.starts_with("127.200.")
    });
    assert_eq!(own.count(), 0, "the proxy's own address: {rows:#?}");
}

#[test]
fn a_header_in_pieces_and_one_with_the_first_packet_behind_it_are_read_alike() {
    let broker = setup().start();
    let connect = World::alice().connect(Version::V5);
    for header in [version_1(), version_2()] {
        let together = [&header[..], &connect.encode()].concat();
        let stream = from_proxy(&broker, "p-tcp", &together);
        let mut client = Client::over(Link::Bare(stream), Version::V5);
        client.packet();
        client.assert_quiet();

        let mut stream = Stream::tcp_from(PROXY, broker.address("p-tcp"));
        for piece in header.chunks(5) {
            stream.write_all(piece).expect("sent");
        }
        let mut client = Client::over(Link::Bare(stream), Version::V5);
        client.connect(&connect);
        client.assert_quiet();
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_is_seen_by_its_own_address() {
    let broker = setup().start();
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
        let stream = from_proxy(&broker, "p-tcp", header);
        let own = stream.own_address();
        let mut client = client(&broker, "p-tcp", stream);
        client.connect(&World::alice().connect(Version::V5));
        broker.audited(|row| row["event"] == "connect" && row["remote"] == *own);
    }
}

#[test]
fn who_is_no_listed_proxy_or_does_not_begin_as_one_is_not_served_a_byte() {
    let broker = setup()
        .variable("COFFERDAM__LIMITS__CONNECT_TIMEOUT", "1 s")
        .start();
    let bystander = Bystander::join(&broker);
    let mut record = Record::default();
    let connect = World::alice().connect(Version::V5).encode();
    let good = [version_1(), connect.clone()].concat();
    let mut half = version_2();
    half.truncate(40);
    let greeting = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
    let elsewhere = Ipv4Addr::new(127, 201, 0, 1);
    let mut open = Vec::new();
    for listener in ["p-tcp", "p-tls", "p-ws", "p-wss"] {
        for (what, from, sent, reason) in [
            ("from elsewhere", elsewhere, &good, "unlisted_proxy"),
            ("no header but MQTT", PROXY, &connect, "proxy_header"),
            ("no header but TLS", PROXY, &greeting, "proxy_header"),
            ("half a header", PROXY, &half, "connect_timeout"),
            ("nothing", PROXY, &Vec::new(), "connect_timeout"),
        ] {
            let mut stream = Stream::tcp_from(from, broker.address(listener));
            // The broker may have closed already.
            let _ = stream.write_all(sent);
            let fields = json!({ "reason": reason, "told": null, "listener": listener });
            let what = format!("{what} over {listener}");
            record.row(&what, "connect_refused", &stream.own_address(), fields);
            record.count(
                "cofferdam_connects_refused_total",
                &[("listener", listener), ("reason", reason)],
            );
            open.push((what, stream));
        }
    }
    for (what, mut stream) in open {
        // Closed, or reset because what was sent is still unread.
        let mut seen = Vec::new();
        let _ = std::io::Read::read_to_end(&mut stream, &mut seen);
        assert_eq!(seen, b"", "{what}");
    }
    record.check(&broker);
    bystander.was_left_alone();
}

/// An upgrade that says for whom it is; `None`: it was refused with this status.
fn upgrade(
    broker: &Broker,
    from: Ipv4Addr,
    path: &str,
    told: &[&str],
) -> (String, Result<Client, u16>) {
    let stream = Stream::tcp_from(from, broker.address("forwarded"));
    let own = stream.own_address();
    let request = format!("ws://localhost{path}").into_client_request();
    let mut request = request.expect("a request");
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", "mqtt".parse().expect("a value"));
    for value in told {
        headers.append("X-Forwarded-For", value.parse().expect("a value"));
    }
    let client = match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(Client::over(Link::Web(Box::new(socket)), Version::V5)),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    };
    (own, client)
}

#[test]
fn what_a_websocket_says_of_its_client_is_believed_from_listed_proxies_only() {
    let broker = setup().start();
    let elsewhere = Ipv4Addr::new(127, 201, 0, 2);
    for (from, told, seen) in [
        (PROXY, &["203.0.113.7"][..], Some("203.0.113.7:0")),
        // What the client wrote itself stands first, and another proxy's address last.
        (
            PROXY,
            &["6.6.6.6, 203.0.113.8", "10.0.0.9"],
            Some("203.0.113.8:0"),
        ),
        (PROXY, &["203.0.113.9:4711"], Some("203.0.113.9:4711")),
        (PROXY, &["nonsense"], None),
        (PROXY, &[], None),
        (elsewhere, &["203.0.113.10"], None),
    ] {
        let (own, client) = upgrade(&broker, from, "/mqtt", told);
        let mut client = client.expect("an upgrade");
        client.connect(&World::alice().connect(Version::V5));
        let seen = seen.unwrap_or(&own);
        broker.audited(|row| row["event"] == "connect" && row["remote"] == *seen);
    }
    let rows = broker.place().audit();
    let found = |text: &str| rows.iter().any(|row| row.to_string().contains(text));
    assert!(!found("203.0.113.10") && !found("6.6.6.6"), "{rows:#?}");
}

#[test]
fn a_request_that_is_refused_is_on_record_with_the_clients_address_too() {
    let broker = setup().start();
    let (_, refused) = upgrade(&broker, PROXY, "/elsewhere", &["203.0.113.7"]);
    assert_eq!(refused.map(drop), Err(404));
    let row = broker.audited(|row| row["event"] == "connect_refused");
    assert_eq!(row["remote"], "203.0.113.7:0");
    assert_eq!(row["detail"]["websocket_code"], 404);
}

#[test]
fn the_limits_of_an_address_are_those_of_the_client_that_a_proxy_speaks_for() {
    let limits = "[limits.address]\nmax_connections = 1\n";
    let broker = setup().and_config(limits).start();
    // The proxy's own address has none: as many clients as there are come by it, by HTTP and not.
    let admitted = |client: &mut Client| client.connect(&World::alice().connect(Version::V5));
    let (_, first) = upgrade(&broker, PROXY, "/mqtt", &["203.0.113.1"]);
    let mut first = first.expect("an upgrade");
    admitted(&mut first);
    let (_, second) = upgrade(&broker, PROXY, "/mqtt", &["203.0.113.2"]);
    let mut second = second.expect("an upgrade");
    second.connect(&World::anna().connect(Version::V5));
    let stream = from_proxy(&broker, "p-tcp", &version_1());
    let mut third = client(&broker, "p-tcp", stream);
    third.connect(&World::bob().connect(Version::V5));

    // Another connection of the same client, by the same or another way.
    let (_, again) = upgrade(&broker, PROXY, "/mqtt", &["203.0.113.1"]);
    assert_eq!(again.expect("an upgrade").next(), None, "closed");
    let (_, again) = upgrade(&broker, PROXY, "/mqtt", &["203.0.113.7"]);
    assert_eq!(again.expect("an upgrade").next(), None, "closed");
    let line = b"PROXY TCP4 203.0.113.2 198.51.100.2 4711 8883\r\n";
    let stream = from_proxy(&broker, "p-tcp", line);
    let mut again = Client::over(Link::open("tcp", "/mqtt", stream), Version::V5);
    assert_eq!(again.next(), None, "closed");
    for remote in ["203.0.113.1:0", "203.0.113.7:0", "203.0.113.2:4711"] {
        broker.audited(|row| {
            row["event"] == "connect_refused"
                && row["remote"] == *remote
                && row["detail"]["reason"] == "address_connections"
        });
    }

    // Who goes makes room for its own address.
    drop(first);
    broker.audited(|row| row["event"] == "disconnect" && row["remote"] == "203.0.113.1:0");
    let mut back = eventually("room again", || {
        let (_, back) = upgrade(&broker, PROXY, "/mqtt", &["203.0.113.1"]);
        let mut back = back.map_err(|status| status.to_string())?;
        back.send(&World::alice().connect(Version::V5).encode());
        back.next().map(|_| back).ok_or("closed".to_owned())
    });
    back.assert_quiet();
    second.assert_quiet();
    third.assert_quiet();
}
