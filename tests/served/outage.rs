//! A broker whose PostgreSQL goes away, was never there, or is reached over TLS; and its backup.

use cofferdam::wire::Version;
use cofferdam::wire::client::ServerPacket;
use serde_json::Value;

use crate::running::authority::{Authority, Wanted};
use crate::running::{Broker, Client, Login, Place, Postgres, Setup, World, eventually};

fn place_on(postgres: &Postgres) -> Place {
    let url = postgres.url();
    Setup::new()
        .variable("COFFERDAM__DATABASE__URL", url)
        .place()
}

fn answer(broker: &Broker, login: &Login) -> Option<ServerPacket> {
    let mut client = Client::dial(broker, "tcp", Version::V5);
    client.send(&login.connect(Version::V5).encode());
    client.next()
}

fn is_let_in(broker: &Broker, login: &Login) -> bool {
    matches!(answer(broker, login), Some(ServerPacket::ConnAck(it)) if it.code == 0)
}

/// Waits until `/readyz` has, or has not, something to say about doing without the database.
fn wait_until(broker: &Broker, makes_do: bool) -> String {
    eventually("readiness", || {
        let (status, body) = broker.get("/readyz");
        match status == 200 && body.contains("making_do_without") == makes_do {
            true => Ok(body),
            false => Err(format!("{status} {body}")),
        }
    })
}

/// Waits until the copy of who may log in is there and noted as current.
fn wait_for_copy(place: &Place) {
    eventually("the copy", || {
        let noted = place.path("data/accounts.at").exists();
        noted.then_some(()).ok_or("not noted")
    });
}

fn connects(place: &Place) -> Vec<String> {
    let rows = place.audit();
    let connects = rows.iter().filter(|row| row["event"] == "connect");
    let name = |row: &Value| row["actor"].as_str().unwrap_or_default().to_owned();
    connects.map(name).collect()
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn who_is_known_is_served_while_the_database_is_away_and_all_of_it_is_on_record_afterwards() {
    let postgres = Postgres::start();
    let broker = place_on(&postgres).start();
    wait_for_copy(broker.place());
    assert!(is_let_in(&broker, &World::alice()));
    postgres.crash();
    // Before anybody has noticed, too.
    assert!(is_let_in(&broker, &World::bob()));
    let said = wait_until(&broker, true);
    assert!(
        said.contains("who was known before can log in until"),
        "{said}"
    );
    assert!(is_let_in(&broker, &World::alice()));
    let mut wrong = World::alice();
    wrong.password = Login::of("nobody@red").password;
    for refused in [wrong, World::sam(), Login::of("nobody@red")] {
        let answer = answer(&broker, &refused);
        let is_refused = matches!(answer, Some(ServerPacket::ConnAck(it)) if it.code == 0x86);
        assert!(is_refused, "{}", refused.username);
    }
    broker.wait_for_numbers(|numbers| numbers.check("cofferdam_database_away", &[], 1));

    // A start without it.
    let (place, _) = broker.stop();
    let broker = place.start();
    wait_until(&broker, true);
    assert!(is_let_in(&broker, &World::anna()));
    assert!(!is_let_in(&broker, &Login::of("nobody@red")));

    postgres.again();
    wait_until(&broker, false);
    let names = eventually("all connects on record", || {
        let names = connects(broker.place());
        match names.len() {
            4 => Ok(names),
            _ => Err(format!("{names:?}")),
        }
    });
    assert_eq!(names, ["alice@red", "bob@blue", "alice@red", "anna@red"]);
    let verdict = broker.place().run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    // What is changed now counts, for those who came in by the copy as well.
    let mut anna = Client::login(&broker, "tcp", &World::anna(), Version::V5);
    broker.place().run_well(&["client", "revoke", "anna@red"]);
    assert!(matches!(anna.rest()[..], [ServerPacket::Disconnect { .. }]));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_copy_that_is_too_old_lets_nobody_in_and_says_so() {
    let postgres = Postgres::start();
    let mut place = place_on(&postgres);
    place.set("COFFERDAM__DATABASE__SERVE_WITHOUT", "3 s");
    let broker = place.start();
    wait_for_copy(broker.place());
    postgres.crash();
    eventually("the end of readiness", || match broker.get("/readyz") {
        (503, _) => Ok(()),
        (status, body) => Err(format!("{status} {body}")),
    });
    assert_eq!(
        answer(&broker, &World::alice()),
        None,
        "closed, to try again"
    );
    // Nor does a broker start by it.
    let (place, _) = broker.stop();
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    postgres.again();
    let broker = place.start();
    assert!(is_let_in(&broker, &World::alice()));
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn a_storm_while_the_database_is_killed_and_comes_back_is_on_record_in_full() {
    let postgres = Postgres::start();
    let broker = place_on(&postgres).start();
    wait_for_copy(broker.place());
    let each = 400;
    let names = ["alice@red", "anna@red", "bob@blue", "lena@red"];
    std::thread::scope(|scope| {
        for name in names {
            let broker = &broker;
            scope.spawn(move || {
                let mut admitted = 0;
                while admitted < each {
                    admitted += usize::from(is_let_in(broker, &Login::of(name)));
                }
            });
        }
        for _ in 0..2 {
            std::thread::sleep(std::time::Duration::from_millis(300));
            postgres.crash();
            std::thread::sleep(std::time::Duration::from_millis(300));
            postgres.again();
        }
    });
    eventually("all of it on record", || {
        let found = connects(broker.place());
        let counts = names.map(|name| found.iter().filter(|it| *it == name).count());
        (counts == [each; 4])
            .then_some(())
            .ok_or(format!("{counts:?}"))
    });
    let verdict = broker.place().run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
}

#[test]
#[ignore = "needs PostgreSQL: make test"]
fn postgresql_is_reached_over_tls_and_only_if_its_certificate_is_good() {
    let postgres = Postgres::start();
    let (ours, theirs) = (Authority::new("Our CA"), Authority::new("Their CA"));
    let badge = ours.badge(&Wanted {
        names: vec![("dns", "localhost".to_owned())],
        for_clients: false,
        ..Wanted::cn(1, "localhost")
    });
    postgres.demand_tls(&badge.certificate, &badge.key);
    let url = |host: &str, mode: &str, ca: &str| {
        let base = postgres.url().replace("127.0.0.1", host);
        format!("{base}?sslmode={mode}&sslrootcert={ca}")
    };
    let mut place = Setup::new()
        .empty()
        .file("ours.pem", ours.pem())
        .file("theirs.pem", theirs.pem())
        .place();
    for (host, mode, ca, works) in [
        ("localhost", "verify-full", "ours.pem", true),
        ("localhost", "verify-full", "theirs.pem", false),
        ("127.0.0.1", "verify-full", "ours.pem", false), // not its name
        ("127.0.0.1", "verify-ca", "ours.pem", true),
        ("localhost", "disable", "ours.pem", false),
    ] {
        place.set("COFFERDAM__DATABASE__URL", url(host, mode, ca));
        let output = place.run(&["team", "list"]);
        assert_eq!(
            output.status.success(),
            works,
            "{host} {mode} {ca}: {output:?}"
        );
    }
    // And a broker on it.
    place.set(
        "COFFERDAM__DATABASE__URL",
        url("localhost", "verify-full", "ours.pem"),
    );
    let broker = place.start();
    broker.audited(|row| row["event"] == "broker_started");
}

#[test]
fn a_backup_brings_everything_back_into_an_empty_database() {
    let broker = Broker::start();
    assert!(is_let_in(&broker, &World::alice()));
    broker.audited(|row| row["event"] == "disconnect");
    broker.place().run_well(&["backup", "saved"]); // while it runs
    let (place, _) = broker.stop();
    let twice = place.run(&["backup", "saved"]);
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
    let over = place.run(&["restore", "saved", "--only", "database"]);
    assert_eq!(over.status.code(), Some(1), "{over:?}");
    let said = String::from_utf8_lossy(&over.stderr).into_owned();
    assert!(said.contains("restore into an empty one"), "{said}");

    let teams = place.run_well(&["team", "list"]);
    let clients = place.run_well(&["client", "list", "--json"]);
    let mut place = place;
    place.set("COFFERDAM__DATABASE__URL", "sqlite://data/second.db");
    place.run_well(&["restore", "saved", "--only", "database"]);
    assert_eq!(place.run_well(&["team", "list"]), teams);
    assert_eq!(place.run_well(&["client", "list", "--json"]), clients);
    let broker = place.start();
    assert!(is_let_in(&broker, &World::alice()));
    broker.audited(|row| row["event"] == "broker_started");
    // The broker's own copy of the checkpoints knows of records after the backup.
    std::fs::remove_file(broker.place().path("data/audit/checkpoints")).expect("there");
    let verdict = broker.place().run(&["audit", "verify"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
}
