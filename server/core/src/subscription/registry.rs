//! The open streams of this process, by name.
//!
//! Believe this: a stream is found only by its own principal. Its name is random and says at which node it lives; whoever
//! gives another's, one that has ended or one that never was, gets one and the same answer.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::id::{PrincipalId, TenantId};
use crate::subscription::control::Mailbox;

/// Whether other nodes open streams of the same logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// This process is the only one: a name of another node is one that was before a restart.
    One,
    /// There are others.
    Several,
}

/// Names one open stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId {
    /// The node where it lives: random, and another one after each start.
    node: Uuid,
    stream: Uuid,
}

impl SubscriptionId {
    fn parse(text: &str) -> Option<SubscriptionId> {
        let (node, stream) = text.split_once('.')?;
        let part = |text: &str| {
            let id = Uuid::try_parse(text).ok()?;
            // One spelling of each.
            (id.simple().to_string() == text).then_some(id)
        };
        Some(SubscriptionId {
            node: part(node)?,
            stream: part(stream)?,
        })
    }
}

impl fmt::Display for SubscriptionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node.simple(), self.stream.simple())
    }
}

/// Why a stream is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It has ended, never was, or is somebody else's.
    #[error("no open stream of this principal has this subscription_id; subscribe again, with the newest resume token")]
    NotFound,
    /// It may live at another node.
    #[error("the stream does not live at this node; subscribe again, with the newest resume token")]
    Elsewhere,
}

/// The open streams of this process. Shared by the hub and each of its streams.
#[derive(Debug)]
pub struct Registry {
    node: Uuid,
    nodes: Nodes,
    /// Held for one look, one insertion or one removal. It has as many entries as there are open streams, which the connections bound.
    streams: Mutex<HashMap<Uuid, Entry>>,
}

#[derive(Debug)]
struct Entry {
    tenant: TenantId,
    principal: PrincipalId,
    mailbox: Arc<Mailbox>,
}

impl Registry {
    /// Without any stream yet.
    #[must_use]
    pub fn new(nodes: Nodes) -> Arc<Registry> {
        Arc::new(Registry {
            node: Uuid::new_v4(),
            nodes,
            streams: Mutex::default(),
        })
    }

    /// Enters a stream that is about to open. It is found until what is returned is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>, tenant: TenantId, principal: PrincipalId) -> Registered {
        let stream = Uuid::new_v4();
        let mailbox = Arc::new(Mailbox::default());
        let entry = Entry {
            tenant,
            principal,
            mailbox: mailbox.clone(),
        };
        self.streams().insert(stream, entry);
        Registered {
            id: SubscriptionId {
                node: self.node,
                stream,
            },
            mailbox,
            registry: self.clone(),
        }
    }

    /// Where to post for an open stream of this principal.
    ///
    /// # Errors
    /// See [`Error`]: what is somebody else's is answered like what is not there.
    pub fn find(&self, tenant: &TenantId, principal: &PrincipalId, id: &str) -> Result<Arc<Mailbox>, Error> {
        let id = SubscriptionId::parse(id).ok_or(Error::NotFound)?;
        if id.node != self.node && self.nodes == Nodes::Several {
            return Err(Error::Elsewhere);
        }
        let streams = self.streams();
        let entry = streams.get(&id.stream).filter(|_| id.node == self.node);
        entry
            .filter(|entry| entry.tenant == *tenant && entry.principal == *principal)
            .map(|entry| entry.mailbox.clone())
            .ok_or(Error::NotFound)
    }

    /// How many streams are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<Uuid, Entry>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place in the registry, given back on drop.
#[derive(Debug)]
pub struct Registered {
    id: SubscriptionId,
    mailbox: Arc<Mailbox>,
    registry: Arc<Registry>,
}

impl Registered {
    /// The stream's name.
    #[must_use]
    pub const fn id(&self) -> SubscriptionId {
        self.id
    }

    /// What is said to it.
    #[must_use]
    pub const fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.streams().remove(&self.id.stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{principal, tenant};

    #[test]
    fn a_stream_is_found_by_its_own_principal_while_it_is_open() {
        let registry = Registry::new(Nodes::One);
        let stream = registry.enter(tenant("t"), principal("ada"));
        let id = stream.id().to_string();
        let found = registry.find(&tenant("t"), &principal("ada"), &id).unwrap();
        assert!(Arc::ptr_eq(&found, stream.mailbox()));
        for (tenant, principal) in [(tenant("t"), principal("bob")), (tenant("u"), principal("ada"))] {
            assert_eq!(registry.find(&tenant, &principal, &id).err(), Some(Error::NotFound));
        }
        assert_eq!(registry.len(), 1);
        drop(stream);
        assert!(registry.is_empty(), "nothing is kept of it");
        assert_eq!(
            registry.find(&tenant("t"), &principal("ada"), &id).err(),
            Some(Error::NotFound)
        );
    }

    #[test]
    fn what_is_no_name_of_a_stream_is_answered_like_one_that_ended() {
        let registry = Registry::new(Nodes::Several);
        let stream = registry.enter(tenant("t"), principal("ada"));
        let id = stream.id().to_string();
        let upper = id.to_uppercase();
        let short = &id[..id.len() - 1];
        for bad in ["", ".", "x", &upper, short, &id[..32], &id.replace('.', "-")] {
            let found = registry.find(&tenant("t"), &principal("ada"), bad);
            assert_eq!(found.err(), Some(Error::NotFound), "{bad:?}");
        }
    }

    #[test]
    fn another_nodes_stream_is_elsewhere_only_where_there_are_other_nodes() {
        let here = Registry::new(Nodes::Several);
        let alone = Registry::new(Nodes::One);
        let there = Registry::new(Nodes::Several);
        let stream = there.enter(tenant("t"), principal("ada"));
        let id = stream.id().to_string();
        let find = |registry: &Registry| registry.find(&tenant("t"), &principal("ada"), &id).err();
        assert_eq!(find(&here), Some(Error::Elsewhere));
        assert_eq!(find(&alone), Some(Error::NotFound));
    }
}
