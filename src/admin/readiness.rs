//! Whether the broker is ready, and if not, what it waits for.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Parts that must be ready, and what those that are not wait for. Shared: whoever brings a part up
/// or loses it says so here.
#[derive(Debug)]
pub struct Readiness {
    waiting_for: Mutex<BTreeMap<&'static str, String>>,
    makeshift: Mutex<BTreeMap<&'static str, String>>,
}

impl Readiness {
    /// Nothing of `parts` is ready yet.
    pub fn starting(parts: &[&'static str]) -> Self {
        let waiting = parts.iter().map(|part| (*part, "starting".to_owned()));
        Self {
            waiting_for: Mutex::new(waiting.collect()),
            makeshift: Mutex::default(),
        }
    }

    /// `part` is ready.
    pub fn ready(&self, part: &'static str) {
        self.waiting_for.lock().remove(part);
        self.makeshift.lock().remove(part);
    }

    /// `part` is not ready. `reason` is served to whoever asks: it holds no secret.
    pub fn not_ready(&self, part: &'static str, reason: impl Into<String>) {
        self.makeshift.lock().remove(part);
        self.waiting_for.lock().insert(part, reason.into());
    }

    /// `part` is not there, and clients are served all the same for now. `reason` is served likewise.
    pub fn makes_do(&self, part: &'static str, reason: impl Into<String>) {
        self.waiting_for.lock().remove(part);
        self.makeshift.lock().insert(part, reason.into());
    }

    /// What clients are served without, by part.
    pub fn making_do(&self) -> BTreeMap<&'static str, String> {
        self.makeshift.lock().clone()
    }

    /// What is waited for, by part; empty: ready.
    pub fn waiting_for(&self) -> BTreeMap<&'static str, String> {
        self.waiting_for.lock().clone()
    }
}
