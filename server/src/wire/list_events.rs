//! `ListEvents`: history in pages, both ways, and the resume token from which to follow.
//!
//! Believe this: the first page fixes where the list ends. What is stored while a client turns pages is not in the list, and is what its
//! resume token continues with.

use bellboard_core::event::Raw;
use bellboard_core::interest::{Detail, Interest, Interests, Selector};
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_core::offset::{Offset, Time};
use bellboard_core::resume_token::{Keyring, Kind, Place};
use bellboard_core::store::{Error, Page, Read, raws_beside};
use bellboard_proto::hub::v1 as hub;
use bellboard_proto::v1;
use tonic::Status;

use crate::wire::fault::Fault;
use crate::wire::frame::event_raw;
use crate::wire::interest;
use crate::wire::page_token::{PAGE_BYTES_MAX, PageToken, page_len, request_hash};
use crate::wire::status::{history_gone, stored};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// A ListEvents, understood.
#[derive(Debug)]
pub struct List {
    interests: Interests,
    order: Order,
    size: usize,
    include_raw: bool,
    /// Where this page begins (ascending), or before what it lies (descending). None for the first page.
    at: Option<Offset>,
    /// Where the list ends.
    tail: Offset,
    request: u64,
}

impl List {
    /// Reads the request against the log as it is now.
    ///
    /// # Errors
    /// INVALID_ARGUMENT with the field at fault.
    pub fn parse(request: v1::ListEventsRequest, log: &Log) -> Result<List, Status> {
        let v1::ListEventsRequest {
            interests,
            order,
            page_size,
            page_token,
            include_raw,
        } = request;
        let interests = match interests.as_slice() {
            [] => Interests::new(vec![Interest::new(Selector::All, Detail::Content)])
                .map_err(|error| Fault::interests(&error))?,
            some => interest::parse(some)?,
        };
        let order = match v1::EventOrder::try_from(order) {
            Ok(v1::EventOrder::Unspecified | v1::EventOrder::Ascending) => Order::Ascending,
            Ok(v1::EventOrder::Descending) => Order::Descending,
            Err(_) => return Err(Fault::new("order", "is of no known value; give ASCENDING or DESCENDING").into()),
        };
        let request = request_of(&interests, order);
        let (tail, _) = log.tail();
        let place = match page_token.as_str() {
            "" => None,
            token => Some(PageToken::parse(token, request)?),
        };
        // A token of an earlier log, or a forged one, may name places that are not there.
        let tail = place.map_or(tail, |place| place.tail.min(tail));
        Ok(List {
            interests,
            order,
            size: page_len(page_size)?,
            include_raw,
            at: place.map(|place| place.at.min(tail)),
            tail,
            request,
        })
    }

    /// Reads the page.
    ///
    /// # Errors
    /// HISTORY_GONE when something of the list went since the page before it was read, and when the store cannot be read.
    pub async fn page(self, log: &Log, keyring: &Keyring, now: Time) -> Result<hub::ListEventsResponse, Status> {
        loop {
            let oldest = log.look_at_age(now).await.map_err(|error| stored(&error))?;
            match self.page_from(log, oldest).await {
                Ok((page, raws)) => return self.response(log, keyring, page, raws, oldest).await,
                // Trimmed while it was read.
                Err(Failed::Store(Error::Trimmed(oldest))) => log.trimmed(oldest),
                Err(Failed::Store(error)) => return Err(stored(&error)),
                Err(Failed::Gone(from)) => return Err(gone(from, oldest)),
            }
        }
    }

    /// The page, in a log that begins at `oldest`.
    async fn page_from(&self, log: &Log, oldest: Offset) -> Result<(Page, Vec<(Offset, Raw)>), Failed> {
        let (from, until) = match self.order {
            Order::Ascending => (self.at.unwrap_or(oldest), self.tail.max(oldest)),
            Order::Descending => (oldest, self.at.unwrap_or(self.tail).max(oldest)),
        };
        if from < oldest {
            let missing = log.store().missing(log.row(), &self.interests, from, oldest, 1);
            if !missing.await?.is_empty() {
                return Err(Failed::Gone(from));
            }
        }
        let from = from.max(oldest);
        let read = Read {
            log: log.row(),
            interests: &self.interests,
            from,
            until,
            events_max: self.size,
            bytes_max: PAGE_BYTES_MAX,
            scan_max: limits::SCAN_EVENTS_MAX,
        };
        let page = match self.order {
            Order::Ascending => log.store().read(read).await,
            Order::Descending => log.store().read_back(read).await,
        };
        let mut page = page?;
        let raws = self.raws(log, &mut page).await?;
        Ok((page, raws))
    }

    async fn response(
        &self,
        log: &Log,
        keyring: &Keyring,
        page: Page,
        raws: Vec<(Offset, Raw)>,
        oldest: Offset,
    ) -> Result<hub::ListEventsResponse, Status> {
        let done = match self.order {
            Order::Ascending => page.until >= self.tail,
            Order::Descending => page.until <= oldest,
        };
        let next = PageToken {
            at: page.until,
            tail: self.tail,
            request: self.request,
        };
        Ok(hub::ListEventsResponse {
            next_page_token: if done { String::new() } else { next.encode() },
            resume_token: self.resume_token(log, keyring, &page).await?,
            raws: raws.into_iter().map(event_raw).collect(),
            oldest: oldest.0,
            events: page.events.into_iter().map(|event| event.bytes).collect(),
        })
    }

    /// The place after this page (ascending), or after the list (descending).
    async fn resume_token(&self, log: &Log, keyring: &Keyring, page: &Page) -> Result<String, Status> {
        let (next, link) = match self.order {
            Order::Ascending => (page.until, page.link),
            Order::Descending => {
                let link = log.store().link_before(log.row(), self.tail).await;
                (self.tail, link.map_err(|error| stored(&error))?)
            }
        };
        let place = Place {
            epoch: log.row().epoch,
            next,
            link,
            interests: self.interests.hash(),
            kind: Kind::Complete,
        };
        Ok(keyring.mint(&log.row().tenant, &place))
    }

    /// The raw records beside the page, where asked for. The page ends earlier where it does not take them all.
    async fn raws(&self, log: &Log, page: &mut Page) -> Result<Vec<(Offset, Raw)>, Error> {
        if !self.include_raw {
            return Ok(Vec::new());
        }
        let read = page.events.len();
        let raws = raws_beside(log.store(), log.row(), &mut page.events, PAGE_BYTES_MAX).await?;
        if let Some(last) = page.events.last().filter(|_| page.events.len() < read) {
            (page.until, page.link) = match self.order {
                Order::Ascending => (last.offset.next(), last.link),
                // The link before it is not asked for: what follows is the tail of the first page.
                Order::Descending => (last.offset, page.link),
            };
        }
        Ok(raws)
    }
}

/// Why there is no page.
enum Failed {
    /// Something of the list lay at or behind this offset and went since the page before it was read.
    Gone(Offset),
    /// The store cannot be read.
    Store(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Store(error)
    }
}

fn gone(from: Offset, oldest: Offset) -> Status {
    let message = format!(
        "events from {from} on are no longer kept; the oldest is {oldest}; begin the list anew without page_token"
    );
    history_gone(message, &[("from", from.to_string()), ("oldest", oldest.to_string())])
}

/// The page token by which `ListEvents` continues below a snapshot's items, for one session at CONTENT in descending order.
#[must_use]
pub fn items_below(session: &bellboard_core::id::SessionId, below: Offset, tail: Offset) -> String {
    let interest = Interest::new(Selector::Session(session.clone()), Detail::Content);
    Interests::new(vec![interest])
        .map(|interests| {
            PageToken {
                at: below,
                tail,
                request: request_of(&interests, Order::Descending),
            }
            .encode()
        })
        .unwrap_or_default()
}

fn request_of(interests: &Interests, order: Order) -> u64 {
    request_hash(&["events", &interests.hash().to_string(), &format!("{order:?}")])
}
