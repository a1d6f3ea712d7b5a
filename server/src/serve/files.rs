//! Open files, which connections and the database share.
//!
//! Believe this: connections never take the last of them, so a flood of connections cannot keep the store from working.

use bellboard_core::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Asks the system for as many open files as so many connections need. Returns how many connections there may be with what it gave.
pub(super) fn for_connections(wanted: usize) -> usize {
    let needed = (wanted + limits::FILES_RESERVED) as u64;
    let had = getrlimit(Resource::Nofile);
    let given = match had.current {
        Some(current) if current < needed => raise(needed, had),
        current => current,
    };
    let given = given.map_or(usize::MAX, |given| usize::try_from(given).unwrap_or(usize::MAX));
    let may = wanted.min(given.saturating_sub(limits::FILES_RESERVED)).max(1);
    if may < wanted {
        warn!(
            may,
            wanted,
            files = given,
            "the system gives too few open files for all connections; raise its limit (ulimit -n) or lower --connections"
        );
    }
    may
}

/// As many as are needed, or as many as the system lets this process have.
fn raise(needed: u64, had: Rlimit) -> Option<u64> {
    let current = Some(had.maximum.map_or(needed, |maximum| needed.min(maximum)));
    let maximum = had.maximum;
    match setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        Ok(()) => current,
        Err(error) => {
            debug!(%error, "the limit of open files stays as it is");
            had.current
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_store_its_files() {
        let limit = || getrlimit(Resource::Nofile);
        assert_eq!(for_connections(100), 100);
        let Some(most) = limit().maximum.and_then(|most| usize::try_from(most).ok()) else {
            return;
        };
        assert_eq!(for_connections(most), most - limits::FILES_RESERVED);
        assert_eq!(limit().current, limit().maximum, "all that may be had was asked for");
    }
}
