//! Running applications that a principal tells apart: a tab, a phone.
//!
//! Believe this: a client's name is its principal's own business, so nobody else's client of the same name is the same client, and
//! writers have names of another kind. Incarnations only grow, over the whole store: a client that was forgotten and comes back gets a
//! higher one than it ever had.

use crate::id::{ClientId, PrincipalId};
use crate::offset::LogKey;

/// Counts the streams that clients ever opened; never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// One client of one principal of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Whose log it reads.
    pub log: LogKey,
    /// Who it acts for.
    pub principal: PrincipalId,
    /// Its name.
    pub id: ClientId,
}
