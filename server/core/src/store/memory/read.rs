//! Reading events by what is wanted of them.
//!
//! Believe this: whatever stopped a read, `until` tells how far it looked, and nothing wanted before that is missing.

use std::collections::BTreeMap;

use super::rows::{self, Log, Routings};
use crate::event::{Encode, Of};
use crate::interest::Interests;
use crate::offset::{Index, Offset, SessionNumber, Spot};
use crate::store::{Error, EventRow, Missing, Page, Read, lacks};

/// `[from, until)`, oldest first.
pub(super) fn forward(log: &Log, encode: &dyn Encode, read: &Read<'_>) -> Result<Page, Error> {
    log.check_kept(read.from)?;
    let mut gathered = Gathered::new(log, encode, read);
    let mut until = read.until.max(read.from);
    let candidates = candidates(log, read.interests, read.from, read.until);
    for (looked, row) in candidates.into_iter().enumerate() {
        if looked >= read.scan_max.max(1) {
            until = row.offset;
            break;
        }
        if let Some(last) = gathered.take(row)? {
            until = last.next();
            break;
        }
    }
    gathered.page(until)
}

/// `[from, until)`, newest first.
pub(super) fn back(log: &Log, encode: &dyn Encode, read: &Read<'_>) -> Result<Page, Error> {
    let mut gathered = Gathered::new(log, encode, read);
    let mut down_to = read.from;
    let candidates = candidates(log, read.interests, read.from, read.until);
    for (looked, row) in candidates.into_iter().rev().enumerate() {
        if looked >= read.scan_max.max(1) {
            down_to = row.offset.next();
            break;
        }
        if let Some(last) = gathered.take(row)? {
            down_to = last;
            break;
        }
    }
    log.check_kept(down_to)?;
    gathered.page(down_to)
}

/// How many are wanted in `[from, until)`, up to `most`.
pub(super) fn count(log: &Log, interests: &Interests, from: Offset, until: Offset, most: u64) -> Result<u64, Error> {
    let mut routings = Routings::new();
    let mut count = 0;
    for row in candidates(log, interests, from, until) {
        if count >= most {
            break;
        }
        count += u64::from(wanted(log, interests, &mut routings, row)?);
    }
    Ok(count)
}

/// Which sessions have wanted events that were trimmed at `from` or behind it, or lie before `until`.
pub(super) fn missing(
    log: &Log,
    interests: &Interests,
    from: Offset,
    until: Offset,
    most: usize,
) -> Result<Vec<Missing>, Error> {
    let mut found: BTreeMap<SessionNumber, Missing> = BTreeMap::new();
    let oldest = log.row.oldest;
    for session in log.rows.sessions.values() {
        let stood = log.rows.stood(session.number);
        if lacks(session, stood, interests, from, oldest) {
            let missing = Missing::Session {
                session: session.id.clone(),
                from: Index(0),
                until: session.trimmed.until,
            };
            found.insert(session.number, missing);
        }
    }
    let mut trimmed = log.trimmed.of_tenant.iter().filter(|(offset, ..)| *offset >= from);
    if trimmed.any(|(_, family, audience)| interests.want_of_tenant(audience, *family)) {
        found.insert(SessionNumber::of_tenant(log.row.key), Missing::Tenant);
    }
    let mut routings = Routings::new();
    for row in candidates(log, interests, from.max(oldest), until) {
        if !wanted(log, interests, &mut routings, row)? {
            continue;
        }
        let Some(Spot { session: number, index }) = row.spot() else {
            found.insert(SessionNumber::of_tenant(log.row.key), Missing::Tenant);
            continue;
        };
        let session = log.routing(&mut routings, number, row.offset)?.session.clone();
        let missing = found.entry(number).or_insert(Missing::Session {
            session,
            from: index,
            until: index,
        });
        if let Missing::Session { until, .. } = missing {
            *until = Index(index.0 + 1);
        }
    }
    Ok(found.into_values().take(most).collect())
}

/// Where the `count`-th wanted event before `until` lies.
pub(super) fn seek_back(
    log: &Log,
    interests: &Interests,
    oldest: Offset,
    until: Offset,
    count: u32,
) -> Result<Offset, Error> {
    let mut routings = Routings::new();
    let mut left = count.max(1);
    for row in candidates(log, interests, oldest, until).into_iter().rev() {
        left -= u32::from(wanted(log, interests, &mut routings, row)?);
        if left == 0 {
            return Ok(row.offset);
        }
    }
    Ok(oldest)
}

/// The events to look at, in offset order: those of single sessions if only such are wanted, else all.
fn candidates<'a>(log: &'a Log, interests: &Interests, from: Offset, until: Offset) -> Vec<&'a EventRow> {
    let until = until.min(log.row.tail);
    let Some(ids) = interests.single_sessions() else {
        let all = (from.0..until.0).filter_map(|offset| log.event(Offset(offset)));
        return all.collect();
    };
    let mut offsets = Vec::new();
    for session in ids.into_iter().filter_map(|id| log.rows.session_by_id(id)) {
        let of_session = log.rows.offsets(session.number);
        offsets.extend(of_session.filter(|offset| (from..until).contains(offset)));
    }
    if interests.look_at_tenant() {
        let of_tenant = log.rows.offsets(SessionNumber::of_tenant(log.row.key));
        offsets.extend(of_tenant.filter(|offset| (from..until).contains(offset)));
    }
    offsets.sort_unstable();
    offsets.dedup();
    offsets.into_iter().filter_map(|offset| log.event(offset)).collect()
}

fn wanted(log: &Log, interests: &Interests, routings: &mut Routings, row: &EventRow) -> Result<bool, Error> {
    let family = rows::family(row)?;
    Ok(match log.of(routings, row)? {
        Of::Session(of) => interests.want_move(of.moved_from.as_deref(), &of.routing, family),
        Of::Tenant(audience) => interests.want_of_tenant(&audience, family),
    })
}

/// A page while it is filled.
struct Gathered<'a> {
    log: &'a Log,
    encode: &'a dyn Encode,
    read: &'a Read<'a>,
    routings: Routings,
    events: Vec<crate::event::Event>,
    bytes: usize,
}

impl<'a> Gathered<'a> {
    fn new(log: &'a Log, encode: &'a dyn Encode, read: &'a Read<'a>) -> Gathered<'a> {
        Gathered {
            log,
            encode,
            read,
            routings: Routings::new(),
            events: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes the event if it is wanted and there is room for it. Gives the last event of the page when that is full.
    fn take(&mut self, row: &EventRow) -> Result<Option<Offset>, Error> {
        if !wanted(self.log, self.read.interests, &mut self.routings, row)? {
            return Ok(None);
        }
        let event = self.log.read(&mut self.routings, row, self.encode)?;
        let bytes = self.bytes + event.bytes.len();
        if let Some(last) = self.events.last()
            && bytes > self.read.bytes_max
        {
            return Ok(Some(last.offset));
        }
        self.bytes = bytes;
        self.events.push(event);
        Ok((self.events.len() >= self.read.events_max).then_some(row.offset))
    }

    fn page(self, until: Offset) -> Result<Page, Error> {
        Ok(Page {
            events: self.events,
            until,
            link: self.log.link_before(until)?,
        })
    }
}
