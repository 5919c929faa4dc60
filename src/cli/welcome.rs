//! What the broker prints once it is ready: where it listens, and on the first start, how to try
//! it. Called by `serve`, which knows the addresses that were really bound.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::config::{Config, Listener, Transport};
use crate::provision::{DemoClient, FirstStart};

/// The text; written by `Display`, in 80 columns where paths and names allow.
pub struct Welcome<'a> {
    /// In force; `bind` of listeners and admin as they were bound.
    pub config: &'a Config,
    /// The development CA, where a listener uses it.
    pub ca: Option<&'a Path>,
    /// On the first start: what was made.
    pub first_start: Option<&'a FirstStart>,
}

impl fmt::Display for Welcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  Cofferdam {} is ready.\n", env!("CARGO_PKG_VERSION"))?;
        self.addresses(f)?;
        if let Some(first) = self.first_start {
            first_start(f, first)?;
            self.mosquitto(f, first)?;
            self.javascript(f, first)?;
        }
        writeln!(f, "\n  Ctrl-C stops it.\n")
    }
}

impl Welcome<'_> {
    fn addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let admin = format!("http://{}", self.config.admin.bind);
        let mut rows: Vec<(&str, String, &str)> = self
            .config
            .listeners
            .iter()
            .map(|listener| {
                (
                    listener.name.as_ref(),
                    url(listener),
                    spoken(listener.transport),
                )
            })
            .collect();
        rows.push(("admin", admin, "/healthz  /readyz  /metrics"));
        if let Some(ca) = self.ca {
            rows.push((
                "CA",
                ca.display().to_string(),
                "what clients trust: give them this file",
            ));
        }
        let width = |of: fn(&(&str, String, &str)) -> usize| rows.iter().map(of).max().unwrap_or(0);
        let (names, places) = (width(|row| row.0.len()), width(|row| row.1.len()));
        for (name, place, what) in rows {
            writeln!(f, "    {name:names$}  {place:places$}  {what}")?;
        }
        Ok(())
    }

    fn mosquitto(&self, f: &mut fmt::Formatter<'_>, first: &FirstStart) -> fmt::Result {
        let plain = |listener: &&Listener| !listener.transport.is_websocket();
        let mut listeners = self.config.listeners.iter().filter(plain);
        let encrypted = listeners
            .clone()
            .find(|listener| listener.transport.is_tls());
        let Some(listener) = encrypted.or_else(|| listeners.next()) else {
            return Ok(());
        };
        let trust = self.mosquitto_trust(listener);
        let (host, port) = (host(listener.bind), listener.bind.port());
        let command = |tool: &str, DemoClient { username, password }: &DemoClient| {
            let (username, password) = (shell(username), shell(password));
            format!(
                "      {tool} -h {host} -p {port}{trust} \\\n        -i {username} -u {username} \\\n        \
                 -P {password} \\\n       "
            )
        };
        let listen = command("mosquitto_sub", &first.subscriber);
        let send = command("mosquitto_pub", &first.publisher);
        writeln!(
            f,
            "\n  Listen in another terminal, in this same directory:\n"
        )?;
        writeln!(f, "{listen} -V 5 -q 1 -v -t 'hello/#'")?;
        writeln!(f, "\n  Send it a message from a third one:\n")?;
        writeln!(f, "{send} -V 5 -q 1 -t hello/world -m 'Hello, Cofferdam'")
    }

    fn mosquitto_trust(&self, listener: &Listener) -> String {
        match self.ca {
            _ if !listener.transport.is_tls() => String::new(),
            Some(ca) if listener.certificate.is_none() => {
                format!(" --cafile {}", shell(&ca.display().to_string()))
            }
            _ => " --tls-use-os-certs".to_owned(),
        }
    }

    fn javascript(&self, f: &mut fmt::Formatter<'_>, first: &FirstStart) -> fmt::Result {
        let websocket = |listener: &&Listener| listener.transport.is_websocket();
        let mut listeners = self.config.listeners.iter().filter(websocket);
        let encrypted = listeners
            .clone()
            .find(|listener| listener.transport.is_tls());
        let Some(listener) = encrypted.or_else(|| listeners.next()) else {
            return Ok(());
        };
        let ca = self
            .ca
            .filter(|_| listener.transport.is_tls() && listener.certificate.is_none());
        writeln!(
            f,
            "\n  The same from JavaScript: npm install mqtt, then node hello.mjs with\n"
        )?;
        writeln!(f, "      import mqtt from 'mqtt'")?;
        if ca.is_some() {
            writeln!(f, "      import {{ readFileSync }} from 'node:fs'")?;
        }
        let client = &first.publisher;
        writeln!(
            f,
            "      const client = mqtt.connect({}, {{",
            js(&url(listener))
        )?;
        if let Some(ca) = ca {
            let ca = js(&ca.display().to_string());
            writeln!(f, "        ca: readFileSync({ca}),")?;
        }
        writeln!(f, "        protocolVersion: 5,")?;
        writeln!(f, "        clientId: {},", js(&client.username))?;
        writeln!(f, "        username: {},", js(&client.username))?;
        writeln!(f, "        password: {},", js(&client.password))?;
        writeln!(f, "      }})")?;
        writeln!(
            f,
            "      client.on('message', (topic, m) => console.log(topic, String(m)))"
        )?;
        writeln!(f, "      await client.subscribeAsync('hello/#')")?;
        writeln!(f, "      client.publish('hello/js', 'Hello from MQTT.js')")
    }
}

fn first_start(f: &mut fmt::Formatter<'_>, first: &FirstStart) -> fmt::Result {
    let FirstStart {
        team,
        publisher,
        subscriber,
    } = first;
    let width = publisher.username.len().max(subscriber.username.len());
    writeln!(
        f,
        "\n  This is the first start: there is now a team {team} with two clients."
    )?;
    writeln!(f, "  Their passwords are shown here and never again:\n")?;
    for DemoClient { username, password } in [subscriber, publisher] {
        writeln!(f, "    {username:width$}  {password}")?;
    }
    Ok(())
}

/// How clients on this machine reach a listener.
fn url(listener: &Listener) -> String {
    let scheme = match listener.transport {
        Transport::Tcp => "mqtt",
        Transport::Tls => "mqtts",
        Transport::Ws => "ws",
        Transport::Wss => "wss",
    };
    let path = listener.websocket.as_ref().and_then(|websocket| {
        let paths = &websocket.paths;
        let root = paths.iter().any(|path| path == "/");
        paths.first().filter(|_| !root)
    });
    let path = path.map_or("", String::as_str);
    format!(
        "{scheme}://{}:{}{path}",
        host(listener.bind),
        listener.bind.port()
    )
}

/// `localhost` where that reaches it: the development certificate names it.
fn host(bind: SocketAddr) -> String {
    let localhost = bind.ip().is_unspecified()
        || bind.ip() == IpAddr::from([127, 0, 0, 1])
        || bind.ip() == IpAddr::from(std::net::Ipv6Addr::LOCALHOST);
    match bind {
        _ if localhost => "localhost".to_owned(),
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}

fn spoken(transport: Transport) -> &'static str {
    match transport {
        Transport::Tcp => "MQTT, not encrypted",
        Transport::Tls => "MQTT over TLS",
        Transport::Ws => "MQTT over WebSockets, not encrypted",
        Transport::Wss => "MQTT over secure WebSockets",
    }
}

/// As one word of a POSIX shell.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// As a string of JavaScript.
fn js(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EMBEDDED;

    fn client(name: &str) -> DemoClient {
        DemoClient {
            username: format!("{name}@demo"),
            password: format!("{name}-{}", "x".repeat(43)),
        }
    }

    fn first() -> FirstStart {
        FirstStart {
            team: "demo".to_owned(),
            publisher: client("sensor"),
            subscriber: client("viewer"),
        }
    }

    fn text(toml: &str, first_start: Option<&FirstStart>) -> String {
        let config = Config::parse("test.toml", toml, []).expect("sound");
        let welcome = Welcome {
            config: &config,
            ca: Some(Path::new("data/tls/ca.pem")),
            first_start,
        };
        welcome.to_string()
    }

    #[test]
    fn the_first_start_shows_passwords_and_commands_within_80_columns() {
        let text = text(EMBEDDED, Some(&first()));
        for wanted in [
            "mqtts://localhost:8883",
            "wss://localhost:8443",
            "http://127.0.0.1:9080",
            "mosquitto_sub -h localhost -p 8883 --cafile data/tls/ca.pem",
            "mosquitto_pub -h localhost -p 8883 --cafile data/tls/ca.pem",
            "-i viewer@demo -u viewer@demo",
            "mqtt.connect('wss://localhost:8443', {",
            "ca: readFileSync('data/tls/ca.pem'),",
            &first().publisher.password,
            &first().subscriber.password,
        ] {
            assert!(text.contains(wanted), "{wanted}\n{text}");
        }
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn later_starts_show_addresses_and_no_secret() {
        let text = text(EMBEDDED, None);
        assert!(text.contains("mqtts://localhost:8883") && text.contains("data/tls/ca.pem"));
        assert!(
            !text.contains("password") && !text.contains("mosquitto"),
            "{text}"
        );
    }

    #[test]
    fn examples_fit_the_listeners_that_there_are() {
        let listener = |transport: &str, more: &str| {
            format!(
                "[[listener]]\nname = \"a\"\ntransport = \"{transport}\"\nbind = \"10.0.0.1:99\"\n{more}"
            )
        };
        let plain = text(&listener("tcp", ""), Some(&first()));
        assert!(
            plain.contains("mosquitto_sub -h 10.0.0.1 -p 99 \\"),
            "{plain}"
        );
        assert!(!plain.contains("mqtt.connect"), "{plain}");
        let web = text(&listener("ws", "paths = [\"/x\"]\n"), Some(&first()));
        assert!(
            web.contains("mqtt.connect('ws://10.0.0.1:99/x', {"),
            "{web}"
        );
        assert!(
            !web.contains("mosquitto_sub") && !web.contains("readFileSync"),
            "{web}"
        );
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        assert_eq!(shell("data/tls/ca.pem"), "data/tls/ca.pem");
        assert_eq!(shell("my data/it's"), r"'my data/it'\''s'");
        assert_eq!(js(r"a\'b"), r"'a\\\'b'");
    }
}
