//! How many sockets the system lets the broker have. Called by `serve` before anything is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer than this are soon used up by devices that all connect.
const FEW: u64 = 10_000;

/// Raises the limit on open files as far as the system allows without being asked: most start a
/// process with 1,024, and every connection takes one.
pub(super) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit on open files stays as it was");
            current
        }
    };
    if let Some(allowed) = allowed.filter(|allowed| *allowed < FEW) {
        tracing::warn!(
            allowed,
            "the system allows few open files; each connection takes one (ulimit -Hn)"
        );
    }
}
