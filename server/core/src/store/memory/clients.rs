//! Clients in memory.

use std::collections::HashMap;

use crate::client::{ClientKey, Incarnation};
use crate::limits;

/// The numbers of all clients.
#[derive(Default)]
pub(super) struct Clients {
    /// The highest that was ever given.
    pub(super) newest: Incarnation,
    taken: HashMap<ClientKey, Incarnation>,
}

impl Clients {
    pub(super) fn take(&mut self, client: &ClientKey) -> Incarnation {
        self.newest = Incarnation(self.newest.0 + 1);
        self.taken.insert(client.clone(), self.newest);
        let of_principal = |key: &&ClientKey| key.log == client.log && key.principal == client.principal;
        if self.taken.keys().filter(of_principal).count() > limits::CLIENTS_PER_PRINCIPAL_MAX {
            let oldest = self.taken.iter().filter(|(key, _)| of_principal(key));
            let oldest = oldest.min_by_key(|(_, taken)| **taken).map(|(key, _)| key.clone());
            oldest.map(|key| self.taken.remove(&key));
        }
        self.newest
    }

    pub(super) fn above(&self, after: Incarnation, most: usize) -> Vec<(ClientKey, Incarnation)> {
        let mut above: Vec<_> = self.taken.iter().map(|(key, taken)| (key.clone(), *taken)).collect();
        above.retain(|(_, taken)| *taken > after);
        above.sort_by_key(|(_, taken)| *taken);
        above.truncate(most);
        above
    }
}
