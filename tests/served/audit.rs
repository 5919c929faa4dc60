//! What is on record of a broker that is killed, whose disk is full, or that is left in peace.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cofferdam::wire::Version;
use cofferdam::wire::client::ServerPacket;
use serde_json::Value;

use crate::running::{Broker, Client, Login, Setup, World, eventually};

/// What a client saw of one of its connections.
#[derive(Clone, Debug)]
struct Seen {
    remote: String,
    /// It had its CONNACK.
    admitted: bool,
    /// When it had said DISCONNECT and saw the broker close.
    ended: Option<Instant>,
}

/// One connection after the other until the broker is gone; what was seen of each.
fn come_and_go(broker: &Broker, login: &Login, stop: &AtomicBool, seen: &Mutex<Vec<Seen>>) {
    while !stop.load(Ordering::Acquire) {
        let _ = once(broker, login, seen);
    }
}

/// Ends with an error wherever the broker is killed.
fn once(broker: &Broker, login: &Login, seen: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(broker.address("tcp"))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let remote = stream.local_addr()?.to_string();
    let place = {
        let mut seen = seen.lock().expect("no panic");
        let (admitted, ended) = (false, None);
        seen.push(Seen {
            remote,
            admitted,
            ended,
        });
        seen.len() - 1
    };
    let note = |change: &dyn Fn(&mut Seen)| {
        change(&mut seen.lock().expect("no panic")[place]);
    };
    stream.write_all(&login.connect(Version::V5).encode())?;
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut rest = vec![0; usize::from(head[1])];
    stream.read_exact(&mut rest)?;
    assert_eq!((head[0], rest[1]), (0x20, 0), "not let in");
    note(&|seen| seen.admitted = true);
    stream.write_all(&[0xe0, 0])?;
    if stream.read(&mut [0; 16])? == 0 {
        let now = Instant::now();
        note(&|seen| seen.ended = Some(now));
    }
    Ok(())
}

/// Rows of these events by the far end's address, in the order of the record.
fn by_remote(rows: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in rows {
        if let (Some(remote), Some(event)) = (row["remote"].as_str(), row["event"].as_str()) {
            found
                .entry(remote.to_owned())
                .or_default()
                .push(event.to_owned());
        }
    }
    found
}

/// Waits until the records of so many starts are in the store, and gives all of them.
fn settled(broker: &Broker, starts: usize) -> Vec<Value> {
    eventually("the audit of the start", || {
        let rows = broker.place().audit();
        let opened = rows
            .iter()
            .filter(|row| row["event"] == "listener_opened")
            .count();
        match opened == starts * 6 {
            true => Ok(rows),
            false => Err(format!("{opened} listeners of {starts} starts")),
        }
    })
}

fn killed_while_clients_come_and_go(rounds: u32) {
    let mut broker = Broker::start();
    let mut all = Vec::new();
    for round in 0..rounds {
        let (stop, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let mut killed = Instant::now();
        let millis = 60 + u64::from(std::process::id() + round * 7_919) % 240;
        std::thread::scope(|scope| {
            for login in [World::alice(), World::anna(), World::bob(), World::lena()] {
                let (broker, stop, seen) = (&broker, &stop, &seen);
                scope.spawn(move || come_and_go(broker, &login, stop, seen));
            }
            std::thread::sleep(Duration::from_millis(millis));
            // What is seen from here on may be the kill's doing.
            killed = Instant::now();
            broker.process().signal("KILL");
            broker.process().wait();
            stop.store(true, Ordering::Release);
        });
        let seen = seen.into_inner().expect("no panic");
        let came_in = seen.iter().any(|it| it.admitted);
        assert!(came_in, "nobody came in within {millis} ms");
        all.push((killed, seen));
        broker = broker.into_place().start();
    }
    let rows = settled(&broker, rounds as usize + 1);
    let found = by_remote(&rows);
    let everybody = || all.iter().flat_map(|(_, seen)| seen);
    for (round, (killed, seen)) in all.iter().enumerate() {
        for Seen { remote, ended, .. } in seen.iter().filter(|it| it.admitted) {
            // A port may be used again, and of a connection that was cut before its CONNACK nobody
            // can say whether it was admitted.
            let tried = || everybody().filter(|it| it.remote == *remote);
            let admitted = tried().filter(|it| it.admitted).count();
            let ended = ended.is_some_and(|ended| ended < *killed);
            let events = found.get(remote).map(Vec::as_slice).unwrap_or_default();
            let count = |event: &str| events.iter().filter(|it| *it == event).count();
            let what = format!("round {round}, {remote}: {events:?}");
            assert!(
                (admitted..=tried().count()).contains(&count("connect")),
                "{what}"
            );
            assert!(count("disconnect") >= usize::from(ended), "{what}");
            assert!(count("disconnect") <= count("connect"), "{what}");
            assert_eq!(
                events.first().map(String::as_str),
                Some("connect"),
                "{what}"
            );
        }
    }
    let after: Vec<_> = rows
        .iter()
        .filter(|row| row["event"] == "broker_started")
        .map(|row| row["detail"]["after"].as_str().unwrap_or_default())
        .collect();
    let crashes = after.iter().filter(|after| **after == "crash").count();
    assert_eq!(crashes, rounds as usize, "{after:?}");
    let verdict = broker.place().run(&["audit", "verify", "--json"]);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
}

#[test]
fn what_a_client_saw_is_on_record_once_and_in_order_whenever_the_broker_is_killed() {
    killed_while_clients_come_and_go(6);
}

#[test]
#[ignore = "takes minutes: make test"]
fn what_a_client_saw_is_on_record_after_fifty_kills() {
    killed_while_clients_come_and_go(50);
}

#[test]
#[ignore = "takes a minute: make test"]
fn a_storm_of_twenty_thousand_connects_is_recorded_in_full() {
    let broker = Broker::start();
    let seen = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        // Each is somebody else: no session is taken over.
        let logins = [World::alice(), World::anna(), World::bob(), World::lena()];
        for login in logins {
            let (broker, seen) = (&broker, &seen);
            scope.spawn(move || {
                for _ in 0..5_000 {
                    once(broker, &login, seen).expect("served");
                }
            });
        }
    });
    assert_eq!(seen.into_inner().expect("no panic").len(), 20_000);
    let (place, _) = broker.stop();
    let broker = place.start(); // what the stop could not wait for
    let rows = settled(&broker, 2);
    let count = |event: &str| rows.iter().filter(|row| row["event"] == event).count();
    assert_eq!(count("connect"), 20_000);
    assert_eq!(count("disconnect"), 20_000);
    assert_eq!(count("gap"), 0);
}

#[test]
fn the_life_of_a_broker_is_on_record() {
    let broker = Setup::new().start();
    let (place, _) = broker.stop();
    let broker = place.start();
    let rows = settled(&broker, 2);
    let life: Vec<_> = rows
        .iter()
        .filter(|row| row["actor"] == "cofferdam" && row["level"] == "platform")
        .filter_map(|row| row["event"].as_str())
        .filter(|event| !event.starts_with("team_"))
        .collect();
    let begin = |event: &'static str, count| std::iter::repeat_n(event, count);
    let expected: Vec<_> = ["broker_started"]
        .into_iter()
        .chain(begin("listener_opened", 6))
        .chain(begin("certificate_loaded", 2))
        .chain(begin("listener_closed", 6))
        .chain(["broker_stopped", "broker_started"])
        .chain(begin("listener_opened", 6))
        .chain(begin("certificate_loaded", 2))
        .collect();
    assert_eq!(life, expected);
    let second = rows.iter().rfind(|row| row["event"] == "broker_started");
    assert_eq!(second.expect("a start")["detail"]["after"], "stop");
}

/// A broker whose files may not grow beyond a size that can be set while it runs. What a full disk
/// says to a write, the limit says likewise.
struct Cramped {
    broker: Broker,
}

impl Cramped {
    fn start(mode: &str) -> Self {
        let place = Setup::new()
            .and_config(&format!(
                "[audit]\nmode = \"{mode}\"\nspool_max = \"1 MiB\"\n"
            ))
            .place();
        // The signal that comes with the limit would end the process; ignored, the write fails.
        let serve = place.command(&["serve"]);
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve"])
            .arg(serve.get_program())
            .current_dir(place.path(""));
        let broker = place.start_as(command);
        Self { broker }
    }

    /// `None`: as much as they like.
    fn limit_files(&self, bytes: Option<u64>) {
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let id = self.broker.process().id().to_string();
        let fsize = format!("--fsize={bytes}:");
        let status = Command::new("prlimit")
            .args(["--pid", &id, &fsize])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "prlimit");
    }

    fn answer(&self, login: &Login) -> Option<ServerPacket> {
        let mut client = Client::dial(&self.broker, "tcp", Version::V5);
        client.send(&login.connect(Version::V5).encode());
        client.next()
    }
}

#[test]
fn a_full_disk_stops_no_traffic_where_the_audit_is_relaxed_and_what_is_missing_is_counted() {
    let cramped = Cramped::start("relaxed");
    cramped.limit_files(Some(1));
    for _ in 0..30 {
        let answer = cramped.answer(&World::alice());
        assert!(matches!(answer, Some(ServerPacket::ConnAck(it)) if it.code == 0));
    }
    cramped.limit_files(None);
    let rows = eventually("all of it on record", || {
        let rows = cramped.broker.place().audit();
        let sum = |event: &str| -> u64 {
            let of = rows.iter().filter(|row| row["event"] == event);
            of.map(|row| row["detail"]["dropped"].as_u64().unwrap_or(1))
                .sum()
        };
        match sum("connect") + sum("gap") {
            30.. => Ok(rows.clone()),
            less => Err(format!("{less} of 30")),
        }
    });
    assert!(rows.len() >= 30);
}

#[test]
fn a_full_disk_admits_nobody_where_the_audit_is_strict_until_there_is_room() {
    let cramped = Cramped::start("strict");
    let let_in = |answer: Option<ServerPacket>| matches!(answer, Some(ServerPacket::ConnAck(it)) if it.code == 0);
    assert!(let_in(cramped.answer(&World::alice())));
    cramped.limit_files(Some(1));
    for _ in 0..5 {
        assert_eq!(
            cramped.answer(&World::alice()),
            None,
            "closed without a word"
        );
    }
    cramped.limit_files(None);
    let began = Instant::now();
    while !let_in(cramped.answer(&World::alice())) {
        assert!(began.elapsed() < Duration::from_secs(20), "never again");
    }
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_teams_reader_reads_its_team_by_its_token_and_can_do_nothing_else() {
    let mut place = Setup::new().place();
    place.write("admin.token", &format!("{TOKEN}\n"));
    place.set("COFFERDAM__ADMIN__TOKEN_FILE", "admin.token");
    let broker = place.start();
    let made = broker
        .place()
        .run_well(&["audit", "reader", "add", "red", "Ann", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let token = made["token"].as_str().expect("a token");
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    for login in [World::alice(), World::bob()] {
        drop(Client::login(&broker, "tcp", &login, Version::V5));
    }
    for login in [World::alice(), World::bob()] {
        broker.audited(|row| row["event"] == "disconnect" && row["actor"] == *login.username);
    }
    let own = broker.admin("GET", "/audit?limit=1000", &bearer(token), "");
    assert_eq!(own.status, 200, "{own:?}");
    let records = own.body["records"].as_array().expect("records");
    assert!(
        records.iter().any(|row| row["event"] == "connect"),
        "{own:?}"
    );
    assert!(records.iter().all(|row| row["chain"] == "red"), "{own:?}");
    assert!(!own.body.to_string().contains("bob"), "{own:?}");

    let asked = |query: &str, token: &str| {
        let answer = broker.admin("GET", query, &bearer(token), "");
        (
            answer.status,
            answer.body["records"].as_array().map_or(0, Vec::len),
        )
    };
    assert_eq!(asked("/audit?team=blue", token), (200, 0));
    assert_eq!(asked("/audit?level=platform", token), (200, 0));
    assert_eq!(
        asked("/audit?cursor=c0&order=oldest&limit=1", token),
        (200, 1)
    );
    assert_eq!(asked("/audit?team=blue&event=connect", TOKEN), (200, 1));
    assert_eq!(
        asked("/audit?address=127.0.0.0/8&event=connect", TOKEN),
        (200, 2)
    );
    assert_eq!(asked("/audit?address=10.0.0.0/8", TOKEN), (200, 0));
    for wrong in [
        "limit=0",
        "limit=1001",
        "cursor=x",
        "since=never",
        "address=x",
        "nonsense=1",
    ] {
        assert_eq!(asked(&format!("/audit?{wrong}"), token).0, 400, "{wrong}");
    }
    for (method, path) in [
        ("GET", "/broker"),
        ("GET", "/policy"),
        ("POST", "/policy/reload"),
    ] {
        assert_eq!(
            broker.admin(method, path, &bearer(token), "").status,
            403,
            "{path}"
        );
    }
    let exported = broker.admin("GET", "/audit/export?format=csv", &bearer(token), "");
    assert_eq!(
        (exported.status, &*exported.media),
        (200, "text/csv; charset=utf-8")
    );
    for wrong in ["", "cfr_x", &format!("{token}x")] {
        assert_eq!(asked("/audit", wrong).0, 401, "{wrong:?}");
    }
    broker
        .place()
        .run_well(&["audit", "reader", "revoke", "red", "Ann"]);
    assert_eq!(asked("/audit", token).0, 401);
}

#[test]
fn a_teams_records_are_in_its_regions_database_for_whoever_reads_them() {
    let region = "[audit.region.eu]\nurl = \"sqlite://data/eu.db\"\nteams = [\"red\"]\n";
    let mut place = Setup::new().and_config(region).place();
    place.write("admin.token", &format!("{TOKEN}\n"));
    place.set("COFFERDAM__ADMIN__TOKEN_FILE", "admin.token");
    let broker = place.start();
    let made = broker
        .place()
        .run_well(&["audit", "reader", "add", "red", "Ann", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    for login in [World::alice(), World::bob()] {
        drop(Client::login(&broker, "tcp", &login, Version::V5));
    }
    let list = |more: &[&str]| -> Vec<Value> {
        let arguments = ["audit", "list", "--json", "--event", "disconnect"];
        let text = broker.place().run_well(&[&arguments, more].concat());
        let rows = text.lines().map(serde_json::from_str);
        rows.collect::<Result<_, _>>().expect("JSON")
    };
    let teams = |more: &[&str]| -> Vec<String> {
        let rows = list(more).into_iter();
        rows.map(|row| row["team"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    eventually("both stores", || {
        let found = [teams(&[]), teams(&["--region", "eu"])];
        (found.concat().len() == 2)
            .then_some(())
            .ok_or(format!("{found:?}"))
    });
    assert_eq!(teams(&[]), ["blue"]);
    assert_eq!(teams(&["--region", "eu"]), ["red"]);
    assert_eq!(teams(&["--team", "red"]), ["red"]);
    let token = made["token"].as_str().expect("a token");
    for (bearer, query) in [(token, ""), (TOKEN, "&team=red"), (TOKEN, "&region=eu")] {
        let headers = format!("Authorization: Bearer {bearer}\r\n");
        let path = format!("/audit?event=disconnect{query}");
        let answer = broker.admin("GET", &path, &headers, "");
        let records = answer.body["records"].as_array().map_or(0, Vec::len);
        assert_eq!((answer.status, records), (200, 1), "{query} {answer:?}");
        assert_eq!(answer.body["records"][0]["actor"], "alice@red");
    }
    let unknown = broker.place().run(&["audit", "list", "--region", "us"]);
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
    let (place, _) = broker.stop();
    for region in [
        &["audit", "verify"][..],
        &["audit", "verify", "--region", "eu"],
    ] {
        let verdict = place.run(region);
        assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    }
}

#[test]
fn an_export_is_verified_by_the_command_line_and_an_altered_one_is_not() {
    let broker = Broker::start();
    for _ in 0..3 {
        drop(Client::login(&broker, "tcp", &World::alice(), Version::V5));
    }
    let (place, _) = broker.stop();
    let whole = place.run_well(&["audit", "verify"]);
    assert!(whole.contains("as they were written"), "{whole}");
    place.run_well(&["audit", "export", "--team", "red", "--output", "red.jsonl"]);
    let good = place.run(&["audit", "verify", "--file", "red.jsonl"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let text = std::fs::read_to_string(place.path("red.jsonl")).expect("an export");
    place.write("bad.jsonl", &text.replacen("alice@red", "malice@red", 1));
    let bad = place.run(&["audit", "verify", "--file", "bad.jsonl"]);
    assert_eq!(bad.status.code(), Some(1), "{bad:?}");
    let said = String::from_utf8_lossy(&bad.stdout).into_owned();
    assert!(
        said.contains("chain red: record ") && said.contains("was altered"),
        "{said}"
    );
    // Signed by somebody else.
    let stranger = [
        "audit",
        "verify",
        "--key",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    ];
    let stranger = place.run(&stranger);
    assert_eq!(stranger.status.code(), Some(1), "{stranger:?}");
}
