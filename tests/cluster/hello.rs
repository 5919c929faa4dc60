//! Who connects, and how: a CONNECT in the making.

use std::sync::Arc;

use super::directory::{PASSWORD, RIDDLE};
use cofferdam::wire::client::{Connect, Property, Will};
use cofferdam::wire::{QoS, Version};

/// A CONNECT and the listener that it goes to. Begins as 5.0, clean, without keep alive.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The packet.
    pub connect: Connect,
    /// The listener's name.
    pub listener: Arc<str>,
}

/// A client of a team broker, `<name>@<team>`, or whoever else, under its username as client id.
pub fn client(username: &str) -> Hello {
    Hello::of(username)
}

/// An instance, under its username as client id.
pub fn instance(team: &str, id: &str) -> Hello {
    Hello::of(&format!("project:{team}:{id}"))
}

/// A device, under its username as client id.
pub fn device(team: &str, id: &str) -> Hello {
    Hello::of(&format!("device:{team}:{id}"))
}

/// The platform.
pub fn platform() -> Hello {
    Hello::of("forge_platform").id("forge_platform:1")
}

/// A client without username and password, on the listener that takes such for `alpha`.
pub fn anonymous(client_id: &str) -> Hello {
    let mut hello = Hello::of("").id(client_id).on("open");
    hello.connect.username = None;
    hello.connect.password = None;
    hello
}

impl Hello {
    fn of(username: &str) -> Self {
        Self {
            connect: Connect {
                client_id: username.to_owned(),
                username: Some(username.to_owned()),
                password: Some(PASSWORD.as_bytes().to_owned()),
                ..Connect::new(Version::V5)
            },
            listener: Arc::from("main"),
        }
    }

    /// In this version.
    pub fn version(mut self, version: Version) -> Self {
        self.connect.version = version;
        self
    }

    /// In 3.1.
    pub fn v31(self) -> Self {
        self.version(Version::V31)
    }

    /// In 3.1.1.
    pub fn v311(self) -> Self {
        self.version(Version::V311)
    }

    /// In 5.0.
    pub fn v5(self) -> Self {
        self.version(Version::V5)
    }

    /// Under another client id.
    pub fn id(mut self, client_id: &str) -> Self {
        client_id.clone_into(&mut self.connect.client_id);
        self
    }

    /// With another password.
    pub fn password(mut self, password: &str) -> Self {
        self.connect.password = Some(password.as_bytes().to_owned());
        self
    }

    /// By the directory's method of enhanced authentication in place of username and password.
    pub fn riddle(self) -> Self {
        self.method(RIDDLE)
    }

    /// By a method of enhanced authentication, with the username as its data.
    pub fn method(mut self, method: &str) -> Self {
        let username = self.connect.username.take().unwrap_or_default();
        self.connect.password = None;
        self.with(Property::AuthenticationMethod(method.to_owned()))
            .with(Property::AuthenticationData(username.into_bytes()))
    }

    /// On another listener.
    pub fn on(mut self, listener: &str) -> Self {
        self.listener = Arc::from(listener);
        self
    }

    /// Comes back to its session, which outlives the connection by these seconds (5.0; in 3.x as
    /// long as may be).
    pub fn kept(mut self, secs: u32) -> Self {
        self.connect.clean_start = false;
        self.with(Property::SessionExpiry(secs))
    }

    /// Begins anew, though a property may say that the session is kept.
    pub fn clean(mut self) -> Self {
        self.connect.clean_start = true;
        self
    }

    /// With a keep alive of these seconds.
    pub fn keep_alive(mut self, secs: u16) -> Self {
        self.connect.keep_alive = secs;
        self
    }

    /// With a will at QoS 0, not retained.
    pub fn will(self, topic: &str, payload: &str) -> Self {
        self.with_will(topic, payload, QoS::AtMostOnce, false, vec![])
    }

    /// With a will.
    pub fn with_will(
        mut self,
        topic: &str,
        payload: &str,
        qos: QoS,
        retain: bool,
        properties: Vec<Property>,
    ) -> Self {
        self.connect.will = Some(Will {
            topic: topic.to_owned(),
            payload: payload.as_bytes().to_owned(),
            qos,
            retain,
            properties,
        });
        self
    }

    /// With a property of CONNECT.
    pub fn with(mut self, property: Property) -> Self {
        self.connect.properties.push(property);
        self
    }
}
