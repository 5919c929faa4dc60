use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;
use crate::identity::{SecretError, TokenKey};

/// The example of RFC 7677, section 3: user `user`, password `pencil`.
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
    c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_SIGNATURE: &str = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn pencil() -> Verifier {
    let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    Verifier::derive("pencil", MIN_ITERATIONS, &salt)
}

fn sign(key: &[u8]) -> hmac::Tag {
    hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, key),
        AUTH_MESSAGE.as_bytes(),
    )
}

#[test]
fn a_verifier_is_what_rfc_7677_makes_of_its_example() {
    let verifier = pencil();
    let proof = FINAL.split_once("p=").unwrap().1;
    let proof = BASE64_STANDARD.decode(proof).unwrap();
    let signature = sign(&verifier.stored_key);
    let client_key: Vec<u8> = proof
        .iter()
        .zip(signature.as_ref())
        .map(|(a, b)| a ^ b)
        .collect();
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    assert_eq!(stored_key.as_ref(), verifier.stored_key);
    let signature = BASE64_STANDARD.encode(sign(&verifier.server_key));
    assert_eq!(signature, SERVER_SIGNATURE);
}

#[test]
fn a_password_is_prepared_as_its_client_prepares_it() {
    let same = |one: &str, other: &str| {
        let verifier = |password| Verifier::derive(password, MIN_ITERATIONS, b"somesalt");
        verifier(one) == verifier(other)
    };
    // RFC 4013, section 3.
    assert!(same("I\u{AD}X", "IX"));
    assert!(same("\u{2168}", "IX"));
    assert!(!same("user", "USER"));
    // Prohibited there: taken as it is.
    assert!(!same("\u{7}", ""));
}

#[test]
fn the_text_of_a_verifier_reads_back_and_no_other_text_does() {
    let verifier = pencil();
    let text = verifier.to_string();
    assert!(
        text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"),
        "{text}"
    );
    assert_eq!(text.parse(), Ok(verifier));
    let key = BASE64_STANDARD.encode([7; 32]);
    for (text, why) in [
        (
            text.replace("SCRAM-SHA-256", "SCRAM-SHA-1"),
            "it has another form",
        ),
        (text.replace("4096:", "4096"), "it has another form"),
        (text.replace("4096", "x"), "the iterations are no number"),
        (
            text.replace("4096", "4095"),
            "it takes 4,096 to 10,000,000 iterations",
        ),
        (
            text.replace("4096", "10000001"),
            "it takes 4,096 to 10,000,000 iterations",
        ),
        (
            text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "c2FsdA=="),
            "the salt takes 8 to 64 bytes in base64",
        ),
        (
            text.replace("W22ZaJ0SNY7soEsUEjb6gQ==", "no base64"),
            "the salt takes 8 to 64 bytes in base64",
        ),
        (
            format!("SCRAM-SHA-256$4096:c29tZXNhbHQ=${key}:c2hvcnQ="),
            "ServerKey takes 32 bytes in base64",
        ),
        (
            format!("SCRAM-SHA-256$4096:c29tZXNhbHQ=$c2hvcnQ=:{key}"),
            "StoredKey takes 32 bytes in base64",
        ),
    ] {
        assert_eq!(
            text.parse::<Verifier>(),
            Err(SecretError::Scram(why)),
            "{text}"
        );
    }
}

#[test]
fn a_verifier_is_stored_so_that_only_its_key_opens_it() {
    let key = TokenKey::random().unwrap();
    let seal = Seal::new(&key).unwrap();
    let verifier = pencil();
    let sealed = seal.seal(&verifier).unwrap();
    assert!(
        sealed.starts_with(&format!("$scram${}$", key.id())),
        "{sealed}"
    );
    assert_eq!(seal.open(&sealed), Some(verifier.clone()));
    assert_eq!(
        Seal::new(&key).unwrap().open(&sealed),
        Some(verifier.clone())
    );
    assert_ne!(
        seal.seal(&verifier).unwrap(),
        sealed,
        "sealed anew each time"
    );

    let other = Seal::new(&TokenKey::random().unwrap()).unwrap();
    assert_eq!(other.open(&sealed), None);
    let claimed = sealed.replace(key.id(), &other.seal(&verifier).unwrap()[7..15]);
    assert_eq!(other.open(&claimed), None);
    for at in 16..sealed.len() {
        let mut changed = sealed.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
        assert_eq!(
            seal.open(str::from_utf8(&changed).unwrap()),
            None,
            "at {at}"
        );
    }
    for text in ["", "$scram$", &sealed[..16], &verifier.to_string()] {
        assert_eq!(seal.open(text), None, "{text}");
    }
    assert!(
        !format!("{seal:?} {verifier:?}").contains("W22Z"),
        "not printed"
    );
}

#[test]
fn a_user_who_is_not_there_has_a_challenge_that_could_be_anybodys() {
    let key = TokenKey::random().unwrap();
    let seal = Seal::new(&key).unwrap();
    let real = Verifier::make("password", MIN_ITERATIONS).unwrap();
    let sealed = seal.seal(&real).unwrap();
    let ask = |username, stored| seal.open_or_decoy(username, MIN_ITERATIONS, stored);
    assert_eq!(ask("somebody", Some(sealed.as_str())), (real.clone(), true));

    let (nobody, fits) = ask("nobody", None);
    assert!(!fits);
    assert_eq!(nobody.iterations, real.iterations);
    assert_eq!(nobody.salt.len(), real.salt.len());
    assert_eq!(ask("nobody", None).0, nobody, "the same each time");
    assert_eq!(
        Seal::new(&key)
            .unwrap()
            .open_or_decoy("nobody", MIN_ITERATIONS, None)
            .0,
        nobody
    );
    assert_ne!(ask("nobody else", None).0.salt, nobody.salt);
    let other = Seal::new(&TokenKey::random().unwrap()).unwrap();
    assert!(!other.open_or_decoy("x", MIN_ITERATIONS, Some(&sealed)).1);
    assert_ne!(
        other.open_or_decoy("nobody", MIN_ITERATIONS, None).0.salt,
        nobody.salt
    );
}

#[test]
fn a_first_message_is_taken_to_the_letter() {
    for (message, username) in [
        (FIRST, "user"),
        ("y,,n=user,r=x", "user"),
        ("n,a=user,n=user,r=x", "user"),
        ("n,,n=alice@a,r=x", "alice@a"),
        ("n,,n=a=2Cb=3Dc=3D2C,r=x", "a,b=c=2C"),
        ("n,,n=zoë,r=!~", "zoë"),
    ] {
        assert_eq!(
            client_first(message.as_bytes()).as_deref(),
            Some(username),
            "{message}"
        );
    }
    let long = format!("n,,n={},r=x", "u".repeat(3000));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n",
        "n,,n=",
        "n,,n=u",
        "n,,n=u,",
        "n,,n=u,r",
        "n,,n=u,r=",
        "n,a,n=u,r=x",
        "n,a=,n=u,r=x",
        "n,x=u,n=u,r=x",
        "n,a=other,n=u,r=x",
        "p=tls-exporter,,n=u,r=x",
        "x,,n=u,r=x",
        ",,n=u,r=x",
        "n,,m=ext,n=u,r=x",
        "n,,n=u,r=x,",
        "n,,n=u,r=x,e=x",
        "n,,n=,r=x",
        "n,,r=x,n=u",
        "n,,n=u=,r=x",
        "n,,n=u=2,r=x",
        "n,,n=u=2D,r=x",
        "n,,n=u\0,r=x",
        "n,,n=u,r=\u{7f}",
        "n,,n=u,r=a b",
        "n,,n=u,r=é",
        &long,
    ] {
        assert_eq!(client_first(message.as_bytes()), None, "{message}");
    }
    assert_eq!(client_first(b"n,,n=\xFF,r=x"), None);
}

#[test]
fn a_final_message_is_taken_to_the_letter() {
    assert!(client_final(FINAL.as_bytes()));
    let proof = FINAL.split_once("p=").unwrap().1;
    for message in [
        "",
        "c",
        "c=",
        "c=biws",
        "c=biws,",
        "c=biws,r",
        "c=biws,r=",
        "c=biws,r=x,",
        "c=biws,r=x,p",
        "c=biws,r=x,p=",
        "c=biws,r=x,p=AAAA",
        &format!("{FINAL},"),
        &format!("{FINAL},x=y"),
        &format!("c=biws,r=x,x=y,p={proof}"),
        &format!("c=,r=x,p={proof}"),
        &format!("c=bi ws,r=x,p={proof}"),
        &format!("r=x,c=biws,p={proof}"),
        &format!("c=biws,r=x,p={proof}AAAA"),
        &format!("c=biws,r=,p={proof}"),
    ] {
        assert!(!client_final(message.as_bytes()), "{message}");
    }
}

/// What a client might send: like a right message, with something done to it.
fn spoiled(right: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let cut = any::<prop::sample::Index>();
    let change = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let piece =
        prop::sample::select(&[",", "=", "n=", "p=", "r=", "", "=2C", "\0", "é", "AAAA"][..]);
    (cut.clone(), cut, change, piece).prop_map(|(one, other, changes, piece)| {
        let mut bytes = right.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
        bytes.splice(one.min(other)..one.max(other), piece.bytes());
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// The library takes messages apart without looking how long they are.
    #[test]
    fn no_message_panics(first in spoiled(FIRST), last in spoiled(FINAL)) {
        for first in [&first[..], FIRST.as_bytes()] {
            let Some(username) = client_first(first) else { continue };
            let begun = begin(first, username.into(), None, pencil_of_nobody());
            let Some((_, begun)) = begun else { continue };
            if client_final(&last) {
                prop_assert_eq!(begun.finish(&last), None, "a proof for another nonce");
            }
        }
    }
}

fn pencil_of_nobody() -> Verifier {
    Verifier {
        iterations: 4096,
        salt: [1; 16].into(),
        stored_key: [2; 32],
        server_key: [3; 32],
    }
}
