//! All streams that are open.
//!
//! Believe this: it keeps no stream alive. It is looked at when somebody asks how many there are, and costs one entry a stream until then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bellboard_core::limits;

use super::calls::Call;
use super::method::Kind;

/// Every open stream, by where it lies in memory. Calls that are no streams are not in it: they come and go too fast.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Held for one change, or one look at all of them; never over an await.
    streams: Mutex<HashMap<usize, Weak<Call>>>,
}

/// How many streams of one kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// All that are open.
    pub(super) open: usize,
    /// Those whose peer has taken nothing of what it was given for [`limits::STALLED_AFTER`].
    pub(super) stalled: usize,
}

impl Open {
    pub(super) fn begin(&self, call: &Arc<Call>) {
        if call.kind() != Kind::Call {
            self.streams().insert(key(call), Arc::downgrade(call));
        }
    }

    pub(super) fn end(&self, call: &Arc<Call>) {
        if call.kind() != Kind::Call {
            self.streams().remove(&key(call));
        }
    }

    /// How many of this kind there are now.
    pub(super) fn count(&self, kind: Kind) -> Count {
        let mut count = Count::default();
        for call in self.streams().values().filter_map(Weak::upgrade) {
            if call.kind() == kind {
                count.open += 1;
                count.stalled += usize::from(call.untaken_for() >= limits::STALLED_AFTER);
            }
        }
        count
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<usize, Weak<Call>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same for the whole life of a call, and no other's meanwhile.
fn key(call: &Arc<Call>) -> usize {
    Arc::as_ptr(call).addr()
}
