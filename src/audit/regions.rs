//! Which database a record goes to: some teams' records have to stay in a region's own.
//!
//! Decided by the record alone, so that it is the same whenever it is asked: by its team, or, where a
//! login was refused before a team was known, by the team that its username names.

use std::collections::HashMap;
use std::sync::Arc;

use super::record::{Level, Record};
use crate::database::Database;

/// A database that records go to.
#[derive(Clone, Debug)]
pub struct Store {
    /// The region's name; `None`: the main one.
    pub region: Option<Arc<str>>,
    /// Where.
    pub database: Database,
}

/// Which teams' records go to which region.
#[derive(Clone, Debug, Default)]
pub struct Regions(Arc<HashMap<String, Arc<str>>>);

impl Regions {
    /// Pairs of a team and its region.
    pub fn new(teams: impl IntoIterator<Item = (String, Arc<str>)>) -> Self {
        Self(Arc::new(teams.into_iter().collect()))
    }

    /// Where a team's records go; `None`: to the main database.
    pub fn of_team(&self, team: &str) -> Option<&Arc<str>> {
        self.0.get(team)
    }

    /// Where a record goes.
    pub(super) fn of(&self, record: &Record) -> Option<&Arc<str>> {
        match (&record.team, &record.actor) {
            (Some(team), _) if record.level == Level::Team => self.of_team(team),
            (None, Some(username)) if record.event == "connect_refused" => match &record.home {
                Some(home) => self.of_team(home),
                None => self.of_username(username),
            },
            _ => None,
        }
    }

    /// `name@team`, or `kind:team:id`.
    fn of_username(&self, username: &str) -> Option<&Arc<str>> {
        let by_at = username.rsplit_once('@').map(|(_, team)| team);
        let by_colon = username.split(':').nth(1);
        [by_at, by_colon]
            .into_iter()
            .flatten()
            .find_map(|team| self.of_team(team))
    }
}

/// The team that a username names by its form: `name@team`, or `kind:team:id`.
pub(super) fn team_named_by(username: &str) -> Option<&str> {
    let by_at = username.rsplit_once('@').map(|(_, team)| team);
    by_at.or_else(|| username.split(':').nth(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Time;

    fn refused(team: Option<&str>, actor: &str) -> Record {
        let detail = serde_json::json!({});
        let at = Time::EPOCH;
        Record::administration(at, "connect_refused", team, actor, detail)
    }

    #[test]
    fn a_record_goes_where_its_team_is_and_a_refused_login_where_its_name_says() {
        let regions = Regions::new([("acme".to_owned(), Arc::from("eu"))]);
        let region = |record: &Record| regions.of(record).map(|it| it.to_string());
        let eu = Some("eu".to_owned());
        assert_eq!(region(&refused(Some("acme"), "x")), eu);
        assert_eq!(region(&refused(Some("other"), "x@acme")), None);
        for name in ["nobody@acme", "project:acme:1", "device:acme:2"] {
            assert_eq!(region(&refused(None, name)), eu, "{name}");
        }
        for name in ["acme", "acme@other", "acme:other:1", ""] {
            assert_eq!(region(&refused(None, name)), None, "{name}");
        }
        // What the operator does to teams is the platform's.
        let mut platform = refused(Some("acme"), "me");
        platform.level = Level::Platform;
        assert_eq!(region(&platform), None);
    }
}
