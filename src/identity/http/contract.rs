//! The two contracts: what is asked, and what an answer means.

use serde::{Deserialize, Serialize};

use super::client::Reply;
use crate::broker::Question;
use crate::policy::Action;

/// How a hook is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contract {
    /// EMQX: always 200, the answer is in the body.
    Emqx,
    /// mosquitto-go-auth: 200 is yes and 401 is no, whatever the body.
    GoAuth,
}

/// A login to ask about. What the client left out is empty: no text is ever null.
#[derive(Clone, Copy)]
pub(in crate::identity) struct Login<'a> {
    pub(in crate::identity) username: &'a str,
    pub(in crate::identity) password: &'a str,
    pub(in crate::identity) client_id: &'a str,
}

/// What a hook said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::identity) enum Said {
    /// Allowed.
    Yes,
    /// Refused.
    No,
    /// Not for the hook to say.
    Own,
}

/// A reply that means something.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::identity) struct Statement {
    pub(in crate::identity) said: Said,
    /// The mount that the hook gives the client, where it names one.
    pub(in crate::identity) mount: Option<Box<str>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum LoginBody<'a> {
    Emqx {
        username: &'a str,
        password: &'a str,
        #[serde(rename = "clientId")]
        client_id: &'a str,
    },
    GoAuth {
        username: &'a str,
        password: &'a str,
        clientid: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum QuestionBody<'a> {
    Emqx {
        username: &'a str,
        topic: &'a str,
        action: &'static str,
    },
    GoAuth {
        username: &'a str,
        clientid: &'a str,
        topic: &'a str,
        acc: u8,
    },
}

/// An answer's body, as far as it means anything here. `is_superuser` is left unread: nobody is
/// above the rules.
#[derive(Deserialize)]
struct Body {
    result: Verdict,
    #[serde(default)]
    client_attrs: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Allow,
    Deny,
    Ignore,
}

#[derive(Deserialize)]
struct Attributes {
    #[serde(default)]
    team: Option<Box<str>>,
}

impl Contract {
    /// The question about a login, as JSON.
    pub(super) fn login(self, login: &Login<'_>) -> Vec<u8> {
        let Login {
            username,
            password,
            client_id,
        } = *login;
        json(&match self {
            Self::Emqx => LoginBody::Emqx {
                username,
                password,
                client_id,
            },
            Self::GoAuth => LoginBody::GoAuth {
                username,
                password,
                clientid: client_id,
            },
        })
    }

    /// A shard's question, as JSON.
    pub(super) fn question(self, question: &Question) -> Vec<u8> {
        let (username, topic) = (&*question.username, &*question.topic);
        json(&match self {
            Self::Emqx => QuestionBody::Emqx {
                username,
                topic,
                action: question.action.as_str(),
            },
            Self::GoAuth => QuestionBody::GoAuth {
                username,
                clientid: &question.client_id,
                topic,
                acc: match question.action {
                    Action::Subscribe => 1,
                    Action::Publish => 2,
                },
            },
        })
    }

    /// What a reply means; `None`: nothing.
    pub(super) fn read(self, reply: &Reply) -> Option<Statement> {
        match (self, reply.status) {
            (Self::GoAuth, 200) => Some(Said::Yes.into()),
            (Self::GoAuth, 401) => Some(Said::No.into()),
            (Self::Emqx, 200) if reply.is_json => {
                let body: Body = serde_json::from_slice(&reply.body).ok()?;
                let said = match body.result {
                    Verdict::Allow => Said::Yes,
                    Verdict::Deny => Said::No,
                    Verdict::Ignore => Said::Own,
                };
                let mount = body.client_attrs.and_then(|attributes| attributes.team);
                Some(Statement { said, mount })
            }
            _ => None,
        }
    }
}

impl Said {
    /// As metrics name it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Yes => "allow",
            Self::No => "deny",
            Self::Own => "ignore",
        }
    }
}

impl From<Said> for Statement {
    fn from(said: Said) -> Self {
        Self { said, mount: None }
    }
}

/// Texts and numbers only: there is nothing in it that JSON could not hold.
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Question;

    fn reply(status: u16, is_json: bool, body: &str) -> Reply {
        Reply {
            status,
            is_json,
            body: body.as_bytes().to_vec().into(),
        }
    }

    #[test]
    fn both_contracts_ask_in_their_own_words_and_never_with_null() {
        let login = Login {
            username: "",
            password: "p\"w",
            client_id: "c",
        };
        let text = |bytes| String::from_utf8(bytes).expect("text");
        assert_eq!(
            text(Contract::Emqx.login(&login)),
            r#"{"username":"","password":"p\"w","clientId":"c"}"#
        );
        assert_eq!(
            text(Contract::GoAuth.login(&login)),
            r#"{"username":"","password":"p\"w","clientid":"c"}"#
        );
        let question = |action| Question::about("u@t", "c", action, "$share/g/a/+");
        assert_eq!(
            text(Contract::Emqx.question(&question(Action::Subscribe))),
            r#"{"username":"u@t","topic":"$share/g/a/+","action":"subscribe"}"#
        );
        assert_eq!(
            text(Contract::GoAuth.question(&question(Action::Publish))),
            r#"{"username":"u@t","clientid":"c","topic":"$share/g/a/+","acc":2}"#
        );
        assert_eq!(
            text(Contract::GoAuth.question(&question(Action::Subscribe))),
            r#"{"username":"u@t","clientid":"c","topic":"$share/g/a/+","acc":1}"#
        );
    }

    #[test]
    fn an_answer_means_what_its_contract_says_and_anything_else_means_nothing() {
        let yes = |mount: Option<&str>| {
            Some(Statement {
                said: Said::Yes,
                mount: mount.map(Into::into),
            })
        };
        let (no, own) = (|| Some(Said::No.into()), || Some(Said::Own.into()));
        let emqx = [
            (r#"{"result":"allow"}"#, yes(None)),
            (
                r#"{"result":"allow","is_superuser":true,"client_attrs":{"team":"m/"}}"#,
                yes(Some("m/")),
            ),
            (r#"{"result":"allow","client_attrs":{}}"#, yes(None)),
            (r#"{"result":"allow","client_attrs":null}"#, yes(None)),
            (r#"{"result":"deny"}"#, no()),
            (r#"{"result":"ignore"}"#, own()),
            (r#"{"result":"Allow"}"#, None),
            (r#"{"result":true}"#, None),
            (r#"{"result":"allow","client_attrs":{"team":7}}"#, None),
            (r#"{"result":"allow""#, None),
            ("allow", None),
            ("{}", None),
            ("", None),
        ];
        for (body, expected) in emqx {
            assert_eq!(
                Contract::Emqx.read(&reply(200, true, body)),
                expected,
                "{body}"
            );
        }
        let allow = r#"{"result":"allow"}"#;
        assert_eq!(Contract::Emqx.read(&reply(200, false, allow)), None);
        for status in [201, 204, 301, 400, 401, 403, 404, 500, 503] {
            assert_eq!(
                Contract::Emqx.read(&reply(status, true, allow)),
                None,
                "{status}"
            );
        }
        assert_eq!(Contract::GoAuth.read(&reply(200, false, "no")), yes(None));
        assert_eq!(Contract::GoAuth.read(&reply(401, true, allow)), no());
        for status in [204, 302, 400, 403, 404, 500] {
            assert_eq!(
                Contract::GoAuth.read(&reply(status, true, allow)),
                None,
                "{status}"
            );
        }
    }
}
