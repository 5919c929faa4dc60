//! What each source address has open: counted over all shards, before anything is read. Time is an
//! argument; nothing here knows a socket.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::broker::{Refusal, network};
use crate::config::AddressLimits;
use crate::limits::Bucket;
use crate::time::Time;

/// All source addresses. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Addresses(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: AddressLimits,
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    by_address: HashMap<IpAddr, Caller, foldhash::fast::RandomState>,
    connections: usize,
}

#[derive(Debug, Default)]
struct Caller {
    connections: u32,
    connects: Bucket,
}

/// The place of one connection, given up when this is let go.
#[derive(Debug)]
pub struct Seat {
    of: Arc<Inner>,
    caller: IpAddr,
}

/// Addresses kept beside those that are connected, for what they did a moment ago.
const SPARE: usize = 65_536;

impl Addresses {
    /// Nobody is there.
    pub fn new(limits: AddressLimits) -> Self {
        let callers = Mutex::default();
        Self(Arc::new(Inner { limits, callers }))
    }

    /// A connection comes from this address.
    ///
    /// # Errors
    /// The limit that keeps it out.
    pub fn admit(&self, address: IpAddr, now: Time) -> Result<Seat, Refusal> {
        let Inner { limits, callers } = &*self.0;
        let caller = network(address);
        let mut callers = callers.lock();
        callers.make_room(now);
        let known = callers.by_address.entry(caller).or_default();
        if let Some(rate) = limits.connect_rate
            && !known.connects.try_take(rate, now)
        {
            return Err(Refusal::AddressConnectRate);
        }
        if known.connections >= limits.max_connections {
            return Err(Refusal::AddressConnections);
        }
        known.connections += 1;
        callers.connections += 1;
        let of = Arc::clone(&self.0);
        Ok(Seat { of, caller })
    }

    #[cfg(test)]
    fn known(&self) -> usize {
        self.0.callers.lock().by_address.len()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut callers = self.of.callers.lock();
        callers.connections -= 1;
        if let Some(caller) = callers.by_address.get_mut(&self.caller) {
            caller.connections -= 1;
        }
    }
}

impl Callers {
    /// Forgets addresses without connections once they are many: those first whose rate is as for a
    /// new one, and if that is not enough, all of them.
    fn make_room(&mut self, now: Time) {
        let most = self.connections + SPARE;
        if self.by_address.len() < most {
            return;
        }
        self.by_address
            .retain(|_, caller| caller.connections > 0 || !caller.connects.is_full(now));
        if self.by_address.len() > most / 2 + self.connections {
            self.by_address.retain(|_, caller| caller.connections > 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Rate;
    use crate::time::Span;

    const NOW: Time = Time::from_micros(1_700_000_000_000_000);

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn limited(max_connections: u32, rate: Option<Rate>) -> Addresses {
        Addresses::new(AddressLimits {
            max_connections,
            connect_rate: rate,
        })
    }

    #[test]
    fn an_address_has_so_many_connections_and_who_leaves_makes_room() {
        let addresses = limited(2, None);
        let first = addresses.admit(address("192.0.2.1"), NOW).expect("room");
        let _second = addresses
            .admit(address("::ffff:192.0.2.1"), NOW)
            .expect("room");
        let third = addresses.admit(address("192.0.2.1"), NOW);
        assert_eq!(third.map(drop), Err(Refusal::AddressConnections));
        let _other = addresses.admit(address("192.0.2.2"), NOW).expect("another");
        drop(first);
        assert!(addresses.admit(address("192.0.2.1"), NOW).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let addresses = limited(1, None);
        let _seat = addresses.admit(address("2001:db8::1"), NOW).expect("room");
        let same = addresses.admit(address("2001:db8::ffff:1"), NOW);
        assert_eq!(same.map(drop), Err(Refusal::AddressConnections));
        assert!(addresses.admit(address("2001:db8:0:1::1"), NOW).is_ok());
    }

    #[test]
    fn connections_beyond_the_rate_are_turned_away_until_time_has_passed() {
        let rate = Rate {
            per_second: 1,
            burst: 2,
        };
        let addresses = limited(100, Some(rate));
        let try_at = |now| addresses.admit(address("192.0.2.1"), now).map(drop);
        assert_eq!((try_at(NOW), try_at(NOW)), (Ok(()), Ok(())));
        assert_eq!(try_at(NOW), Err(Refusal::AddressConnectRate));
        let later = NOW + Span::from_secs(1);
        assert_eq!(try_at(later), Ok(()));
        assert_eq!(try_at(later), Err(Refusal::AddressConnectRate));
    }

    #[test]
    fn addresses_that_come_once_are_not_remembered_for_ever() {
        let addresses = limited(100, Some(Rate::per_second(1)));
        let stays = addresses.admit(address("203.0.113.1"), NOW);
        for number in 0..300_000_u32 {
            let from = IpAddr::from(number.to_be_bytes());
            drop(addresses.admit(from, NOW));
            assert!(addresses.known() <= SPARE + 2);
        }
        drop(stays);
    }
}
