//! Pages of events.
//!
//! Believe this: a page is bounded before it is read. How many rows are passed is bounded by the range that is looked at, and bytes by
//! leaving large bodies out of the first look: what lies past the limit was measured, not loaded.

use std::collections::HashMap;

use bellboard_core::event::{Encode, Event};
use bellboard_core::link::Link;
use bellboard_core::offset::Offset;
use bellboard_core::store::{Error, LogRow, Page, Read};
use sea_orm::sea_query::{Alias, Query, SelectStatement, UnionType};
use sea_orm::{ColumnTrait, ConnectionTrait};

use super::entity::event;
use super::event_rows::{Row, events, row, select};
use super::place::{Direction, Range, offset, place};
use super::wanted::{OfSession, Wanted, wanted};
use super::{error, logs, trim};

/// A page in either direction.
pub(super) async fn read(
    connection: &impl ConnectionTrait,
    encode: &dyn Encode,
    read: Read<'_>,
    direction: Direction,
) -> Result<Page, Error> {
    let Read {
        log,
        interests,
        from,
        until,
        events_max,
        bytes_max,
        scan_max,
    } = read;
    let range = Range {
        log: log.key,
        from,
        until,
    };
    let start = match direction {
        Direction::Forward => from,
        Direction::Back => until,
    };
    if range.is_empty() {
        return page(connection, log, Vec::new(), start).await;
    }
    let (wanted, moves) = wanted(connection, interests, range).await?;
    let range = looked_at(connection, &wanted, range, direction, scan_max.max(1)).await?;
    let most = events_max.min(scan_max).max(1);
    let mut rows = rows(connection, &wanted, range, direction, most).await?;
    let mut whole = rows.len() < most;
    // The bytes with their links are known only when the bodies are there; what does not fit without them is not fetched.
    let sizes = rows.iter().map(|row| usize::try_from(row.bytes).unwrap_or_default());
    let fit = fitting(sizes, bytes_max);
    whole &= fit == rows.len();
    rows.truncate(fit);
    let known = match wanted {
        Wanted::Sessions(sessions) => sessions
            .into_iter()
            .filter_map(|session| Some((session.number, session.routing?)))
            .collect(),
        Wanted::Everything | Wanted::Matching(_) => HashMap::new(),
    };
    let taken = rows.len();
    let events = events(connection, encode, known, moves, rows).await;
    let oldest = trim::oldest(connection, log.key).await?;
    let least = match direction {
        Direction::Forward => from,
        Direction::Back => range.from,
    };
    if oldest > least {
        return Err(Error::Trimmed(oldest));
    }
    let mut events = events?;
    whole &= events.len() == taken;
    let fit = fitting(events.iter().map(|event| event.bytes.len()), bytes_max);
    whole &= fit == events.len();
    events.truncate(fit);
    let until = match (events.last().filter(|_| !whole), direction) {
        (None, Direction::Forward) => range.until,
        (None, Direction::Back) => range.from,
        (Some(last), Direction::Forward) => last.offset.next(),
        (Some(last), Direction::Back) => last.offset,
    };
    page(connection, log, events, until).await
}

async fn page(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    events: Vec<Event>,
    until: Offset,
) -> Result<Page, Error> {
    let before = events.iter().find(|event| event.offset.next() == until);
    let link = match before {
        Some(event) => event.link,
        None => link_before(connection, log, until).await?,
    };
    Ok(Page { events, until, link })
}

/// How far a read looks, so that it passes at most `scan_max` events.
async fn looked_at(
    connection: &impl ConnectionTrait,
    wanted: &Wanted,
    range: Range,
    direction: Direction,
    scan_max: usize,
) -> Result<Range, Error> {
    let sessions = match wanted {
        Wanted::Everything => return Ok(range),
        Wanted::Matching(_) => return Ok(range.beginning(direction, scan_max)),
        Wanted::Sessions(sessions) => sessions,
    };
    // Without a filter every event that is passed is returned.
    let filtered = sessions.iter().any(|session| session.kinds.is_some());
    if !filtered || range.from.distance(range.until) <= scan_max as u64 {
        return Ok(range);
    }
    let each = (scan_max / sessions.len()).max(1);
    // The first `scan_max` offsets are looked at whatever they hold.
    let least = range.beginning(direction, scan_max);
    let mut range = range;
    for session in sessions {
        let select = Query::select()
            .column(event::Column::Place)
            .from(event::Entity)
            .and_where(event::Column::Session.eq(session.number))
            .cond_where(range.condition())
            .order_by(event::Column::Place, direction.order())
            .offset(each as u64)
            .limit(1)
            .take();
        let past = connection.query_one(&select).await.map_err(error::of)?;
        if let Some(past) = past {
            let past = offset(past.try_get_by_index(0).map_err(error::of)?);
            match direction {
                Direction::Forward => range.until = past.max(least.until),
                Direction::Back => range.from = past.next().min(least.from),
            }
        }
    }
    Ok(range)
}

async fn rows(
    connection: &impl ConnectionTrait,
    wanted: &Wanted,
    range: Range,
    direction: Direction,
    most: usize,
) -> Result<Vec<Row>, Error> {
    let Some(select) = rows_of(wanted, range, direction, most) else {
        return Ok(Vec::new());
    };
    let results = connection.query_all(&select).await.map_err(error::of)?;
    results.iter().map(row).collect()
}

/// The statement that finds rows; none when nothing can be found.
pub(super) fn rows_of(wanted: &Wanted, range: Range, direction: Direction, most: usize) -> Option<SelectStatement> {
    let mut select = select();
    match wanted {
        Wanted::Everything => select.cond_where(range.condition()),
        Wanted::Matching(condition) => select.cond_where(range.condition()).cond_where(condition.clone()),
        Wanted::Sessions(sessions) => {
            select.and_where(event::Column::Place.in_subquery(places(sessions, range, direction, most)?))
        }
    };
    select
        .order_by(event::Column::Place, direction.order())
        .limit(most as u64);
    Some(select)
}

/// The first `most` wanted places of each session, out of the index alone where no kinds are asked for.
pub(super) fn places(
    sessions: &[OfSession],
    range: Range,
    direction: Direction,
    most: usize,
) -> Option<SelectStatement> {
    let mut each = sessions.iter().map(|session| {
        let mut inner = Query::select()
            .column(event::Column::Place)
            .from(event::Entity)
            .and_where(event::Column::Session.eq(session.number))
            .cond_where(range.condition())
            .order_by(event::Column::Place, direction.order())
            .limit(most as u64)
            .take();
        if let Some(kinds) = &session.kinds {
            inner.cond_where(kinds.clone());
        }
        // A part of a union has no order of its own; a table in it has.
        Query::select()
            .column(event::Column::Place)
            .from_subquery(inner, Alias::new("each"))
            .take()
    });
    let mut first = each.next()?;
    for other in each {
        first.union(UnionType::All, other);
    }
    Some(first)
}

/// How many of these sizes fit; the first always does.
fn fitting(sizes: impl Iterator<Item = usize>, bytes_max: usize) -> usize {
    let mut left = Some(bytes_max);
    sizes
        .enumerate()
        .take_while(|(number, bytes)| {
            left = left.and_then(|left| left.checked_sub(*bytes));
            *number == 0 || left.is_some()
        })
        .count()
}

/// The link before an offset.
pub(super) async fn link_before(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    offset: Offset,
) -> Result<Link, Error> {
    if offset == log.tail {
        return Ok(log.link);
    }
    if offset == log.oldest {
        return Ok(log.base);
    }
    if let Some(before) = offset.0.checked_sub(1) {
        let select = Query::select()
            .column(event::Column::Link)
            .from(event::Entity)
            .and_where(event::Column::Place.eq(place(log.key, Offset(before))))
            .take();
        if let Some(found) = connection.query_one(&select).await.map_err(error::of)? {
            let link: i64 = found.try_get_by_index(0).map_err(error::of)?;
            return Ok(Link(link.cast_unsigned()));
        }
    }
    if let Some(link) = trim::link_before(connection, log.key, offset).await? {
        return Ok(link);
    }
    let now = logs::row(connection, log.key).await?;
    if offset == now.oldest {
        Ok(now.base)
    } else if offset < now.oldest {
        Err(Error::Trimmed(now.oldest))
    } else {
        Err(error::corrupt(format!("there is no event before {offset}")))
    }
}
