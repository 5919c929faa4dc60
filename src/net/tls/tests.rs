//! The development certificate, real files, and handshakes in memory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A moment in 2030: no test depends on the clock.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

fn prepare(dir: &Path, now: SystemTime) -> Development {
    Development::prepare(dir, Some("Broker-7"), now).expect("prepared")
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir.join("tls"))
        .expect("the directory")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let bytes = fs::read(entry.path()).expect("a file");
            (entry.file_name().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// The client's side of a TLS connection that trusts `ca`.
fn client(
    ca: &Path,
    name: &'static str,
    alpn: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca).expect("the CA") {
        roots.add(certificate).expect("a certificate");
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name).expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

/// Runs a handshake in memory to its end.
fn shake(
    client: &mut ClientConnection,
    config: &Arc<ServerConfig>,
) -> Result<ServerConnection, rustls::Error> {
    let mut server = ServerConnection::new(Arc::clone(config)).expect("a server");
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).expect("memory");
        server.read_tls(&mut flight.as_slice()).expect("memory");
        server.process_new_packets()?;
        let mut flight = Vec::new();
        server.write_tls(&mut flight).expect("memory");
        client.read_tls(&mut flight.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    Ok(server)
}

#[test]
fn the_first_start_makes_all_files_and_keeps_the_keys_to_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = prepare(dir.path(), now());
    assert_eq!(made.made, Made::Authority);
    let names: Vec<_> = contents(dir.path())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["ca.key", "ca.pem", "server.key", "server.pem"]);
    let mode = |name: &str| {
        let metadata = fs::metadata(dir.path().join("tls").join(name)).expect("a file");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!([mode("ca.key"), mode("server.key")], [0o600, 0o600]);
    assert_eq!(mode("ca.pem"), 0o644);
}

#[test]
fn a_second_start_changes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    prepare(dir.path(), now());
    let before = contents(dir.path());
    let again = prepare(dir.path(), now() + DAY);
    assert_eq!(again.made, Made::Nothing);
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn the_server_certificate_is_renewed_before_it_ends_and_the_ca_is_kept() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = prepare(dir.path(), now());
    let before = contents(dir.path());
    assert_eq!(prepare(dir.path(), now() + 366 * DAY).made, Made::Nothing);
    assert_eq!(prepare(dir.path(), now() + 368 * DAY).made, Made::Server);
    let after = contents(dir.path());
    assert_eq!(after[..2], before[..2], "the CA");
    assert_ne!(after[2], before[2], "the server's key");
    assert_ne!(after[3], before[3], "the server's certificate");
    // The kept CA vouches for the new certificate: nothing is left to do.
    assert_eq!(prepare(dir.path(), now() + 369 * DAY).made, Made::Nothing);
    assert_eq!(first.ca, prepare(dir.path(), now() + 369 * DAY).ca);
}

#[test]
fn a_certificate_for_another_machine_or_with_a_lost_file_is_made_again() {
    let dir = tempfile::tempdir().expect("a directory");
    prepare(dir.path(), now());
    let elsewhere = Development::prepare(dir.path(), Some("other"), now()).expect("prepared");
    assert_eq!(elsewhere.made, Made::Server);
    for name in ["server.key", "server.pem", "ca.pem"] {
        fs::remove_file(dir.path().join("tls").join(name)).expect("removed");
        let again = Development::prepare(dir.path(), Some("other"), now()).expect("prepared");
        assert_eq!(again.made, Made::Server, "{name}");
        let config = server_config(&again.files, Transport::Tls, None).expect("usable");
        drop(config);
    }
}

#[test]
fn a_lost_ca_key_is_an_error_only_when_it_is_needed() {
    let dir = tempfile::tempdir().expect("a directory");
    prepare(dir.path(), now());
    fs::remove_file(dir.path().join("tls/ca.key")).expect("removed");
    assert_eq!(prepare(dir.path(), now()).made, Made::Nothing);
    let error = Development::prepare(dir.path(), None, now() + 400 * DAY).expect_err("due");
    let text = error.to_string();
    assert!(
        text.contains("ca.key is not") && text.contains("restore the key"),
        "{text}"
    );
    fs::write(dir.path().join("tls/ca.key"), "rubbish").expect("written");
    let error = Development::prepare(dir.path(), None, now() + 400 * DAY).expect_err("rubbish");
    assert!(matches!(error, TlsError::CaKey { .. }), "{error}");
}

#[test]
fn clients_that_trust_the_ca_connect_by_every_name_and_version() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Development::prepare(dir.path(), Some("broker-7"), SystemTime::now()).expect("made");
    let config = server_config(&made.files, Transport::Tls, None).expect("usable");
    for name in ["localhost", "127.0.0.1", "::1", "broker-7"] {
        for version in rustls::ALL_VERSIONS {
            let mut client = client(&made.ca, name, &[b"mqtt"], &[version]);
            let server = shake(&mut client, &config).expect("a connection");
            assert_eq!(server.protocol_version(), Some(version.version), "{name}");
            assert_eq!(server.alpn_protocol(), Some(&b"mqtt"[..]), "{name}");
        }
    }
    let mut stranger = client(&made.ca, "elsewhere.example", &[], rustls::ALL_VERSIONS);
    assert!(shake(&mut stranger, &config).is_err());
}

#[test]
fn alpn_is_optional_but_must_fit_where_it_is_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = Development::prepare(dir.path(), None, SystemTime::now()).expect("made");
    type Case = (Transport, &'static [&'static [u8]], Option<&'static [u8]>);
    let cases: [Case; 4] = [
        (Transport::Tls, &[], None),
        (Transport::Wss, &[], None),
        (Transport::Wss, &[b"h2", b"http/1.1"], Some(b"http/1.1")),
        (Transport::Tls, &[b"x", b"mqtt"], Some(b"mqtt")),
    ];
    for (transport, offered, chosen) in cases {
        let config = server_config(&made.files, transport, None).expect("usable");
        let mut client = client(&made.ca, "localhost", offered, rustls::ALL_VERSIONS);
        let server = shake(&mut client, &config).expect("a connection");
        assert_eq!(server.alpn_protocol(), chosen);
    }
    let config = server_config(&made.files, Transport::Wss, None).expect("usable");
    let mut http2 = client(&made.ca, "localhost", &[b"h2"], rustls::ALL_VERSIONS);
    assert_eq!(
        shake(&mut http2, &config).err(),
        Some(rustls::Error::NoApplicationProtocol)
    );
}

#[test]
fn a_wrong_file_is_named_with_what_is_wrong() {
    let dir = tempfile::tempdir().expect("a directory");
    let made = prepare(dir.path(), now());
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "").expect("written");
    let other = tempfile::tempdir().expect("a directory");
    let others = prepare(other.path(), now()).files;
    let says = |certificate: &PathBuf, private_key: &PathBuf| {
        let files = CertificateFiles {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
        };
        server_config(&files, Transport::Tls, None)
            .expect_err("wrong")
            .to_string()
    };
    let own = &made.files;
    let none = PathBuf::from("/nowhere/x.pem");
    let cases = [
        (
            says(&none, &own.private_key),
            "/nowhere/x.pem cannot be read",
        ),
        (
            says(&empty, &own.private_key),
            "empty.pem holds no certificate in PEM form",
        ),
        (
            says(&own.private_key, &own.private_key),
            "server.key holds no certificate",
        ),
        (
            says(&own.certificate, &empty),
            "empty.pem holds no private key in PEM form",
        ),
        (
            says(&own.certificate, &own.certificate),
            "server.pem holds no private key",
        ),
        (
            says(&own.certificate, &others.private_key),
            "is not the key of the first certificate",
        ),
    ];
    for (text, wanted) in cases {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}
