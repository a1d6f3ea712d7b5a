//! Counting wanted events, forwards and backwards.
//!
//! Believe this: only places are looked at, never bodies, and a long log is passed in stretches, so that no statement runs long.

use bellboard_core::interest::Interests;
use bellboard_core::offset::Offset;
use bellboard_core::store::{Error, LogRow};
use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Alias, Expr, Order, Query, SelectStatement};

use super::entity::event;
use super::error;
use super::place::{self, Direction, Range};
use super::read;
use super::wanted::{Wanted, wanted};

/// Events that one statement passes.
const STRETCH_EVENTS: u64 = 65_536;

/// How many wanted events lie in the range, counted up to `most`.
pub(super) async fn count(
    connection: &impl ConnectionTrait,
    interests: &Interests,
    range: Range,
    most: u64,
) -> Result<u64, Error> {
    let Range { from, until, .. } = range;
    let condition = match wanted(connection, interests, range).await?.0 {
        Wanted::Everything => return Ok(from.distance(until).min(most)),
        Wanted::Sessions(sessions) => {
            let limit = usize::try_from(most).unwrap_or(usize::MAX);
            let places = read::places(&sessions, range, Direction::Forward, limit);
            return match places {
                Some(places) => Ok(counted(connection, places).await?.min(most)),
                None => Ok(0),
            };
        }
        Wanted::Matching(condition) => condition,
    };
    let mut total = 0;
    let mut start = from;
    while start < until && total < most {
        let end = until.min(Offset(start.0 + STRETCH_EVENTS));
        let stretch = Range {
            from: start,
            until: end,
            ..range
        };
        let places = Query::select()
            .column(event::Column::Place)
            .from(event::Entity)
            .cond_where(stretch.condition())
            .cond_where(condition.clone())
            .limit(most - total)
            .take();
        total += counted(connection, places).await?;
        start = end;
    }
    Ok(total)
}

async fn counted(connection: &impl ConnectionTrait, places: SelectStatement) -> Result<u64, Error> {
    let select = Query::select()
        .expr(Expr::cust("count(*)"))
        .from_subquery(places, Alias::new("found"))
        .take();
    let row = connection.query_one(&select).await.map_err(error::of)?;
    let row = row.ok_or_else(|| error::corrupt("a count without a number"))?;
    let count: i64 = row.try_get_by_index(0).map_err(error::of)?;
    Ok(count.cast_unsigned())
}

/// The offset of the `nth` wanted event before `until`; the log's oldest when there are fewer.
pub(super) async fn seek_back(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    interests: &Interests,
    until: Offset,
    nth: u32,
) -> Result<Offset, Error> {
    let range = Range {
        log: log.key,
        from: log.oldest,
        until,
    };
    let condition = match wanted(connection, interests, range).await?.0 {
        Wanted::Everything => {
            let back = Offset(until.0.saturating_sub(u64::from(nth)));
            return Ok(back.max(log.oldest));
        }
        Wanted::Sessions(sessions) => {
            let places = read::places(&sessions, range, Direction::Back, nth as usize);
            let Some(places) = places else {
                return Ok(log.oldest);
            };
            let found = newest(connection, places, u64::from(nth)).await?;
            return Ok(found.get(nth as usize - 1).copied().unwrap_or(log.oldest));
        }
        Wanted::Matching(condition) => condition,
    };
    let mut left = u64::from(nth);
    let mut end = until;
    while end > log.oldest {
        let start = log.oldest.max(Offset(end.0.saturating_sub(STRETCH_EVENTS)));
        let stretch = Range {
            from: start,
            until: end,
            ..range
        };
        let places = Query::select()
            .column(event::Column::Place)
            .from(event::Entity)
            .cond_where(stretch.condition())
            .cond_where(condition.clone())
            .take();
        let found = newest(connection, places, left).await?;
        if let Some(last) = found.last()
            && found.len() as u64 == left
        {
            return Ok(*last);
        }
        left -= found.len() as u64;
        end = start;
    }
    Ok(log.oldest)
}

/// The newest of these places, newest first.
async fn newest(connection: &impl ConnectionTrait, places: SelectStatement, most: u64) -> Result<Vec<Offset>, Error> {
    let select = Query::select()
        .column(event::Column::Place)
        .from_subquery(places, Alias::new("found"))
        .order_by(event::Column::Place, Order::Desc)
        .limit(most)
        .take();
    let rows = connection.query_all(&select).await.map_err(error::of)?;
    rows.iter()
        .map(|row| row.try_get_by_index(0).map(place::offset).map_err(error::of))
        .collect()
}
