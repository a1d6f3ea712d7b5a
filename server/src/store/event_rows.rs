//! An event's row, there and back, and what lies beside it.
//!
//! Believe this: a large body is measured before it is loaded. It comes only for events that are really taken.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bellboard_core::event::{Encode, Event, Family, InSession, ItemKey, ItemStep, Kind, Of, Raw, Routing};
use bellboard_core::link::Link;
use bellboard_core::offset::{Index, LogKey, Offset, SessionNumber, Spot};
use bellboard_core::store::Error;
use bytes::Bytes;
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Func, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryResult};

use super::entity::{event, raw};
use super::place::{offset, place};
use super::rows::lists;
use super::stood::{Moves, Past};
use super::{audience, error, sessions};

/// Bodies up to this many bytes come with their row; larger ones, which are rare, are fetched one by one when they are taken.
const INLINE_BYTES_MAX: i32 = 16 * 1024;

/// Large bodies fetched in one statement.
const BODIES_MAX: usize = 16;

/// An event's row, with its body where that is small.
pub(super) struct Row {
    pub(super) place: i64,
    pub(super) session: i64,
    index: i64,
    kind: i16,
    item: Option<i64>,
    item_step: Option<i16>,
    has_raw: bool,
    link: i64,
    pub(super) bytes: i32,
    stored: Option<Vec<u8>>,
}

/// The columns of [`Row`].
pub(super) fn select() -> SelectStatement {
    use event::Column;
    let bytes = || Func::cust("octet_length").arg(Expr::col(Column::Stored));
    Query::select()
        .columns([
            Column::Place,
            Column::Session,
            Column::Idx,
            Column::Kind,
            Column::Item,
            Column::ItemStep,
            Column::HasRaw,
            Column::Link,
        ])
        .expr(bytes())
        .expr(CaseStatement::new().case(Expr::expr(bytes()).lte(INLINE_BYTES_MAX), Expr::col(Column::Stored)))
        .from(event::Entity)
        .take()
}

/// The row of a result of [`select`].
pub(super) fn row(result: &QueryResult) -> Result<Row, Error> {
    let read = || {
        Ok(Row {
            place: result.try_get_by_index(0)?,
            session: result.try_get_by_index(1)?,
            index: result.try_get_by_index(2)?,
            kind: result.try_get_by_index(3)?,
            item: result.try_get_by_index(4)?,
            item_step: result.try_get_by_index(5)?,
            has_raw: result.try_get_by_index(6)?,
            link: result.try_get_by_index(7)?,
            bytes: result.try_get_by_index(8)?,
            stored: result.try_get_by_index(9)?,
        })
    };
    read().map_err(error::of)
}

/// A kind as it lies in a column, and its family.
pub(super) fn kind(kind: i16) -> Result<(Kind, Family), Error> {
    let kind = u16::try_from(kind).ok().map(Kind);
    kind.and_then(|kind| Some((kind, kind.family()?)))
        .ok_or_else(|| error::corrupt("an event of no family"))
}

/// A step as it lies in a column.
pub(super) fn step(step: Option<i16>) -> Result<Option<ItemStep>, Error> {
    match step {
        None => Ok(None),
        Some(1) => Ok(Some(ItemStep::Started)),
        Some(2) => Ok(Some(ItemStep::Completed)),
        Some(_) => Err(error::corrupt("an event's item step")),
    }
}

/// An event's place in its session, as it lies in columns; none where it has no session.
pub(super) fn spot(session: i64, index: i64) -> Option<Spot> {
    let session = SessionNumber(session.cast_unsigned());
    (session != SessionNumber::of_tenant(session.log())).then_some(Spot {
        session,
        index: Index(index.cast_unsigned()),
    })
}

/// What is written for a step.
pub(super) fn step_number(step: ItemStep) -> i16 {
    match step {
        ItemStep::Started => 1,
        ItemStep::Completed => 2,
    }
}

/// The events of rows, in their order, with their large bodies. `known` holds what is known of where sessions stand now. Fewer than there
/// are rows where those without a session are for more than a page may hold.
pub(super) async fn events(
    connection: &impl ConnectionTrait,
    encode: &dyn Encode,
    mut known: HashMap<i64, Arc<Routing>>,
    moves: Moves,
    rows: Vec<Row>,
) -> Result<Vec<Event>, Error> {
    let spots = rows.iter().filter_map(|row| spot(row.session, row.index));
    let met: HashSet<i64> = spots.map(|spot| spot.session.0.cast_signed()).collect();
    let of_tenant = rows.iter().filter(|row| spot(row.session, row.index).is_none());
    let of_tenant: Vec<i64> = of_tenant.map(|row| row.place).collect();
    let audiences = audience::of(connection, &of_tenant).await?;
    let unknown = met.iter().filter(|session| !known.contains_key(session));
    let unknown: Vec<i64> = unknown.copied().collect();
    known.extend(sessions::routings(connection, &unknown).await?);
    let past = match (moves, rows.iter().map(|row| row.place).min()) {
        (Moves::Some, Some(from)) => Past::of(connection, &met.into_iter().collect::<Vec<_>>(), from).await?,
        (Moves::None, _) | (_, None) => Past::default(),
    };
    let mut large = large_bodies(connection, &rows).await?;
    let event = |row: Row| {
        let of = match spot(row.session, row.index) {
            None => Of::Tenant(Arc::clone(audiences.get(&row.place)?)),
            Some(Spot { index, .. }) => {
                let then = past.at(row.session, row.place);
                let Some(routing) = then.or_else(|| known.get(&row.session)) else {
                    return Some(Err(error::corrupt("an event without a session")));
                };
                Of::Session(InSession {
                    index,
                    routing: routing.clone(),
                    moved_from: past.moved_from(row.session, row.place).cloned(),
                })
            }
        };
        let body = large.remove(&row.place);
        Some(whole(encode, row, of, body))
    };
    rows.into_iter().map_while(event).collect()
}

/// The event of a row, with its body where that did not come with it.
fn whole(encode: &dyn Encode, row: Row, of: Of, body: Option<Bytes>) -> Result<Event, Error> {
    let stored = row.stored.map(Bytes::from).or(body);
    let stored = stored.ok_or_else(|| error::corrupt("an event without its bytes"))?;
    let (kind, family) = kind(row.kind)?;
    let link = Link(row.link.cast_unsigned());
    Ok(Event {
        offset: offset(row.place),
        of,
        kind,
        family,
        item: row.item.map(|item| ItemKey(item.cast_unsigned())),
        item_step: step(row.item_step)?,
        has_raw: row.has_raw,
        link,
        bytes: encode.linked(&stored, link),
    })
}

async fn large_bodies(connection: &impl ConnectionTrait, rows: &[Row]) -> Result<HashMap<i64, Bytes>, Error> {
    let places: Vec<i64> = rows
        .iter()
        .filter(|row| row.stored.is_none())
        .map(|row| row.place)
        .collect();
    let mut bodies = HashMap::with_capacity(places.len());
    for list in places.chunks(BODIES_MAX).flat_map(lists) {
        let select = Query::select()
            .columns([event::Column::Place, event::Column::Stored])
            .from(event::Entity)
            .and_where(event::Column::Place.is_in(list))
            .take();
        for result in connection.query_all(&select).await.map_err(error::of)? {
            let place = result.try_get_by_index(0).map_err(error::of)?;
            let stored: Vec<u8> = result.try_get_by_index(1).map_err(error::of)?;
            bodies.insert(place, stored.into());
        }
    }
    Ok(bodies)
}

/// The raw records beside events.
pub(super) async fn raws(
    connection: &impl ConnectionTrait,
    log: LogKey,
    offsets: &[Offset],
) -> Result<Vec<(Offset, Raw)>, Error> {
    let places: Vec<i64> = offsets.iter().map(|offset| place(log, *offset)).collect();
    let mut found = Vec::new();
    for list in lists(&places) {
        let models = raw::Entity::find()
            .filter(raw::Column::Place.is_in(list))
            .all(connection)
            .await
            .map_err(error::of)?;
        found.extend(models.into_iter().map(
            |raw::Model {
                 place,
                 media_type,
                 content,
             }| {
                let raw = Raw {
                    media_type: media_type.into(),
                    content: content.into(),
                };
                (offset(place), raw)
            },
        ));
    }
    Ok(found)
}
