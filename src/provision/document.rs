//! The file of `cofferdam apply`, read strictly: every problem names file, line and key.

use std::collections::HashMap;
use std::sync::Arc;

use super::names;
use crate::config::{ConfigErrors, Origin, Plans, Report, Section, parse_toml, plan_changes};
use crate::identity::{Kind, SecretError, Secrets};
use crate::policy::{Pattern, PatternAction, Policy};
use crate::topic::TopicFilter;

/// What a file declares.
pub(super) struct Document {
    pub(super) teams: Vec<DeclaredTeam>,
    pub(super) members: Vec<DeclaredMember>,
}

/// `[[team]]`
pub(super) struct DeclaredTeam {
    pub(super) id: String,
    pub(super) name: String,
    /// `None`: the default one.
    pub(super) plan: Option<String>,
    /// What differs from the plan, as it is stored.
    pub(super) limits: String,
}

/// `[[instance]]`, `[[device]]`, `[[client]]` or `[platform]`.
pub(super) struct DeclaredMember {
    pub(super) kind: Kind,
    pub(super) team: Option<String>,
    pub(super) id: String,
    pub(super) owner: Option<Owner>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) password: Password,
    pub(super) place: Place,
}

/// A device's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// `instance` or `application`.
    pub(super) kind: &'static str,
    pub(super) id: String,
}

/// A `password` key.
pub(super) enum Password {
    /// Left out.
    None,
    Plain(String),
    Hash(String),
}

/// Where an entry stands, for problems that only the database shows.
pub(super) struct Place {
    /// Such as `client.alice.`
    path: String,
    team: Origin,
    owner: Origin,
}

impl DeclaredMember {
    pub(super) fn username(&self) -> String {
        self.kind
            .username(self.team.as_deref().unwrap_or_default(), &self.id)
    }

    /// Reports that the team is unknown.
    pub(super) fn no_team(&self, report: &Report) {
        let team = self.team.as_deref().unwrap_or_default();
        report.add(
            &self.place.team,
            format!("{}team", self.place.path),
            format!("there is no team {team:?}: declare it with [[team]] or make it first"),
        );
    }

    /// Reports that the owner is somebody else's.
    pub(super) fn foreign_owner(&self, report: &Report, team: &str) {
        report.add(
            &self.place.owner,
            format!("{}owner", self.place.path),
            format!("the instance belongs to the team {team:?}"),
        );
    }
}

impl Document {
    /// Reads `text`, which problems call `file`.
    pub(super) fn parse(
        file: &str,
        text: &str,
        policy: &Policy,
        plans: &Plans,
        secrets: &Secrets,
    ) -> Result<Self, ConfigErrors> {
        let mut report = Report::new(file);
        let table = parse_toml(text, &mut report);
        let document = Reader {
            policy,
            plans,
            secrets,
            seen: HashMap::new(),
        }
        .read(Section::top(table, &report));
        report.into_result(document)
    }
}

struct Reader<'a> {
    policy: &'a Policy,
    plans: &'a Plans,
    secrets: &'a Secrets,
    /// What was declared, to find what is declared twice.
    seen: HashMap<(&'static str, String), ()>,
}

impl Reader<'_> {
    fn read(mut self, mut top: Section<'_>) -> Document {
        let teams = top.sections("team").into_iter();
        let teams = teams.filter_map(|section| self.team(section)).collect();
        let mut members = Vec::new();
        for (key, kind) in [
            ("instance", Kind::Instance),
            ("device", Kind::Device),
            ("client", Kind::Client),
        ] {
            for section in top.sections(key) {
                members.extend(self.member(kind, section));
            }
        }
        if top.has("platform") {
            let section = top.section("platform");
            members.push(self.platform(section));
        }
        top.finish();
        Document { teams, members }
    }

    fn team(&mut self, mut section: Section<'_>) -> Option<DeclaredTeam> {
        let id = required(&mut section, "id");
        let id = id.and_then(|id| {
            let team = names::team(&id, self.policy).map_err(|error| error.to_string());
            section.keep("id", team)?;
            self.once(&section, "team", "id", id)
        });
        let name = section.text("name");
        let plan = section.text("plan").and_then(|plan| {
            let known = self.plans.known(&plan).map_err(|error| error.to_string());
            section.keep("plan", known)?;
            Some(plan)
        });
        let limits = plan_changes(section.section("limits"), self.plans);
        section.finish();
        let id = id?;
        Some(DeclaredTeam {
            plan,
            limits,
            name: name.unwrap_or_else(|| id.clone()),
            id,
        })
    }

    fn member(&mut self, kind: Kind, mut section: Section<'_>) -> Option<DeclaredMember> {
        let key = if kind == Kind::Client { "name" } else { "id" };
        let id = required(&mut section, key).and_then(|id| {
            let checked = match kind {
                Kind::Client => names::client(&id),
                _ => names::name(&id),
            };
            section.keep(key, checked.map_err(|error| error.to_string()))?;
            Some(id)
        });
        let team = required(&mut section, "team").and_then(|team| {
            let checked = names::team(&team, self.policy).map_err(|error| error.to_string());
            section.keep("team", checked)?;
            Some(team)
        });
        let password = self.password(&mut section);
        let owner = match kind {
            Kind::Device => owner(&mut section),
            _ => None,
        };
        let patterns = match kind {
            Kind::Client => section
                .sections("acl")
                .into_iter()
                .filter_map(pattern)
                .collect(),
            _ => Vec::new(),
        };
        let place = Place {
            path: section.path_prefix().to_owned(),
            team: section.origin("team").clone(),
            owner: section.origin("owner").clone(),
        };
        let (id, team) = match (id, team) {
            (Some(id), Some(team)) => (id, team),
            _ => {
                section.finish();
                return None;
            }
        };
        let username = kind.username(&team, &id);
        // A machine is declared once wherever it is; a client's name is its team's own.
        let identity = match kind {
            Kind::Client => username.clone(),
            _ => id.clone(),
        };
        let once = self.once(&section, kind.as_str(), key, identity);
        self.fits_policy(&section, key, &username, &team);
        section.finish();
        once?;
        Some(DeclaredMember {
            kind,
            team: Some(team),
            id,
            owner,
            patterns,
            password,
            place,
        })
    }

    fn platform(&self, mut section: Section<'_>) -> DeclaredMember {
        let password = self.password(&mut section);
        let place = Place {
            path: section.path_prefix().to_owned(),
            team: section.origin("team").clone(),
            owner: section.origin("owner").clone(),
        };
        section.finish();
        DeclaredMember {
            kind: Kind::Platform,
            team: None,
            id: Kind::Platform.username("", ""),
            owner: None,
            patterns: Vec::new(),
            password,
            place,
        }
    }

    fn password(&self, section: &mut Section<'_>) -> Password {
        let Some(text) = section.text("password") else {
            return Password::None;
        };
        let checked = if Secrets::is_hash(&text) {
            self.secrets.import(&text)
        } else if text.len() > crate::identity::MAX_PASSWORD_BYTES {
            Err(SecretError::TooLong)
        } else {
            Ok(())
        };
        let hash = Secrets::is_hash(&text);
        match section.keep("password", checked.map_err(|error| error.to_string())) {
            Some(()) if hash => Password::Hash(text),
            Some(()) => Password::Plain(text),
            None => Password::None,
        }
    }

    /// `id`, unless it was declared before.
    fn once(
        &mut self,
        section: &Section<'_>,
        what: &'static str,
        key: &str,
        id: String,
    ) -> Option<String> {
        match self.seen.insert((what, id.clone()), ()) {
            None => Some(id),
            Some(()) => {
                section.problem(key, format!("{what} {id} is declared twice"));
                None
            }
        }
    }

    /// The policy must read the same team out of the username that goes into it.
    fn fits_policy(&self, section: &Section<'_>, key: &str, username: &str, team: &str) {
        let principal = self.policy.principal(username, &Nobody);
        let read = principal.as_ref().and_then(|it| it.team.as_ref());
        if read.is_none_or(|read| read.as_str() != team) {
            section.problem(
                key,
                format!("no role of the policy takes the username {username} for this team"),
            );
        }
    }
}

/// A directory with nobody in it: what a username says by itself.
pub(super) struct Nobody;

impl crate::policy::Directory for Nobody {
    fn members(&self, _team: &crate::policy::TeamId) -> Arc<crate::policy::TeamMembers> {
        Arc::default()
    }

    fn complete(&self, _principal: &mut crate::policy::Principal) {}
}

fn required(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key);
    if !section.has(key) {
        section.problem(key, "is missing");
    }
    text
}

fn owner(section: &mut Section<'_>) -> Option<Owner> {
    if !section.has("owner") {
        // Asked for, so that it is among the known keys.
        section.section("owner");
        return None;
    }
    let mut owner = section.section("owner");
    let kinds = [("instance", "instance"), ("application", "application")];
    let kind = owner.choice("type", &kinds);
    if !owner.has("type") {
        owner.problem("type", "is missing: instance or application");
    }
    let id = required(&mut owner, "id").and_then(|id| {
        owner.keep("id", names::name(&id).map_err(|error| error.to_string()))?;
        Some(id)
    });
    owner.finish();
    Some(Owner {
        kind: kind?,
        id: id?,
    })
}

fn pattern(mut section: Section<'_>) -> Option<Pattern> {
    let actions = [
        ("publish", PatternAction::Publish),
        ("subscribe", PatternAction::Subscribe),
        ("both", PatternAction::Both),
    ];
    let action = section.choice("action", &actions);
    if !section.has("action") {
        section.problem("action", "is missing: publish, subscribe or both");
    }
    let effect = section.choice("effect", &[("allow", true), ("deny", false)]);
    if !section.has("effect") {
        section.problem("effect", "is missing: allow or deny");
    }
    let filter = required(&mut section, "pattern").and_then(|text| {
        section.keep("pattern", filter(&text))?;
        Some(text)
    });
    section.finish();
    Some(Pattern {
        action: action?,
        allow: effect?,
        filter: Arc::from(filter?),
    })
}

/// Checks a client's pattern.
pub(super) fn filter(text: &str) -> Result<(), String> {
    if text.starts_with("$share/") {
        return Err("a pattern has no $share/<group>/ before it".to_owned());
    }
    TopicFilter::parse(text, u16::MAX, u16::MAX)
        .map(drop)
        .map_err(|error| error.to_string())
}
