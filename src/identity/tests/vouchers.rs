//! Logins that a token or a certificate vouches for, judged against a database and the policy.

use serde_json::{Value, json};

use super::*;
use crate::broker::Exchange;
use crate::config::Config;
use crate::policy::Grant;
use crate::time::Span;

use crate::identity::authority::{Authority, Wanted};
use crate::identity::issuer::{AUDIENCE, ISSUER, Issuer};

const NOW_S: u64 = 1_900_000_000;
const CERTIFICATE: &str = "[identity.certificate]\nusername = \"{cn}\"\n";

fn now() -> Time {
    Time::EPOCH + Span::from_secs(NOW_S)
}

struct Office {
    judge: Authenticator,
    issuer: Issuer,
    /// Its own judge knows no tokens.
    court: Court,
}

impl Office {
    async fn open(database: &TestDatabase, more: &str) -> Self {
        let issuer = Issuer::new();
        let path = database.folder().join("keys.pem");
        std::fs::write(&path, issuer.pems()).unwrap();
        let text = format!(
            "[[listener]]\nname = \"a\"\ntransport = \"tcp\"\nbind = \"127.0.0.1:0\"\n\
             [identity.jwt]\nkeys = [{path:?}]\nissuer = \"{ISSUER}\"\n\
             audience = [\"{AUDIENCE}\"]\nusername = \"{{sub}}\"\nleeway = \"0 s\"\n\
             bindings = [\"owner_type={{owner_type}}\", \"owner={{owner}}\"]\n\
             patterns = \"topics\"\n{more}"
        );
        let config = Config::parse("test.toml", &text, []).unwrap();
        let (tokens, _) = Tokens::open(config.identity.jwt.unwrap()).unwrap();
        let court = Court::open(database, quick()).await;
        let judge = Authenticator::new(
            court.database.clone(),
            Arc::clone(&court.policy),
            Arc::clone(&court.secrets),
            HashMap::new(),
            quick(),
        );
        let mut judge = judge.unwrap().with_tokens(tokens);
        if let Some(mapping) = config.identity.certificate {
            judge = judge.with_certificates(Certificates::new(mapping));
        }
        Self {
            judge,
            issuer,
            court,
        }
    }

    fn token(&self, claims: Value) -> String {
        self.issuer.token("ES256", NOW_S + 60, claims)
    }

    async fn verdict(&self, claims: Value) -> Verdict {
        let mut login = login("", &self.token(claims.clone()));
        login.client_id = claims["sub"].as_str().unwrap_or("x").into();
        self.judge.judge(login, now()).await
    }

    /// A login with a certificate of this common name.
    fn shown(&self, name: &str, username: Option<&str>, password: Option<&str>) -> Login {
        let mut login = login(name, "");
        login.username = username.map(Into::into);
        login.password = password.map(|it| it.as_bytes().into());
        // Good until after `now`.
        let mut wanted = Wanted::cn(1, name);
        wanted.good.1 = 1 << 31;
        login.certificate = Some(Authority::new("CA").badge(&wanted).der.into());
        login
    }

    async fn says(&self, claims: Value) -> String {
        said(self.verdict(claims).await)
    }

    async fn grant(&self, claims: Value) -> Arc<Grant> {
        match self.verdict(claims).await {
            Verdict::Admit(grant) => grant,
            other => panic!("{other:?}"),
        }
    }
}

fn may_publish(grant: &Grant, topic: &str) -> bool {
    let topic = TopicName::parse(topic, 1000, 100).unwrap();
    grant.reaches(topic) && grant.publish(topic).is_allow()
}

each_database! {
    async fn a_token_is_a_login_of_one_team_with_what_its_claims_say(database) {
        let office = Office::open(&database, "").await;
        // Nobody of these is on record.
        let topics = json!([{ "action": "both", "effect": "allow", "pattern": "own/#" }]);
        let client = office.grant(json!({ "sub": "zoe@a", "topics": topics })).await;
        assert_eq!(client.expires(), now() + Span::from_secs(60));
        assert_eq!(client.team(), TeamId::new("a").as_ref());
        assert!(may_publish(&client, "ff/v1/a/c/own/x"));
        assert!(!may_publish(&client, "ff/v1/a/c/other"));
        assert!(!may_publish(&client, "ff/v1/b/c/own/x"), "another team");
        let device = json!({ "sub": "device:a:d9", "owner_type": "instance", "owner": "i1" });
        let device = office.grant(device).await;
        assert_eq!(device.principal().binding("owner").map(|it| &**it), Some("i1"));
        // The members of the team are on record: i1 is one.
        assert!(may_publish(&device, "ff/v1/a/p/i1/in/x"));
        assert!(!may_publish(&device, "ff/v1/a/p/i2/in/x"));
        let unowned = office.grant(json!({ "sub": "device:a:d9" })).await;
        assert!(!may_publish(&unowned, "ff/v1/a/p/i1/in/x"));
    }

    async fn what_is_on_record_counts_where_the_token_is_silent(database) {
        let office = Office::open(&database, "").await;
        let alice = office.grant(json!({ "sub": "alice@a" })).await;
        assert!(may_publish(&alice, "ff/v1/a/c/any"));
        assert!(!may_publish(&alice, "ff/v1/a/c/secret/x"));
        let alice = office.grant(json!({ "sub": "alice@a", "topics": [] })).await;
        assert!(!may_publish(&alice, "ff/v1/a/c/any"), "the token says: none");
        let device = office.grant(json!({ "sub": "device:a:d1" })).await;
        assert_eq!(device.principal().binding("owner").map(|it| &**it), Some("i1"));
    }

    async fn a_token_never_makes_more_of_its_bearer_than_a_member_of_a_team(database) {
        let office = Office::open(&database, "").await;
        office.court.provision().team_suspend("b", true).await.unwrap();
        for (subject, verdict) in [
            ("forge_platform", "refuse token_claims"),
            ("expert-agent:u:s", "refuse token_claims"),
            ("expert-client:u:s", "refuse token_claims"),
            ("anonymous@a", "refuse token_claims"),
            ("project:a:i1@b", "refuse token_claims"),
            ("alice@a@b", "refuse token_claims"),
            ("device:a/b:d", "refuse token_claims"),
            ("nobody", "refuse token_claims"),
            ("alice@expert", "refuse token_claims"),
            ("bob@b", "refuse team_suspended"),
            ("zoe@b", "refuse team_suspended"),
            ("alice@a", "admit alice@a"),
        ] {
            assert_eq!(office.says(json!({ "sub": subject })).await, verdict, "{subject}");
        }
    }

    async fn roles_that_span_teams_are_for_an_issuer_that_they_are_listed_for(database) {
        let office = Office::open(&database, "roles = [\"platform\", \"device\"]\n").await;
        for (subject, verdict) in [
            ("forge_platform", "admit forge_platform"),
            ("device:a:d9", "admit device:a:d9"),
            ("alice@a", "refuse token_claims"),
            ("expert-agent:u:s", "refuse token_claims"),
        ] {
            assert_eq!(office.says(json!({ "sub": subject })).await, verdict, "{subject}");
        }
    }

    async fn where_it_is_asked_for_only_those_on_record_come_in(database) {
        let office = Office::open(&database, "on_record = true\n").await;
        assert_eq!(office.says(json!({ "sub": "zoe@a" })).await, "refuse unknown_user");
        assert_eq!(office.says(json!({ "sub": "alice@a" })).await, "admit alice@a");
        // Who has no secret of her own can have a token.
        assert_eq!(office.says(json!({ "sub": "mute@a" })).await, "admit mute@a");
    }

    async fn passwords_and_tokens_do_not_stand_in_for_each_other(database) {
        let office = Office::open(&database, "").await;
        let judge = |username: &str, password: &str| {
            let mut login = login(username, password);
            login.client_id = "alice@a".into();
            office.judge.judge(login, now())
        };
        let good = office.token(json!({ "sub": "alice@a" }));
        let over = office.issuer.token("ES256", NOW_S, json!({ "sub": "alice@a" }));
        for (username, password, verdict) in [
            ("alice@a", &*good, "admit alice@a"),
            ("jwt", &good, "admit alice@a"),
            ("bob@b", &good, "refuse token_username"),
            ("alice@a", &over, "refuse token_expired"),
            ("alice@a", "correct horse", "admit alice@a"),
            ("jwt", "correct horse", "refuse unknown_user"),
        ] {
            assert_eq!(said(judge(username, password).await), verdict, "{username} {password}");
        }
        // Where no issuer is known a token is a wrong password like any other.
        assert_eq!(office.court.judge("alice@a", &good).await, "refuse wrong_password");
    }

    async fn by_enhanced_authentication_the_token_is_the_data(database) {
        let office = Office::open(&database, "").await;
        let ask = |username: Option<&str>, method: &str, data: Option<String>| {
            let mut login = login("alice@a", "");
            (login.username, login.password) = (username.map(Into::into), None);
            login.exchange = Some(Exchange {
                method: method.into(),
                data: data.map(|data| data.into_bytes().into()),
                state: None,
            });
            office.judge.judge(login, now())
        };
        let token = || Some(office.token(json!({ "sub": "alice@a" })));
        let method = "OAUTH2-JWT";
        assert_eq!(said(ask(None, method, token()).await), "admit alice@a");
        assert_eq!(said(ask(Some("alice@a"), method, token()).await), "admit alice@a");
        assert_eq!(said(ask(Some("bob@b"), method, token()).await), "refuse token_username");
        assert_eq!(said(ask(None, method, None).await), "refuse token_malformed");
        assert_eq!(said(ask(None, "JWT", token()).await), "refuse method");
        let zoe = Some(office.token(json!({ "sub": "zoe@a" })));
        assert_eq!(said(ask(None, method, zoe).await), "refuse client_id");
    }

    async fn a_certificate_is_its_principals_login_and_nobody_elses(database) {
        let office = Office::open(&database, CERTIFICATE).await;
        office.court.provision().team_suspend("b", true).await.unwrap();
        for (name, username, password, verdict) in [
            ("alice@a", None, None, "admit alice@a"),
            ("alice@a", Some("alice@a"), None, "admit alice@a"),
            ("alice@a", Some("alice@a"), Some("not her password"), "admit alice@a"),
            ("alice@a", Some("bob@b"), Some("battery staple"), "refuse certificate_username"),
            ("mute@a", None, None, "admit mute@a"),
            ("zoe@a", None, None, "refuse unknown_user"),
            ("bob@b", None, None, "refuse team_suspended"),
            ("forge_platform", None, None, "refuse certificate_names"),
            ("anonymous@a", None, None, "refuse unknown_user"),
            ("a@b@c", None, None, "refuse unknown_user"),
        ] {
            let login = office.shown(name, username, password);
            let verdict_on = office.judge.judge(login, Time::from_micros(2)).await;
            assert_eq!(said(verdict_on), verdict, "{name} {username:?}");
        }
        let mut other_id = office.shown("alice@a", None, None);
        other_id.client_id = "else".into();
        let judged = office.judge.judge(other_id, Time::from_micros(2)).await;
        assert_eq!(said(judged), "refuse client_id");
        // Over, whatever TLS found when the connection began.
        let late = Time::EPOCH + Span::from_secs(1 << 40);
        let judged = office.judge.judge(office.shown("alice@a", None, None), late).await;
        assert_eq!(said(judged), "refuse certificate_expired");
    }

    async fn a_certificate_beside_another_proof_must_be_of_the_same_principal(database) {
        let office = Office::open(&database, CERTIFICATE).await;
        for (name, verdict) in [
            ("alice@a", "admit alice@a"),
            ("mute@a", "refuse certificate_username"),
        ] {
            let mut login = office.shown(name, None, None);
            login.client_id = "alice@a".into();
            login.exchange = Some(Exchange {
                method: "OAUTH2-JWT".into(),
                data: Some(office.token(json!({ "sub": "alice@a" })).into_bytes().into()),
                state: None,
            });
            assert_eq!(said(office.judge.judge(login, now()).await), verdict, "{name}");
        }
    }

    async fn a_certificate_that_names_nobody_by_configuration_leaves_the_login_as_it_is(database) {
        let office = Office::open(&database, "").await;
        let login = office.shown("alice@a", Some("alice@a"), Some("correct horse"));
        assert_eq!(said(office.judge.judge(login, now()).await), "admit alice@a");
        let login = office.shown("alice@a", Some("alice@a"), Some("wrong"));
        assert_eq!(said(office.judge.judge(login, now()).await), "refuse wrong_password");
        let login = office.shown("alice@a", None, None);
        assert_eq!(said(office.judge.judge(login, now()).await), "refuse anonymous");
    }
}
