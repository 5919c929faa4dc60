//! Starting and stopping: the first start and the next, what keeps a broker from starting, and how
//! soon and how cleanly it ends.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use crate::running::{Broker, Client, Link, Login, Process, Setup, Stream, World, web, within};
use cofferdam::wire::client::{Publish, ServerPacket};
use cofferdam::wire::{QoS, ReasonCode, Version};
use serde_json::json;

/// What a stop is promised to take at most.
const SECOND: Duration = Duration::from_secs(1);

/// The embedded default on free ports.
fn as_shipped() -> Setup {
    Setup::new()
        .config(
            "[admin]\nbind = \"127.0.0.1:0\"\n\n[[listener]]\nname = \"mqtts\"\n\
                 transport = \"tls\"\nbind = \"127.0.0.1:0\"\n\n[[listener]]\nname = \"wss\"\n\
                 transport = \"wss\"\nbind = \"127.0.0.1:0\"\n",
        )
        .empty()
}

/// The clients in a welcome: lines of a username and a password.
fn shown(welcome: &str) -> Vec<Login> {
    let login = |line: &str| {
        let mut words = line.split_whitespace();
        let (username, password) = (words.next()?, words.next()?);
        let whole = username.ends_with("@demo") && words.next().is_none();
        whole.then(|| Login {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    };
    welcome.lines().filter_map(login).collect()
}

fn client_over_tls(broker: &Broker, listener: &str, login: &Login) -> Client {
    let stream = Stream::tls(
        broker.address(listener),
        &broker.tls(crate::running::Tls::Any),
    );
    let link = Link::open(listener, "/", stream);
    let mut client = Client::over(link, Version::V5);
    client.connect(&login.connect(Version::V5));
    client
}

#[test]
fn a_first_start_makes_a_team_whose_printed_passwords_work_and_a_second_shows_none() {
    let first = as_shipped().start();
    let welcome = first.process().wait_for("Ctrl-C stops it.");
    let logins = shown(&welcome);
    let names: Vec<_> = logins.iter().map(|login| &*login.username).collect();
    assert_eq!(names, ["viewer@demo", "sensor@demo"], "{welcome}");
    for login in &logins {
        // Once in the list, and once in a command to paste.
        assert!(welcome.matches(&login.password).count() >= 2, "{welcome}");
    }
    let mut viewer = client_over_tls(&first, "mqtts", &logins[0]);
    let mut sensor = client_over_tls(&first, "wss", &logins[1]);
    viewer.subscribe("hello/#", QoS::AtLeastOnce);
    sensor.publish(Publish {
        qos: QoS::AtLeastOnce,
        ..Publish::new("hello/world", b"hi")
    });
    assert_eq!(viewer.receive().payload, b"hi");
    drop((viewer, sensor));
    let ca = std::fs::read(first.place().path("data/tls/ca.pem")).expect("a CA");
    let (place, _) = first.stop();

    let second = place.start();
    let welcome = second.process().wait_for("Ctrl-C stops it.");
    assert_eq!(shown(&welcome).len(), 0, "{welcome}");
    assert!(!welcome.to_lowercase().contains("password"), "{welcome}");
    for login in &logins {
        assert!(!welcome.contains(&login.password), "{welcome}");
        client_over_tls(&second, "mqtts", login).assert_quiet();
    }
    let kept = std::fs::read(second.place().path("data/tls/ca.pem")).expect("a CA");
    assert_eq!(kept, ca, "clients trust the CA that they were given");
}

#[test]
fn a_command_says_so_where_it_finds_no_database_and_makes_one() {
    let place = Setup::new().empty().place();
    let told = || {
        let output = place.run(&["team", "list", "--json"]);
        assert!(
            output.status.success() && output.stdout.is_empty(),
            "{output:?}"
        );
        String::from_utf8(output.stderr).expect("text")
    };
    let first = told();
    let wanted = "there was no database at data/cofferdam.db: an empty one is made";
    assert!(
        first.contains(wanted) && first.lines().count() == 1,
        "{first}"
    );
    assert_eq!(told(), "");
}

#[test]
fn what_is_secret_is_for_the_brokers_user_alone() {
    let broker = as_shipped().start();
    let mode = |name: &str| {
        let data = std::fs::metadata(broker.place().path(name));
        data.unwrap_or_else(|error| panic!("{name}: {error}"))
            .permissions()
            .mode()
            & 0o777
    };
    for secret in [
        "data/tls/ca.key",
        "data/tls/server.key",
        "data/token.key",
        "data/cofferdam.db",
        "data/cofferdam.db-wal",
    ] {
        assert_eq!(mode(secret), 0o600, "{secret}");
    }
    assert_eq!(mode("data"), 0o700);
}

#[test]
fn a_stop_takes_less_than_a_second_tells_every_client_and_is_whole_on_record() {
    within(SECOND, || {
        let mut setup = Setup::new();
        let logins: Vec<_> = (0..40)
            .map(|place| Login::of(&format!("c{place}@red")))
            .collect();
        for login in &logins {
            setup = setup.and(&login.client("#"));
        }
        stop_among(&setup.start(), &logins)
    });
}

/// Stops a broker with these clients in it, who must hear of it; gives how long it took.
fn stop_among(broker: &Broker, logins: &[Login]) -> Duration {
    let mut clients: Vec<_> = logins
        .iter()
        .enumerate()
        .map(|(place, login)| {
            let listener = ["tcp", "tls", "ws", "wss"][place % 4];
            let version = [Version::V5, Version::V311][place / 4 % 2];
            Client::login(broker, listener, login, version)
        })
        .collect();
    // Those who are not logged in, or never will be, do not hold it up.
    let _idle = [broker.dial("tcp"), broker.dial("tls"), broker.dial("ws")];
    let _mute = Stream::tcp(broker.address("wss"));
    broker.process().signal("INT");
    let began = Instant::now();
    for client in &mut clients {
        let told = match client.version {
            Version::V5 => vec![ServerPacket::Disconnect {
                reason: ReasonCode::ServerShuttingDown,
                properties: vec![],
            }],
            _ => vec![],
        };
        assert_eq!(client.rest(), told);
    }
    assert_eq!(broker.process().wait(), Some(0));
    let took = began.elapsed();

    let rows = broker.place().audit();
    for (login, client) in logins.iter().zip(&clients) {
        let own: Vec<_> = rows
            .iter()
            .filter(|row| row["remote"] == *client.own_address())
            .collect();
        let events: Vec<_> = own.iter().map(|row| row["event"].as_str()).collect();
        assert_eq!(
            events,
            [Some("connect"), Some("disconnect")],
            "{}",
            login.username
        );
        assert_eq!(own[1]["detail"]["cause"], "server");
        assert_eq!(own[1]["detail"]["reason_code"], 0x8B);
    }
    took
}

#[test]
fn clients_who_do_not_read_or_close_do_not_hold_up_a_stop() {
    within(SECOND, || {
        let broker = Broker::start();
        let mut deaf = Client::login(&broker, "tcp", &World::anna(), Version::V5);
        deaf.subscribe("flood", QoS::AtMostOnce);
        let mut writer = Client::login(&broker, "tls", &World::alice(), Version::V311);
        for _ in 0..30 {
            writer.publish(Publish::new("flood", &[0; 900 << 10]));
        }
        writer.assert_quiet(); // all of it was handled, and the deaf one's socket is full
        let (place, took) = broker.stop();
        let ended = |row: &&serde_json::Value| row["event"] == "disconnect";
        assert_eq!(place.audit().iter().filter(ended).count(), 2);
        drop((deaf, writer));
        took
    });
}

/// A broker that must not start: its end.
fn refused(place: &crate::running::Place, variables: &[(&str, &str)]) -> Output {
    let mut command = place.command(&["serve"]);
    command.envs(variables.iter().copied());
    let process = Process::start(command);
    let code = process.wait();
    let log = process.whole_log();
    assert!(process.printed().is_empty(), "{}", process.printed());
    Output {
        status: std::os::unix::process::ExitStatusExt::from_raw(code.unwrap_or(-1) << 8),
        stdout: vec![],
        stderr: log.into_bytes(),
    }
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    let ours = text
        .lines()
        .find_map(|line| line.strip_prefix("cofferdam: "));
    (output.status.code(), ours.unwrap_or(&text).to_owned())
}

#[test]
fn a_second_broker_gets_neither_the_address_nor_the_data_directory_of_a_running_one() {
    let broker = Setup::new().empty().start();
    let address = broker.address("tls").to_string();

    // In the same directory, on other ports.
    let (code, error) = said(&refused(broker.place(), &[]));
    let process = broker.process().id();
    assert_eq!(
        error,
        format!(
            "data_dir data is in use by another running broker (process {process}): stop that \
             one, or set another data_dir"
        )
    );
    assert_eq!(code, Some(1));

    // In a directory of its own, on the same port: also a first start, which must not spend its
    // passwords on nobody.
    let place = Setup::new().empty().place();
    let (code, error) = said(&refused(
        &place,
        &[("COFFERDAM__LISTENER__TLS__BIND", &address)],
    ));
    assert_eq!(
        error,
        format!("listener `tls` cannot use {address}: Address already in use (os error 98)")
    );
    assert_eq!(code, Some(1));
    let admin = broker.address("admin").to_string();
    let (code, error) = said(&refused(&place, &[("COFFERDAM__ADMIN__BIND", &admin)]));
    assert_eq!(
        error,
        format!("[admin] cannot use {admin}: Address already in use (os error 98)")
    );
    assert_eq!(code, Some(1));
    let started = place.start();
    let welcome = started.process().wait_for("Ctrl-C stops it.");
    assert_eq!(
        shown(&welcome).len(),
        2,
        "the first start that succeeds shows them: {welcome}"
    );

    // The one that was there serves on, alone.
    for _ in 0..20 {
        let mut client = Client::dial(&broker, "open", Version::V5);
        client.connect(&cofferdam::wire::client::Connect::new(Version::V5));
        client.assert_quiet();
    }
}

#[test]
fn a_broker_that_was_killed_leaves_nothing_that_keeps_the_next_from_starting() {
    let broker = Broker::start();
    let mut client = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    client.assert_quiet();
    let ports = ["tcp", "tls", "ws", "wss"].map(|name| (name, broker.address(name)));
    broker.process().signal("KILL");
    assert_eq!(broker.process().wait(), None);
    assert_eq!(client.next(), None);
    let place = broker.into_place();
    for (name, address) in ports {
        let config = std::fs::read_to_string(place.path("cofferdam.toml")).expect("ours");
        let named = format!("name = \"{name}\"\ntransport = \"{name}\"\nbind = ");
        let config = config.replace(
            &format!("{named}\"127.0.0.1:0\""),
            &format!("{named}\"{address}\""),
        );
        place.write("cofferdam.toml", &config);
    }
    let next = place.start();
    assert_eq!(next.address("tcp"), ports[0].1, "the same ports, at once");
    Client::login(&next, "tcp", &World::alice(), Version::V5).assert_quiet();
}

#[test]
fn a_broken_configuration_is_refused_with_file_line_key_and_the_nearest_key() {
    let config = "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbnd = \"127.0.0.1:1\"\n\
                  [limits]\nmax_packet_size = \"1 potato\"\n";
    let place = Setup::new().config(config).empty().place();
    for arguments in [
        &[][..],
        &["serve"],
        &["config", "check"],
        &["audit", "list"],
    ] {
        let output = place.run(arguments);
        let error = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert_eq!(output.stdout, b"");
        assert!(
            error.starts_with("cofferdam: the configuration is wrong:\n"),
            "{error}"
        );
        for wanted in [
            "cofferdam.toml:4: listener.a.bnd: ",
            "`bind`",
            "cofferdam.toml:6: limits.max_packet_size: ",
            "1 potato",
        ] {
            assert!(error.contains(wanted), "{wanted} in\n{error}");
        }
    }
    assert!(!place.path("data").exists(), "nothing was begun");
    let output = place.run(&["config", "check", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["error"], json!("configuration"));
    let problems = report["problems"].as_array().expect("a list");
    let keys = problems
        .iter()
        .map(|it| (it["place"].as_str(), it["key"].as_str()));
    let mut keys: Vec<_> = keys.collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            (Some("cofferdam.toml:1"), Some("listener.a.bind")), // missing
            (Some("cofferdam.toml:4"), Some("listener.a.bnd")),
            (Some("cofferdam.toml:6"), Some("limits.max_packet_size")),
        ]
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_websocket_is_told_that_the_broker_goes_away() {
    let broker = Broker::start();
    let mut idle = web::open(broker.dial("ws"));
    let mut client = web::open(broker.dial("wss"));
    let connect = World::alice().connect(Version::V311).encode();
    let frame = web::frame(web::BINARY, true, &connect);
    std::io::Write::write_all(&mut client, &frame).expect("sent");
    assert_eq!(web::next(&mut client).expect("CONNACK").opcode, web::BINARY);
    broker.process().signal("INT");
    // 3.1.1 has no DISCONNECT from the server: the close code is all that such a client is told.
    assert_eq!(web::rest(&mut client), [web::closing(1001)]);
    assert_eq!(web::rest(&mut idle), [web::closing(1001)]);
    assert_eq!(broker.process().wait(), Some(0));
}

#[test]
fn the_broker_takes_as_many_sockets_as_the_system_allows() {
    let place = Setup::new().empty().place();
    let serve = place.command(&["serve"]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -Sn 256 && exec \"$0\" serve"])
        .arg(serve.get_program())
        .current_dir(place.path(""));
    let process = Process::start(limited);
    process.wait_for("Ctrl-C stops it.");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id()));
    let limits = limits.expect("it runs");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let words: Vec<_> = line
        .expect("a line")
        .split_whitespace()
        .skip(3)
        .take(2)
        .collect();
    assert_eq!(words[0], words[1], "soft and hard: {limits}");
}

#[test]
fn readiness_ends_when_the_broker_is_told_to_stop() {
    let broker = Broker::start();
    assert_eq!(broker.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(broker.get("/readyz").0, 200);
    // Never says that it has understood, so the stop waits for it a while.
    let _deaf = Client::login(&broker, "tcp", &World::alice(), Version::V5);
    broker.process().signal("TERM");
    let told = crate::running::eventually("the end of readiness", || match broker.get("/readyz") {
        (503, body) => Ok(body),
        (status, body) => Err(format!("{status} {body}")),
    });
    assert!(told.contains("the broker is stopping"), "{told}");
    assert_eq!(broker.process().wait(), Some(0));
}
