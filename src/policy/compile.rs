//! From a policy file's text to a [`Policy`], with every check that can be made before a principal
//! is known.

use std::sync::Arc;

use toml::Spanned;

use super::document::{Document, NamespaceTable, Reach, RoleTable, RuleTable};
use super::error::{Fault, PolicyError};
use super::namespace::Namespace;
use super::nesting;
use super::principal::{Action, PatternAction, TeamId};
use super::role::{Condition, MAX_RULES, MAX_VARIABLES, Role, Rule, TEAM};
use super::template::Template;
use super::text::{Part, Slot, Text, parts};

const TEAM_PLACE: &str = "{team}/";

/// What is being compiled, to say where a fault is.
struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    namespace: Arc<Namespace>,
    /// A team's root as templates write it: `ff/v1/{team}/`.
    root: Box<str>,
}

/// Compiles the text of a policy file; `file` is the name that errors and explanations give it.
pub(super) fn compile(
    file: &str,
    text: &str,
) -> Result<(Arc<Namespace>, Vec<Arc<Role>>), PolicyError> {
    let file: Arc<str> = Arc::from(file);
    let fault = |place: Option<usize>, what: String| PolicyError {
        file: Arc::clone(&file),
        line: place.map(|byte| line_of(text, byte)),
        key: String::new(),
        fault: Fault::Document(what),
    };
    if let Some(place) = nesting::too_deep(text) {
        return Err(fault(Some(place), nesting::TOO_DEEP.to_owned()));
    }
    let document: Document = toml::from_str(text).map_err(|error| {
        let place = error.span().map(|span| span.start);
        fault(place, error.message().to_owned())
    })?;
    let mut source = Source {
        file,
        text,
        namespace: Arc::new(Namespace::new("", Vec::new())),
        root: document.namespace.team.as_ref().as_str().into(),
    };
    source.namespace = Arc::new(source.namespace(&document.namespace)?);
    let mut roles: Vec<Arc<Role>> = Vec::new();
    for (name, table) in &document.role {
        let role = source.role(name, table)?;
        source.check_usernames(&role, table.as_ref(), &roles)?;
        roles.push(Arc::new(role));
    }
    Ok((source.namespace, roles))
}

fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset);
    let lines = before.filter(|byte| **byte == b'\n').count();
    u32::try_from(lines + 1).unwrap_or(u32::MAX)
}

impl Source<'_> {
    fn line<T>(&self, at: &Spanned<T>) -> u32 {
        line_of(self.text, at.span().start)
    }

    fn error<T>(&self, at: &Spanned<T>, key: impl Into<String>, fault: Fault) -> PolicyError {
        PolicyError {
            file: Arc::clone(&self.file),
            line: Some(self.line(at)),
            key: key.into(),
            fault,
        }
    }

    fn namespace(&self, table: &NamespaceTable) -> Result<Namespace, PolicyError> {
        let bad = || self.error(&table.team, "namespace.team", Fault::Namespace);
        let prefix = table
            .team
            .as_ref()
            .strip_suffix(TEAM_PLACE)
            .ok_or_else(bad)?;
        let levels_are_plain = !prefix.contains(['{', '}', '+', '#', '\0']);
        if !levels_are_plain || !(prefix.is_empty() || prefix.ends_with('/')) {
            return Err(bad());
        }
        let mut commons = Vec::new();
        for (index, word) in table.commons.iter().enumerate() {
            if !TeamId::is_valid(word.as_ref()) || word.as_ref().contains(['{', '}']) {
                let key = format!("namespace.commons[{index}]");
                return Err(self.error(word, key, Fault::Commons));
            }
            commons.push(word.as_ref().as_str().into());
        }
        Ok(Namespace::new(prefix, commons))
    }

    fn role(&self, name: &str, at: &Spanned<RoleTable>) -> Result<Role, PolicyError> {
        let table = at.as_ref();
        let key = format!("role.{name}");
        let variables = self.variables(&key, table)?;
        let slot = |wanted: &str| slot_of(&variables, wanted);
        let text = |at: &Spanned<String>, key: String| {
            Text::compile(at.as_ref(), slot).map_err(|fault| self.error(at, key, fault))
        };
        let texts = |list: &[Spanned<String>], key: &str| {
            let compiled = list.iter().enumerate();
            let compiled = compiled.map(|(index, at)| text(at, format!("{key}[{index}]")));
            compiled.collect::<Result<Box<[Text]>, PolicyError>>()
        };
        if table.rules.len() > MAX_RULES {
            let fault = Fault::TooManyRules { limit: MAX_RULES };
            return Err(self.error(at, format!("{key}.rules"), fault));
        }
        let mut rules = Vec::new();
        for (index, rule) in table.rules.iter().enumerate() {
            let key = format!("{key}.rules[{index}]");
            let shares = texts(&rule.as_ref().share, &format!("{key}.share"))?;
            rules.push(self.rule(&key, rule, table.reach, &variables, shares)?);
        }
        let topics = rules.iter().flat_map(|rule: &Rule| &rule.topics);
        let commons = topics.filter_map(|topic| self.namespace.commons_root(&topic.written));
        let mut commons: Vec<Box<str>> = commons.map(Box::from).collect();
        commons.sort();
        commons.dedup();
        Ok(Role {
            name: Arc::from(name),
            about: table.about.as_str().into(),
            file: Arc::clone(&self.file),
            line: self.line(at),
            namespace: Arc::clone(&self.namespace),
            reach: table.reach,
            usernames: texts(&table.username, &format!("{key}.username"))?,
            client_ids: texts(&table.client_id, &format!("{key}.client_id"))?,
            mount: self.mount(&key, table)?,
            pattern_shares: match &table.patterns {
                Some(patterns) => Some(texts(&patterns.share, &format!("{key}.patterns.share"))?),
                None => None,
            },
            commons: commons.into(),
            rules: rules.into(),
            variables: variables.into(),
        })
    }

    /// Every variable of the role: `team` and `username`, those of the usernames, and the bindings.
    fn variables(&self, key: &str, table: &RoleTable) -> Result<Vec<Arc<str>>, PolicyError> {
        let mut variables: Vec<Arc<str>> = vec![Arc::from("team"), Arc::from("username")];
        for (index, at) in table.username.iter().enumerate() {
            let key = format!("{key}.username[{index}]");
            let parts = parts(at.as_ref()).map_err(|fault| self.error(at, &key, fault))?;
            let mut here = Vec::new();
            for part in parts {
                let Part::Placeholder(name) = part else {
                    continue;
                };
                if name == "any" {
                    continue;
                }
                if here.contains(&name) || matches!(name, "username" | "instances") {
                    let fault = Fault::VariableTwice(name.to_owned());
                    return Err(self.error(at, key, fault));
                }
                here.push(name);
                if !variables.iter().any(|known| **known == *name) {
                    variables.push(Arc::from(name));
                }
            }
            match table.reach {
                Reach::Team if !here.contains(&"team") => {
                    return Err(self.error(at, key, Fault::NoTeamInUsername));
                }
                Reach::Commons | Reach::All if here.contains(&"team") => {
                    return Err(self.error(at, key, Fault::TeamWithoutReach));
                }
                _ => {}
            }
        }
        for (index, at) in table.bindings.iter().enumerate() {
            let name = at.as_ref().as_str();
            let key = format!("{key}.bindings[{index}]");
            let taken = variables.iter().any(|known| **known == *name);
            if taken || matches!(name, "any" | "instances") {
                return Err(self.error(at, key, Fault::VariableTwice(name.to_owned())));
            }
            if variables.len() == MAX_VARIABLES {
                let fault = Fault::TooManyVariables {
                    limit: MAX_VARIABLES,
                };
                return Err(self.error(at, key, fault));
            }
            variables.push(Arc::from(name));
        }
        Ok(variables)
    }

    fn mount(&self, key: &str, table: &RoleTable) -> Result<Option<Text>, PolicyError> {
        let Some(at) = &table.mount else {
            return Ok(None);
        };
        let written = at.as_ref();
        let behind_root = written.strip_prefix(&*self.root);
        let sound = table.reach == Reach::Team
            && written.ends_with('/')
            && behind_root.is_some_and(|rest| !rest.contains(['{', '}', '+', '#', '\0']));
        let only_team = |name: &str| (name == "team").then_some(TEAM).ok_or(Fault::Braces);
        match Text::compile(written, only_team) {
            Ok(mount) if sound => Ok(Some(mount)),
            _ => {
                let root = self.root.to_string();
                Err(self.error(at, format!("{key}.mount"), Fault::Mount { root }))
            }
        }
    }

    fn rule(
        &self,
        key: &str,
        at: &Spanned<RuleTable>,
        reach: Reach,
        variables: &[Arc<str>],
        shares: Box<[Text]>,
    ) -> Result<Rule, PolicyError> {
        let table = at.as_ref();
        let (allow, action) = match (table.allow, table.deny) {
            (Some(action), None) => (true, action),
            (None, Some(action)) => (false, action),
            _ => return Err(self.error(at, key, Fault::Effect)),
        };
        if table.topics.is_empty() {
            return Err(self.error(at, format!("{key}.topics"), Fault::NoTopics));
        }
        let subscribes = action.covers(Action::Subscribe);
        if let Some(share) = table.share.first().filter(|_| !(allow && subscribes)) {
            return Err(self.error(share, format!("{key}.share"), Fault::ShareWithoutSubscribe));
        }
        if table.overlap.is_some() && (allow || action == PatternAction::Publish) {
            return Err(self.error(at, format!("{key}.overlap"), Fault::OverlapWithoutDeny));
        }
        let mut conditions = Vec::new();
        for (name, wanted) in &table.when {
            let Ok(variable) = slot_of(variables, name) else {
                let fault = Fault::UnknownCondition {
                    name: name.clone(),
                    known: list(variables),
                };
                return Err(self.error(at, format!("{key}.when"), fault));
            };
            conditions.push(Condition {
                variable,
                wanted: wanted.clone(),
            });
        }
        let mut topics = Vec::new();
        for (index, topic) in table.topics.iter().enumerate() {
            let compiled = self.topic(topic, reach, variables);
            let key = format!("{key}.topics[{index}]");
            topics.push(compiled.map_err(|fault| self.error(topic, key, fault))?);
        }
        Ok(Rule {
            allow,
            action,
            topics: topics.into(),
            shares,
            conditions: conditions.into(),
            overlap: table.overlap.unwrap_or_default(),
            note: table.note.as_str().into(),
        })
    }

    /// A topic template that stays within the role's reach.
    fn topic(
        &self,
        at: &Spanned<String>,
        reach: Reach,
        variables: &[Arc<str>],
    ) -> Result<Template, Fault> {
        let written = at.as_ref().as_str();
        let (levels, rooted) = match (reach, written.strip_prefix(&*self.root)) {
            (Reach::Team, Some(levels)) => (levels, true),
            (Reach::All, _) => (written, false),
            _ if self.namespace.commons_root(written).is_some() => (written, false),
            (Reach::Team, None) => {
                let root = self.root.to_string();
                return Err(Fault::BeyondTeam { root });
            }
            (Reach::Commons, _) => return Err(Fault::BeyondCommons),
        };
        let slot = |name: &str| match slot_of(variables, name) {
            Ok(TEAM) if reach != Reach::Team => Err(Fault::TeamWithoutReach),
            found => found,
        };
        Template::compile(written, self.line(at), levels, rooted, slot)
    }

    /// No two roles take the same usernames.
    fn check_usernames(
        &self,
        role: &Role,
        table: &RoleTable,
        earlier: &[Arc<Role>],
    ) -> Result<(), PolicyError> {
        for (index, (username, at)) in role.usernames.iter().zip(&table.username).enumerate() {
            let same = earlier.iter().find(|other| {
                let mut usernames = other.usernames.iter();
                usernames.any(|other| other.shape() == username.shape())
            });
            if let Some(other) = same {
                let other = other.name.to_string();
                let key = format!("role.{}.username[{index}]", role.name);
                return Err(self.error(at, key, Fault::SameUsername { other }));
            }
        }
        Ok(())
    }
}

fn slot_of(variables: &[Arc<str>], name: &str) -> Result<Slot, Fault> {
    let place = variables.iter().position(|known| **known == *name);
    let slot = place.and_then(|place| Slot::try_from(place).ok());
    slot.ok_or_else(|| Fault::UnknownVariable {
        name: name.to_owned(),
        known: list(variables),
    })
}

fn list(variables: &[Arc<str>]) -> String {
    variables.join(", ")
}
