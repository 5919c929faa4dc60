use super::*;

const TOKEN: &str = "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

fn secrets() -> Secrets {
    let params = Params::new(8, 1, 1, None).unwrap();
    Secrets::with_params(TokenKey::random().unwrap(), params).unwrap()
}

#[test]
fn a_machine_token_is_told_by_its_looks() {
    let token = random_token().unwrap();
    for secret in [TOKEN, &token, &format!("{TOKEN}-_more")] {
        assert_eq!(Scheme::of(secret.as_bytes()), Scheme::Token, "{secret}");
    }
    for secret in [
        "",
        "hunter2",
        "_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH",
        "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEF",
        "ffbp-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        "f1_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH",
        "ffbp_0123456789 bcdefghijklmnopqrstuvwxyzABCDEFG",
    ] {
        assert_eq!(Scheme::of(secret.as_bytes()), Scheme::Argon2id, "{secret}");
    }
}

#[test]
fn each_scheme_matches_its_own_secret_and_no_other() {
    let secrets = secrets();
    let token = secrets.hash(TOKEN).unwrap();
    let password = secrets.hash("correct horse").unwrap();
    assert!(token.starts_with("$blake3$"), "{token}");
    assert!(
        password.starts_with("$argon2id$v=19$m=8,t=1,p=1$"),
        "{password}"
    );

    let presented = [
        TOKEN,
        "correct horse",
        "decoy",
        "",
        "ffbp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFX",
    ];
    let matches = |stored: Option<&str>| presented.map(|it| secrets.check(it.as_bytes(), stored));
    assert_eq!(matches(Some(&token)), [true, false, false, false, false]);
    assert_eq!(matches(Some(&password)), [false, true, false, false, false]);
    assert_eq!(matches(None), [false; 5]);
    assert_eq!(matches(Some("$argon2id$broken")), [false; 5]);
    assert_eq!(matches(Some("$blake3$broken")), [false; 5]);
}

#[test]
fn the_work_depends_on_what_is_presented_and_not_on_what_is_stored() {
    let secrets = secrets();
    let token = secrets.hash(TOKEN).unwrap();
    let password = secrets.hash("correct horse").unwrap();
    for stored in [
        None,
        Some(token.as_str()),
        Some(password.as_str()),
        Some("?"),
    ] {
        for (presented, work) in [
            ("correct horse", (1, 0)),
            ("wrong", (1, 0)),
            (TOKEN, (0, 1)),
        ] {
            let before = secrets.work().done();
            secrets.check(presented.as_bytes(), stored);
            let after = secrets.work().done();
            assert_eq!(
                (after.0 - before.0, after.1 - before.1),
                work,
                "{presented} {stored:?}"
            );
        }
    }
}

#[test]
fn a_password_that_is_too_long_never_matches() {
    let secrets = secrets();
    let longest = "x".repeat(MAX_PASSWORD_BYTES);
    let stored = secrets.hash(&longest).unwrap();
    assert!(secrets.check(longest.as_bytes(), Some(&stored)));
    assert!(!secrets.check(format!("{longest}x").as_bytes(), Some(&stored)));
    assert_eq!(
        secrets.hash(&format!("{longest}x")),
        Err(SecretError::TooLong)
    );
    assert_eq!(secrets.hash(""), Err(SecretError::Empty));
}

#[test]
fn a_hash_made_elsewhere_is_taken_when_it_can_be_checked_and_is_not_too_dear() {
    let secrets = secrets();
    // A test vector of the reference implementation: password "password", salt "somesalt".
    let reference =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    assert_eq!(secrets.import(reference), Ok(()));
    assert!(secrets.check(b"password", Some(reference)));
    assert!(!secrets.check(b"Password", Some(reference)));

    let own = secrets.hash(TOKEN).unwrap();
    assert_eq!(secrets.import(&own), Ok(()));
    let other = Secrets::new(TokenKey::random().unwrap()).unwrap();
    assert!(matches!(
        other.import(&own),
        Err(SecretError::OtherKey { .. })
    ));
    assert!(!other.check(TOKEN.as_bytes(), Some(&own)));

    for (hash, error) in [
        (
            reference.replace("m=65536", "m=262144"),
            SecretError::TooDear,
        ),
        (reference.replace("t=2", "t=11"), SecretError::TooDear),
        (
            reference.replace("argon2id", "argon2i"),
            SecretError::UnknownHash,
        ),
        ("$2b$12$abc".to_owned(), SecretError::UnknownHash),
        ("$blake3$zz".to_owned(), SecretError::UnknownHash),
    ] {
        assert!(
            Secrets::is_hash(&hash) || hash.starts_with("$blake3"),
            "{hash}"
        );
        assert_eq!(secrets.import(&hash), Err(error), "{hash}");
    }
    for hash in [
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ".to_owned(),
        reference.replace("v=19", "v=16"),
        reference.replace("m=65536", "m=x"),
    ] {
        assert!(
            matches!(secrets.import(&hash), Err(SecretError::Argon2id(_))),
            "{hash}"
        );
    }
    assert!(!Secrets::is_hash("$ecret"));
    assert!(!Secrets::is_hash("pa$$word"));
}
