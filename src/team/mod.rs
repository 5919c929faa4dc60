//! The compartment. A [`Team`] owns its routes, its retained messages and its session registry;
//! whoever has a `&Team` in hand has no way to name another team's.
//!
//! The one door between teams is in `commons`: the compartment of principals that span teams and of
//! topics that belong to none. Every publish consults its routes beside its own team's; no other
//! code looks into two compartments.
//!
//! A match is made by a [`Compartment`], and that is made by the world for one team: there is no
//! way to ask for another team's routes, and none to put a route of one team into another.
//!
//! ```compile_fail,E0616
//! fn cross(alpha: &cofferdam::team::Team, beta: &cofferdam::team::Team) {
//!     *alpha.routes.write() = std::mem::take(&mut *beta.routes.write());
//! }
//! ```
//!
//! ```compile_fail,E0451
//! use cofferdam::team::{Compartment, Team};
//! fn cross<'a>(alpha: &'a Team, beta: &'a Team) -> Compartment<'a> {
//!     Compartment { own: alpha, commons: beta }
//! }
//! ```
//!
//! Shared by all shards and read-mostly: a reader-writer lock a team for the routes, another for
//! the retained messages, a mutex for the registry; each is held for one look-up or one change and
//! never while anything else is locked. Called by `session` and `broker`.

mod bounds;
mod commons;
mod message;
mod registry;
mod retained;
mod routes;
mod transit;
mod world;

pub use bounds::{Bounds, QueuedBytes};
pub use commons::{Compartment, Generation};
pub use message::{Message, MessageNumber, MessageView, Will};
pub use registry::{Claim, SessionAddress, SessionKey, SessionNumber};
pub use retained::{Retained, RetainedFull, Walk};
pub use routes::{Group, Matched, Member, Presence, Route, Routes};
pub use transit::Transit;
pub use world::{Entitlements, Gone, Reports, Team, World};
