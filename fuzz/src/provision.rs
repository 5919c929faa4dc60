//! Files of `cofferdam apply`: whatever the text, reading it ends in problems that say where, or in
//! a declaration that can be.

use std::sync::OnceLock;

use cofferdam::config::Plans;
use cofferdam::identity::{Secrets, TokenKey};
use cofferdam::policy::Policy;

/// The bytes are the file's text.
pub fn provision(bytes: &[u8]) {
    static OFFICE: OnceLock<(Policy, Plans, Secrets)> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (policy, plans, secrets) = OFFICE.get_or_init(|| {
        let key = TokenKey::random().expect("random bytes");
        let secrets = Secrets::new(key).expect("parameters of argon2");
        let policy = Policy::flowfuse().expect("the built-in policy");
        (policy, Plans::default(), secrets)
    });
    if let Err(errors) = cofferdam::provision::check("teams.toml", text, policy, plans, secrets) {
        assert!(!errors.problems.is_empty());
        for problem in &errors.problems {
            assert!(problem.place.starts_with("teams.toml"), "{problem:?}");
            assert!(!problem.what.is_empty(), "{problem:?}");
        }
    }
}
