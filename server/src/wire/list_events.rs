//! `ListEvents`: history in pages, both ways, and the resume token from which to follow.
//!
//! Believe this: the first page fixes where the list ends. What is stored while a client turns pages is not in the list, and is what its
//! resume token continues with.

use bellboard_core::interest::{Detail, Interest, Interests, Selector};
use bellboard_core::limits;
use bellboard_core::log::Log;
use bellboard_core::offset::Offset;
use bellboard_core::resume_token::{Keyring, Kind, Place};
use bellboard_core::store::{Page, Read, raws_beside};
use bellboard_proto::hub::v1 as hub;
use bellboard_proto::v1;
use tonic::Status;

use crate::wire::fault::Fault;
use crate::wire::frame::event_raw;
use crate::wire::interest;
use crate::wire::page_token::{PAGE_BYTES_MAX, PageToken, page_len, request_hash};
use crate::wire::status::stored;

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
    /// Where this page begins (ascending), or before what it lies (descending).
    at: Offset,
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
        let place = match (page_token.as_str(), order) {
            ("", Order::Ascending) => PageToken {
                at: log.row().oldest,
                tail,
                request,
            },
            ("", Order::Descending) => PageToken {
                at: tail,
                tail,
                request,
            },
            (token, _) => PageToken::parse(token, request)?,
        };
        // A token of an earlier log, or a forged one, may name places that are not there.
        let tail = place.tail.min(tail);
        Ok(List {
            interests,
            order,
            size: page_len(page_size)?,
            include_raw,
            at: place.at.min(tail),
            tail,
            request,
        })
    }

    /// Reads the page.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn page(self, log: &Log, keyring: &Keyring) -> Result<hub::ListEventsResponse, Status> {
        let oldest = log.row().oldest;
        let (from, until) = match self.order {
            Order::Ascending => (self.at, self.tail),
            Order::Descending => (oldest, self.at),
        };
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
        let mut page = page.map_err(|error| stored(&error))?;
        let raws = self.raws(log, &mut page).await?;
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
            raws,
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
    async fn raws(&self, log: &Log, page: &mut Page) -> Result<Vec<v1::EventRaw>, Status> {
        if !self.include_raw {
            return Ok(Vec::new());
        }
        let read = page.events.len();
        let raws = raws_beside(log.store(), log.row().key, &mut page.events, PAGE_BYTES_MAX).await;
        if let Some(last) = page.events.last().filter(|_| page.events.len() < read) {
            (page.until, page.link) = match self.order {
                Order::Ascending => (last.offset.next(), last.link),
                // The link before it is not asked for: what follows is the tail of the first page.
                Order::Descending => (last.offset, page.link),
            };
        }
        Ok(raws
            .map_err(|error| stored(&error))?
            .into_iter()
            .map(event_raw)
            .collect())
    }
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
