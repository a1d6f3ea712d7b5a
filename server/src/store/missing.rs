//! Which sessions lack events that a reader wants.
//!
//! Believe this: what was trimmed is known from the sessions' rows, what is too old and still there from the events themselves.

use std::collections::HashMap;

use bellboard_core::interest::{Interests, Selector};
use bellboard_core::offset::{Index, Offset};
use bellboard_core::store::{Error, LogRow, Missing, lacks};
use sea_orm::sea_query::{Cond, Expr, ExprTrait, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entity::{event, session};
use super::place::{Range, signed};
use super::wanted::{selected, wanted};
use super::{audience, error, session_row, sessions, stood, trim};

/// Rows of sessions that are looked at in one statement.
const SESSIONS_AT_ONCE: u64 = 256;

/// Events that one statement passes.
const STRETCH_EVENTS: u64 = 65_536;

/// Which sessions have wanted events that were trimmed at `from` or behind it, or lie before `until`.
pub(super) async fn missing(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    interests: &Interests,
    range: Range,
    most: usize,
) -> Result<Vec<Missing>, Error> {
    // Before the rows are read: what is trimmed meanwhile is in them.
    let oldest = trim::oldest(connection, log.key).await?;
    let mut found = HashMap::new();
    // Trimmed or not: these have a table of their own, and stay in it.
    if audience::any_wanted(connection, interests, range).await? {
        found.insert(audience::no_session(log.key), Missing::Tenant);
    }
    still_there(connection, interests, range, oldest, most, &mut found).await?;
    gone(connection, interests, range, oldest, most, &mut found).await?;
    Ok(found.into_values().take(most).collect())
}

/// Those whose rows say that something of theirs was trimmed.
async fn gone(
    connection: &impl ConnectionTrait,
    interests: &Interests,
    range: Range,
    oldest: Offset,
    most: usize,
    found: &mut HashMap<i64, Missing>,
) -> Result<(), Error> {
    use session::Column;
    let selectors: Vec<&Selector> = interests.iter().map(|interest| &interest.selector).collect();
    let wanted = session::Entity::find()
        .filter(Column::Log.eq(i64::from(range.log.0)))
        .filter(Column::TrimmedOffset.gt(signed(range.from)))
        .filter(
            Cond::any()
                .add(selected(range.log, &selectors))
                .add(stood::left(&selectors, range)),
        )
        .order_by(Column::TrimmedOffset, Order::Desc)
        .limit(SESSIONS_AT_ONCE);
    let mut below = None;
    while found.len() < most {
        let page = match below {
            None => wanted.clone(),
            // No two sessions end at one event.
            Some(below) => wanted.clone().filter(Column::TrimmedOffset.lt(below)),
        };
        let models = page.all(connection).await.map_err(error::of)?;
        below = models.last().map(|model| model.trimmed_offset);
        let numbers: Vec<i64> = models.iter().map(|model| model.number).collect();
        let mut stood = stood::since(connection, &numbers, range).await?;
        for model in models {
            let stood = stood.remove(&model.number).unwrap_or_default();
            let session = session_row::session(model)?;
            if lacks(&session, &stood, interests, range.from, oldest) {
                let until = session.trimmed.until;
                let number = session.number.0.cast_signed();
                let until = match found.get(&number) {
                    Some(Missing::Session { until: kept, .. }) => until.max(*kept),
                    Some(Missing::Tenant) | None => until,
                };
                let missing = Missing::Session {
                    session: session.id,
                    from: Index(0),
                    until,
                };
                found.insert(number, missing);
            }
        }
        if below.is_none() {
            break;
        }
    }
    Ok(())
}

/// Those that have wanted events in the part of the range that is kept.
async fn still_there(
    connection: &impl ConnectionTrait,
    interests: &Interests,
    range: Range,
    oldest: Offset,
    most: usize,
    found: &mut HashMap<i64, Missing>,
) -> Result<(), Error> {
    use event::Column;
    let mut from = range.from.max(oldest);
    if from >= range.until {
        return Ok(());
    }
    let (wanted, _) = wanted(connection, interests, range).await?;
    let Some(condition) = wanted.condition() else {
        return Ok(());
    };
    let mut indices: HashMap<i64, (i64, i64)> = HashMap::new();
    while from < range.until && indices.len() < most {
        let until = range.until.min(Offset(from.0 + STRETCH_EVENTS));
        let select = Query::select()
            .column(Column::Session)
            .expr(Expr::col(Column::Idx).min())
            .expr(Expr::col(Column::Idx).max())
            .from(event::Entity)
            .cond_where(Range { from, until, ..range }.condition())
            .cond_where(condition.clone())
            .group_by_col(Column::Session)
            .limit(most as u64)
            .take();
        for row in connection.query_all(&select).await.map_err(error::of)? {
            let number = |column| row.try_get_by_index::<i64>(column).map_err(error::of);
            let (session, first, last) = (number(0)?, number(1)?, number(2)?);
            indices
                .entry(session)
                .and_modify(|(_, until)| *until = last + 1)
                .or_insert((first, last + 1));
        }
        from = until;
    }
    indices.remove(&audience::no_session(range.log));
    let numbers: Vec<i64> = indices.keys().copied().collect();
    for (number, routing) in sessions::routings(connection, &numbers).await? {
        let (from, until) = indices.get(&number).copied().unwrap_or_default();
        let missing = Missing::Session {
            session: routing.session.clone(),
            from: Index(from.cast_unsigned()),
            until: Index(until.cast_unsigned()),
        };
        found.insert(number, missing);
    }
    Ok(())
}
