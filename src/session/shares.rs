//! The shared subscriptions of one session, by number: what a message in its queue came by.

use std::sync::Arc;

/// Keys of shared subscriptions; their numbers begin with 1 and are used again.
#[derive(Debug, Default)]
pub struct Shares {
    keys: Vec<Option<Arc<str>>>,
}

impl Shares {
    /// The number of a subscription that is not shared, or beyond those that can be numbered.
    pub const NONE: u16 = 0;

    /// The number of `key`, given where it has none.
    pub fn number(&mut self, key: &Arc<str>) -> u16 {
        let known = self.keys.iter().position(|k| k.as_ref() == Some(key));
        let place = known
            .or_else(|| self.keys.iter().position(Option::is_none))
            .unwrap_or(self.keys.len());
        let Ok(number) = u16::try_from(place + 1) else {
            return Self::NONE;
        };
        if place == self.keys.len() {
            self.keys.push(None);
        }
        self.keys[place] = Some(Arc::clone(key));
        number
    }

    /// Frees the number of `key`.
    pub fn remove(&mut self, key: &str) {
        for place in &mut self.keys {
            place.take_if(|k| **k == *key);
        }
    }

    /// The key of `number`.
    pub fn key(&self, number: u16) -> Option<&Arc<str>> {
        let place = usize::from(number).checked_sub(1)?;
        self.keys.get(place)?.as_ref()
    }
}
