//! `rumqttd-peer <port of 3.1.1> <port of 5.0>`: rumqttd on loopback, until it is killed.

use std::collections::HashMap;
use std::net::SocketAddr;

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};

fn main() {
    let ports: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|port| port.parse().ok())
        .collect();
    let [v4, v5] = ports[..] else {
        eprintln!("rumqttd-peer <port of 3.1.1> <port of 5.0>");
        std::process::exit(2);
    };
    let config = Config {
        router: RouterConfig {
            max_connections: 10_000,
            max_outgoing_packet_count: 200,
            max_segment_size: 1 << 20,
            max_segment_count: 10,
            ..RouterConfig::default()
        },
        v4: Some(server("v4", v4)),
        v5: Some(server("v5", v5)),
        ..Config::default()
    };
    if let Err(error) = Broker::new(config).start() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn server(name: &str, port: u16) -> HashMap<String, ServerSettings> {
    let settings = ServerSettings {
        name: name.to_owned(),
        listen: SocketAddr::from(([127, 0, 0, 1], port)),
        tls: None,
        next_connection_delay_ms: 0,
        connections: ConnectionSettings {
            connection_timeout_ms: 5_000,
            max_payload_size: 1 << 20,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    HashMap::from([(name.to_owned(), settings)])
}
