//! How many connections each address has.
//!
//! Believe this: a place is given back when its guard is dropped, however the connection ended, and an address without connections
//! leaves nothing behind.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What counts as one peer: an IPv4 address, or the /64 of an IPv6 address, which one subscriber of a network has to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Peer {
        Peer(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        })
    }
}

/// All peers that have connections.
#[derive(Debug)]
pub(super) struct Peers {
    /// Most connections of one peer; none where all connections may come from one.
    limit: Option<usize>,
    /// Held for one look or one change, never over an await.
    connections: Mutex<HashMap<Peer, usize>>,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// A connection's place among those of its peer. Gives it back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    peers: Arc<Peers>,
    peer: Peer,
}

impl Peers {
    pub(super) fn new(limit: Option<usize>) -> Arc<Peers> {
        let connections = Mutex::default();
        let (accepted, refused) = Default::default();
        Arc::new(Peers {
            limit,
            connections,
            accepted,
            refused,
        })
    }

    /// A place for one more connection; none when the peer has as many as it may have. Who is on this machine may have any number.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = Peer::of(address);
        let mut connections = self.connections();
        let count = connections.entry(peer).or_default();
        let limit = self.limit.filter(|_| !address.to_canonical().is_loopback());
        if limit.is_some_and(|limit| *count >= limit) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *count += 1;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let peers = self.clone();
        Some(Place { peers, peer })
    }

    /// How many connections there are.
    pub(super) fn open(&self) -> usize {
        self.connections().values().sum()
    }

    /// How many were given a place so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were given none so far.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<Peer, usize>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut connections = self.peers.connections();
        if let Some(count) = connections.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_at_its_limit_costs_another_nothing() {
        let peers = Peers::new(Some(2));
        let enter = |address: &str| peers.enter(address.parse().unwrap());
        let held = [enter("10.0.0.1").unwrap(), enter("::ffff:10.0.0.1").unwrap()];
        assert!(enter("10.0.0.1").is_none(), "the two spellings are one address");
        let other = enter("10.0.0.2").unwrap();
        let [first, _second] = held;
        drop(first);
        let again = enter("10.0.0.1").unwrap();
        assert!(enter("10.0.0.1").is_none());
        drop((other, again, _second));
        assert!(peers.connections().is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer_and_this_machine_is_none() {
        let peers = Peers::new(Some(1));
        let enter = |address: &str| peers.enter(address.parse().unwrap());
        let _held = enter("2001:db8::1").unwrap();
        assert!(enter("2001:db8::ffff").is_none());
        let _elsewhere = enter("2001:db8:0:1::1").unwrap();
        let _local = (enter("127.0.0.1").unwrap(), enter("127.0.0.1").unwrap());
        let _local = (enter("::1").unwrap(), enter("::1").unwrap());
        let open = Peers::new(None);
        let _both = (
            open.enter("10.0.0.1".parse().unwrap()),
            open.enter("10.0.0.1".parse().unwrap()),
        );
        assert!(
            _both.0.is_some() && _both.1.is_some(),
            "behind a proxy all come from one address"
        );
    }
}
