//! Taking the oldest events of a log away, and what is kept of them.
//!
//! Believe this: the statement that moves the log's row says whether the rest may happen: a trim that does not begin where the log
//! begins changes nothing.

use std::collections::{HashMap, HashSet};

use bellboard_core::event::Kind;
use bellboard_core::id::{SessionId, WriterId};
use bellboard_core::link::Link;
use bellboard_core::offset::{LogKey, Offset, SessionNumber};
use bellboard_core::session::Session;
use bellboard_core::store::{Error, LogRow, StoredEvent, Trim};
use sea_orm::sea_query::{Expr, ExprTrait, Func, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, QuerySelect, Value};

use super::entity::{base, event, log, raw, trimmed_links, writer};
use super::event_rows::spot;
use super::place::{Range, offset, place, signed};
use super::rows::{Rows, lists};
use super::{audience, error, session_row, stood};

const BASES: Rows = Rows {
    before: "INSERT INTO session_bases (number,log,parent,session) VALUES",
    columns: 4,
    after: "ON CONFLICT (number) DO UPDATE SET parent=excluded.parent,session=excluded.session",
};

const TRIMMED: Rows = Rows {
    before: "UPDATE sessions SET trimmed_index=w.column2,trimmed_offset=w.column3,trimmed_families=w.column4 FROM (VALUES",
    columns: 4,
    after: ") AS w WHERE sessions.number=w.column1",
};

/// Bytes of one link in a row of links.
const LINK_BYTES: usize = 8;

/// Events of `[from, tail)` that are kept.
pub(super) async fn events(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    from: Offset,
    events_max: usize,
    bytes_max: usize,
) -> Result<Vec<StoredEvent>, Error> {
    let until = log.tail.min(Offset(from.0.saturating_add(events_max as u64)));
    let range = Range {
        log: log.key,
        from,
        until,
    };
    if range.is_empty() {
        return Ok(Vec::new());
    }
    let range = fitting(connection, range, bytes_max).await?;
    let mut raws = raw_bytes(connection, range).await?;
    let select = Query::select()
        .columns([
            (event::Entity, event::Column::Place),
            (event::Entity, event::Column::Session),
            (event::Entity, event::Column::Idx),
            (event::Entity, event::Column::Kind),
            (event::Entity, event::Column::Seq),
            (event::Entity, event::Column::Link),
            (event::Entity, event::Column::Stored),
        ])
        .column((writer::Entity, writer::Column::Id))
        .from(event::Entity)
        .left_join(
            writer::Entity,
            Expr::col((writer::Entity, writer::Column::Number)).equals((event::Entity, event::Column::Writer)),
        )
        .cond_where(range.condition())
        .order_by((event::Entity, event::Column::Place), Order::Asc)
        .take();
    let found = connection.query_all(&select).await.map_err(error::of)?;
    let mut kept = Vec::with_capacity(found.len());
    for row in &found {
        let event = kept_event(row, &mut raws)?;
        if event.offset.0 != from.0 + kept.len() as u64 {
            return Err(error::corrupt(format!(
                "there is no event {}",
                from.0 + kept.len() as u64
            )));
        }
        kept.push(event);
    }
    if kept.is_empty() {
        return Err(error::corrupt(format!("there is no event {from}")));
    }
    Ok(kept)
}

/// The part of a range whose events are so many bytes at most; its first one is in it.
async fn fitting(connection: &impl ConnectionTrait, range: Range, bytes_max: usize) -> Result<Range, Error> {
    let select = Query::select()
        .column(event::Column::Place)
        .expr(Func::cust("octet_length").arg(Expr::col(event::Column::Stored)))
        .from(event::Entity)
        .cond_where(range.condition())
        .order_by(event::Column::Place, Order::Asc)
        .take();
    let mut left = bytes_max as u64;
    for row in connection.query_all(&select).await.map_err(error::of)? {
        let at = offset(row.try_get_by_index(0).map_err(error::of)?);
        let bytes: i32 = row.try_get_by_index(1).map_err(error::of)?;
        match left.checked_sub(u64::from(bytes.unsigned_abs())) {
            Some(rest) => left = rest,
            None => {
                let until = at.max(range.from.next());
                return Ok(Range { until, ..range });
            }
        }
    }
    Ok(range)
}

/// The bytes of raw records, by place.
async fn raw_bytes(connection: &impl ConnectionTrait, range: Range) -> Result<HashMap<i64, u64>, Error> {
    let length = |column| Func::cust("octet_length").arg(Expr::col(column));
    let select = Query::select()
        .column(raw::Column::Place)
        .expr(Expr::expr(length(raw::Column::Content)).add(length(raw::Column::MediaType)))
        .from(raw::Entity)
        .and_where(Expr::col(raw::Column::Place).gte(place(range.log, range.from)))
        .and_where(Expr::col(raw::Column::Place).lt(place(range.log, range.until)))
        .take();
    let read = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index::<i32>(1)?));
    let found = connection.query_all(&select).await.map_err(error::of)?;
    let sizes = found.iter().map(|row| {
        let (place, bytes): (i64, i32) = read(row).map_err(error::of)?;
        Ok((place, u64::from(bytes.unsigned_abs())))
    });
    sizes.collect()
}

fn kept_event(row: &QueryResult, raws: &mut HashMap<i64, u64>) -> Result<StoredEvent, Error> {
    let number = |column| row.try_get_by_index::<i64>(column).map_err(error::of);
    let stored: Vec<u8> = row.try_get_by_index(6).map_err(error::of)?;
    let seq: Option<i64> = row.try_get_by_index(4).map_err(error::of)?;
    let writer: Option<String> = row.try_get_by_index(7).map_err(error::of)?;
    let kind: i16 = row.try_get_by_index(3).map_err(error::of)?;
    let writer = match (writer, seq) {
        (Some(id), Some(seq)) => {
            let id = WriterId::parse(&id).map_err(|error| error::corrupt(format!("a writer's id {error}")))?;
            Some((id, seq.cast_unsigned()))
        }
        (None, _) | (_, None) => None,
    };
    let at = number(0)?;
    Ok(StoredEvent {
        offset: offset(at),
        spot: spot(number(1)?, number(2)?),
        kind: Kind(kind.cast_unsigned()),
        writer,
        link: Link(number(5)?.cast_unsigned()),
        bytes: stored.len() as u64 + raws.remove(&at).unwrap_or_default(),
        stored: stored.into(),
    })
}

/// The bases of these sessions.
pub(super) async fn bases(
    connection: &impl ConnectionTrait,
    sessions: &[SessionNumber],
) -> Result<Vec<Session>, Error> {
    let numbers: Vec<i64> = sessions.iter().map(|session| session.0.cast_signed()).collect();
    let mut found = Vec::with_capacity(numbers.len());
    for list in lists(&numbers) {
        let models = base::Entity::find()
            .filter(base::Column::Number.is_in(list))
            .all(connection)
            .await
            .map_err(error::of)?;
        for model in models {
            found.push(session_row::of_base(&model.session)?);
        }
    }
    Ok(found)
}

/// The bases of all sessions below these, level by level.
pub(super) async fn bases_below(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ancestors: &[SessionId],
    most: usize,
) -> Result<Vec<Session>, Error> {
    let mut level: Vec<String> = ancestors.iter().map(ToString::to_string).collect();
    let mut seen: HashSet<String> = HashSet::new();
    let mut found: Vec<Session> = Vec::new();
    while !level.is_empty() && found.len() < most {
        let mut next = Vec::new();
        for list in lists(&level) {
            let models = base::Entity::find()
                .filter(base::Column::Log.eq(i64::from(log.0)))
                .filter(base::Column::Parent.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?;
            for model in models {
                let session = session_row::of_base(&model.session)?;
                if seen.insert(session.id.to_string()) {
                    next.push(session.id.to_string());
                    found.push(session);
                }
            }
        }
        level = next;
    }
    found.truncate(most);
    Ok(found)
}

/// Takes a prefix away.
pub(super) async fn trim(connection: &impl ConnectionTrait, trim: Trim, links_max: u64) -> Result<(), Error> {
    let Trim { log, links, bases } = trim;
    let from = log.oldest.0.checked_sub(links.len() as u64).map(Offset);
    let from = from.ok_or_else(|| Error::Constraint("a trim has more links than offsets".into()))?;
    move_oldest(connection, &log, from).await?;
    keep_links(connection, &log, from, &links, links_max).await?;
    let kept_from = Offset(log.oldest.0.saturating_sub(links_max));
    stood::forget(connection, log.key, kept_from).await?;
    audience::forget(connection, log.key, kept_from).await?;
    let gone = [place(log.key, from), place(log.key, log.oldest)];
    event::Entity::delete_many()
        .filter(event::Column::Place.gte(gone[0]))
        .filter(event::Column::Place.lt(gone[1]))
        .exec(connection)
        .await
        .map_err(error::of)?;
    raw::Entity::delete_many()
        .filter(raw::Column::Place.gte(gone[0]))
        .filter(raw::Column::Place.lt(gone[1]))
        .exec(connection)
        .await
        .map_err(error::of)?;
    keep_bases(connection, log.key, bases).await
}

async fn move_oldest(connection: &impl ConnectionTrait, row: &LogRow, from: Offset) -> Result<(), Error> {
    let updated = log::Entity::update_many()
        .col_expr(log::Column::Oldest, Expr::val(signed(row.oldest)))
        .col_expr(log::Column::BaseLink, Expr::val(row.base.0.cast_signed()))
        .col_expr(log::Column::OldestRecorded, Expr::val(row.oldest_recorded.0))
        .col_expr(log::Column::Bytes, Expr::val(row.bytes.cast_signed()))
        .filter(log::Column::Key.eq(i64::from(row.key.0)))
        .filter(log::Column::Oldest.eq(signed(from)))
        .filter(log::Column::Tail.gte(signed(row.oldest)))
        .exec(connection)
        .await
        .map_err(error::of)?;
    if updated.rows_affected == 1 {
        Ok(())
    } else {
        let what = format!("a trim of log {} does not begin at its oldest event", row.key.0);
        Err(Error::Constraint(what.into()))
    }
}

/// Adds the links of a piece as one row, and lets those rows go that lie before the newest `links_max` links.
async fn keep_links(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    from: Offset,
    links: &[Link],
    links_max: u64,
) -> Result<(), Error> {
    use trimmed_links::Column;
    if !links.is_empty() {
        let bytes: Vec<u8> = links.iter().flat_map(|link| link.0.to_be_bytes()).collect();
        let model = trimmed_links::ActiveModel {
            place: sea_orm::ActiveValue::Set(place(log.key, from)),
            links: sea_orm::ActiveValue::Set(bytes),
        };
        trimmed_links::Entity::insert(model)
            .exec_without_returning(connection)
            .await
            .map_err(error::of)?;
    }
    let needed = Offset(log.oldest.0.saturating_sub(links_max));
    let first = row_of_links(connection, log.key, needed).await?;
    let Some(trimmed_links::Model { place: first, .. }) = first else {
        return Ok(());
    };
    trimmed_links::Entity::delete_many()
        .filter(Column::Place.gte(place(log.key, Offset::ZERO)))
        .filter(Column::Place.lt(first))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// The row in which the link before a trimmed offset lies, if it is kept.
async fn row_of_links(
    connection: &impl ConnectionTrait,
    log: LogKey,
    at: Offset,
) -> Result<Option<trimmed_links::Model>, Error> {
    use sea_orm::QueryOrder;
    use trimmed_links::Column;
    trimmed_links::Entity::find()
        .filter(Column::Place.gte(place(log, Offset::ZERO)))
        .filter(Column::Place.lte(place(log, at)))
        .order_by(Column::Place, Order::Desc)
        .limit(1)
        .one(connection)
        .await
        .map_err(error::of)
}

/// The link before a trimmed offset; none where it is no longer kept.
pub(super) async fn link_before(
    connection: &impl ConnectionTrait,
    log: LogKey,
    at: Offset,
) -> Result<Option<Link>, Error> {
    let Some(row) = row_of_links(connection, log, at).await? else {
        return Ok(None);
    };
    let skip = usize::try_from(offset(row.place).distance(at)).unwrap_or(usize::MAX);
    let link = row.links.chunks_exact(LINK_BYTES).nth(skip);
    Ok(link.map(|bytes| Link(bytes.iter().fold(0, |link, byte| link << 8 | u64::from(*byte)))))
}

/// The smallest offset that is kept now.
pub(super) async fn oldest(connection: &impl ConnectionTrait, key: LogKey) -> Result<Offset, Error> {
    let select = Query::select()
        .column(log::Column::Oldest)
        .from(log::Entity)
        .and_where(log::Column::Key.eq(i64::from(key.0)))
        .take();
    let row = connection.query_one(&select).await.map_err(error::of)?;
    let row = row.ok_or_else(|| error::corrupt(format!("there is no log {}", key.0)))?;
    let oldest: i64 = row.try_get_by_index(0).map_err(error::of)?;
    Ok(Offset(oldest.cast_unsigned()))
}

async fn keep_bases(connection: &impl ConnectionTrait, log: LogKey, bases: Vec<Session>) -> Result<(), Error> {
    let mut rows: Vec<Value> = Vec::with_capacity(bases.len() * BASES.columns);
    let mut trimmed: Vec<Value> = Vec::with_capacity(bases.len() * TRIMMED.columns);
    for base in bases {
        let number = base.number.0.cast_signed();
        trimmed.extend::<[Value; 4]>([
            number.into(),
            base.trimmed.until.0.cast_signed().into(),
            signed(base.trimmed.offset()).into(),
            session_row::families(&base.trimmed)?.into(),
        ]);
        let parent = base.parent().map(ToString::to_string);
        let session = session_row::base(log, base)?;
        rows.extend::<[Value; 4]>([number.into(), i64::from(log.0).into(), parent.into(), session.into()]);
    }
    BASES.execute(connection, rows).await?;
    TRIMMED.execute(connection, trimmed).await?;
    Ok(())
}
