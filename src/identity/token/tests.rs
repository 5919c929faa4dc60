//! Tokens that are good, and every way in which one is not.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::time::Span;

use crate::identity::issuer::{AUDIENCE, ISSUER, Issuer, base64};

const NOW_S: u64 = 1_900_000_000;
const ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

fn now() -> Time {
    Time::EPOCH + Span::from_secs(NOW_S)
}

struct Bench {
    issuer: Issuer,
    tokens: Arc<Tokens>,
    files: Followed,
    dir: tempfile::TempDir,
}

impl Bench {
    fn write(&self, text: &str) {
        std::fs::write(self.dir.path().join("keys"), text).expect("written");
    }

    fn judge(&self, token: &str) -> Result<String, TokenFault> {
        self.judge_as(token, None)
    }

    fn judge_as(&self, token: &str, username: Option<&str>) -> Result<String, TokenFault> {
        let judged = self.tokens.judge(token.as_bytes(), username, now());
        judged.map(|vouched| vouched.username)
    }
}

/// With these lines in `[identity.jwt]`, and a file of keys.
fn bench_with(more: &str, keys: impl Fn(&Issuer) -> String) -> Bench {
    let dir = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new();
    let path = dir.path().join("keys");
    std::fs::write(&path, keys(&issuer)).expect("written");
    let text = format!(
        "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
         [identity.jwt]\nkeys = [{path:?}]\nissuer = \"{ISSUER}\"\naudience = [\"{AUDIENCE}\", \"b\"]\n\
         leeway = \"10 s\"\n{more}"
    );
    let config = Config::parse("test.toml", &text, []).expect("sound");
    let again = Config::parse("shown.toml", &config.to_toml(), []).expect("what is shown is sound");
    assert_eq!(again.identity, config.identity);
    let jwt = config.identity.jwt.expect("it is there");
    let (tokens, files) = Tokens::open(jwt).expect("keys");
    Bench {
        issuer,
        tokens,
        files,
        dir,
    }
}

fn bench() -> Bench {
    bench_with("username = \"{name}@{team}\"\n", Issuer::pems)
}

fn alice() -> Value {
    json!({ "name": "alice", "team": "red" })
}

/// The claims of a good token, changed.
fn claims(change: impl Fn(&mut Value)) -> Value {
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": NOW_S + 60, "name": "alice", "team": "red",
    });
    change(&mut claims);
    claims
}

#[test]
fn a_good_token_of_each_algorithm_is_its_bearers_login_until_it_is_over() {
    let bench = bench();
    for algorithm in ALGORITHMS {
        let token = bench.issuer.token(algorithm, NOW_S + 60, alice());
        let vouched = bench.tokens.judge(token.as_bytes(), None, now());
        let vouched = vouched.expect("good");
        assert_eq!(vouched.username, "alice@red");
        assert_eq!(vouched.expires, now() + Span::from_secs(70));
    }
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let bench = bench();
    let claims = claims(|_| {});
    for algorithm in ALGORITHMS {
        for said in [
            "none", "None", "HS256", "RS384", "PS256", "ES384", "nonsense", "ES512",
        ] {
            let token = bench
                .issuer
                .sign(algorithm, &json!({ "alg": said }), &claims);
            assert_eq!(bench.judge(&token), Err(TokenFault::Algorithm), "{said}");
        }
        // Signed well, by a key for another algorithm than it says.
        for said in ALGORITHMS.into_iter().filter(|said| *said != algorithm) {
            let token = bench
                .issuer
                .sign(algorithm, &json!({ "alg": said }), &claims);
            assert_eq!(
                bench.judge(&token),
                Err(TokenFault::Signature),
                "{algorithm} as {said}"
            );
        }
    }
    // A public key is no shared secret.
    for pem in ALGORITHMS.map(|algorithm| bench.issuer.pem(algorithm)) {
        let head = base64(json!({ "alg": "HS256" }).to_string().as_bytes());
        let message = format!("{head}.{}", base64(claims.to_string().as_bytes()));
        for secret in [pem.as_bytes(), pem.trim_end().as_bytes()] {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
            let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
            let token = format!("{message}.{}", base64(tag.as_ref()));
            assert_eq!(bench.judge(&token), Err(TokenFault::Algorithm));
        }
    }
    // Without a signature.
    let head = base64(json!({ "alg": "RS256" }).to_string().as_bytes());
    let bare = format!("{head}.{}.", base64(claims.to_string().as_bytes()));
    assert_eq!(bench.judge(&bare), Err(TokenFault::Signature));
}

#[test]
fn each_claim_that_is_wrong_or_missing_has_its_own_reason() {
    let bench = bench();
    let head = json!({ "alg": "ES256" });
    let says = |change: &dyn Fn(&mut Value)| {
        bench.judge(&bench.issuer.sign("ES256", &head, &claims(change)))
    };
    let remove = |name: &'static str| {
        move |claims: &mut Value| drop(claims.as_object_mut().expect("an object").remove(name))
    };
    assert_eq!(says(&|_| {}).as_deref(), Ok("alice@red"));
    assert_eq!(
        says(&|it| it["aud"] = json!(["x", "b"])).as_deref(),
        Ok("alice@red")
    );
    let faults: [(&str, &dyn Fn(&mut Value), TokenFault); 15] = [
        (
            "another issuer",
            &|it| it["iss"] = json!("https://evil"),
            TokenFault::Issuer,
        ),
        ("no issuer", &remove("iss"), TokenFault::Issuer),
        (
            "another audience",
            &|it| it["aud"] = json!("x"),
            TokenFault::Audience,
        ),
        ("no audience", &remove("aud"), TokenFault::Audience),
        (
            "over",
            &|it| it["exp"] = json!(NOW_S - 10),
            TokenFault::Expired,
        ),
        ("long over", &|it| it["exp"] = json!(5), TokenFault::Expired),
        ("without an end", &remove("exp"), TokenFault::Malformed),
        (
            "an end in words",
            &|it| it["exp"] = json!("soon"),
            TokenFault::Malformed,
        ),
        (
            "to come",
            &|it| it["nbf"] = json!(NOW_S + 11),
            TokenFault::NotYet,
        ),
        (
            "a beginning in words",
            &|it| it["nbf"] = json!("now"),
            TokenFault::Malformed,
        ),
        ("no team", &remove("team"), TokenFault::Claims),
        (
            "an empty name",
            &|it| it["name"] = json!(""),
            TokenFault::Claims,
        ),
        (
            "a list of names",
            &|it| it["name"] = json!(["alice"]),
            TokenFault::Claims,
        ),
        (
            "a name with a team",
            &|it| it["name"] = json!("alice@blue"),
            TokenFault::Claims,
        ),
        (
            "a name of another form",
            &|it| it["name"] = json!("a:b"),
            TokenFault::Claims,
        ),
    ];
    for (what, change, fault) in faults {
        assert_eq!(says(change), Err(fault), "{what}");
    }
    // Within the leeway.
    assert_eq!(
        says(&|it| it["exp"] = json!(NOW_S - 9)).as_deref(),
        Ok("alice@red")
    );
    assert_eq!(
        says(&|it| it["nbf"] = json!(NOW_S + 9)).as_deref(),
        Ok("alice@red")
    );
    assert_eq!(
        says(&|it| it["exp"] = json!(NOW_S as f64 + 0.5)).as_deref(),
        Ok("alice@red")
    );
}

#[test]
fn what_is_not_understood_or_altered_is_refused() {
    let bench = bench();
    let good = bench.issuer.token("EdDSA", NOW_S + 60, alice());
    let critical = json!({ "alg": "EdDSA", "crit": ["exp"] });
    let critical = bench.issuer.sign("EdDSA", &critical, &claims(|_| {}));
    assert_eq!(bench.judge(&critical), Err(TokenFault::Malformed));
    for (wrong, fault) in [
        ("", TokenFault::Malformed),
        ("eyJ..", TokenFault::Malformed),
        ("a.b.c", TokenFault::Malformed),
        (good.trim_end_matches(|c| c != '.'), TokenFault::Signature),
        (&good[1..], TokenFault::Malformed),
    ] {
        assert_eq!(bench.judge(wrong), Err(fault), "{wrong:?}");
    }
    let other = Issuer::new().token("EdDSA", NOW_S + 60, alice());
    assert_eq!(bench.judge(&other), Err(TokenFault::Signature));
    let (head, rest) = good.split_once('.').expect("a dot");
    let (_, signature) = rest.split_once('.').expect("a dot");
    let other = claims(|it| it["team"] = json!("blue")).to_string();
    let swapped = format!("{head}.{}.{signature}", base64(other.as_bytes()));
    assert_eq!(bench.judge(&swapped), Err(TokenFault::Signature));
    let long = json!({ "name": "alice", "team": "red", "x": "x".repeat(TOKEN_MAX) });
    let long = bench.issuer.token("EdDSA", NOW_S + 60, long);
    assert_eq!(bench.judge(&long), Err(TokenFault::Malformed));
}

#[test]
fn a_username_beside_the_token_is_the_tokens_own_or_stands_for_it() {
    let bench = bench_with(
        "username = \"{name}@{team}\"\nplaceholders = [\"jwt\", \"token\"]\n",
        Issuer::pems,
    );
    let token = bench.issuer.token("ES256", NOW_S + 60, alice());
    for username in [
        None,
        Some(""),
        Some("jwt"),
        Some("token"),
        Some("alice@red"),
    ] {
        let judged = bench.judge_as(&token, username);
        assert_eq!(judged.as_deref(), Ok("alice@red"), "{username:?}");
    }
    for username in ["bob@red", "alice@blue", "JWT", "forge_platform"] {
        let judged = bench.judge_as(&token, Some(username));
        assert_eq!(judged, Err(TokenFault::Username), "{username}");
    }
}

#[test]
fn bindings_and_patterns_are_what_the_claims_say() {
    let bench = bench_with(
        "username = \"device:{team}:{sub}\"\npatterns = \"topics\"\n\
         bindings = [\"owner_type={owner_type}\", \"owner={owner}\", \"site=site-{n}\"]\n",
        Issuer::pems,
    );
    let judge = |more: Value| {
        let mut claims = json!({ "team": "red", "sub": 7 });
        let all = claims.as_object_mut().expect("an object");
        all.extend(more.as_object().expect("an object").clone());
        let token = bench.issuer.token("ES256", NOW_S + 60, claims);
        let vouched = bench.tokens.judge(token.as_bytes(), None, now())?;
        assert_eq!(vouched.username, "device:red:7");
        let bindings = vouched.bindings.iter();
        let bindings: Vec<_> = bindings
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Ok((bindings, vouched.patterns))
    };
    assert_eq!(judge(json!({})), Ok((vec![], None)));
    let owned = json!({ "owner_type": "instance", "owner": "i1", "n": 3 });
    let expected = ["owner_type=instance", "owner=i1", "site=site-3"].map(str::to_owned);
    assert_eq!(judge(owned), Ok((expected.to_vec(), None)));
    let topics = json!({ "topics": [{ "action": "both", "effect": "allow", "pattern": "own/#" }] });
    let (_, patterns) = judge(topics).expect("good");
    let filters: Vec<_> = patterns.iter().flatten().map(|it| &*it.filter).collect();
    assert_eq!(filters, ["own/#"]);
    for wrong in [json!("own/#"), json!([{ "pattern": "#" }]), json!({})] {
        assert_eq!(judge(json!({ "topics": wrong })), Err(TokenFault::Claims));
    }
}

#[test]
fn a_key_id_chooses_the_key_and_an_unknown_one_none() {
    let bench = bench_with("username = \"{name}@{team}\"\n", |issuer| {
        issuer.jwks(&ALGORITHMS, "1").to_string()
    });
    for algorithm in ALGORITHMS {
        let says = |id: Option<&str>| {
            let mut head = json!({ "alg": algorithm });
            if let Some(id) = id {
                head["kid"] = json!(id);
            }
            bench.judge(&bench.issuer.sign(algorithm, &head, &claims(|_| {})))
        };
        assert_eq!(says(None).as_deref(), Ok("alice@red"), "{algorithm}");
        let own = format!("{algorithm}-1");
        assert_eq!(says(Some(&own)).as_deref(), Ok("alice@red"), "{algorithm}");
        assert_eq!(says(Some("else")), Err(TokenFault::UnknownKey));
        let other = if algorithm == "RS256" {
            "ES256-1"
        } else {
            "RS256-1"
        };
        assert_eq!(says(Some(other)), Err(TokenFault::Algorithm));
    }
}

#[test]
fn keys_that_change_are_taken_up_and_rubbish_is_not() {
    let mut bench = bench_with("username = \"{name}@{team}\"\n", |issuer| {
        issuer.jwks(&["ES256"], "1").to_string()
    });
    let token = |algorithm: &str| bench.issuer.token(algorithm, NOW_S + 60, alice());
    let (old, new) = (token("ES256"), token("EdDSA"));
    assert!(bench.judge(&old).is_ok() && bench.judge(&new).is_err());
    let mut follow = |text: &str| {
        bench.write(text);
        bench
            .tokens
            .follow(&mut bench.files)
            .map_err(|error| error.to_string())
    };
    for (text, why) in [
        ("rubbish", "holds no public key"),
        ("{\"keys\": []}", "holds no public key"),
        ("{", "is not a JWK set"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "another algorithm",
        ),
        (
            "{\"keys\": [{\"kty\": \"oct\", \"k\": \"AAAA\"}]}",
            "holds no public key",
        ),
    ] {
        let error = follow(text).expect_err(text);
        assert!(error.contains(why), "{error}");
        // Said again as long as it is so.
        assert!(follow(text).is_err(), "{text}");
    }
    assert!(bench.judge(&old).is_ok(), "what was known stays in force");
    let mut follow = || bench.tokens.follow(&mut bench.files).expect("keys");
    let text = bench.issuer.pem("EdDSA");
    std::fs::write(bench.dir.path().join("keys"), text).expect("written");
    assert!(follow() && !follow());
    assert!(bench.judge(&new).is_ok());
    assert_eq!(bench.judge(&old), Err(TokenFault::Algorithm));
}

#[test]
fn keys_for_other_things_are_passed_over() {
    let bench = bench_with("username = \"{name}@{team}\"\n", |issuer| {
        let mut set = issuer.jwks(&ALGORITHMS, "1");
        set["keys"][0]["use"] = json!("enc");
        set["keys"][1]["alg"] = json!("ES384");
        let strange = json!({ "kty": "FOO", "x": 1 });
        set["keys"].as_array_mut().expect("a list").push(strange);
        set.to_string()
    });
    for (algorithm, is_good) in [("RS256", false), ("ES256", false), ("EdDSA", true)] {
        let token = bench.issuer.token(algorithm, NOW_S + 60, alice());
        assert_eq!(bench.judge(&token).is_ok(), is_good, "{algorithm}");
    }
}

#[test]
fn only_what_looks_like_a_token_is_taken_for_one() {
    let bench = bench();
    let token = bench.issuer.token("ES256", NOW_S + 60, alice());
    assert!(is_token(token.as_bytes()));
    for password in [
        "",
        "ffbd_0123",
        "correct horse",
        "eyJhbGciOi",
        "eyJ.a",
        "eyJ.a.b.c",
        "eyJ.a.b c",
    ] {
        assert!(!is_token(password.as_bytes()), "{password}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_signed_by_nobody_is_refused(
        head in "[ -~]{0,40}", claims in "[ -~]{0,60}", signature in any::<[u8; 64]>(),
    ) {
        thread_local!(static BENCH: Bench = bench());
        BENCH.with(|bench| {
            for head in [head.clone(), format!("{{\"alg\":\"ES256\",{head}}}"), "{\"alg\":\"EdDSA\"}".to_owned()] {
                let token = [head.as_bytes(), claims.as_bytes(), &signature].map(base64).join(".");
                assert!(bench.judge(&token).is_err(), "{token}");
            }
        });
    }
}
