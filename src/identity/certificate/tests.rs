//! Whom a certificate names.

use super::*;
use crate::config::Config;
use crate::identity::authority::{Authority, Wanted};

fn certificates(keys: &str) -> Arc<Certificates> {
    let text = format!(
        "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
         [identity.certificate]\n{keys}"
    );
    let config = Config::parse("test.toml", &text, []).expect("sound");
    let again = Config::parse("shown.toml", &config.to_toml(), []).expect("what is shown is sound");
    assert_eq!(again.identity, config.identity);
    Certificates::new(config.identity.certificate.expect("it is there"))
}

fn named(keys: &str, wanted: &Wanted) -> Result<String, CertificateFault> {
    let badge = Authority::new("CA").badge(wanted);
    let certificates = certificates(keys);
    let judged = certificates.judge(&badge.der, None);
    judged.map(|vouched| vouched.username)
}

fn wanted(subject: &[(&'static str, &str)], names: &[(&'static str, &str)]) -> Wanted {
    let own = |list: &[(&'static str, &str)]| {
        let own = list
            .iter()
            .map(|(kind, value)| (*kind, (*value).to_owned()));
        own.collect()
    };
    Wanted {
        subject: own(subject),
        names: own(names),
        ..Wanted::cn(1, "")
    }
}

#[test]
fn a_template_makes_a_username_of_the_subject_or_an_alternative_name() {
    for (template, subject, names, username) in [
        ("{cn}", &[("cn", "alice@red")][..], &[][..], "alice@red"),
        (
            "{cn}@{o}",
            &[("cn", "alice"), ("o", "red")],
            &[],
            "alice@red",
        ),
        (
            "device:{ou}:{cn}",
            &[("cn", "d1"), ("ou", "red")],
            &[],
            "device:red:d1",
        ),
        (
            "device:red:{dns}",
            &[],
            &[("dns", "d1.example.com")],
            "device:red:d1.example.com",
        ),
        (
            "{email}",
            &[("cn", "x")],
            &[("email", "alice@red"), ("dns", "y")],
            "alice@red",
        ),
        ("{uri}", &[], &[("uri", "device:red:d1")], "device:red:d1"),
    ] {
        let found = named(
            &format!("username = \"{template}\"\n"),
            &wanted(subject, names),
        );
        assert_eq!(found.as_deref(), Ok(username), "{template}");
    }
}

#[test]
fn a_certificate_that_could_name_two_or_none_names_nobody() {
    let names = CertificateFault::Names;
    for (template, subject, alternatives) in [
        ("{cn}", &[][..], &[("dns", "alice@red")][..]),
        ("{cn}@{o}", &[("cn", "alice@blue"), ("o", "red")], &[]),
        ("{cn}@{o}", &[("cn", "alice"), ("o", "red:x")], &[]),
        ("device:red:{dns}", &[], &[("dns", "d1"), ("dns", "d2")]),
        ("{email}", &[("cn", "alice@red")], &[]),
    ] {
        let found = named(
            &format!("username = \"{template}\"\n"),
            &wanted(subject, alternatives),
        );
        assert_eq!(found, Err(names), "{template} {subject:?} {alternatives:?}");
    }
}

#[test]
fn it_ends_with_its_own_time_and_its_username_is_no_other() {
    let badge = Authority::new("CA").badge(&Wanted::cn(7, "alice@red"));
    let certificates = certificates("username = \"{cn}\"\nbindings = [\"owner={o}\"]\n");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = Time::EPOCH + Span::from_secs(now.expect("after 1970").as_secs());
    for username in [None, Some(""), Some("alice@red")] {
        let vouched = certificates.judge(&badge.der, username).expect("good");
        assert!(vouched.expires > now + Span::from_secs(86_000));
        assert!(vouched.expires < now + Span::from_secs(86_500));
        assert_eq!(vouched.bindings, [], "nothing is said of an owner");
    }
    let other = certificates.judge(&badge.der, Some("bob@red")).map(drop);
    assert_eq!(other, Err(CertificateFault::Username));
    for cut in [0, 1, badge.der.len() / 2] {
        let cut = certificates.judge(&badge.der[..cut], None).map(drop);
        assert_eq!(cut, Err(CertificateFault::Bad));
    }
}

#[test]
fn a_template_asks_for_what_certificates_have() {
    let text = "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
                client_ca = \"/dev/null/x\"\nclient_certificate = \"optional\"\n\
                [identity.certificate]\nusername = \"{sub}@{o}\"\n";
    let problems = Config::parse("test.toml", text, [])
        .expect_err("wrong")
        .problems;
    let problems: Vec<_> = problems
        .iter()
        .map(|it| format!("{}: {}", it.key, it.what))
        .collect();
    let has = |text: &str| problems.iter().any(|problem| problem.contains(text));
    assert!(
        has("identity.certificate.username: a certificate has no `sub`"),
        "{problems:#?}"
    );
    assert!(
        has("listener.a.client_ca: has no use: tcp is not encrypted"),
        "{problems:#?}"
    );
    assert!(
        has("listener.a.client_certificate: has no use"),
        "{problems:#?}"
    );
}
