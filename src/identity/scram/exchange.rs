//! The server's two steps, by rsasl.

use std::sync::Arc;

use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::SCRAM_SHA256;
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechname::Mechname;
use rsasl::prelude::{Mechanism, Registry, SASLConfig, SASLServer, Session, SessionError};
use rsasl::validate::{Validate, Validation, ValidationError};

use super::METHOD;
use super::verifier::Verifier;

/// Without `-PLUS`, for a client that could bind its channel must not take it for offered.
static MECHANISMS: &[Mechanism] = &[SCRAM_SHA256];

/// An exchange in which the client has the word.
pub(in crate::identity) struct Begun {
    session: Session<Proven>,
    /// Who the client says it is.
    pub(in crate::identity) username: Arc<str>,
    /// What was stored for that username when it was challenged.
    pub(in crate::identity) stored: Option<String>,
}

/// The proof was right.
struct Proven;

impl Validation for Proven {
    type Value = ();
}

/// Answers the library's one question.
struct Lookup(Verifier);

impl SessionCallback for Lookup {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let Verifier {
            iterations,
            salt,
            stored_key,
            server_key,
        } = &self.0;
        let password = ScramStoredPassword::new(*iterations, salt, stored_key, server_key);
        request.satisfy::<ScramStoredPassword<'_>>(&password)?;
        Ok(())
    }

    fn validate(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        validate.finalize::<Proven>(());
        Ok(())
    }
}

/// The challenge to a client's first message, which has passed
/// [`client_first`](super::client_first). `None` where the library has something against it.
pub(in crate::identity) fn begin(
    message: &[u8],
    username: Arc<str>,
    stored: Option<String>,
    verifier: Verifier,
) -> Option<(Box<[u8]>, Begun)> {
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(MECHANISMS))
        .with_callback(Lookup(verifier))
        .ok()?;
    let name = Mechname::parse(METHOD.as_bytes()).ok()?;
    let mut session = SASLServer::<Proven>::new(config)
        .start_suggested(name)
        .ok()?;
    let mut challenge = Vec::new();
    session.step(Some(message), &mut challenge).ok()?;
    let begun = Begun {
        session,
        username,
        stored,
    };
    Some((challenge.into(), begun))
}

impl Begun {
    /// The server's proof in answer to the client's, where that is right. The message has passed
    /// [`client_final`](super::client_final).
    pub(in crate::identity) fn finish(mut self, message: &[u8]) -> Option<Box<[u8]>> {
        let mut last_word = Vec::new();
        self.session.step(Some(message), &mut last_word).ok()?;
        self.session.validation().map(|()| last_word.into())
    }
}
