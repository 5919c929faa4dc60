//! A policy instantiated for one principal.

use std::sync::Arc;

use super::ask::Ask;
use super::document::{Overlap, Reach};
use super::error::GrantError;
use super::members::TeamMembers;
use super::principal::{Action, Pattern, Principal, TeamId};
use super::role::{MAX_PATTERNS, Role, Rule, TEAM, USERNAME, permits};
use super::template::{Bound, Levels, Template};
use crate::time::Time;
use crate::topic::{TopicFilter, TopicName, relation};

/// What one connection may do, decided without I/O. Cheap to share, never changed: when policy or
/// principal change, a new grant is made and the session re-judged. Only the team's members change
/// under it.
///
/// The compiled role is shared by all its principals; a grant of its own holds only the values of
/// the variables, so it stays at some hundred bytes however many rules there are.
#[derive(Clone, Debug)]
pub struct Grant {
    pub(super) principal: Principal,
    pub(super) role: Arc<Role>,
    pub(super) values: Box<[Option<Arc<str>>]>,
    pub(super) members: Option<Arc<TeamMembers>>,
    /// The mount, which begins with the root; the root alone where there is no mount.
    base: Arc<str>,
    root_length: u32,
    /// One bit for each rule of the role whose conditions hold.
    pub(super) active: u64,
    /// By what the principal is known.
    pub(super) known_by: KnownBy,
    /// When somebody else is asked.
    pub(super) ask: Ask,
    expires: Time,
}

/// By what a principal is known. Where it is not by the own record alone, a grant cannot be made anew
/// from that record: it would give what nobody has proved, or take what somebody has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum KnownBy {
    /// By what our own store says, or by a name that needs none.
    #[default]
    Record,
    /// By a token or a certificate, beside what is on record.
    Proof,
    /// By its username alone: somebody else let it in, and it is not on record here.
    Name,
}

/// A decision and the rule that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What was decided.
    pub ruling: Ruling,
    /// Index of the rule within the grant, for `explain`: the role's rules in their order, then the
    /// principal's own patterns; `None` where no rule applied.
    pub rule: Option<u16>,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// Yes.
    Allow,
    /// Yes, but a deny rule overlaps the filter: ask [`Grant::may_receive`] for each delivery.
    AllowChecked,
    /// No.
    Deny,
}

impl Ruling {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::AllowChecked => "allow, each delivery checked",
            Self::Deny => "deny",
        }
    }
}

impl Grant {
    pub(super) fn new(
        role: Arc<Role>,
        principal: Principal,
        members: Option<Arc<TeamMembers>>,
    ) -> Result<Self, GrantError> {
        if (role.reach == Reach::Team) != principal.team.is_some() {
            return Err(GrantError::Team(Arc::clone(&role.name)));
        }
        let mut values: Box<[Option<Arc<str>>]> = vec![None; role.variables.len()].into();
        for (place, name) in values.iter_mut().zip(&role.variables) {
            let value = principal.binding(name);
            if value.is_some_and(|value| !stands_in_a_level(value)) {
                return Err(GrantError::Binding(Arc::clone(name)));
            }
            *place = value.cloned();
        }
        let mut base = String::new();
        let mut root_length = 0;
        values[usize::from(USERNAME)] = Some(Arc::clone(&principal.username));
        if let Some(team) = &principal.team {
            if role.namespace.is_commons(team.as_str()) {
                return Err(GrantError::ReservedTeam(Arc::from(team.as_str())));
            }
            values[usize::from(TEAM)] = Some(team.shared());
            base = role.namespace.root(team);
            root_length = base.len();
            if let Some(mount) = role.mount.as_ref().and_then(|mount| mount.expand(&values)) {
                base = mount;
            }
        }
        if role.pattern_shares.is_some() {
            if principal.patterns.len() > MAX_PATTERNS {
                return Err(GrantError::TooManyPatterns {
                    limit: MAX_PATTERNS,
                });
            }
            for pattern in &principal.patterns {
                TopicFilter::parse(&pattern.filter, u16::MAX, u16::MAX).map_err(|error| {
                    let pattern = Arc::clone(&pattern.filter);
                    GrantError::Pattern { pattern, error }
                })?;
            }
        }
        Ok(Self {
            active: role.active_rules(&values),
            known_by: KnownBy::Record,
            ask: Ask::Never,
            role,
            principal,
            values,
            members,
            base: Arc::from(base),
            root_length: u32::try_from(root_length).unwrap_or(u32::MAX),
            expires: Time::NEVER,
        })
    }

    /// The same grant for a login that holds only until then.
    pub fn until(self, expires: Time) -> Self {
        Self { expires, ..self }
    }

    /// When what the principal logged in with is over: a connection that this grant let in ends
    /// then. Decisions do not ask.
    pub fn expires(&self) -> Time {
        self.expires
    }

    /// The same grant of a principal for whom a token or a certificate vouches.
    pub fn proved(self) -> Self {
        let known_by = KnownBy::Proof;
        Self { known_by, ..self }
    }

    /// By what the principal is known.
    pub const fn known_by(&self) -> KnownBy {
        self.known_by
    }

    /// Who this is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The version of the policy that this was made from.
    pub fn policy_version(&self) -> &str {
        &self.role.policy_version
    }

    /// The team, where there is one.
    pub fn team(&self) -> Option<&TeamId> {
        self.principal.team.as_ref()
    }

    /// The team's subtree, such as `ff/v1/<team>/`; empty for principals that span teams.
    pub fn root(&self) -> &str {
        self.base
            .get(..self.root_length as usize)
            .unwrap_or_default()
    }

    /// What is put before the client's own topics and taken off on delivery; empty: nothing.
    pub fn mount(&self) -> &str {
        if self.role.mount.is_some() {
            &self.base
        } else {
            ""
        }
    }

    /// Whether the role lets the principal connect under this client id.
    pub fn accepts_client_id(&self, client_id: &str) -> bool {
        let ids = &self.role.client_ids;
        ids.is_empty() || ids.iter().any(|id| id.fits(client_id, &self.values))
    }

    /// Counts the changes of what decisions depend on besides the grant itself (the team's
    /// members): a decision may be remembered as long as this number stays the same.
    pub fn generation(&self) -> u64 {
        self.members
            .as_ref()
            .map_or(0, |members| members.generation())
    }

    /// The structural check, to be made before the rules are asked, or whoever else decides: is
    /// this full name within the principal's own team, or in commons that its role has rules for?
    pub fn reaches(&self, topic: TopicName<'_>) -> bool {
        self.reaches_text(topic.as_str())
    }

    /// The structural check for a full filter: could it match nothing but what
    /// [`reaches`](Self::reaches) lets through? (`ff/v1/<team>/#` counts as within the team.)
    pub fn reaches_filter(&self, filter: TopicFilter<'_>) -> bool {
        // The roots end with `/` and have no wildcard, so a filter that begins with one cannot
        // leave it but for the root's parent, to which nobody may publish.
        self.reaches_text(filter.as_str())
    }

    fn reaches_text(&self, text: &str) -> bool {
        let in_commons = || {
            self.role
                .commons
                .iter()
                .any(|root| text.starts_with(&**root))
        };
        match self.role.reach {
            Reach::All => true,
            Reach::Commons => in_commons(),
            Reach::Team => text.starts_with(self.root()) || in_commons(),
        }
    }

    /// Whether a full name or filter is within the principal's own team.
    pub(super) fn is_at_home(&self, text: &str) -> bool {
        self.role.reach == Reach::Team && text.starts_with(self.root())
    }

    /// May it publish to this full name?
    pub fn publish(&self, topic: TopicName<'_>) -> Decision {
        let asked = Asked::new(self, topic.as_str());
        let own = |pattern: &Pattern, text: &str| relation::matches(&pattern.filter, text);
        let rules = || self.rules(Action::Publish);
        let matching = |(_, rule): &(usize, &Rule)| asked.any(rule, Template::matches);
        let denied = rules().filter(|(_, rule)| !rule.allow).find(matching);
        if let Some((index, _)) = denied {
            return Decision::by(Ruling::Deny, index);
        }
        if let Some(index) = self.own(Action::Publish, false, &asked, own) {
            return Decision::by(Ruling::Deny, index);
        }
        let allowed = rules().filter(|(_, rule)| rule.allow).find(matching);
        let allowed = allowed.map(|(index, _)| index);
        match allowed.or_else(|| self.own(Action::Publish, true, &asked, own)) {
            Some(index) => Decision::by(Ruling::Allow, index),
            None => Decision::UNRULED,
        }
    }

    /// May it subscribe to this full filter, in this share group?
    pub fn subscribe(&self, filter: TopicFilter<'_>, group: Option<&str>) -> Decision {
        let asked = Asked::new(self, filter.as_str());
        let contains = |pattern: &Pattern, text: &str| {
            relation::contains(&pattern.filter, relation::spell_out(text))
        };
        let rules = || self.rules(Action::Subscribe);
        let containing = |(_, rule): &(usize, &Rule)| asked.any(rule, Template::contains);
        let denied = rules().filter(|(_, rule)| !rule.allow).find(containing);
        let denied = denied.map(|(index, _)| index);
        let own = || self.own(Action::Subscribe, false, &asked, contains);
        if let Some(index) = denied.or_else(own) {
            return Decision::by(Ruling::Deny, index);
        }
        let permitted = |(_, rule): &(usize, &Rule)| rule.permits(group, &self.values);
        let allowed = rules()
            .filter(|(_, rule)| rule.allow)
            .filter(containing)
            .find(permitted);
        let allowed = allowed.map(|(index, _)| index);
        let own = || self.own(Action::Subscribe, true, &asked, contains);
        let own_permitted = || permits(self.pattern_shares(), group, &self.values);
        let allowed = allowed.or_else(|| own().filter(|_| own_permitted()));
        match allowed {
            Some(index) if self.is_met_by_a_deny(&asked) => {
                Decision::by(Ruling::AllowChecked, index)
            }
            Some(index) => Decision::by(Ruling::Allow, index),
            None => Decision::UNRULED,
        }
    }

    /// May a message on this full name be delivered to it? Asked only for subscriptions that were
    /// granted as [`Ruling::AllowChecked`].
    pub fn may_receive(&self, topic: TopicName<'_>) -> bool {
        let asked = Asked::new(self, topic.as_str());
        let mut denies = self.checked_denies();
        let own = |pattern: &Pattern, text: &str| relation::matches(&pattern.filter, text);
        !denies.any(|rule| asked.any(rule, Template::matches))
            && self.own(Action::Subscribe, false, &asked, own).is_none()
    }

    /// May it have a message on this full name by any filter at all? For a message that is still on
    /// its way when the subscription by which it came has gone. Where somebody else is asked, they
    /// may allow more of its own team than the rules here.
    pub fn could_receive(&self, topic: TopicName<'_>) -> bool {
        let asked = Asked::new(self, topic.as_str());
        let own = |pattern: &Pattern, text: &str| relation::matches(&pattern.filter, text);
        let mut allows = self.rules(Action::Subscribe).filter(|(_, rule)| rule.allow);
        let allowed = (self.ask != Ask::Never && self.is_at_home(topic.as_str()))
            || allows.any(|(_, rule)| asked.any(rule, Template::matches))
            || self.own(Action::Subscribe, true, &asked, own).is_some();
        allowed && self.reaches(topic) && self.may_receive(topic)
    }

    /// Whether a deny that is heeded on delivery overlaps the filter.
    pub(super) fn is_met_by_a_deny(&self, asked: &Asked<'_>) -> bool {
        let meets = |pattern: &Pattern, text: &str| {
            let (one, other) = (
                relation::spell_out(&pattern.filter),
                relation::spell_out(text),
            );
            relation::overlaps(one, other)
        };
        self.checked_denies()
            .any(|rule| asked.any(rule, Template::overlaps))
            || self.own(Action::Subscribe, false, asked, meets).is_some()
    }

    /// The deny rules on subscribing that are heeded on delivery.
    fn checked_denies(&self) -> impl Iterator<Item = &Rule> {
        let rules = self.rules(Action::Subscribe).map(|(_, rule)| rule);
        rules.filter(|rule| !rule.allow && rule.overlap == Overlap::Check)
    }

    /// The role's rules about this action whose conditions hold.
    fn rules(&self, action: Action) -> impl Iterator<Item = (usize, &Rule)> {
        let rules = self.role.rules.iter().enumerate();
        rules.filter(move |(index, rule)| self.active >> index & 1 == 1 && rule.is_for(action))
    }

    /// The first of the principal's own patterns that is about this and relates so to what is
    /// asked, as the client wrote it.
    fn own(
        &self,
        action: Action,
        allow: bool,
        asked: &Asked<'_>,
        relates: impl Fn(&Pattern, &str) -> bool,
    ) -> Option<usize> {
        self.role.pattern_shares.as_ref()?;
        let text = asked.text.strip_prefix(self.mount())?;
        let about = |pattern: &Pattern| pattern.allow == allow && pattern.action.covers(action);
        let mut patterns = self.principal.patterns.iter();
        let found = patterns.position(|pattern| about(pattern) && relates(pattern, text))?;
        Some(self.role.rules.len() + found)
    }

    pub(super) fn pattern_shares(&self) -> &[super::text::Text] {
        self.role.pattern_shares.as_deref().unwrap_or_default()
    }

    pub(super) fn bound(&self) -> Bound<'_> {
        Bound {
            values: &self.values,
            members: self.members.as_deref(),
        }
    }
}

/// A name or filter that is being decided on, taken apart once for all rules.
pub(super) struct Asked<'a> {
    pub(super) text: &'a str,
    /// Within the team's subtree, so that rooted templates are meant, and `levels` begin behind it.
    pub(super) rooted: bool,
    pub(super) levels: Levels<'a>,
    pub(super) bound: Bound<'a>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(grant: &'a Grant, text: &'a str) -> Self {
        let behind_root = match grant.role.reach {
            Reach::Team => text.strip_prefix(grant.root()),
            Reach::Commons | Reach::All => None,
        };
        Self {
            text,
            rooted: behind_root.is_some(),
            levels: Levels::of(behind_root.unwrap_or(text)),
            bound: grant.bound(),
        }
    }

    /// Whether one of the rule's templates relates so to what is asked.
    pub(super) fn any(
        &self,
        rule: &Rule,
        relates: impl Fn(&Template, &Levels<'_>, Bound<'_>) -> bool,
    ) -> bool {
        let mut topics = rule.topics.iter();
        topics.any(|topic| topic.rooted == self.rooted && relates(topic, &self.levels, self.bound))
    }
}

impl Decision {
    /// No rule applied, so no.
    pub(super) const UNRULED: Self = Self {
        ruling: Ruling::Deny,
        rule: None,
    };

    fn by(ruling: Ruling, index: usize) -> Self {
        Self {
            ruling,
            rule: u16::try_from(index).ok(),
        }
    }

    /// Whether it is a yes, with or without a check on delivery.
    pub fn is_allow(self) -> bool {
        self.ruling != Ruling::Deny
    }
}

/// Whether a value can be one level of a topic.
fn stands_in_a_level(value: &str) -> bool {
    !value.is_empty() && !value.contains(['/', '+', '#', '\0'])
}
