//! Names and addresses of persons, made unrecognisable before they are written anywhere.
//!
//! The same name gives the same pseudonym under the same key, so that records can still be put
//! together; without the key a pseudonym cannot be tried out against a list of names. Called by the
//! spool's thread for each record, and by readers who look for a name.

use serde_json::Value;

use super::chain::AuditKey;
use super::record::Record;
use super::regions::team_named_by;

/// Under which the key is made from the audit key.
const CONTEXT: &str = "cofferdam 2026 audit pseudonyms";

/// Bytes of a pseudonym's hash: enough for billions of names to stay apart.
const BYTES: usize = 12;

/// What is made unrecognisable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    /// The address of the far end, port and all.
    pub addresses: bool,
    /// Usernames and client identifiers, which often are the same.
    pub usernames: bool,
}

/// Pseudonyms under one key.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
    personal: Personal,
}

impl std::fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("personal", &self.personal)
            .finish_non_exhaustive()
    }
}

impl Pseudonyms {
    /// Under a key that is made from the audit key. `None` where nothing is to be made
    /// unrecognisable.
    pub fn of(key: &AuditKey, personal: Personal) -> Option<Self> {
        Self::new(key.derive(CONTEXT), personal)
    }

    fn new(key: [u8; 32], personal: Personal) -> Option<Self> {
        let any = personal.addresses || personal.usernames;
        any.then_some(Self { key, personal })
    }

    /// Whether addresses are pseudonyms.
    pub(super) fn hides_addresses(&self) -> bool {
        self.personal.addresses
    }

    /// What a username or client identifier is called.
    pub fn name(&self, name: &str) -> String {
        match self.personal.usernames {
            true => self.pseudonym("name", name),
            false => name.to_owned(),
        }
    }

    /// What an address is called; a port does not count.
    pub fn address(&self, remote: &str) -> String {
        let address = remote
            .parse::<std::net::SocketAddr>()
            .map(|address| address.ip())
            .or_else(|_| remote.parse());
        match (self.personal.addresses, address) {
            (true, Ok(address)) => self.pseudonym("address", &address.to_canonical().to_string()),
            _ => remote.to_owned(),
        }
    }

    /// Replaces what is personal in a record of a connection. Who changes things by hand stays
    /// named: that is what the record is for.
    pub(super) fn apply(&self, record: &mut Record) {
        if record.remote.is_none() {
            return;
        }
        if self.personal.usernames && record.team.is_none() && record.event == "connect_refused" {
            let named = record.actor.as_deref().and_then(team_named_by);
            record.home = named.map(str::to_owned);
        }
        let names = [&mut record.actor, &mut record.client_id];
        for name in names.into_iter().flatten() {
            *name = self.name(name);
        }
        if let Some(remote) = &mut record.remote {
            *remote = self.address(remote);
        }
        if let Some(Value::String(by)) = record.detail.get_mut("by") {
            *by = self.address(by);
        }
    }

    /// Whether usernames are pseudonyms.
    pub(super) fn hides_names(&self) -> bool {
        self.personal.usernames
    }

    fn pseudonym(&self, what: &str, text: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher
            .update(what.as_bytes())
            .update(&[0])
            .update(text.as_bytes());
        let hex = hasher.finalize().to_hex();
        format!("~{}", &hex[..BYTES * 2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(key: u8) -> Pseudonyms {
        let personal = Personal {
            addresses: true,
            usernames: true,
        };
        Pseudonyms::new([key; 32], personal).expect("something to hide")
    }

    #[test]
    fn a_name_keeps_its_pseudonym_under_one_key_and_has_another_under_another() {
        let (one, other) = (all(1), all(2));
        assert_eq!(one.name("alice"), one.name("alice"));
        assert_ne!(one.name("alice"), one.name("bob"));
        assert_ne!(one.name("alice"), other.name("alice"));
        assert_eq!(one.name("alice").len(), 1 + BYTES * 2);
    }

    #[test]
    fn an_address_is_the_same_whatever_its_port_and_form() {
        let one = all(1);
        let plain = one.address("192.0.2.7");
        assert_eq!(one.address("192.0.2.7:1883"), plain);
        assert_eq!(one.address("[::ffff:192.0.2.7]:99"), plain);
        assert_ne!(one.address("192.0.2.8:1883"), plain);
        assert!(plain.starts_with('~'), "{plain}");
    }

    #[test]
    fn what_is_not_asked_for_stays_as_it_is() {
        assert!(Pseudonyms::new([1; 32], Personal::default()).is_none());
        let personal = Personal {
            addresses: true,
            usernames: false,
        };
        let only = Pseudonyms::new([1; 32], personal).expect("something to hide");
        assert_eq!(only.name("alice"), "alice");
        assert_ne!(only.address("192.0.2.7:1"), "192.0.2.7:1");
    }
}
