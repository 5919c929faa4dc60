//! What one source address may do, and what becomes of those who guess.

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::running::{Broker, Client, Link, Login, PATIENCE, Setup, Stream, World, eventually};
use cofferdam::wire::client::{Connect, ServerPacket};
use cofferdam::wire::{ReasonCode, Version};

const V5: Version = Version::V5;

/// A connection from the one address that all of this process have, unless they choose another.
fn dial(broker: &Broker) -> Client {
    let stream = TcpStream::connect(broker.address("tcp")).expect("a socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Client::over(Link::Bare(Stream::Tcp(stream)), V5)
}

fn login(broker: &Broker, login: &Login) -> Client {
    let mut client = dial(broker);
    client.connect(&login.connect(V5));
    client
}

#[test]
fn an_address_has_so_many_connections_on_all_shards_together_and_another_has_its_own() {
    let limits = "[limits.address]\nmax_connections = 4\n";
    let broker = Setup::new().and_config(limits).start();
    let logins = [World::alice(), World::anna(), World::bob(), World::lena()];
    let there: Vec<Client> = logins.iter().map(|it| login(&broker, it)).collect();
    for _ in 0..10 {
        assert_eq!(dial(&broker).next(), None, "closed unheard");
    }
    Client::login(&broker, "tcp", &World::instance(), V5); // from an address of its own
    broker.audited(|row| {
        row["event"] == "connect_refused" && row["detail"]["reason"] == "address_connections"
    });
    broker.wait_for_numbers(|numbers| {
        numbers.check("cofferdam_connections_turned_away_total", &[], 10)
    });
    drop(there);
    eventually("room again", || {
        let mut stream = TcpStream::connect(broker.address("tcp")).expect("a socket");
        let patience = Some(Duration::from_millis(300));
        stream.set_read_timeout(patience).expect("a timeout");
        match stream.read(&mut [0]) {
            Ok(0) => Err("closed"),
            Ok(_) => panic!("somebody speaks first"),
            Err(_) => Ok(()), // it waits for our CONNECT
        }
    });
}

#[test]
fn connections_beyond_an_addresss_rate_are_closed_unheard() {
    let limits = "[limits.address]\nconnect_rate = 1\nconnect_burst = 3\n";
    let broker = Setup::new().and_config(limits).start();
    let there: Vec<_> = [World::alice(), World::anna(), World::bob()]
        .iter()
        .map(|it| login(&broker, it))
        .collect();
    assert_eq!(dial(&broker).next(), None);
    broker.audited(|row| {
        row["event"] == "connect_refused" && row["detail"]["reason"] == "address_connect_rate"
    });
    drop(there);
}

/// Guesses as this username; says how long the answer took.
fn guess(broker: &Broker, login: &Login) -> Duration {
    let connect = Connect {
        password: Some(b"guessed".to_vec()),
        ..login.connect(V5)
    };
    let mut client = dial(broker);
    let began = Instant::now();
    client.send(&connect.encode());
    match client.packet() {
        ServerPacket::ConnAck(connack) => {
            assert_eq!(connack.code, ReasonCode::BadUserNameOrPassword as u8);
        }
        other => panic!("{other:?}"),
    }
    began.elapsed()
}

#[test]
fn who_guesses_waits_longer_each_time_and_then_is_refused_unhashed_while_others_log_in() {
    let limits = "[limits.login]\nfree_failures = 1\ndelay = \"600 ms\"\n\
                  max_delay = \"1200 ms\"\nmax_failures = 4\nforget_after = \"1 h\"\n";
    let broker = Setup::new().and_config(limits).start();
    let least = [0, 600, 1_200, 1_200, 1_200, 1_200].map(Duration::from_millis);
    for (place, least) in least.into_iter().enumerate() {
        let took = guess(&broker, &World::alice());
        assert!(took >= least, "guess {place} was answered after {took:?}");
    }
    let refused = |reason| [("reason", reason)];
    broker.wait_for_numbers(|numbers| {
        numbers.check(
            "cofferdam_connects_refused_total",
            &refused("wrong_password"),
            4,
        )?;
        numbers.check(
            "cofferdam_connects_refused_total",
            &refused("too_many_failures"),
            2,
        )
    });
    // A token costs nothing to check: it is, for the name that was guessed and from that address.
    login(&broker, &World::alice());
    login(&broker, &World::anna());
    // From elsewhere, the name that was guessed is free again; the address is not.
    let elsewhere = Connect {
        password: Some(b"guessed".to_vec()),
        ..World::alice().connect(V5)
    };
    let mut client = Client::dial(&broker, "tcp", V5);
    client.send(&elsewhere.encode());
    assert!(matches!(client.packet(), ServerPacket::ConnAck(connack) if connack.code == 0x86));
    broker.wait_for_numbers(|numbers| {
        numbers.check(
            "cofferdam_connects_refused_total",
            &refused("wrong_password"),
            5,
        )
    });
    guess(&broker, &World::alice());
    broker.wait_for_numbers(|numbers| {
        numbers.check(
            "cofferdam_connects_refused_total",
            &refused("too_many_failures"),
            3,
        )
    });
    let row = broker.audited(|row| row["detail"]["reason"] == "too_many_failures");
    assert_eq!(row["event"], "connect_refused");
}
