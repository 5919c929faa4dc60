//! A promise that was not kept.

/// What was found.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which promise; a shrunk run has to break the same.
    pub promise: &'static str,
    /// What was seen.
    pub what: String,
}

pub type Kept = Result<(), Failure>;

/// The promise is broken.
pub fn broken(promise: &'static str, what: impl Into<String>) -> Failure {
    Failure {
        promise,
        what: what.into(),
    }
}

/// The promise is kept if so; otherwise, this was seen.
pub fn hold(kept: bool, promise: &'static str, what: impl FnOnce() -> String) -> Kept {
    if kept {
        Ok(())
    } else {
        Err(broken(promise, what()))
    }
}
