//! Who may log in, and as whom.
mod memo;
mod secret;
mod token_key;
mod waiting_room;
pub use secret::{MAX_PASSWORD_BYTES, Scheme, SecretError, Secrets, Work, random_token};
pub use token_key::{TokenKey, TokenKeyError};
