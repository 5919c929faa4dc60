//! From a policy file's text to a [`Policy`], with every check that can be made before a principal
//! is known.

use std::cell::RefCell;
use std::sync::Arc;

use toml::Spanned;

use super::document::{Document, NamespaceTable, Reach, RoleTable, RuleTable};
use super::error::{Fault, PolicyError, PolicyErrors};
use super::namespace::Namespace;
use super::nesting;
use super::principal::{Action, PatternAction, TeamId};
use super::role::{Condition, MAX_RULES, MAX_VARIABLES, Role, Rule, TEAM};
use super::template::Template;
use super::text::{Part, Slot, Text, parts};

const TEAM_PLACE: &str = "{team}/";
/// Most faults that are told of one file: whoever wrote so many has one misunderstanding.
const MAX_FAULTS: usize = 100;

/// What is being compiled, to say where a fault is. What has one reads as absent, so that reading
/// goes on and finds the others.
struct Source<'a> {
    file: Arc<str>,
    text: &'a str,
    version: Arc<str>,
    namespace: Arc<Namespace>,
    /// A team's root as templates write it: `ff/v1/{team}/`.
    root: Box<str>,
    faults: RefCell<Vec<PolicyError>>,
}

/// Compiles the text of a policy file; `file` is the name that errors and explanations give it,
/// `version` the one that grants will carry.
pub(super) fn compile(
    file: &str,
    version: &Arc<str>,
    text: &str,
) -> Result<(Arc<Namespace>, Vec<Arc<Role>>), PolicyErrors> {
    let file: Arc<str> = Arc::from(file);
    let fault = |place: Option<usize>, what: String| {
        PolicyErrors(vec![PolicyError {
            file: Arc::clone(&file),
            line: place.map(|byte| line_of(text, byte)),
            key: String::new(),
            fault: Fault::Document(what),
        }])
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
        version: Arc::clone(version),
        namespace: Arc::new(Namespace::new("", Vec::new())),
        root: document.namespace.team.as_ref().as_str().into(),
        faults: RefCell::default(),
    };
    // Without it nothing can be said about topics.
    let Some(namespace) = source.namespace(&document.namespace) else {
        return Err(PolicyErrors(source.faults.into_inner()));
    };
    source.namespace = Arc::new(namespace);
    let mut roles: Vec<Arc<Role>> = Vec::new();
    for (name, table) in &document.role {
        if let Some(role) = source.role(name, table) {
            source.check_usernames(&role, table.as_ref(), &roles);
            roles.push(Arc::new(role));
        }
    }
    let mut faults = source.faults.into_inner();
    if faults.is_empty() {
        return Ok((source.namespace, roles));
    }
    faults.sort_by_key(|fault| fault.line);
    Err(PolicyErrors(faults))
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

    fn fault<T>(&self, at: &Spanned<T>, key: impl Into<String>, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < MAX_FAULTS {
            faults.push(PolicyError {
                file: Arc::clone(&self.file),
                line: Some(self.line(at)),
                key: key.into(),
                fault,
            });
        }
    }

    /// What is there, or `None` and a note of what is wrong with it.
    fn keep<T, A>(&self, found: Result<T, Fault>, at: &Spanned<A>, key: String) -> Option<T> {
        found.map_err(|fault| self.fault(at, key, fault)).ok()
    }

    fn namespace(&self, table: &NamespaceTable) -> Option<Namespace> {
        let prefix = table.team.as_ref().strip_suffix(TEAM_PLACE);
        let plain = |prefix: &&str| !prefix.contains(['{', '}', '+', '#', '\0']);
        let whole = |prefix: &&str| prefix.is_empty() || prefix.ends_with('/');
        let prefix = prefix.filter(plain).filter(whole);
        if prefix.is_none() {
            self.fault(&table.team, "namespace.team", Fault::Namespace);
        }
        let mut commons = Vec::new();
        for (index, word) in table.commons.iter().enumerate() {
            if !TeamId::is_valid(word.as_ref()) || word.as_ref().contains(['{', '}']) {
                let key = format!("namespace.commons[{index}]");
                self.fault(word, key, Fault::Commons);
            }
            commons.push(word.as_ref().as_str().into());
        }
        Some(Namespace::new(prefix?, commons))
    }

    fn role(&self, name: &str, at: &Spanned<RoleTable>) -> Option<Role> {
        let table = at.as_ref();
        let key = format!("role.{name}");
        // Without them every variable would seem unknown.
        let variables = self.variables(&key, table)?;
        let texts = |list: &[Spanned<String>], key: &str| -> Box<[Text]> {
            let compiled = list.iter().enumerate().filter_map(|(index, at)| {
                let text = Text::compile(at.as_ref(), |wanted| slot_of(&variables, wanted));
                self.keep(text, at, format!("{key}[{index}]"))
            });
            compiled.collect()
        };
        if table.rules.len() > MAX_RULES {
            let fault = Fault::TooManyRules { limit: MAX_RULES };
            self.fault(at, format!("{key}.rules"), fault);
        }
        let mut rules = Vec::new();
        for (index, rule) in table.rules.iter().enumerate() {
            let key = format!("{key}.rules[{index}]");
            let shares = texts(&rule.as_ref().share, &format!("{key}.share"));
            rules.extend(self.rule(&key, rule, table.reach, &variables, shares));
        }
        let topics = rules.iter().flat_map(|rule: &Rule| &rule.topics);
        let commons = topics.filter_map(|topic| self.namespace.commons_root(&topic.written));
        let mut commons: Vec<Box<str>> = commons.map(Box::from).collect();
        commons.sort();
        commons.dedup();
        let patterns = table.patterns.as_ref();
        Some(Role {
            name: Arc::from(name),
            about: table.about.as_str().into(),
            file: Arc::clone(&self.file),
            line: self.line(at),
            policy_version: Arc::clone(&self.version),
            namespace: Arc::clone(&self.namespace),
            reach: table.reach,
            usernames: texts(&table.username, &format!("{key}.username")),
            client_ids: texts(&table.client_id, &format!("{key}.client_id")),
            mount: self.mount(&key, table),
            pattern_shares: patterns
                .map(|patterns| texts(&patterns.share, &format!("{key}.patterns.share"))),
            commons: commons.into(),
            rules: rules.into(),
            variables: variables.into(),
        })
    }

    /// Every variable of the role: `team` and `username`, those of the usernames, and the bindings.
    fn variables(&self, key: &str, table: &RoleTable) -> Option<Vec<Arc<str>>> {
        let mut variables: Vec<Arc<str>> = vec![Arc::from("team"), Arc::from("username")];
        let mut sound = true;
        for (index, at) in table.username.iter().enumerate() {
            let fault = self.username(at, table.reach, &mut variables).err();
            sound &= fault.is_none();
            if let Some(fault) = fault {
                self.fault(at, format!("{key}.username[{index}]"), fault);
            }
        }
        for (index, at) in table.bindings.iter().enumerate() {
            let name = at.as_ref().as_str();
            let taken = variables.iter().any(|known| **known == *name);
            let fault = if taken || matches!(name, "any" | "instances") {
                Fault::VariableTwice(name.to_owned())
            } else if variables.len() >= MAX_VARIABLES {
                let limit = MAX_VARIABLES;
                Fault::TooManyVariables { limit }
            } else {
                variables.push(Arc::from(name));
                continue;
            };
            self.fault(at, format!("{key}.bindings[{index}]"), fault);
            sound = false;
        }
        sound.then_some(variables)
    }

    /// Adds the variables of one username template to `variables`.
    fn username(
        &self,
        at: &Spanned<String>,
        reach: Reach,
        variables: &mut Vec<Arc<str>>,
    ) -> Result<(), Fault> {
        let mut here = Vec::new();
        for part in parts(at.as_ref())? {
            let Part::Placeholder(name) = part else {
                continue;
            };
            if name == "any" {
                continue;
            }
            if here.contains(&name) || matches!(name, "username" | "instances") {
                return Err(Fault::VariableTwice(name.to_owned()));
            }
            here.push(name);
            if !variables.iter().any(|known| **known == *name) {
                variables.push(Arc::from(name));
            }
        }
        match reach {
            Reach::Team if !here.contains(&"team") => Err(Fault::NoTeamInUsername),
            Reach::Commons | Reach::All if here.contains(&"team") => Err(Fault::TeamWithoutReach),
            _ => Ok(()),
        }
    }

    fn mount(&self, key: &str, table: &RoleTable) -> Option<Text> {
        let at = table.mount.as_ref()?;
        let written = at.as_ref();
        let behind_root = written.strip_prefix(&*self.root);
        let sound = table.reach == Reach::Team
            && written.ends_with('/')
            && behind_root.is_some_and(|rest| !rest.contains(['{', '}', '+', '#', '\0']));
        let only_team = |name: &str| (name == "team").then_some(TEAM).ok_or(Fault::Braces);
        let mount = Text::compile(written, only_team).ok().filter(|_| sound);
        if mount.is_none() {
            let root = self.root.to_string();
            self.fault(at, format!("{key}.mount"), Fault::Mount { root });
        }
        mount
    }

    /// `None` where it can be no rule at all; with another fault it is there, and the policy is not.
    fn rule(
        &self,
        key: &str,
        at: &Spanned<RuleTable>,
        reach: Reach,
        variables: &[Arc<str>],
        shares: Box<[Text]>,
    ) -> Option<Rule> {
        let table = at.as_ref();
        let (allow, action) = match (table.allow, table.deny) {
            (Some(action), None) => (true, action),
            (None, Some(action)) => (false, action),
            _ => {
                self.fault(at, key, Fault::Effect);
                return None;
            }
        };
        if table.topics.is_empty() {
            self.fault(at, format!("{key}.topics"), Fault::NoTopics);
        }
        let subscribes = action.covers(Action::Subscribe);
        if let Some(share) = table.share.first().filter(|_| !(allow && subscribes)) {
            self.fault(share, format!("{key}.share"), Fault::ShareWithoutSubscribe);
        }
        if table.overlap.is_some() && (allow || action == PatternAction::Publish) {
            self.fault(at, format!("{key}.overlap"), Fault::OverlapWithoutDeny);
        }
        let mut conditions = Vec::new();
        for (name, wanted) in &table.when {
            let Ok(variable) = slot_of(variables, name) else {
                let fault = Fault::UnknownCondition {
                    name: name.clone(),
                    known: list(variables),
                };
                self.fault(at, format!("{key}.when"), fault);
                continue;
            };
            conditions.push(Condition {
                variable,
                wanted: wanted.clone(),
            });
        }
        let topics = table
            .topics
            .iter()
            .enumerate()
            .filter_map(|(index, topic)| {
                let compiled = self.topic(topic, reach, variables);
                self.keep(compiled, topic, format!("{key}.topics[{index}]"))
            });
        Some(Rule {
            allow,
            action,
            topics: topics.collect(),
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
    fn check_usernames(&self, role: &Role, table: &RoleTable, earlier: &[Arc<Role>]) {
        for (index, (username, at)) in role.usernames.iter().zip(&table.username).enumerate() {
            let same = earlier.iter().find(|other| {
                let mut usernames = other.usernames.iter();
                usernames.any(|other| other.shape() == username.shape())
            });
            if let Some(other) = same {
                let other = other.name.to_string();
                let key = format!("role.{}.username[{index}]", role.name);
                self.fault(at, key, Fault::SameUsername { other });
            }
        }
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
