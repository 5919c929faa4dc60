//! `cofferdam apply FILE`.

use std::collections::HashMap;

use super::document::{DeclaredMember, DeclaredTeam, Document, Password};
use super::member::{self, Member, NewMember};
use super::{Change, ProvisionError, Provisioner, Verb};
use crate::broker::ChangeKind;
use crate::config::{ConfigErrors, Report};
use crate::database::{Concerned, Transaction};
use crate::identity::{Credential, Kind};

/// What `apply` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// In the order of the file: teams, instances, devices, clients, the platform.
    pub changes: Vec<Change>,
    /// Declared things that were so already.
    pub unchanged: usize,
    /// What an operator should know though it was done: one sentence each.
    pub notes: Vec<String>,
}

/// What one entry of the file came to.
#[derive(Default)]
struct Outcome {
    change: Option<Change>,
    concerned: Vec<Concerned>,
}

/// What took long to make, by username and by what was stored when it was made.
type Hashed = HashMap<(String, Credential), Credential>;

impl Provisioner<'_> {
    /// Brings the database to what `text`, the text of `file`, declares. Hashing takes some twenty
    /// milliseconds for each password (not token) in plain, also where nothing changes; it is done
    /// on the caller's thread, before the transaction, so that nobody else waits for it.
    ///
    /// # Errors
    /// [`ProvisionError`]; then nothing was changed.
    pub async fn apply(&self, file: &str, text: &str) -> Result<Applied, ProvisionError> {
        let document = Document::parse(file, text, self.policy, self.plans, self.secrets)?;
        let hashed = self.hash_ahead(&document).await?;
        let mut transaction = self.database.begin_administration().await?;
        refuse(file, &self.complaints(&mut transaction, &document).await?)?;

        let mut applied = Applied {
            changes: Vec::new(),
            unchanged: 0,
            notes: Vec::new(),
        };
        for team in &document.teams {
            let change = self.apply_team(&mut transaction, team).await?;
            applied.count(change);
        }
        let mut concerned = Vec::new();
        for declared in &document.members {
            let outcome = self
                .apply_member(&mut transaction, declared, &hashed)
                .await?;
            concerned.extend(outcome.concerned);
            applied.count(outcome.change);
            if declared.kind == Kind::Client && declared.patterns.is_empty() {
                let username = declared.username();
                let note = format!("client {username} has no acl: it may do nothing");
                applied.notes.push(note);
            }
        }
        self.commit_with(transaction, &applied.changes, &concerned, "apply")
            .await?;
        Ok(applied)
    }

    /// What only the database can say: which teams there are, and whose an owner is.
    async fn complaints<'d>(
        &self,
        transaction: &mut Transaction,
        document: &'d Document,
    ) -> Result<Vec<(&'d DeclaredMember, Complaint)>, ProvisionError> {
        let mut complaints = Vec::new();
        let mut known: HashMap<&str, bool> = HashMap::new();
        for team in &document.teams {
            known.insert(&team.id, true);
        }
        for declared in &document.members {
            let Some(team) = declared.team.as_deref() else {
                continue;
            };
            if !known.contains_key(team) {
                let name = member::team_name(transaction, team).await?;
                known.insert(team, name.is_some());
            }
            if known.get(team) == Some(&false) {
                complaints.push((declared, Complaint::NoTeam));
            }
            let owner = declared.owner.as_ref().filter(|it| it.kind == "instance");
            if let Some(owner) = owner {
                let mut here = document.members.iter();
                let home = match here.find(|it| it.kind == Kind::Instance && it.id == owner.id) {
                    Some(instance) => instance.team.clone(),
                    None => member::find(transaction, Kind::Instance, "", &owner.id)
                        .await?
                        .and_then(|instance| instance.team),
                };
                if let Some(home) = home.filter(|home| home != team) {
                    complaints.push((declared, Complaint::ForeignOwner(home)));
                }
            }
        }
        Ok(complaints)
    }

    async fn apply_team(
        &self,
        transaction: &mut Transaction,
        team: &DeclaredTeam,
    ) -> Result<Option<Change>, ProvisionError> {
        let new = member::TeamRow {
            name: team.name.clone(),
            plan: team.plan.clone(),
            limits: team.limits.clone(),
        };
        let (verb, fields) = match member::team(transaction, &team.id).await? {
            Some(there) if there == new => return Ok(None),
            Some(there) => {
                member::update_team(transaction, &team.id, &new).await?;
                (Verb::Change, there.differences(&new))
            }
            None => {
                member::insert_team(transaction, &team.id, &new, self.now_us()).await?;
                (Verb::Add, Vec::new())
            }
        };
        Ok(Some(Change {
            verb,
            what: "team",
            name: team.id.clone(),
            team: Some(team.id.clone()),
            fields,
        }))
    }

    async fn apply_member(
        &self,
        transaction: &mut Transaction,
        declared: &DeclaredMember,
        hashed: &Hashed,
    ) -> Result<Outcome, ProvisionError> {
        let team = declared.team.as_deref();
        let id = &declared.id;
        let there = member::find(transaction, declared.kind, team.unwrap_or_default(), id).await?;
        let stored = there.as_ref().map(|it| it.credential.clone());
        let stored = stored.unwrap_or_default();
        let username = declared.username();
        let credential = match hashed.get(&(username.clone(), stored.clone())) {
            Some(credential) => credential.clone(),
            // Somebody gave it another password since.
            None => self.credential_for(declared, &stored)?,
        };
        let fields = match &there {
            None => Vec::new(),
            Some(there) => differences(there, declared, &credential),
        };
        if there.is_some() && fields.is_empty() {
            return Ok(Outcome::default());
        }
        let new = NewMember {
            kind: declared.kind,
            team,
            id,
            owner: declared.owner.as_ref(),
            patterns: &declared.patterns,
            credential: &credential,
        };
        let was = there.as_ref().map(|there| there.username.as_str());
        member::write(transaction, was, &new, self.now_us()).await?;
        let concerned = concerned(there.as_ref(), declared, &credential);
        let change = Change {
            verb: there.map_or(Verb::Add, |_| Verb::Change),
            what: declared.kind.as_str(),
            name: username,
            team: declared.team.clone(),
            fields,
        };
        Ok(Outcome {
            change: Some(change),
            concerned,
        })
    }

    /// Hashes every password, against what is stored now.
    async fn hash_ahead(&self, document: &Document) -> Result<Hashed, ProvisionError> {
        let mut hashed = Hashed::new();
        let mut connection = self.database.begin().await?;
        let mut stored = Vec::with_capacity(document.members.len());
        for declared in &document.members {
            let team = declared.team.as_deref().unwrap_or_default();
            let there = member::find(&mut connection, declared.kind, team, &declared.id).await?;
            stored.push(there.map(|it| it.credential).unwrap_or_default());
        }
        connection.rollback().await?;
        for (declared, stored) in document.members.iter().zip(stored) {
            let credential = self.credential_for(declared, &stored)?;
            hashed.insert((declared.username(), stored), credential);
            tokio::task::yield_now().await;
        }
        Ok(hashed)
    }

    /// What to store for a declared password, where `stored` is what there is: the same, if it
    /// matches.
    fn credential_for(
        &self,
        declared: &DeclaredMember,
        stored: &Credential,
    ) -> Result<Credential, ProvisionError> {
        Ok(match &declared.password {
            Password::None => Credential::default(),
            Password::Hash(hash) => self.secrets.imported(hash, stored)?,
            Password::Plain(plain) => {
                let username = declared.username();
                self.secrets.credential(&username, plain, stored)?
            }
        })
    }
}

/// What the database has against a declaration.
enum Complaint {
    NoTeam,
    /// The instance that owns it belongs to this other team.
    ForeignOwner(String),
}

fn refuse(file: &str, complaints: &[(&DeclaredMember, Complaint)]) -> Result<(), ConfigErrors> {
    let report = Report::new(file);
    for (declared, complaint) in complaints {
        match complaint {
            Complaint::NoTeam => declared.no_team(&report),
            Complaint::ForeignOwner(team) => declared.foreign_owner(&report, team),
        }
    }
    report.into_result(())
}

impl Applied {
    fn count(&mut self, change: Option<Change>) {
        match change {
            Some(change) => self.changes.push(change),
            None => self.unchanged += 1,
        }
    }
}

/// Whom it concerns who may be connected, when `there` is made as declared.
fn concerned(
    there: Option<&Member>,
    declared: &DeclaredMember,
    credential: &Credential,
) -> Vec<Concerned> {
    let principal = |kind, team: &Option<String>, username: &str| Concerned {
        kind,
        team: team.clone(),
        username: Some(username.to_owned()),
    };
    let members = |team: &Option<String>| Concerned {
        kind: ChangeKind::Members,
        team: team.clone(),
        username: None,
    };
    let is_instance = declared.kind == Kind::Instance;
    let Some(there) = there else {
        return is_instance
            .then(|| members(&declared.team))
            .into_iter()
            .collect();
    };
    let mut concerned = Vec::new();
    if there.team != declared.team {
        concerned.push(principal(ChangeKind::Moved, &there.team, &there.username));
        if is_instance {
            concerned.extend([members(&there.team), members(&declared.team)]);
        }
        return concerned;
    }
    let changed = |kind| principal(kind, &there.team, &there.username);
    if there.owner != declared.owner || there.patterns != declared.patterns {
        concerned.push(changed(ChangeKind::Rights));
    }
    // That the same password can now be proved too takes nothing from anybody.
    let before = &there.credential;
    let is_same = before.secret == credential.secret
        && (before.scram.is_none() || before.scram == credential.scram);
    if !is_same {
        concerned.push(changed(ChangeKind::Credential));
    }
    concerned
}

/// The keys in which what is there differs from what is declared.
fn differences(there: &Member, declared: &DeclaredMember, credential: &Credential) -> Vec<String> {
    let before = &there.credential;
    let password = match (before.is_empty(), credential.is_empty()) {
        (false, true) => "password removed",
        (true, false) => "password set",
        // The password is the same, and can now be proved too.
        _ if before.secret == credential.secret && before.scram.is_none() => "scram",
        _ => "password",
    };
    let team = format!("moved from team {}", there.team.as_deref().unwrap_or("-"));
    [
        (there.team != declared.team, team.as_str()),
        (there.owner != declared.owner, "owner"),
        (there.patterns != declared.patterns, "acl"),
        (before != credential, password),
    ]
    .into_iter()
    .filter(|(differs, _)| *differs)
    .map(|(_, name)| name.to_owned())
    .collect()
}
