//! Who may log in, and as whom.
//!
//! [`Authenticator::judge`] answers the logins that shards hand out: it looks the username up,
//! checks the secret, has the policy make a principal and its grant, and asks the role whether the
//! client id will do. It runs on an ordinary runtime, never on a shard's thread, and is bounded in
//! everything: logins being judged, passwords being hashed, connections to the database, time.
//!
//! **Nobody learns who exists.** Unknown user, no credential, wrong password and suspended team get
//! the same answer for the same work: one look-up, then one hash, whose kind depends on what was
//! *presented* and never on what is stored ([`Secrets`]); the team's suspension is judged after the
//! password. The one difference left is an imported argon2id hash with parameters of its own, and
//! whatever caches add; so a refusal leaves on a fixed grid of time ([`Settings::refusal_step`]).
//! The true reason goes on record, where only operators read it.
//!
//! **A password can be proved instead of sent**, by SCRAM-SHA-256 in two steps; whoever cannot is
//! told as late and as little as with a wrong password.
//!
//! **Others can vouch for a client**: the issuer of a signed token, which then is its password, and
//! the authority of the certificate that it showed. What they vouch for is a username; the policy alone
//! says which role and team that is.
//!
//! **Where the platform has a store of its own** it is asked about usernames that ours does not know
//! (`hook`, `http`): ours is always first, and whom it knows nobody else judges.
//!
//! **A crowd that comes back costs little.** Machine tokens cost a microsecond. A password that was
//! found right is remembered under a key of this process, bound to the stored hash that it matched:
//! the next time it costs no argon2id, and after a rotation it does. Only the right password is
//! ever quick, and only where the login will succeed.
//!
//! **What changes counts at once**, also for those who are in: [`Follower`] reads the log of changes
//! and hands the shards what they must judge anew.

mod account;
mod anonymous;
mod authenticator;
mod certificate;
mod credential;
mod enhanced;
mod follow;
mod guard;
mod hook;
mod http;
mod kept;
mod memo;
mod plans;
mod scram;
mod secret;
mod standby;
mod token;
mod token_key;
mod vouched;
mod waiting_room;
mod world;

pub use account::{Kind, tokens_under_another_key};
pub(crate) use account::{read_patterns, write_patterns};
pub use anonymous::ANONYMOUS;
pub use authenticator::{Authenticator, Settings};
pub use certificate::Certificates;
pub use credential::Credential;
pub use follow::{Follower, HandOver};
pub use http::{ClientError, Hook, News};
pub use plans::TeamPlans;
pub use secret::{MAX_PASSWORD_BYTES, Scheme, SecretError, Secrets, Work, random_token};
pub use standby::{Accounts, Presence};
pub use token::{KeyFault, KeysError, Tokens};
pub use token_key::{TokenKey, TokenKeyError};
pub use world::World;

#[cfg(test)]
#[path = "../../tests/running/authority.rs"]
pub(crate) mod authority;
#[cfg(test)]
#[path = "../../tests/running/issuer.rs"]
mod issuer;
#[cfg(test)]
mod tests;
