//! Nothing crosses from one team to another. Written as an attacker who has valid credentials of
//! `beta` in every role and knows all there is to know of `alpha`: ids, usernames, client ids,
//! topics, the names of its share groups.
//!
//! An attack is played against the cluster in memory (`stage`), in every arrangement of shards and
//! versions, and `alpha`'s view of the world is compared byte for byte with that of a world without
//! the attacker; each attack leaves a row on the attacker's own team's record. `served` plays those
//! that need real sockets, passwords and time. `docs/isolation.md` lists them all, and `page` holds
//! it to that.
//!
//! | module | what is attacked |
//! | --- | --- |
//! | `packets` | every field of every packet that names something |
//! | `names` | topic names that are not what they seem |
//! | `sessions` | client ids, stored sessions, aliases, identifiers |
//! | `twins` | two teams that use the same names |
//! | `rights` | what was allowed once: retained messages, wills, queues after a change |
//! | `oracle` | answers that could tell whether something exists |
//! | `limits` | what one team can use up |
//! | `commons` | the one door: what the platform may, and nothing else |
//! | `model` | random worlds against a reference that decides on the text of the policy |
//! | `served` | the running program: errors, timing, audit, metrics |

#[path = "../cluster/mod.rs"]
mod cluster;
#[path = "../repository/mod.rs"]
mod repository;
#[path = "../running/mod.rs"]
mod running;

mod commons;
mod limits;
mod model;
mod names;
mod oracle;
mod packets;
mod page;
mod rights;
mod served;
mod sessions;
mod stage;
mod twins;
