//! A load generator that costs much less than any broker: packets encoded ahead, one event loop a
//! thread, nothing parsed that need not be. For the benches that drive a whole broker; nothing here
//! knows Cofferdam's own code, so that any MQTT 3.1.1 broker can be measured.

#![allow(dead_code)] // each bench takes what it needs

pub mod broker;
pub mod flood;
pub mod mosquitto;
pub mod packets;
pub mod probe;
pub mod spread;
pub mod waiters;
