//! Whole connections: bytes, answers and time into real shards, as up to four clients of two teams
//! on two shards.
//!
//! The input is a script (`script`): some steps send whole packets, so that flows get somewhere, and
//! some any bytes. Whatever happens nothing panics, what the broker says is what a server may say
//! (`client`), nothing of one team reaches a client of another (`mark`), and after every step the
//! limits hold (`net`).

mod client;
mod mark;
mod net;
mod script;

#[path = "../../../tests/cluster/directory.rs"]
#[allow(dead_code)] // the cluster's tests need more of it
mod directory;

use super::input::Input;
use net::Net;

/// Steps of one script, at most: what would be found later is found sooner in another order.
const STEPS_MAX: usize = 400;

/// The bytes are a script.
pub fn connection(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut net = Net::new();
    let mut steps = 0;
    while !input.is_empty() && steps < STEPS_MAX {
        script::step(&mut net, &mut input);
        net.run();
        net.check();
        steps += 1;
    }
    net.end();
}
