//! Certificates read again on SIGHUP.

use rustls::pki_types::CertificateDer;
use serde_json::json;

use crate::running::{Broker, Client, Place, Setup, Stream, Tls, World, eventually};
use cofferdam::wire::Version;

/// Writes a new certificate for `localhost`, signed by itself, and its key.
fn write_certificate(place: &Place) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    place.write("server.key", &made.signing_key.serialize_pem());
    place.write("server.pem", &made.cert.pem());
    made.cert.der().clone()
}

/// The certificate that the broker shows now to who trusts `trusted`; `None`: it shows another.
fn shown(broker: &Broker) -> CertificateDer<'static> {
    let file = broker.place().path("shown.pem");
    std::fs::copy(broker.place().path("server.pem"), &file).expect("copied");
    let stream = Stream::tls(
        broker.address("tls"),
        &broker.trusting("shown.pem", Tls::V13),
    );
    let Stream::Tls(tls) = stream else {
        panic!("not encrypted")
    };
    let chain = tls.conn.peer_certificates().expect("a chain");
    chain[0].clone().into_owned()
}

fn reloads(broker: &Broker, result: &str) -> u64 {
    let labels = [("listener", "tls"), ("result", result)];
    broker
        .numbers()
        .sum("cofferdam_certificate_reloads_total", &labels)
}

fn wait_for_reloads(broker: &Broker, result: &str, count: u64) {
    eventually("a reload", || match reloads(broker, result) {
        found if found == count => Ok(()),
        found => Err(format!("{found} {result}")),
    });
}

#[test]
fn sighup_has_new_handshakes_see_the_new_certificate_and_a_bad_one_is_refused() {
    let mut place = Setup::new().place();
    let first = write_certificate(&place);
    for (key, file) in [
        ("COFFERDAM__LISTENER__TLS__CERTIFICATE", "server.pem"),
        ("COFFERDAM__LISTENER__TLS__PRIVATE_KEY", "server.key"),
    ] {
        place.set(key, file);
    }
    let broker = place.start();
    assert_eq!(shown(&broker), first);
    let config = broker.trusting("server.pem", Tls::Any);
    let stream = Stream::tls(broker.address("tls"), &config);
    let link = crate::running::Link::open("tls", "/", stream);
    let mut client = Client::over(link, Version::V5);
    client.connect(&World::alice().connect(Version::V5));

    let second = write_certificate(broker.place());
    broker.process().signal("HUP");
    wait_for_reloads(&broker, "loaded", 1);
    assert_eq!(shown(&broker), second);
    client.assert_quiet(); // who is in stays in

    let good = std::fs::read(broker.place().path("server.key")).expect("a key");
    broker
        .place()
        .write("server.key", "-----BEGIN PRIVATE KEY-----\n");
    broker.process().signal("HUP");
    wait_for_reloads(&broker, "refused", 1);
    assert_eq!(shown(&broker), second);
    let row = broker.audited(|row| row["event"] == "certificate_refused");
    assert_eq!(row["detail"]["listener"], json!("tls"));
    assert_eq!(row["actor"], json!("SIGHUP"));
    // Others were read all the same.
    broker
        .audited(|row| row["event"] == "certificate_reload" && row["detail"]["listener"] == "wss");

    std::fs::write(broker.place().path("server.key"), good).expect("a key");
    broker.process().signal("HUP");
    wait_for_reloads(&broker, "loaded", 2);
}
