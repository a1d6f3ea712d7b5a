//! All that interests see at one moment.
//!
//! Believe this: every statement here runs in one reading transaction, so the log's row, the sessions and their items belong together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bellboard_core::event::{Encode, Event, Routing};
use bellboard_core::id::SessionId;
use bellboard_core::interest::{Detail, Interests, Selector};
use bellboard_core::offset::LogKey;
use bellboard_core::session::Session;
use bellboard_core::store::{Error, Only, SessionSnapshot, Shown, Snapshot, SnapshotLimits};
use sea_orm::sea_query::{Expr, Func, Order, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entity::{event, log, session};
use super::event_rows;
use super::place::{Range, offset, place, signed};
use super::rows::{filled, lists};
use super::sql::log_row;
use super::stood::{self, Moves};
use super::wanted::selected;
use super::{error, session_row};

/// Events looked at in the first step back through a session; the second step takes the rest. Most sessions have fewer, or as many
/// items as are wanted among them.
const FIRST_STEP_EVENTS: usize = 256;

/// Sessions read at once: a row may be large, and what is past the limits is not to be held.
const SESSIONS_AT_ONCE: usize = 256;

/// Takes a snapshot.
pub(super) async fn take(
    connection: &impl ConnectionTrait,
    encode: &dyn Encode,
    key: LogKey,
    shown: Shown<'_>,
    limits: SnapshotLimits,
) -> Result<Snapshot, Error> {
    let row = log::Entity::find_by_id(i64::from(key.0))
        .one(connection)
        .await
        .map_err(error::of)?
        .ok_or_else(|| error::corrupt(format!("there is no log {}", key.0)))?;
    let mut taken = Taken::within(limits);
    match shown.only {
        Only::These(ids) => named(connection, key, shown, ids, &mut taken).await?,
        Only::All | Only::SelectedBy(_) => recent(connection, key, shown, &mut taken).await?,
    }
    let Taken { rows, truncated, .. } = taken;
    let row = log_row(row)?;
    let all = Range {
        log: key,
        from: row.oldest,
        until: row.tail,
    };
    let moves = stood::moves(connection, all).await?;
    let mut bytes_left = limits.bytes;
    let mut of_sessions = Vec::with_capacity(rows.len());
    for session in rows {
        let items = Items {
            connection,
            encode,
            log: key,
            interests: shown.interests,
            limits,
            moves,
            routing: Arc::new(session.routing()),
        };
        of_sessions.push(items.of(session, &mut bytes_left).await?);
    }
    Ok(Snapshot {
        log: row,
        sessions: of_sessions,
        truncated,
    })
}

/// Rows that are shown, as many as the limits take.
struct Taken {
    limits: SnapshotLimits,
    rows: Vec<Session>,
    bytes: usize,
    /// Whether there are more.
    truncated: bool,
}

impl Taken {
    const fn within(limits: SnapshotLimits) -> Taken {
        Taken {
            limits,
            rows: Vec::new(),
            bytes: 0,
            truncated: false,
        }
    }

    /// Takes a row, or says that there are more than fit.
    fn take(&mut self, session: Session) {
        self.bytes += session.bytes();
        let full = self.bytes > self.limits.row_bytes && !self.rows.is_empty();
        if full || self.rows.len() >= self.limits.sessions {
            self.truncated = true;
        } else {
            self.rows.push(session);
        }
    }
}

/// Takes the rows that are wanted, most recently active first.
async fn recent(
    connection: &impl ConnectionTrait,
    key: LogKey,
    shown: Shown<'_>,
    taken: &mut Taken,
) -> Result<(), Error> {
    let selecting = match shown.only {
        Only::All | Only::These(_) => shown.interests,
        Only::SelectedBy(some) => some,
    };
    let selectors: Vec<&Selector> = selecting.iter().map(|interest| &interest.selector).collect();
    let wanted = session::Entity::find()
        .filter(session::Column::Log.eq(i64::from(key.0)))
        .filter(selected(key, &selectors))
        .order_by(session::Column::LastOffset, Order::Desc)
        .limit(SESSIONS_AT_ONCE as u64);
    let mut below = None;
    loop {
        let step = below.map_or_else(
            || wanted.clone(),
            |below| wanted.clone().filter(session::Column::LastOffset.lt(below)),
        );
        let models = step.all(connection).await.map_err(error::of)?;
        let last = models.len() < SESSIONS_AT_ONCE;
        for model in models {
            let session = session_row::session(model)?;
            below = Some(signed(session.last_offset));
            if shown.detail(&session.routing()).is_some() {
                taken.take(session);
            }
            if taken.truncated {
                return Ok(());
            }
        }
        if last {
            return Ok(());
        }
    }
}

/// Takes the rows of these sessions that are wanted, in the order of their names.
async fn named(
    connection: &impl ConnectionTrait,
    key: LogKey,
    shown: Shown<'_>,
    ids: &[SessionId],
    taken: &mut Taken,
) -> Result<(), Error> {
    for some in ids.chunks(SESSIONS_AT_ONCE) {
        let names: Vec<&str> = some.iter().map(SessionId::as_str).collect();
        let models = session::Entity::find()
            .filter(session::Column::Log.eq(i64::from(key.0)))
            .filter(session::Column::Id.is_in(filled(&names)))
            .all(connection)
            .await
            .map_err(error::of)?;
        let mut found = HashMap::with_capacity(models.len());
        for model in models {
            let session = session_row::session(model)?;
            found.insert(session.id.clone(), session);
        }
        let in_order = some.iter().filter_map(|id| found.remove(id));
        for session in in_order.filter(|session| shown.detail(&session.routing()).is_some()) {
            taken.take(session);
            if taken.truncated {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// An event that was passed on the way back.
#[derive(Clone, Copy, Debug)]
struct Passed {
    place: i64,
    /// Whether it is what an item is now, and wanted.
    item: bool,
}

/// The search for one session's items.
struct Items<'a, C> {
    connection: &'a C,
    encode: &'a dyn Encode,
    log: LogKey,
    interests: &'a Interests,
    limits: SnapshotLimits,
    moves: Moves,
    routing: Arc<Routing>,
}

impl<C: ConnectionTrait> Items<'_, C> {
    async fn of(&self, session: Session, bytes_left: &mut usize) -> Result<SessionSnapshot, Error> {
        let nothing = |session: Session| SessionSnapshot {
            session,
            items: Vec::new(),
            more_below: None,
        };
        match self.interests.detail(&self.routing) {
            None | Some(Detail::Summary) => return Ok(nothing(session)),
            Some(Detail::Content | Detail::Live) => {}
        }
        let number = session.number.0.cast_signed();
        let mut snapshot = nothing(session);
        if *bytes_left == 0 {
            // Nor would a smaller item be taken: older sessions' items do not come before newer ones'.
            let newest = snapshot.session.last_offset;
            let any = snapshot.session.next_index > snapshot.session.trimmed.until && newest >= self.limits.oldest;
            snapshot.more_below = any.then(|| newest.next());
            return Ok(snapshot);
        }
        let (passed, mut more) = self.walk(number, *bytes_left).await?;
        let mut found = self.events(number, &passed).await?;
        let mut down_to = snapshot.session.last_offset.next();
        for event in &passed {
            if event.item {
                let item = found
                    .remove(&event.place)
                    .ok_or_else(|| error::corrupt("an item is gone within one moment"))?;
                let Some(left) = bytes_left.checked_sub(item.bytes.len()) else {
                    *bytes_left = 0;
                    more = true;
                    break;
                };
                *bytes_left = left;
                snapshot.items.push(item);
            }
            down_to = offset(event.place);
        }
        snapshot.items.reverse();
        snapshot.more_below = more.then_some(down_to);
        Ok(snapshot)
    }

    /// Goes back through a session until there are enough items, enough was looked at, or more bytes than are left were found. Tells
    /// whether anything lies behind that.
    async fn walk(&self, session: i64, bytes_left: usize) -> Result<(Vec<Passed>, bool), Error> {
        let SnapshotLimits { items, scan, .. } = self.limits;
        let mut passed: Vec<Passed> = Vec::new();
        let mut seen = HashSet::new();
        let (mut taken, mut bytes) = (0, 0);
        while passed.len() < scan {
            let step = if passed.is_empty() {
                scan.min(FIRST_STEP_EVENTS)
            } else {
                scan - passed.len()
            };
            // One more than is taken, which tells whether there is one.
            let rows = self.step_back(session, passed.last(), step + 1).await?;
            let found = rows.len();
            for (number, row) in rows.into_iter().take(step).enumerate() {
                let item = self.is_item(&row)? && seen.insert(row.item);
                passed.push(Passed { place: row.place, item });
                if item {
                    taken += 1;
                    bytes += row.bytes;
                }
                if taken == items || bytes > bytes_left {
                    return Ok((passed, found > number + 1));
                }
            }
            if found <= step {
                return Ok((passed, false));
            }
        }
        Ok((passed, true))
    }

    fn is_item(&self, row: &Row) -> Result<bool, Error> {
        let (_, family) = event_rows::kind(row.kind)?;
        let step = event_rows::step(row.item_step)?;
        Ok(row.item.is_some() && step.is_some() && self.interests.want(&self.routing, family))
    }

    async fn step_back(&self, session: i64, below: Option<&Passed>, step: usize) -> Result<Vec<Row>, Error> {
        use event::Column;
        let select = Query::select()
            .columns([Column::Place, Column::Kind, Column::Item, Column::ItemStep])
            .expr(Func::cust("octet_length").arg(Expr::col(Column::Stored)))
            .from(event::Entity)
            .and_where(Column::Session.eq(session))
            .and_where(Column::Place.gte(place(self.log, self.limits.oldest)))
            .and_where(Column::Place.lt(below.map_or(i64::MAX, |below| below.place)))
            .order_by(Column::Place, Order::Desc)
            .limit(step as u64)
            .take();
        let results = self.connection.query_all(&select).await.map_err(error::of)?;
        let read = |result: &sea_orm::QueryResult| {
            let bytes: i32 = result.try_get_by_index(4)?;
            Ok(Row {
                place: result.try_get_by_index(0)?,
                kind: result.try_get_by_index(1)?,
                item: result.try_get_by_index(2)?,
                item_step: result.try_get_by_index(3)?,
                bytes: usize::try_from(bytes).unwrap_or_default(),
            })
        };
        results.iter().map(|result| read(result).map_err(error::of)).collect()
    }

    /// The events of the items that were passed, by place.
    async fn events(&self, session: i64, passed: &[Passed]) -> Result<HashMap<i64, Event>, Error> {
        let places: Vec<i64> = passed
            .iter()
            .filter(|passed| passed.item)
            .map(|passed| passed.place)
            .collect();
        let mut rows = Vec::with_capacity(places.len());
        for list in lists(&places) {
            let select = event_rows::select().and_where(event::Column::Place.is_in(list)).take();
            let results = self.connection.query_all(&select).await.map_err(error::of)?;
            for result in &results {
                rows.push(event_rows::row(result)?);
            }
        }
        let places: Vec<i64> = rows.iter().map(|row| row.place).collect();
        let known = HashMap::from([(session, Arc::clone(&self.routing))]);
        let events = event_rows::events(self.connection, self.encode, known, self.moves, rows).await?;
        Ok(places.into_iter().zip(events).collect())
    }
}

/// An event's row without its bytes.
struct Row {
    place: i64,
    kind: i16,
    item: Option<i64>,
    item_step: Option<i16>,
    bytes: usize,
}
