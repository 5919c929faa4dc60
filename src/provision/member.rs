//! Rows of `team` and `principal`, read and written within a transaction.

use sqlx::Row as _;

use super::document::Owner;
use crate::database::{DatabaseError, Transaction};
use crate::identity::{Credential, Kind, read_patterns, write_patterns};
use crate::policy::Pattern;

/// A row of `principal`.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) username: String,
    pub(super) team: Option<String>,
    pub(super) owner: Option<Owner>,
    pub(super) patterns: Vec<Pattern>,
    pub(super) credential: Credential,
}

/// The member that is this kind's `id`, whatever team a machine is in.
pub(super) async fn find(
    transaction: &mut Transaction,
    kind: Kind,
    team: &str,
    id: &str,
) -> Result<Option<Member>, DatabaseError> {
    let (column, key) = match kind {
        Kind::Instance | Kind::Device => ("id", id.to_owned()),
        Kind::Client | Kind::Platform => ("username", kind.username(team, id)),
    };
    let sql = format!(
        "SELECT username, team, owner_type, owner, patterns, secret, scram FROM principal \
         WHERE kind = $1 AND {column} = $2"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(kind.as_str())
        .bind(key)
        .fetch_optional(&mut **transaction)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let owner_type: Option<String> = row.try_get("owner_type")?;
    let patterns: String = row.try_get("patterns")?;
    Ok(Some(Member {
        username: row.try_get("username")?,
        team: row.try_get("team")?,
        owner: match (owner_type.as_deref(), row.try_get("owner")?) {
            (Some("instance"), Some(id)) => Some(Owner {
                kind: "instance",
                id,
            }),
            (Some(_), Some(id)) => Some(Owner {
                kind: "application",
                id,
            }),
            _ => None,
        },
        patterns: read_patterns(&patterns)?,
        credential: Credential {
            secret: row.try_get("secret")?,
            scram: row.try_get("scram")?,
        },
    }))
}

/// What a member is to become.
pub(super) struct NewMember<'a> {
    pub(super) kind: Kind,
    pub(super) team: Option<&'a str>,
    pub(super) id: &'a str,
    pub(super) owner: Option<&'a Owner>,
    pub(super) patterns: &'a [Pattern],
    pub(super) credential: &'a Credential,
}

/// Makes a member, or makes the one that has the username `was` into this one.
pub(super) async fn write(
    transaction: &mut Transaction,
    was: Option<&str>,
    member: &NewMember<'_>,
    now_us: i64,
) -> Result<(), sqlx::Error> {
    let username = member
        .kind
        .username(member.team.unwrap_or_default(), member.id);
    let sql = match was {
        None => {
            "INSERT INTO principal (username, team, owner_type, owner, patterns, secret, scram, \
             changed_us, kind, id, created_us) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $8)"
        }
        Some(_) => {
            "UPDATE principal SET username = $1, team = $2, owner_type = $3, owner = $4, \
             patterns = $5, secret = $6, scram = $7, changed_us = $8 \
             WHERE kind = $9 AND username = $10"
        }
    };
    sqlx::query(sql)
        .bind(username)
        .bind(member.team)
        .bind(member.owner.map(|owner| owner.kind))
        .bind(member.owner.map(|owner| owner.id.as_str()))
        .bind(write_patterns(member.patterns))
        .bind(&member.credential.secret)
        .bind(&member.credential.scram)
        .bind(now_us)
        .bind(member.kind.as_str())
        .bind(was.unwrap_or(member.id))
        .execute(&mut **transaction)
        .await
        .map(drop)
}

/// A team's name, where there is such a team.
pub(super) async fn team_name(
    transaction: &mut Transaction,
    id: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM team WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await
}

/// A team, as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TeamRow {
    pub(super) name: String,
    /// `None`: the default one.
    pub(super) plan: Option<String>,
    /// What differs from the plan.
    pub(super) limits: String,
}

impl TeamRow {
    /// The keys in which `new` differs.
    pub(super) fn differences(&self, new: &Self) -> Vec<String> {
        let fields = [
            (self.name != new.name, "name"),
            (self.plan != new.plan, "plan"),
            (self.limits != new.limits, "limits"),
        ];
        let differing = fields.into_iter().filter(|(differs, _)| *differs);
        differing.map(|(_, field)| field.to_owned()).collect()
    }
}

/// A team; `None` where there is none.
pub(super) async fn team(
    transaction: &mut Transaction,
    id: &str,
) -> Result<Option<TeamRow>, sqlx::Error> {
    let row = sqlx::query("SELECT name, plan, limits FROM team WHERE id = $1")
        .bind(id)
        .fetch_optional(&mut **transaction)
        .await?;
    row.map(|row| {
        Ok(TeamRow {
            name: row.try_get("name")?,
            plan: row.try_get("plan")?,
            limits: row.try_get("limits")?,
        })
    })
    .transpose()
}

/// Makes a team.
pub(super) async fn insert_team(
    transaction: &mut Transaction,
    id: &str,
    team: &TeamRow,
    now_us: i64,
) -> Result<(), sqlx::Error> {
    let sql = "INSERT INTO team (id, name, plan, limits, created_us) VALUES ($1, $2, $3, $4, $5)";
    sqlx::query(sql)
        .bind(id)
        .bind(&team.name)
        .bind(&team.plan)
        .bind(&team.limits)
        .bind(now_us)
        .execute(&mut **transaction)
        .await
        .map(drop)
}

/// Makes a team different.
pub(super) async fn update_team(
    transaction: &mut Transaction,
    id: &str,
    team: &TeamRow,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE team SET name = $2, plan = $3, limits = $4 WHERE id = $1")
        .bind(id)
        .bind(&team.name)
        .bind(&team.plan)
        .bind(&team.limits)
        .execute(&mut **transaction)
        .await
        .map(drop)
}
