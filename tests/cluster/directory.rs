//! Who there is: a small store of identities in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cofferdam::broker::{Exchange, ExchangeState, Login, Refusal, Verdict};
use cofferdam::policy::{
    Ask, Directory as PolicyDirectory, Grant, Pattern, PatternAction, Policy, Principal, TeamId,
    TeamMembers,
};
use cofferdam::time::Time;

/// Teams, instances, devices, clients and their passwords.
#[derive(Default)]
pub struct Directory {
    members: HashMap<String, Arc<TeamMembers>>,
    suspended: HashSet<String>,
    passwords: HashMap<String, Vec<u8>>,
    patterns: HashMap<String, Vec<Pattern>>,
    owners: HashMap<String, (&'static str, String)>,
    anonymous: HashMap<String, String>,
    /// When the oracle is asked about those who log in.
    pub ask: Ask,
    /// Nothing is known of them but their usernames.
    pub by_name_only: bool,
    expires: HashMap<String, Time>,
}

/// The one method of enhanced authentication that this directory knows: the client says who it is,
/// is asked `riddle`, answers with its password, and is told `solved` with its success.
pub const RIDDLE: &str = "RIDDLE";

/// Everyone's password in [`Directory::demo`].
pub const PASSWORD: &str = "secret";

impl Directory {
    /// Teams `alpha` and `beta`, each with clients `alice`, `bob`, `carol`, `dave` and `erin` who
    /// may do anything in the team broker; instances `a1`, `a2` and device `ad` (of `a1`) in
    /// `alpha`, `b1`, `b2` and `bd` (of `b1`) in `beta`; for each team a tab of user `u`, a tab on
    /// its device, an observer `agent:watch@<team>` and the MQTT nodes of its first instance; the
    /// platform; a user's assistant; and the listener `open`, whose anonymous clients act for
    /// `alpha`.
    pub fn demo() -> Self {
        let mut demo = Self::default();
        for username in ["forge_platform", "expert-client:u:s", "expert-agent:u:s"] {
            demo.password(username, PASSWORD);
        }
        for (team, instances, device) in
            [("alpha", ["a1", "a2"], "ad"), ("beta", ["b1", "b2"], "bd")]
        {
            for name in ["alice", "bob", "carol", "dave", "erin"] {
                demo.client(&format!("{name}@{team}"), &["allow both #"]);
            }
            for id in instances {
                demo.instance(team, id);
            }
            demo.device(team, device, ("instance", instances[0]));
            demo.client(
                &format!("mq:hosted:{team}:{}", instances[0]),
                &["allow both #"],
            );
            for username in [
                format!("fe-team:u:{team}:s"),
                format!("frontend:{team}:{device}"),
                format!("agent:watch@{team}"),
            ] {
                demo.password(&username, PASSWORD);
            }
        }
        demo.anonymous.insert("open".to_owned(), "alpha".to_owned());
        demo
    }

    /// Adds a client of a team broker, `<name>@<team>`, or gives it other patterns, such as
    /// `allow both #` and `deny subscribe a/+`.
    pub fn client(&mut self, username: &str, patterns: &[&str]) {
        self.password(username, PASSWORD);
        let patterns = patterns.iter().map(|text| pattern(text)).collect();
        self.patterns.insert(username.to_owned(), patterns);
    }

    /// Adds an instance.
    pub fn instance(&mut self, team: &str, id: &str) {
        self.members
            .entry(team.to_owned())
            .or_default()
            .add_instance(id);
        self.password(&format!("project:{team}:{id}"), PASSWORD);
    }

    /// Takes an instance out of its team.
    pub fn remove_instance(&mut self, team: &str, id: &str) {
        if let Some(members) = self.members.get(team) {
            members.remove_instance(id);
        }
    }

    /// Takes a device from its owner.
    pub fn disown(&mut self, id: &str) {
        self.owners.remove(id);
    }

    /// Adds a device, or gives it another owner.
    pub fn device(&mut self, team: &str, id: &str, owner: (&'static str, &str)) {
        self.owners
            .insert(id.to_owned(), (owner.0, owner.1.to_owned()));
        self.password(&format!("device:{team}:{id}"), PASSWORD);
    }

    /// Sets a password.
    pub fn password(&mut self, username: &str, password: &str) {
        self.passwords
            .insert(username.to_owned(), password.as_bytes().to_owned());
    }

    /// Whoever logs in under this username from now on is in until then.
    pub fn until(&mut self, username: &str, expires: Time) {
        self.expires.insert(username.to_owned(), expires);
    }

    /// Suspends a team: nobody of it logs in.
    pub fn suspend(&mut self, team: &str) {
        self.suspended.insert(team.to_owned());
    }

    /// The verdict on a login.
    pub fn judge(&self, policy: &Policy, login: &Login) -> Verdict {
        let judged = match &login.exchange {
            None => self.admit(policy, login),
            Some(exchange) => self.riddle(policy, login, exchange),
        };
        judged.unwrap_or_else(Verdict::Refuse)
    }

    fn riddle(
        &self,
        policy: &Policy,
        login: &Login,
        exchange: &Exchange,
    ) -> Result<Verdict, Refusal> {
        if &*exchange.method != RIDDLE {
            return Err(Refusal::Method);
        }
        let said = exchange.data.as_deref().ok_or(Refusal::Exchange)?;
        let Some(state) = &exchange.state else {
            let username = std::str::from_utf8(said).map_err(|_| Refusal::Exchange)?;
            return Ok(Verdict::Challenge {
                data: Box::from(*b"riddle"),
                state: ExchangeState::new(username.to_owned()),
                username: Some(username.into()),
            });
        };
        let username = state.get::<String>().expect("the state that was given");
        let whole = Login {
            conn: login.conn,
            peer: login.peer.clone(),
            version: login.version,
            client_id: login.client_id.clone(),
            username: Some(username.as_str().into()),
            password: Some(said.into()),
            exchange: None,
            certificate: None,
        };
        Ok(match self.admit(policy, &whole)? {
            Verdict::Admit(grant) => Verdict::AdmitWith {
                grant,
                data: Box::from(*b"solved"),
            },
            other => other,
        })
    }

    fn admit(&self, policy: &Policy, login: &Login) -> Result<Verdict, Refusal> {
        let principal = match (&login.username, &login.password) {
            (None, None) => self
                .anonymous(&login.peer.listener)
                .ok_or(Refusal::Anonymous)?,
            (username, password) => {
                let username = username.as_deref().unwrap_or_default();
                let known = self.passwords.get(username).ok_or(Refusal::UnknownUser)?;
                if password.as_deref() != Some(known) {
                    return Err(Refusal::WrongPassword);
                }
                policy
                    .principal(username, self)
                    .ok_or(Refusal::UnknownUser)?
            }
        };
        let team = principal.team.as_ref();
        if team.is_some_and(|team| self.suspended.contains(team.as_str())) {
            return Err(Refusal::TeamSuspended);
        }
        let grant = policy
            .grant(principal, self)
            .unwrap_or_else(|error| panic!("{error}"));
        let grant = match self.by_name_only {
            true => grant.known_by_name_only(),
            false => grant,
        };
        let grant = grant.asking(self.ask);
        if !grant.accepts_client_id(&login.client_id) {
            return Err(Refusal::ClientId);
        }
        let expires = self.expires.get(&*grant.principal().username).copied();
        let grant = grant.until(expires.unwrap_or(Time::NEVER));
        Ok(Verdict::Admit(Arc::new(grant)))
    }

    /// The grant of a username.
    pub fn grant(&self, policy: &Policy, username: &str) -> Grant {
        let principal = policy.principal(username, self).expect("a role");
        let grant = policy.grant(principal, self);
        grant.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Takes somebody out: nobody logs in under this username.
    pub fn revoke(&mut self, username: &str) {
        self.passwords.remove(username);
    }

    fn anonymous(&self, listener: &str) -> Option<Principal> {
        let team = self.anonymous.get(listener)?;
        Some(Principal {
            username: format!("anonymous@{team}").into(),
            role: "anonymous".into(),
            team: TeamId::new(team),
            bindings: Vec::new(),
            patterns: Vec::new(),
        })
    }
}

impl PolicyDirectory for Directory {
    fn members(&self, team: &TeamId) -> Arc<TeamMembers> {
        self.members.get(team.as_str()).cloned().unwrap_or_default()
    }

    fn complete(&self, principal: &mut Principal) {
        let device = principal.binding("device").map(ToString::to_string);
        if let Some((kind, id)) = device.and_then(|device| self.owners.get(&device)) {
            let owner = [("owner_type", *kind), ("owner", id.as_str())];
            let owner = owner.map(|(name, value)| (Arc::from(name), Arc::from(value)));
            principal.bindings.extend(owner);
        }
        if let Some(patterns) = self.patterns.get(&*principal.username) {
            principal.patterns.clone_from(patterns);
        }
    }
}

/// From `allow both a/#`.
fn pattern(text: &str) -> Pattern {
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let [effect, action, filter] = words[..] else {
        panic!("not a pattern: {text}");
    };
    Pattern {
        action: match action {
            "publish" => PatternAction::Publish,
            "subscribe" => PatternAction::Subscribe,
            "both" => PatternAction::Both,
            _ => panic!("not an action: {text}"),
        },
        allow: match effect {
            "allow" => true,
            "deny" => false,
            _ => panic!("not an effect: {text}"),
        },
        filter: filter.into(),
    }
}
