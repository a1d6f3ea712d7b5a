//! The open streams of writers, by writer.
//!
//! Believe this: of one writer at most one stream lives at a node, the one that came last under the newest fence. What an older one leaves
//! behind when it ends late touches nothing of the newer one's, and a stream ends no lease.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::hold::Claim;
use crate::id::WriterId;

/// Why a stream lives no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outrun {
    /// The same writer opened another stream under the same fence.
    Replaced,
    /// The writer was opened anew, under this fence.
    Fenced(u64),
}

/// The open streams of one log's writers.
#[derive(Debug, Default)]
pub struct Publishing {
    /// Held for one look or one change. It has at most as many entries as there are open streams.
    streams: Mutex<HashMap<WriterId, Stream>>,
}

#[derive(Debug)]
struct Stream {
    fence: u64,
    /// The other ends are the stream's place, and whoever waits at it.
    told: watch::Sender<Option<Outrun>>,
}

/// A stream's place, given back on drop.
#[derive(Debug)]
pub struct Place {
    streams: Arc<Publishing>,
    writer: WriterId,
    told: watch::Receiver<Option<Outrun>>,
}

impl Publishing {
    /// Enters a stream, whose fence was its writer's newest a moment ago, and ends the earlier one.
    pub fn enter(self: &Arc<Self>, claim: &Claim) -> Place {
        let (sender, told) = watch::channel(None);
        let mut streams = self.streams();
        match streams.get(&claim.writer) {
            Some(newer) if newer.fence > claim.fence => _ = sender.send_replace(Some(Outrun::Fenced(newer.fence))),
            earlier => {
                if let Some(earlier) = earlier {
                    earlier.end(claim.fence);
                }
                let stream = Stream {
                    fence: claim.fence,
                    told: sender,
                };
                streams.insert(claim.writer.clone(), stream);
            }
        }
        drop(streams);
        Place {
            streams: self.clone(),
            writer: claim.writer.clone(),
            told,
        }
    }

    /// A writer has this fence now, given out here or elsewhere: its stream under an older one ends.
    pub fn fenced(&self, writer: &WriterId, fence: u64) {
        if let Some(stream) = self.streams().get(writer).filter(|stream| stream.fence < fence) {
            stream.end(fence);
        }
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<WriterId, Stream>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Another stream, or another opening, has this fence.
    fn end(&self, fence: u64) {
        let why = if fence == self.fence {
            Outrun::Replaced
        } else {
            Outrun::Fenced(fence)
        };
        self.told.send_replace(Some(why));
    }
}

impl Place {
    /// Waits until the stream is outrun. Cancel safe.
    pub async fn outrun(&mut self) -> Outrun {
        let told = self.told.wait_for(Option::is_some).await.map(|told| *told);
        match told {
            Ok(Some(why)) => why,
            // The sender is in the map until this place is dropped, or has said why.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.streams.streams();
        // Only its own: a later stream has another channel.
        if streams
            .get(&self.writer)
            .is_some_and(|stream| stream.told.subscribe().same_channel(&self.told))
        {
            streams.remove(&self.writer);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::testing::{claim, writer};

    fn outrun(place: &mut Place) -> Option<Outrun> {
        place.outrun().now_or_never()
    }

    #[test]
    fn the_later_stream_of_a_writer_ends_the_earlier_one_and_nobody_elses() {
        let streams = Arc::<Publishing>::default();
        let mut first = streams.enter(&claim("a", 1));
        let mut other = streams.enter(&claim("b", 1));
        let mut second = streams.enter(&claim("a", 1));
        assert_eq!(outrun(&mut first), Some(Outrun::Replaced));
        assert_eq!((outrun(&mut second), outrun(&mut other)), (None, None));
        let mut third = streams.enter(&claim("a", 3));
        assert_eq!(outrun(&mut second), Some(Outrun::Fenced(3)));
        let mut stale = streams.enter(&claim("a", 2));
        assert_eq!(outrun(&mut stale), Some(Outrun::Fenced(3)));
        assert_eq!(outrun(&mut third), None);
    }

    #[test]
    fn a_stream_that_ends_late_takes_nothing_with_it() {
        let streams = Arc::<Publishing>::default();
        let first = streams.enter(&claim("a", 1));
        let mut second = streams.enter(&claim("a", 1));
        drop(first);
        assert_eq!(outrun(&mut second), None);
        streams.fenced(&writer("a"), 1);
        assert_eq!(outrun(&mut second), None, "its own fence ends nothing");
        streams.fenced(&writer("a"), 2);
        assert_eq!(outrun(&mut second), Some(Outrun::Fenced(2)));
        drop(second);
        assert!(streams.streams().is_empty(), "nothing is kept of it");
    }
}
