//! The control socket and the API behind it, by the command line and with a token.

use std::os::unix::fs::PermissionsExt as _;

use cofferdam::wire::Version;
use cofferdam::wire::client::Connect;
use serde_json::{Value, json};

use crate::running::{Answer, Broker, Client, Document, Login, Setup, World};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A broker whose API stands on the admin address too.
fn with_token() -> Broker {
    let place = Setup::new().place();
    place.write("admin.token", &format!("{TOKEN}\n"));
    let mut setup = place;
    setup.set("COFFERDAM__ADMIN__TOKEN_FILE", "admin.token");
    setup.start()
}

/// Connects as `login` under a client id of another name.
fn under(broker: &Broker, login: &Login, client_id: &str) -> Client {
    let mut client = Client::dial(broker, "tcp", Version::V5);
    client.connect(&Connect {
        client_id: client_id.to_owned(),
        ..login.connect(Version::V5)
    });
    client
}

#[test]
fn the_control_socket_is_its_owners_alone_and_a_stale_one_is_replaced() {
    let broker = Broker::start();
    let socket = broker.place().path("data/control.sock");
    let mode = std::fs::metadata(&socket)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(broker.control("GET", "/broker", "").status, 200);

    broker.process().signal("KILL");
    broker.process().wait();
    assert!(socket.exists(), "a killed broker leaves it behind");
    let broker = broker.into_place().start();
    assert_eq!(broker.control("GET", "/broker", "").status, 200);

    // A second broker on the same directory is turned away, and the socket stays the first one's.
    let second = broker.place().run(&["serve"]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(broker.control("GET", "/broker", "").status, 200);

    let (place, _) = broker.stop();
    assert!(!place.path("data/control.sock").exists());
}

#[test]
fn a_decision_is_explained_for_a_live_connection_by_the_grant_in_force_there() {
    let broker = Broker::start();
    let lena = World::lena();
    let _one = under(&broker, &lena, "lena@red");
    let args = [
        "policy",
        "explain",
        "--client-id",
        "lena@red",
        "publish",
        "own/1",
    ];
    let text = broker.place().run_well(&args);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "allow: lena@red publish own/1");
    assert_eq!(lines[1], "  because this rule allows it");
    assert_eq!(lines[2], "    allow both own/# (a pattern of lena@red)");
    assert!(
        lines[3].starts_with("  role client (config/policy/flowfuse.toml:"),
        "{text}"
    );
    assert!(lines[3].ends_with(", team = red, client = lena"), "{text}");
    let policy = broker.control("GET", "/policy", "").body;
    assert_eq!(
        lines[4],
        format!("  policy {}", policy["version"].as_str().expect("text"))
    );
    assert_eq!(lines[5], "  decided on ff/v1/red/c/own/1");
    assert!(
        lines[6].starts_with("  client id lena@red at 127.0."),
        "{text}"
    );

    // A rule of the profile is named with its file and line.
    let instance = World::instance();
    let id = instance.username.as_str();
    let _two = under(&broker, &instance, id);
    let filter = "$share/other/ff/v1/red/p/+/out/#";
    let args = [
        "policy",
        "explain",
        "--json",
        "--client-id",
        id,
        "--team",
        "red",
        "subscribe",
    ];
    let json = broker.place().run_well(&[&args[..], &[filter]].concat());
    let answer: Value = serde_json::from_str(&json).expect("one line of JSON");
    let explanation = &answer["explanation"];
    assert_eq!(explanation["ruling"], json!("deny"));
    assert_eq!(explanation["group"], json!("other"));
    assert_eq!(explanation["bindings"]["instance"], json!(&id[12..]));
    let nearest = &explanation["considered"][0];
    assert_eq!(
        nearest["rule"]["file"],
        json!("config/policy/flowfuse.toml")
    );
    assert!(nearest["rule"]["line"].as_u64().expect("a line") > 1);
    assert_eq!(
        nearest["why"],
        json!("may not be shared in the group `other`")
    );
}

#[test]
fn one_client_identifier_in_two_teams_is_two_connections_and_a_team_names_one() {
    let setup = Setup::new().and(
        "[[instance]]\nid = \"00000000-0000-4000-8000-000000000002\"\nteam = \"blue\"\n\
         password = \"test_0000000000000000000000000000000000000000000000000000000000000000\"\n",
    );
    let broker = setup.start();
    let other = Login {
        username: "project:blue:00000000-0000-4000-8000-000000000002".to_owned(),
        password: format!("test_{:0>64}", 0),
    };
    let _red = under(&broker, &World::instance(), "same");
    let _blue = under(&broker, &other, "same");
    let question = |team: Value| {
        let body = json!({
            "client_id": "same", "team": team, "action": "publish", "topic": "ff/v1/red/c/x",
        });
        let answer = broker.control("POST", "/policy/explain", &body.to_string());
        let connections = answer.body["connections"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let rulings = connections.iter().map(|it| {
            let said = &it["explanation"];
            (said["team"].clone(), said["ruling"].clone())
        });
        let mut rulings: Vec<_> = rulings.map(|(a, b)| format!("{a} {b}")).collect();
        rulings.sort();
        (answer.status, rulings)
    };
    let (red, blue) = ("\"red\" \"allow\"", "\"blue\" \"deny\"");
    assert_eq!(
        question(Value::Null),
        (200, vec![blue.to_owned(), red.to_owned()])
    );
    assert_eq!(question(json!("red")), (200, vec![red.to_owned()]));
    assert_eq!(question(json!("blue")), (200, vec![blue.to_owned()]));
    assert_eq!(question(json!("grey")), (404, vec![]));
}

#[test]
fn who_asks_about_nobody_or_without_a_broker_is_told_so() {
    let broker = Broker::start();
    let ask = ["policy", "explain", "--client-id", "nobody", "publish", "x"];
    let refused = broker.place().run(&ask);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("no client with the identifier \"nobody\" is connected"),
        "{said}"
    );

    let (place, _) = broker.stop();
    for command in [&ask[..], &["policy", "show"], &["policy", "reload"]] {
        let refused = place.run(command);
        assert_eq!(refused.status.code(), Some(1), "{command:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            said.contains("no broker runs here: nothing answers on data/control.sock"),
            "{said}"
        );
    }
    // Which connection, but not what it wants: the command line is wrong.
    let wrong = place.run(&["policy", "explain", "--client-id", "a", "b", "publish", "x"]);
    assert_eq!(wrong.status.code(), Some(2));
    let wrong = place.run(&["policy", "explain", "alice@red", "read", "x"]);
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn without_a_token_file_the_admin_address_has_no_api() {
    let broker = Broker::start();
    for headers in ["", "Authorization: Bearer x\r\n"] {
        let answer = broker.admin("GET", "/broker", headers, "");
        assert_eq!((answer.status, answer.body), (404, Value::Null));
    }
}

#[test]
fn with_a_token_file_the_api_is_for_who_shows_the_token_and_others_are_counted_and_on_record() {
    let broker = with_token();
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(broker.admin("GET", "/broker", &bearer, "").status, 200);
    let lower = format!("authorization: bearer {TOKEN}\r\n");
    assert_eq!(broker.admin("GET", "/broker", &lower, "").status, 200);
    let wrong = [
        (String::new(), "no_token"),
        (format!("Authorization: Basic {TOKEN}\r\n"), "no_token"),
        (
            format!("Cofferdam-Actor: root\r\nX-Token: {TOKEN}\r\n"),
            "no_token",
        ),
        ("Authorization: Bearer \r\n".to_owned(), "no_token"),
        (format!("Authorization: Bearer {TOKEN}0\r\n"), "wrong_token"),
        (
            format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
            "wrong_token",
        ),
    ];
    for (headers, _) in &wrong {
        // Not even whether there is such a path.
        for path in ["/broker", "/nothing"] {
            let answer = broker.admin("GET", path, headers, "");
            assert_eq!(answer.status, 401, "{headers}");
            assert_eq!(answer.media, "application/problem+json");
            assert_eq!(
                answer.body["type"],
                json!("urn:cofferdam:problem:unauthorized")
            );
        }
    }
    let count = |why| 2 * wrong.iter().filter(|(_, reason)| *reason == why).count() as u64;
    broker.wait_for_numbers(|numbers| {
        let name = "cofferdam_admin_requests_refused_total";
        numbers.check(name, &[("reason", "no_token")], count("no_token"))?;
        numbers.check(name, &[("reason", "wrong_token")], count("wrong_token"))
    });
    let row = broker
        .audited(|row| row["event"] == "admin_refused" && row["detail"]["reason"] == "wrong_token");
    assert_eq!(row["level"], json!("platform"));
    assert_eq!(row["listener"], json!("admin"));
    assert!(
        row["remote"]
            .as_str()
            .is_some_and(|it| it.starts_with("127.0.")),
        "{row:#}"
    );
    assert_eq!(broker.get("/healthz").0, 200, "health needs no token");
}

#[test]
fn a_token_that_could_be_guessed_keeps_the_broker_from_starting() {
    let mut place = Setup::new().place();
    place.write("admin.token", "password\n");
    place.set("COFFERDAM__ADMIN__TOKEN_FILE", "admin.token");
    let refused = place.run(&["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("token_file admin.token holds no token"),
        "{said}"
    );
}

#[test]
fn every_answer_is_as_the_document_says() {
    let broker = with_token();
    let document = broker.control("GET", "/openapi.json", "");
    assert_eq!(document.status, 200);
    let document = Document(document.body);
    let alice = World::alice();
    let _alice = under(&broker, &alice, "alice@red");
    let question = |id: &str, topic: &str| {
        json!({ "client_id": id, "action": "subscribe", "topic": topic }).to_string()
    };
    let file = |text: &str| json!({ "file": "new.toml", "text": text }).to_string();
    let policy = include_str!("../../config/policy/flowfuse.toml");
    let bad =
        "[namespace]\nteam = \"ff/v1/{team}/\"\n[role.a]\nmount = \"x\"\nclient_id = [\"{y}\"]\n";
    let large = " ".repeat(5 << 20);
    let requests: Vec<(&str, &str, String, u16)> = vec![
        ("GET", "/openapi.json", String::new(), 200),
        ("GET", "/broker", String::new(), 200),
        ("GET", "/policy", String::new(), 200),
        ("POST", "/policy/reload", String::new(), 200),
        ("POST", "/policy/explain", question("alice@red", "a/#"), 200),
        ("POST", "/policy/explain", question("alice@red", "a#"), 200),
        ("POST", "/policy/explain", question("nobody", "a"), 404),
        ("POST", "/policy/explain", "{".to_owned(), 400),
        ("POST", "/policy/explain", "{\"client\": 1}".to_owned(), 400),
        ("POST", "/policy/explain", large.clone(), 413),
        ("DELETE", "/policy/observed", String::new(), 404),
        ("PUT", "/policy/observed", file(policy), 200),
        ("GET", "/policy", String::new(), 200),
        ("GET", "/broker", String::new(), 200),
        ("PUT", "/policy/observed", file(bad), 422),
        (
            "PUT",
            "/policy/observed",
            file("[namespace]\nteam = \"{team}/\"\n"),
            422,
        ),
        ("PUT", "/policy/observed", "[]".to_owned(), 400),
        ("PUT", "/policy/observed", large, 413),
        ("DELETE", "/policy/observed", String::new(), 200),
    ];
    for (method, path, body, status) in requests {
        let Answer {
            status: answered,
            media,
            body,
        } = broker.control(method, path, &body);
        assert_eq!(answered, status, "{method} {path}: {body}");
        document.check(method, path, status, &media, &body);
    }
    for (method, path) in [("GET", "/policy"), ("PUT", "/policy/observed")] {
        let answer = broker.admin(method, path, "", "");
        assert_eq!(answer.status, 401);
        document.check(method, path, 401, &answer.media, &answer.body);
    }
    for (method, path, status) in [("GET", "/nothing", 404), ("POST", "/policy", 405)] {
        let answer = broker.control(method, path, "");
        let kind = answer.body["type"].as_str().unwrap_or_default();
        assert_eq!(answer.status, status);
        assert!(kind.starts_with("urn:cofferdam:problem:no-such-"), "{kind}");
    }
}
