//! Who lives in a test's broker.

use cofferdam::wire::Version;
use cofferdam::wire::client::Connect;

/// Everybody, as `cofferdam apply` makes them.
pub struct World;

/// A username with its password; the username is the client id too.
#[derive(Clone, Debug)]
pub struct Login {
    pub username: String,
    pub password: String,
}

impl World {
    /// `sam@grey` is in it.
    pub const SUSPENDED_TEAM: &'static str = "grey";

    /// A client of team `red` that may do everything there.
    pub fn alice() -> Login {
        Login::of("alice@red")
    }

    /// Another one.
    pub fn anna() -> Login {
        Login::of("anna@red")
    }

    /// A client of team `red` that may use `own/#` and nothing else.
    pub fn lena() -> Login {
        Login::of("lena@red")
    }

    /// A client of team `red` that has no credential.
    pub fn mute() -> Login {
        Login::of("mute@red")
    }

    /// A client of team `blue` that may do everything there.
    pub fn bob() -> Login {
        Login::of("bob@blue")
    }

    /// A client of the suspended team.
    pub fn sam() -> Login {
        Login::of("sam@grey")
    }

    /// A Node-RED instance of team `red`.
    pub fn instance() -> Login {
        Login::of("project:red:00000000-0000-4000-8000-000000000001")
    }

    pub(super) fn provisions() -> String {
        let mut toml = String::new();
        for team in ["red", "blue", Self::SUSPENDED_TEAM] {
            toml += &format!("[[team]]\nid = \"{team}\"\n");
        }
        for login in [Self::alice(), Self::anna(), Self::bob(), Self::sam()] {
            toml += &login.client("#");
        }
        toml += &Self::lena().client("own/#");
        toml += "[[client]]\nname = \"mute\"\nteam = \"red\"\n\
                 acl = [{ action = \"both\", effect = \"allow\", pattern = \"#\" }]\n";
        toml += &format!(
            "[[instance]]\nid = \"00000000-0000-4000-8000-000000000001\"\nteam = \"red\"\n\
             password = \"{}\"\n",
            Self::instance().password
        );
        toml
    }
}

impl Login {
    /// The password is a machine token by its looks, and everybody's own.
    pub fn of(username: &str) -> Self {
        let own: String = username.bytes().map(|byte| format!("{byte:02x}")).collect();
        Self {
            username: username.to_owned(),
            password: format!("test_{own:0>64}"),
        }
    }

    /// The lines that make this client of a team with one pattern for both directions.
    pub fn client(&self, pattern: &str) -> String {
        let (name, team) = self.username.split_once('@').expect("name@team");
        format!(
            "[[client]]\nname = \"{name}\"\nteam = \"{team}\"\npassword = \"{}\"\n\
             acl = [{{ action = \"both\", effect = \"allow\", pattern = \"{pattern}\" }}]\n",
            self.password
        )
    }

    /// A CONNECT of this client's: clean, without keep alive.
    pub fn connect(&self, version: Version) -> Connect {
        Connect {
            client_id: self.username.clone(),
            username: Some(self.username.clone()),
            password: Some(self.password.clone().into_bytes()),
            ..Connect::new(version)
        }
    }
}
