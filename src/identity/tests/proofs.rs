//! Logins by SCRAM-SHA-256, with a real client's half of it.

use rsasl::mechname::Mechname;
use rsasl::prelude::{SASLClient, SASLConfig, Session};

use super::*;
use crate::broker::{Exchange, ExchangeState};

const METHOD: &str = "SCRAM-SHA-256";

/// A client's half of an exchange.
struct Prover(Session);

impl Prover {
    fn new(username: &str, password: &str) -> Self {
        let (username, password) = (username.to_owned(), password.to_owned());
        let config = SASLConfig::with_credentials(None, username, password).unwrap();
        let method = Mechname::parse(METHOD.as_bytes()).unwrap();
        Self(SASLClient::new(config).start_suggested(&[method]).unwrap())
    }

    /// What it says next; `None` where it does not trust the server.
    fn step(&mut self, heard: Option<&[u8]>) -> Option<Vec<u8>> {
        let mut said = Vec::new();
        self.0.step(heard, &mut said).ok().map(|_| said)
    }
}

fn step(said: &[u8], state: Option<ExchangeState>, method: &str) -> Login {
    let mut step = login("x", "");
    (step.username, step.password) = (None, None);
    step.exchange = Some(Exchange {
        method: Arc::from(method),
        data: Some(said.into()),
        state,
    });
    step
}

impl Court {
    async fn step(&self, said: &[u8], state: Option<ExchangeState>, client_id: &str) -> Verdict {
        let mut login = step(said, state, METHOD);
        login.client_id = client_id.into();
        self.judge.judge(login, Time::from_micros(2)).await
    }

    /// The challenge to a first message, and the state that goes with it.
    async fn challenge(&self, said: &[u8], client_id: &str) -> (Vec<u8>, ExchangeState) {
        match self.step(said, None, client_id).await {
            Verdict::Challenge { data, state, .. } => (data.into(), state),
            other => panic!("not challenged: {other:?}"),
        }
    }

    /// A whole login, under the username as client id. Where it succeeds, the server has proved
    /// itself too.
    async fn prove(&self, username: &str, password: &str) -> String {
        self.prove_from("192.0.2.7:1234", username, password).await
    }

    /// From this address. As the broker does, the second step has the name that the first one gave.
    async fn prove_from(&self, address: &str, username: &str, password: &str) -> String {
        let mut client = Prover::new(username, password);
        let first = client.step(None).unwrap();
        let (challenge, state) = self.challenge(&first, username).await;
        let answer = client.step(Some(&challenge)).unwrap();
        let mut proof = step(&answer, Some(state), METHOD);
        proof.client_id = username.into();
        proof.username = Some(username.into());
        proof.peer.address = address.parse().unwrap();
        let verdict = self.judge.judge(proof, Time::from_micros(2)).await;
        if let Verdict::AdmitWith { data, .. } = &verdict {
            assert!(
                client.step(Some(data)).is_some(),
                "the server has not proved itself"
            );
        }
        said(verdict)
    }
}

/// Salt and iterations of a challenge, without the nonce.
fn asked(challenge: &[u8]) -> (usize, String, String) {
    let text = std::str::from_utf8(challenge).unwrap();
    let mut parts = text.split(',');
    let nonce = parts.next().unwrap().len();
    let salt = parts.next().unwrap().to_owned();
    (nonce, salt, parts.next().unwrap().to_owned())
}

each_database! {
    async fn whoever_has_a_password_or_a_token_can_prove_it(database) {
        let court = Court::open(&database, quick()).await;
        court.provision().team_suspend("b", true).await.unwrap();
        for (username, password, verdict) in SENT_OR_PROVED {
            assert_eq!(court.prove(username, password).await, verdict, "{username} {password}");
        }
        assert_eq!(court.prove("nobody@a", "correct horse").await, "refuse unknown_user");
        let (rotated, token) = court.provision().client_rotate("alice@a").await.unwrap();
        assert_eq!(rotated.name, "alice@a");
        assert_eq!(court.prove("alice@a", &token).await, "admit alice@a");
        assert_eq!(court.prove("alice@a", "correct horse").await, "refuse wrong_password");
        let (_, added) = court.provision().client_add("new@a", &[]).await.unwrap();
        assert_eq!(court.prove("new@a", &added).await, "admit new@a");
    }

    async fn a_grant_by_proof_is_the_grant_by_password(database) {
        let court = Court::open(&database, quick()).await;
        let mut client = Prover::new("alice@a", "correct horse");
        let first = client.step(None).unwrap();
        let (challenge, state) = court.challenge(&first, "alice@a").await;
        let answer = client.step(Some(&challenge)).unwrap();
        let verdict = court.step(&answer, Some(state), "alice@a").await;
        let Verdict::AdmitWith { grant, .. } = verdict else { panic!("{verdict:?}") };
        assert_eq!((grant.root(), grant.mount()), ("ff/v1/a/", "ff/v1/a/c/"));
        assert_eq!(grant.principal().patterns.len(), 2);
    }

    async fn guesses_by_proof_have_the_end_that_guesses_of_passwords_have(database) {
        let mut settings = quick();
        settings.logins.max_failures = 3;
        settings.logins.free_failures = 9;
        let court = Court::open(&database, settings).await;
        let (near, far) = ("192.0.2.7:1", "198.51.100.7:1");
        for _ in 0..3 {
            let found = court.prove_from(near, "alice@a", "guess").await;
            assert_eq!(found, "refuse wrong_password");
        }
        for (from, username, password) in [
            (near, "alice@a", "guess"),
            (near, "alice@a", "correct horse"),
            (near, "nobody@a", "guess"),
            (near, "mute@a", "guess"),
            (far, "alice@a", "correct horse"),
        ] {
            let found = court.prove_from(from, username, password).await;
            assert_eq!(found, "refuse too_many_failures", "{from} {username} {password}");
        }
        // A token cannot be guessed; and who guesses one is told no less.
        let proved = court.prove_from(near, INSTANCE, TOKEN).await;
        assert_eq!(proved, "admit project:a:i1");
        let found = court.prove_from(near, INSTANCE, OTHER_TOKEN).await;
        assert_eq!(found, "refuse wrong_password");
        let proved = court.prove_from(far, "device:a:d1", "device password").await;
        assert_eq!(proved, "admit device:a:d1");
    }

    async fn a_challenge_does_not_tell_who_exists(database) {
        let court = Court::open(&database, quick()).await;
        let ask = async |username: &str| {
            let first = format!("n,,n={username},r=nonce");
            asked(&court.challenge(first.as_bytes(), username).await.0)
        };
        for (known, unknown) in [
            ("alice@a", "nobody@a"),
            ("alice@a", "mute@a"),
            ("alice@a", "anything"),
            (INSTANCE, "project:a:nobody"),
            ("device:a:d1", "device:a:nobody"),
        ] {
            let (nonce, salt, iterations) = ask(known).await;
            let again = ask(known).await;
            let (other_nonce, other_salt, other_iterations) = ask(unknown).await;
            assert_eq!((nonce, salt.len(), &iterations), (other_nonce, other_salt.len(), &other_iterations));
            assert_eq!((again.1, again.2), (salt.clone(), iterations), "{known}");
            assert_eq!(ask(unknown).await.1, other_salt, "{unknown}");
            assert_ne!(salt, other_salt);
        }
        assert_eq!(ask("alice@a").await.2, "i=16384");
        assert_eq!(ask("device:a:d1").await.2, "i=4096");
    }

    async fn a_method_or_a_message_that_is_not_known_is_refused_for_it(database) {
        let court = Court::open(&database, quick()).await;
        for method in ["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "scram-sha-256", ""] {
            let verdict = court.judge.judge(step(b"n,,n=alice@a,r=x", None, method), Time::EPOCH).await;
            assert_eq!(said(verdict), "refuse method", "{method}");
        }
        let verdict = court.step(b"nonsense", None, "alice@a").await;
        assert_eq!(said(verdict), "refuse exchange");
        let mut empty = step(b"", None, METHOD);
        empty.exchange.as_mut().unwrap().data = None;
        assert_eq!(said(court.judge.judge(empty, Time::EPOCH).await), "refuse exchange");

        let mut client = Prover::new("alice@a", "correct horse");
        let first = client.step(None).unwrap();
        let (_, state) = court.challenge(&first, "alice@a").await;
        let verdict = court.step(b"nonsense", Some(state), "alice@a").await;
        assert_eq!(said(verdict), "refuse exchange");

        let mut renamed = step(b"n,,n=alice@a,r=x", None, METHOD);
        renamed.username = Some(Box::from("bob@b"));
        assert_eq!(said(court.judge.judge(renamed, Time::EPOCH).await), "refuse exchange");
        let mut named = step(b"n,,n=alice@a,r=x", None, METHOD);
        named.username = Some(Box::from("alice@a"));
        named.password = Some(Box::from(*b"is not looked at"));
        assert_eq!(said(court.judge.judge(named, Time::EPOCH).await), "challenge");
    }

    async fn a_proof_needs_the_client_id_that_the_role_asks_for(database) {
        let court = Court::open(&database, quick()).await;
        let mut client = Prover::new("alice@a", "correct horse");
        let first = client.step(None).unwrap();
        let (challenge, state) = court.challenge(&first, "someone else").await;
        let answer = client.step(Some(&challenge)).unwrap();
        let verdict = court.step(&answer, Some(state), "someone else").await;
        assert_eq!(said(verdict), "refuse client_id");
    }

    async fn what_was_proved_must_still_be_on_record(database) {
        let court = Court::open(&database, quick()).await;
        for (change, verdict) in [
            ("rotate", "refuse wrong_password"),
            ("revoke", "refuse unknown_user"),
        ] {
            let password = match change {
                "rotate" => "correct horse".to_owned(),
                _ => court.provision().client_rotate("alice@a").await.unwrap().1,
            };
            let mut client = Prover::new("alice@a", &password);
            let first = client.step(None).unwrap();
            let (challenge, state) = court.challenge(&first, "alice@a").await;
            let answer = client.step(Some(&challenge)).unwrap();
            match change {
                "rotate" => drop(court.provision().client_rotate("alice@a").await.unwrap()),
                _ => drop(court.provision().client_revoke("alice@a").await.unwrap()),
            }
            let judged = court.step(&answer, Some(state), "alice@a").await;
            assert_eq!(said(judged), verdict, "{change}");
        }
    }

    async fn a_password_from_before_can_be_proved_once_it_is_applied_again(database) {
        let court = Court::open(&database, quick()).await;
        sqlx::query("UPDATE principal SET scram = NULL")
            .execute(court.database.pool())
            .await
            .unwrap();
        assert_eq!(court.prove("alice@a", "correct horse").await, "refuse no_credential");
        assert_eq!(court.judge("alice@a", "correct horse").await, "admit alice@a");
        let applied = court.provision().apply("world.toml", WORLD).await.unwrap();
        let changes: Vec<_> = applied.changes.iter().map(ToString::to_string).collect();
        assert!(changes.contains(&"~ client alice@a: scram".to_owned()), "{changes:?}");
        assert_eq!(court.prove("alice@a", "correct horse").await, "admit alice@a");
        let applied = court.provision().apply("world.toml", WORLD).await.unwrap();
        assert_eq!(applied.changes, []);
    }

    async fn a_verifier_made_elsewhere_is_taken_in_and_kept_sealed(database) {
        let court = Court::open(&database, quick()).await;
        // RFC 7677's example: password `pencil`.
        let verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
            WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        let file = format!("[[client]]\nname = 'alice'\nteam = 'a'\npassword = '{verifier}'");
        let apply = async || {
            let applied = court.provision().apply("file.toml", &file).await.unwrap();
            applied.changes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(apply().await, ["~ client alice@a: acl, password"]);
        assert_eq!(apply().await, [""; 0]);
        assert_eq!(court.prove("alice@a", "pencil").await, "admit alice@a");
        assert_eq!(court.prove("alice@a", "Pencil").await, "refuse wrong_password");
        // There is nothing to check a password against that is sent.
        assert_eq!(court.judge("alice@a", "pencil").await, "refuse no_credential");

        let stored: Vec<Option<String>> = sqlx::query_scalar("SELECT scram FROM principal")
            .fetch_all(court.database.pool())
            .await
            .unwrap();
        assert_eq!(stored.iter().flatten().count(), 5);
        for stored in stored.iter().flatten() {
            assert!(stored.starts_with("$scram$"), "{stored}");
        }
    }

    async fn a_verifier_of_another_key_lets_nobody_in(database) {
        let court = Court::open(&database, quick()).await;
        let other = Secrets::new(TokenKey::random().unwrap()).unwrap();
        let nothing = Credential::default();
        let credential = other.credential("alice@a", "correct horse", &nothing).unwrap();
        sqlx::query("UPDATE principal SET scram = $1 WHERE username = 'alice@a'")
            .bind(credential.scram)
            .execute(court.database.pool())
            .await
            .unwrap();
        assert_eq!(court.prove("alice@a", "correct horse").await, "refuse no_credential");
    }
}
