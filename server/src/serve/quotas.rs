//! What one principal may have open at a time, so that nobody takes what the others need.
//!
//! Believe this: what was taken is given back when its [`Held`] is dropped, however the call ended, and a principal without calls leaves
//! nothing behind. Who shows no key (health, reflection on loopback) is counted by address.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellboard_core::access::Principal;
use bellboard_core::id::{PrincipalId, TenantId};
use bellboard_core::limits;
use bellboard_core::meter::Tally;
use tonic::Status;

use super::method::Kind;
use super::peers::Peer;
use super::settings::PrincipalLimits;
use crate::wire::status::quota_reached;

/// A bound of a principal's, by what it bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Quota {
    /// Open streams out of the hub.
    Subscriptions,
    /// Open streams into the hub.
    Publishers,
    /// Calls in flight.
    Calls,
    /// Bytes of requests that arrived and are not answered, and of writers' messages that are not whole.
    RequestBytes,
    /// Calls in flight of an address, without a key.
    StrangerCalls,
}

impl Quota {
    /// All of them.
    pub(super) const ALL: [Quota; 5] = [
        Quota::Subscriptions,
        Quota::Publishers,
        Quota::Calls,
        Quota::RequestBytes,
        Quota::StrangerCalls,
    ];

    /// As errors and metrics name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Quota::Subscriptions => "subscriptions",
            Quota::Publishers => "publishers",
            Quota::Calls => "calls",
            Quota::RequestBytes => "request_bytes",
            Quota::StrangerCalls => "stranger_calls",
        }
    }
}

/// Who a call is counted for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// Whoever the key belongs to.
    Principal(TenantId, PrincipalId),
    /// Whoever is at this address.
    Stranger(Peer),
}

impl From<&Principal> for Owner {
    fn from(principal: &Principal) -> Owner {
        Owner::Principal(principal.tenant.clone(), principal.id.clone())
    }
}

/// What an owner has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    subscriptions: usize,
    publishers: usize,
    calls: usize,
    request_bytes: usize,
}

/// All that is open, by owner.
#[derive(Debug)]
pub(super) struct Quotas {
    limits: PrincipalLimits,
    /// Held for one look or one change, never over an await.
    usage: Mutex<HashMap<Owner, Usage>>,
    refused: Tally<Quota>,
}

/// A call's part of its owner's quotas. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    quotas: Arc<Quotas>,
    owner: Owner,
    kind: Kind,
    request_bytes: usize,
}

/// A quota that has no more to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) quota: Quota,
    pub(super) limit: usize,
}

impl Quotas {
    pub(super) fn new(limits: PrincipalLimits) -> Arc<Quotas> {
        let usage = Mutex::default();
        let refused = Tally::default();
        Arc::new(Quotas { limits, usage, refused })
    }

    /// One more call of this owner.
    pub(super) fn admit(self: &Arc<Self>, owner: Owner, kind: Kind) -> Result<Held, Reached> {
        let (quota, limit) = match (&owner, kind) {
            (Owner::Stranger(_), _) => (Quota::StrangerCalls, limits::STRANGER_CALLS_MAX),
            (Owner::Principal(..), Kind::Subscription) => (Quota::Subscriptions, self.limits.subscriptions),
            (Owner::Principal(..), Kind::Publisher) => (Quota::Publishers, self.limits.publishers),
            (Owner::Principal(..), Kind::Call) => (Quota::Calls, self.limits.calls),
        };
        let mut usage = self.usage();
        let open = usage.entry(owner.clone()).or_default().open(kind);
        if *open >= limit {
            self.refused.add(quota);
            return Err(Reached { quota, limit });
        }
        *open += 1;
        Ok(Held {
            quotas: self.clone(),
            owner,
            kind,
            request_bytes: 0,
        })
    }

    /// Bytes of all requests that arrived and are not answered.
    pub(super) fn request_bytes(&self) -> usize {
        self.usage().values().map(|usage| usage.request_bytes).sum()
    }

    /// How often each had no more to give.
    pub(super) fn refused(&self) -> BTreeMap<Quota, u64> {
        self.refused.counts()
    }

    fn usage(&self) -> MutexGuard<'_, HashMap<Owner, Usage>> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    const fn open(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Subscription => &mut self.subscriptions,
            Kind::Publisher => &mut self.publishers,
            Kind::Call => &mut self.calls,
        }
    }
}

impl Held {
    /// More bytes of the request have arrived.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Reached> {
        self.hold(self.request_bytes + bytes)
    }

    /// So many bytes of the request have arrived and are not taken yet: more than before, or less.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), Reached> {
        let limit = limits::REQUEST_BYTES_PER_PRINCIPAL_MAX;
        let mut usage = self.quotas.usage();
        if let Some(usage) = usage.get_mut(&self.owner) {
            let of_others = usage.request_bytes - self.request_bytes;
            if bytes > self.request_bytes && of_others + bytes > limit {
                let quota = Quota::RequestBytes;
                self.quotas.refused.add(quota);
                return Err(Reached { quota, limit });
            }
            usage.request_bytes = of_others + bytes;
            self.request_bytes = bytes;
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.quotas.usage();
        if let Some(usage) = all.get_mut(&self.owner) {
            *usage.open(self.kind) -= 1;
            usage.request_bytes -= self.request_bytes;
            if *usage == Usage::default() {
                all.remove(&self.owner);
            }
        }
    }
}

impl From<Reached> for Status {
    fn from(reached: Reached) -> Status {
        quota_reached(reached.quota.name(), reached.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        let (tenant, id) = (TenantId::parse("t").unwrap(), PrincipalId::parse(name).unwrap());
        Owner::Principal(tenant, id)
    }

    fn quotas() -> Arc<Quotas> {
        Quotas::new(PrincipalLimits {
            subscriptions: 2,
            publishers: 1,
            calls: 1,
        })
    }

    #[test]
    fn one_principal_at_its_limit_costs_others_nothing() {
        let quotas = quotas();
        let admit = |name, kind| quotas.admit(owner(name), kind);
        let mut held = vec![
            admit("ada", Kind::Subscription).unwrap(),
            admit("ada", Kind::Subscription).unwrap(),
        ];
        let (quota, limit) = (Quota::Subscriptions, 2);
        assert_eq!(admit("ada", Kind::Subscription).unwrap_err(), Reached { quota, limit });
        held.push(admit("ada", Kind::Call).unwrap());
        held.push(admit("ada", Kind::Publisher).unwrap());
        held.push(admit("ben", Kind::Subscription).unwrap());
        drop(held.swap_remove(0));
        held.push(admit("ada", Kind::Subscription).unwrap());
        drop(held);
        assert!(quotas.usage().is_empty(), "nothing is left behind");
    }

    #[test]
    fn bytes_of_requests_are_given_back_with_their_call() {
        let quotas = quotas();
        let half = limits::REQUEST_BYTES_PER_PRINCIPAL_MAX / 2;
        let mut one = quotas.admit(owner("ada"), Kind::Call).unwrap();
        let mut other = quotas.admit(owner("ada"), Kind::Publisher).unwrap();
        one.take(half).unwrap();
        other.take(half).unwrap();
        assert_eq!(other.take(1).unwrap_err().quota, Quota::RequestBytes);
        drop(one);
        other.take(half).unwrap();
        // A writer's message is whole, and the next one begins.
        other.hold(7).unwrap();
        assert_eq!(quotas.request_bytes(), 7);
        other.hold(half * 2).unwrap();
        assert_eq!(other.hold(half * 2 + 1).unwrap_err().quota, Quota::RequestBytes);
        assert_eq!(quotas.request_bytes(), half * 2, "what was refused does not count");
        drop(other);
        assert!(quotas.usage().is_empty());
    }

    #[test]
    fn strangers_are_counted_by_address() {
        let quotas = quotas();
        let at = |address: &str| {
            let peer = Peer::of(address.parse().unwrap());
            quotas.admit(Owner::Stranger(peer), Kind::Call)
        };
        let held: Vec<_> = (0..limits::STRANGER_CALLS_MAX)
            .map(|_| at("10.0.0.1").unwrap())
            .collect();
        assert_eq!(at("10.0.0.1").unwrap_err().quota, Quota::StrangerCalls);
        let _other = at("10.0.0.2").unwrap();
        drop(held);
        let _again = at("10.0.0.1").unwrap();
    }
}
