//! What the configuration accepts, refuses, and says about it.

use std::ffi::OsString;

use super::*;

const LISTENER: &str =
    "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:1883\"\n";

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let variables = variables
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::parse("test.toml", text, variables)
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match parse(text, variables) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(errors) => errors.problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn the_embedded_default_is_what_the_readme_promises() {
    let config = parse(EMBEDDED, &[]).expect("the default is sound");
    let listeners: Vec<_> = config
        .listeners
        .iter()
        .map(|l| (l.name.as_ref(), l.transport, l.bind.to_string()))
        .collect();
    assert_eq!(
        listeners,
        [
            ("mqtts", Transport::Tls, "127.0.0.1:8883".to_owned()),
            ("wss", Transport::Wss, "127.0.0.1:8443".to_owned()),
        ]
    );
    assert_eq!(config.admin.bind.to_string(), "127.0.0.1:9080");
    assert_eq!(config.database.url.expose(), "sqlite://data/cofferdam.db");
    assert_eq!(config.data_dir, Path::new("data"));
    assert_eq!(config.warnings(), Vec::<String>::new());
    let websocket = config.listeners[1].websocket.as_ref().expect("wss");
    assert_eq!(websocket.paths, ["/", "/mqtt"]);
}

#[test]
fn the_embedded_default_shows_the_values_that_are_in_force_without_it() {
    let shown = parse(EMBEDDED, &[]).expect("sound").to_json();
    let bare = parse(LISTENER, &[]).expect("sound").to_json();
    for section in [
        "data_dir", "admin", "database", "journal", "limits", "plan", "log",
    ] {
        assert_eq!(shown[section], bare[section], "{section}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let text = format!(
        "{EMBEDDED}max_keep_alive = \"5 min\"\n[[listener]]\nname = \"open\"\ntransport = \"ws\"\n\
         bind = \"[::1]:8080\"\nanonymous_team = \"dev\"\nallowed_origins = [\"https://a.example\"]\n"
    );
    let config = parse(&text, &[]).expect("sound");
    let again = parse(&config.to_toml(), &[]).expect("what is shown is sound");
    assert_eq!(again.to_json(), config.to_json());
    assert_eq!(again.listeners, config.listeners);
}

#[test]
fn files_of_the_admin_token_and_of_policies_are_named_shown_and_must_be_readable() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let with = |file: &std::path::Path| {
        let file = file.display();
        format!(
            "{LISTENER}[admin]\ntoken_file = \"{file}\"\n[policy]\nfile = \"{file}\"\n\
             observe = \"{file}\"\n"
        )
    };
    let config = parse(&with(&file), &[]).expect("sound");
    let again = parse(&config.to_toml(), &[]).expect("what is shown is sound");
    for config in [&config, &again] {
        assert_eq!(config.admin.token_file.as_ref(), Some(&file));
        assert_eq!(config.policy.file.as_ref(), Some(&file));
        assert_eq!(config.policy.observe.as_ref(), Some(&file));
    }
    let missing = problems(&with(&dir.path().join("none")), &[]);
    for key in ["admin.token_file", "policy.file", "policy.observe"] {
        let named = missing.iter().filter(|problem| problem.contains(key));
        assert_eq!(named.count(), 1, "{key}: {missing:?}");
    }
}

#[test]
fn every_problem_is_reported_with_its_line_key_and_nearest_known_key() {
    let text = "data_dri = \"x\"\n\
                [[listener]]\n\
                name = \"a\"\n\
                transprot = \"tls\"\n\
                bind = \"localhost\"\n\
                [limits]\n\
                max_packet_size = \"1 MB/s\"\n\
                connect_timeout = 10\n\
                max_inflight = 70000\n\
                [jurnal]\n\
                durability = \"memory\"\n";
    assert_eq!(
        problems(text, &[]),
        [
            "test.toml:7: limits.max_packet_size: \"1 MB/s\" is no size: write a whole number and \
             a unit, such as \"64 KiB\" or \"1 MiB\"",
            "test.toml:8: limits.connect_timeout: expected a duration such as \"10 s\", found 10",
            "test.toml:9: limits.max_inflight: 70000 is not between 1 and 65535",
            "test.toml:2: listener.a.transport: is missing",
            "test.toml:5: listener.a.bind: \"localhost\" is no address: write \"127.0.0.1:8883\", \
             \"[::1]:8883\" or \"0.0.0.0:8883\"",
            "test.toml:4: listener.a.transprot: unknown key; did you mean `transport`?",
            "test.toml:1: data_dri: unknown key; did you mean `data_dir`?",
            "test.toml:10: jurnal: unknown key; did you mean `journal`?",
        ]
    );
}

#[test]
fn a_log_filter_names_levels_by_module_and_nothing_else() {
    let with = |filter: &str| format!("{LISTENER}[log]\nfilter = \"{filter}\"\n");
    for good in ["info", "warn,cofferdam::net=debug", "ö"] {
        let config = parse(&with(good), &[]).expect("sound");
        assert_eq!(config.log.filter, good);
    }
    // Fields of spans would be patterns, which can take minutes to compile.
    for bad in ["info,a=loud", "a[b{c=%%||||||||||||??????????????}]=info"] {
        let found = problems(&with(bad), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("log.filter: {bad:?} is no filter");
        assert!(found[0].contains(&expected), "{found:?}");
    }
}

#[test]
fn proxies_are_addresses_and_networks_and_have_a_use() {
    let read = |keys: &str| parse(&format!("{LISTENER}{keys}"), &[]);
    let config = read("proxies = [\"10.0.0.0/8\", \"::1\"]\nproxy_protocol = true\n");
    let config = config.expect("sound");
    let listener = &config.listeners[0];
    assert!(listener.proxy_protocol);
    for (address, listed) in [
        ("10.9.9.9", true),
        ("::ffff:10.9.9.9", true),
        ("::1", true),
        ("11.0.0.1", false),
        ("::2", false),
        ("::ffff:11.0.0.1", false),
    ] {
        let address = address.parse().expect("an address");
        assert_eq!(listener.proxies.contains(address), listed, "{address}");
    }
    let again = parse(&config.to_toml(), &[]).expect("what is shown is sound");
    assert_eq!(again.listeners, config.listeners);
    for (keys, problem) in [
        (
            "proxies = [\"10.0.0.0/8\"]\n",
            "proxies: has no use: over tcp",
        ),
        ("proxy_protocol = true\n", "proxy_protocol: needs proxies"),
        (
            "proxies = []\nproxy_protocol = true\n",
            "proxies: names no proxy",
        ),
        (
            "proxies = [\"proxy.example\"]\nproxy_protocol = true\n",
            "proxies: \"proxy.example\" is no address or network",
        ),
        (
            "proxies = [\"10.0.0.1/8\"]\nproxy_protocol = true\n",
            "proxies: \"10.0.0.1/8\" is an address within 10.0.0.0/8",
        ),
    ] {
        let found = problems(&format!("{LISTENER}{keys}"), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(problem), "{found:?}");
    }
    let everybody = read("proxies = [\"::/0\"]\nproxy_protocol = true\n").expect("sound");
    assert_eq!(everybody.warnings().len(), 1, "{:?}", everybody.warnings());
}

#[test]
fn every_syntax_error_is_reported_with_its_line() {
    let found = problems(&format!("{LISTENER}[limits]\nx = \n\n[admin\n"), &[]);
    assert!(
        found.iter().any(|p| p.starts_with("test.toml:6: ")),
        "{found:?}"
    );
    assert!(
        found.iter().any(|p| p.starts_with("test.toml:8: ")),
        "{found:?}"
    );
}

#[test]
fn every_key_can_be_set_by_a_variable() {
    let text = format!(
        "{LISTENER}[[listener]]\nname = \"web-1\"\ntransport = \"ws\"\nbind = \"127.0.0.1:80\"\n"
    );
    let config = parse(
        &text,
        &[
            ("PATH", "/bin"),
            ("COFFERDAM__DATA_DIR", "/var/lib/cofferdam"),
            ("COFFERDAM__SHARDS", "3"),
            (
                "COFFERDAM__DATABASE__URL",
                "postgres://c:secret@db/cofferdam",
            ),
            ("COFFERDAM__LIMITS__MAX_PACKET_SIZE", "2 MiB"),
            ("COFFERDAM__LISTENER__0__BIND", "127.0.0.1:1999"),
            ("COFFERDAM__LISTENER__WEB_1__PATHS", "/, /x"),
            ("COFFERDAM__LISTENER__WEB_1__ANONYMOUS_TEAM", "dev"),
        ],
    )
    .expect("sound");
    assert_eq!(config.data_dir, Path::new("/var/lib/cofferdam"));
    assert_eq!(config.shards.get(), 3);
    assert_eq!(
        config.database.url.expose(),
        "postgres://c:secret@db/cofferdam"
    );
    assert_eq!(config.limits.max_packet_size, 2 << 20);
    assert_eq!(config.listeners[0].bind.port(), 1999);
    let web = &config.listeners[1];
    assert_eq!(web.websocket.as_ref().expect("ws").paths, ["/", "/x"]);
    assert_eq!(web.anonymous_team.as_ref().map(TeamId::as_str), Some("dev"));
}

#[test]
fn a_wrong_variable_is_named_in_the_error() {
    let found = problems(
        LISTENER,
        &[
            ("COFFERDAM__ADMIN__BIND", "9080"),
            ("COFFERDAM__LIMITS__MAX_PACKET_SIZ", "1 MiB"),
            ("COFFERDAM__LISTENER__B__BIND", "127.0.0.1:1"),
            ("COFFERDAM__SHARDS", "many"),
        ],
    );
    assert_eq!(
        found,
        [
            "COFFERDAM__LISTENER__B__BIND: the file has no listener `b`; it has a",
            "COFFERDAM__SHARDS: shards: expected a whole number, found \"many\"",
            "COFFERDAM__LIMITS__MAX_PACKET_SIZ: limits.max_packet_siz: unknown key; did you mean \
             `max_packet_size`?",
            "COFFERDAM__ADMIN__BIND: admin.bind: \"9080\" is no address: write \
             \"127.0.0.1:8883\", \"[::1]:8883\" or \"0.0.0.0:8883\"",
        ]
    );
}

#[test]
fn a_database_password_is_never_shown() {
    let secrets = [
        "postgres://c:s3:cr@et@db/x",
        "postgres://db/x?user=c&password=s3cret",
    ];
    for url in secrets {
        let config = parse(LISTENER, &[("COFFERDAM__DATABASE__URL", url)]).expect("sound");
        assert_eq!(config.database.url.expose(), url);
        for shown in [
            config.to_toml(),
            config.to_json().to_string(),
            format!("{config:?}"),
        ] {
            assert!(!shown.contains("s3"), "{shown}");
            assert!(shown.contains("***"), "{shown}");
        }
    }
    let found = problems(
        LISTENER,
        &[("COFFERDAM__DATABASE__URL", "mysql://c:s3cret@db/x")],
    );
    assert!(!found[0].contains("s3cret"), "{found:?}");
}

#[test]
fn anonymous_clients_are_for_loopback_unless_the_operator_insists() {
    let listener = |bind: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"{bind}\"\nanonymous_team = \"dev\"\n{more}"
        )
    };
    for bind in [
        "127.0.0.1:1883",
        "[::1]:1883",
        "127.9.9.9:1883",
        "[::ffff:127.0.0.1]:1883",
    ] {
        let config = parse(&listener(bind, ""), &[]).expect("loopback");
        assert_eq!(config.warnings(), Vec::<String>::new(), "{bind}");
    }
    for bind in ["0.0.0.0:1883", "[::]:1883", "10.0.0.1:1883"] {
        let found = problems(&listener(bind, ""), &[]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("test.toml:5: listener.a.anonymous_team: lets anybody in"));
        let config = parse(&listener(bind, "allow_anonymous_remote = true\n"), &[]);
        assert_eq!(
            config.expect("the operator insists").warnings().len(),
            2,
            "{bind}"
        );
    }
}

#[test]
fn names_and_addresses_are_used_once() {
    let second = |name: &str, bind: &str| {
        format!(
            "{LISTENER}[[listener]]\nname = \"{name}\"\ntransport = \"tcp\"\nbind = \"{bind}\"\n"
        )
    };
    let cases = [
        (
            "a",
            "127.0.0.1:1884",
            "test.toml:6: listener.a.name: another listener has this name",
        ),
        (
            "b",
            "127.0.0.1:1883",
            "test.toml:8: listener.b.bind: 127.0.0.1:1883 is taken by listener `a`",
        ),
        (
            "b",
            "0.0.0.0:1883",
            "test.toml:8: listener.b.bind: 0.0.0.0:1883 is taken by listener `a`",
        ),
        (
            "b",
            "127.0.0.1:9080",
            "test.toml:8: listener.b.bind: 127.0.0.1:9080 is taken by [admin]",
        ),
    ];
    for (name, bind, problem) in cases {
        assert_eq!(problems(&second(name, bind), &[]), [problem]);
    }
    assert!(parse(&second("b", "127.0.0.2:1883"), &[]).is_ok());
    let free = LISTENER.replace("1883", "0");
    assert!(parse(&format!("{free}{}", free.replace("\"a\"", "\"b\"")), &[]).is_ok());
}

#[test]
fn keys_that_contradict_the_transport_are_refused() {
    let listener = |transport: &str, more: &str| {
        format!(
            "[[listener]]\nname = \"a\"\ntransport = \"{transport}\"\nbind = \"127.0.0.1:1\"\n{more}"
        )
    };
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.pem");
    std::fs::write(&file, "").expect("a file");
    let key = format!("private_key = {file:?}\n");
    let certificate = format!("certificate = {file:?}\n");
    let cases = [
        (
            listener("tcp", "paths = [\"/\"]\n"),
            "listener.a.paths: has no use: tcp is no WebSocket",
        ),
        (
            listener("tls", &key),
            "listener.a.private_key: needs certificate beside it",
        ),
        (
            listener("tls", &certificate),
            "listener.a.certificate: needs private_key beside it",
        ),
        (
            listener("tcp", &key),
            "listener.a.private_key: has no use: tcp is not encrypted",
        ),
        (
            listener("tls", "certificate = \"/none\"\nprivate_key = \"/none\"\n"),
            "/none cannot be read",
        ),
        (
            listener("ws", "paths = [\"mqtt\"]\n"),
            "\"mqtt\" is no path",
        ),
        (listener("ws", "paths = []\n"), "names no path"),
        (
            listener("ws", "allowed_origins = [\"https://a/b\"]\n"),
            "is no origin",
        ),
        (
            listener("ws", "max_frame_size = \"1 KiB\"\n"),
            "is not between 1 MiB and",
        ),
        (
            "[limits]\nmax_topic_levels = 257\n".to_owned(),
            "limits.max_topic_levels: 257 is not between 8 and 256",
        ),
    ];
    for (text, wanted) in cases {
        let found = problems(&text, &[]);
        assert!(
            found.iter().any(|p| p.contains(wanted)),
            "{wanted}: {found:?}"
        );
    }
    let both = parse(&listener("tls", &format!("{key}{certificate}")), &[]).expect("both");
    let files = both.listeners[0].certificate.as_ref().expect("both");
    assert_eq!((&files.certificate, &files.private_key), (&file, &file));
}

#[test]
fn a_configuration_without_a_listener_is_refused() {
    assert_eq!(
        problems("", &[]),
        ["test.toml: listener: there is none: add at least one [[listener]]"]
    );
}

#[test]
fn plaintext_on_a_remote_address_is_warned_about() {
    let text = LISTENER.replace("127.0.0.1", "0.0.0.0");
    let warnings = parse(&text, &[]).expect("allowed").warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("listener `a` takes passwords unencrypted on 0.0.0.0:1883"));
}

#[test]
fn a_listener_may_have_limits_of_its_own_for_what_is_a_clients() {
    let own =
        "[listener.limits]\nmax_qos = 1\nretain_available = false\nmax_packet_size = \"2 KiB\"\n";
    let text = format!("{LISTENER}{own}[limits]\nmax_subscriptions = 5\n");
    let config = parse(
        &text,
        &[("COFFERDAM__LISTENER__A__LIMITS__MAX_INFLIGHT", "7")],
    );
    let config = config.expect("sound");
    let expected = Limits {
        max_subscriptions: 5,
        max_qos: crate::wire::QoS::AtLeastOnce,
        retain_available: false,
        max_packet_size: 2048,
        max_inflight: 7,
        ..Limits::default()
    };
    assert_eq!(config.listeners[0].limits, expected);
    assert_eq!(
        config.limits.max_packet_size,
        Limits::default().max_packet_size
    );
    let again = parse(&config.to_toml(), &[]).expect("what is shown can be read");
    assert_eq!(again.listeners, config.listeners);

    let team_wide = format!("{LISTENER}[listener.limits]\nmax_retained_bytes = \"1 GiB\"\n");
    let found = problems(&team_wide, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("max_retained_bytes"), "{found:?}");
}

#[test]
fn a_file_or_variable_that_nests_without_end_is_a_problem() {
    let long = ["a"; 79].join(".");
    let mut text = "1".to_owned();
    for _ in 0..79 {
        text = format!("{{ {long} = {text} }}");
    }
    let found = problems(&format!("{LISTENER}\nx = {text}\n"), &[]);
    assert!(
        found.contains(&"test.toml:6: brackets stand more than 6 deep in one another".to_owned()),
        "{found:?}"
    );
    let found = problems(&format!("{LISTENER}[{long}]\n"), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    let name = format!("COFFERDAM__{}", ["A"; 5000].join("__"));
    let found = problems(LISTENER, &[(&name, "1")]);
    assert_eq!(found, [format!("{name}: names no key")]);
}

#[test]
fn the_audit_has_regions_and_what_is_wrong_with_one_is_named() {
    let listener = "[[listener]]\nname = \"l\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:1\"\n";
    let parse = |audit: &str| Config::parse("c.toml", &format!("{listener}{audit}"), []);
    let good = "[audit]\nmode = \"strict\"\nretention = \"400 d\"\npseudonymise = [\"address\"]\n\
                [audit.region.eu]\nurl = \"sqlite://eu.db\"\nteams = [\"a\", \"b\"]\n\
                [audit.region.us]\nurl = \"postgres://me:secret@us/audit\"\nteams = [\"c\"]\n";
    let config = parse(good).expect("good");
    let names: Vec<_> = config
        .audit
        .regions
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(names, ["eu", "us"]);
    let shown = config.to_toml();
    assert!(!shown.contains("secret"), "{shown}");
    let again = Config::parse("c.toml", &shown, []).expect("can be read again");
    assert_eq!(again.audit.regions[0], config.audit.regions[0]);
    assert_eq!(again.audit.retention, config.audit.retention);
    for (wrong, what) in [
        ("[audit]\nmode = \"lax\"\n", "not one of relaxed, strict"),
        ("[audit]\nretention = \"1 h\"\n", "is not between"),
        ("[audit]\npseudonymise = [\"payload\"]\n", "neither"),
        ("[audit.region.eu]\nteams = [\"a\"]\n", "url: is missing"),
        ("[audit.region.eu]\nurl = \"sqlite://e\"\n", "names no team"),
        (
            "[audit.region.eu]\nurl = \"mysql://e\"\nteams = [\"a\"]\n",
            "is no database",
        ),
        (
            "[audit.region.eu]\nurl = \"sqlite://e\"\nteams = [\"a\"]\n\
             [audit.region.us]\nurl = \"sqlite://u\"\nteams = [\"a\"]\n",
            "is in another region already",
        ),
    ] {
        let error = parse(wrong).expect_err(wrong).to_string();
        assert!(error.contains(what), "{wrong}: {error}");
    }
}
