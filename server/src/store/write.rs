//! What a transaction writes.
//!
//! Believe this: rows go in only where they continue what is stored. That is checked by the same statement that moves the log's tail.

use std::collections::{HashMap, HashSet};

use bellboard_core::id::WriterId;
use bellboard_core::offset::{LogKey, SessionNumber};
use bellboard_core::store::{Changes, Error, EventRow, LogRow};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Value};

use super::entity::log;
use super::event_rows::step_number;
use super::place::{OFFSET_MAX, place};
use super::rows::Rows;
use super::writers::{Number, Numbers};
use super::{audience, error, sessions, stood, writers};

const EVENTS: Rows = Rows {
    before: "INSERT INTO events (place,session,idx,kind,item,item_step,writer,seq,has_raw,link,stored) VALUES",
    columns: 11,
    after: "",
};

const RAWS: Rows = Rows {
    before: "INSERT INTO raws (place,media_type,content) VALUES",
    columns: 3,
    after: "",
};

const DEDUPES: Rows = Rows {
    before: "INSERT INTO dedupes (session,key,place,idx) VALUES",
    columns: 4,
    after: "",
};

/// Writes the log's row and what changed.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    log: &LogRow,
    changes: Changes,
    numbers: &Numbers,
    learned: &mut Vec<Number>,
) -> Result<(), Error> {
    let Changes {
        events,
        sessions,
        progress,
        holds,
        writers,
        stood,
    } = changes;
    move_tail(connection, log, &events).await?;
    let here = sessions.iter().map(|session| session.number);
    let here: HashSet<SessionNumber> = here.chain(progress.iter().map(|progress| progress.session)).collect();
    check_sessions(connection, &events, &here).await?;
    sessions::write(connection, log.key, sessions).await?;
    sessions::write_progress(connection, progress).await?;
    sessions::write_holds(connection, holds).await?;
    stood::write(connection, log.key, stood).await?;
    let numbers = writers::write(connection, log.key, &events, writers, numbers, learned).await?;
    audience::write(connection, log.key, &events, &numbers).await?;
    write_events(connection, log.key, &numbers, events).await
}

/// Writes the log's row, if these events continue what is stored.
async fn move_tail(connection: &impl ConnectionTrait, log: &LogRow, events: &[EventRow]) -> Result<(), Error> {
    let LogRow {
        key,
        tenant: _,
        epoch: _,
        link_key: _,
        oldest: _,
        base: _,
        tail,
        link,
        recorded,
        fence,
        sessions,
        oldest_recorded,
        bytes,
    } = log;
    let broken = |what: &str| Error::Constraint(format!("{what} at tail {tail} of log {}", key.0).into());
    let before = tail.0.checked_sub(events.len() as u64);
    let before = before.ok_or_else(|| broken("there are more events than offsets"))?;
    if tail.0 > OFFSET_MAX {
        return Err(broken("the log is full"));
    }
    if !(before..).zip(events).all(|(offset, event)| event.offset.0 == offset) {
        return Err(broken("the events do not lie one behind the other"));
    }
    let mut update = log::Entity::update_many()
        .col_expr(log::Column::Tail, Expr::val(tail.0.cast_signed()))
        .col_expr(log::Column::Link, Expr::val(link.0.cast_signed()))
        .col_expr(log::Column::Recorded, Expr::val(recorded.0))
        .col_expr(log::Column::Fence, Expr::val(fence.cast_signed()))
        .col_expr(log::Column::Sessions, Expr::val(i64::from(*sessions)))
        .col_expr(log::Column::OldestRecorded, Expr::val(oldest_recorded.0))
        .col_expr(log::Column::Bytes, Expr::val(bytes.cast_signed()))
        .filter(log::Column::Key.eq(i64::from(key.0)))
        .filter(log::Column::Tail.eq(before.cast_signed()));
    match events.last() {
        Some(last) if last.link != *link => return Err(broken("the link is not that of the newest event")),
        Some(_) => {}
        None => update = update.filter(log::Column::Link.eq(link.0.cast_signed())),
    }
    let updated = update.exec(connection).await.map_err(error::of)?;
    if updated.rows_affected == 1 {
        Ok(())
    } else {
        Err(broken("the events do not continue the stored ones"))
    }
}

/// Refuses events of sessions that have no row: they could be written, but never be read. Those that are written `here` are looked after there.
async fn check_sessions(
    connection: &impl ConnectionTrait,
    events: &[EventRow],
    here: &HashSet<SessionNumber>,
) -> Result<(), Error> {
    let elsewhere: HashSet<i64> = events
        .iter()
        .filter_map(|event| Some(event.spot()?.session))
        .filter(|session| !here.contains(session))
        .map(|session| session.0.cast_signed())
        .collect();
    let elsewhere: Vec<i64> = elsewhere.into_iter().collect();
    if sessions::routings(connection, &elsewhere).await?.len() == elsewhere.len() {
        Ok(())
    } else {
        Err(Error::Constraint("an event has no session".into()))
    }
}

async fn write_events(
    connection: &impl ConnectionTrait,
    log: LogKey,
    writers: &HashMap<WriterId, i64>,
    events: Vec<EventRow>,
) -> Result<(), Error> {
    let mut values = Vec::with_capacity(events.len() * EVENTS.columns);
    let (mut raws, mut dedupes): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    for event in events {
        let (session, spot) = (event.session_or_tenant(log), event.spot());
        let EventRow {
            offset,
            of: _,
            kind,
            item,
            item_step,
            writer,
            dedupe,
            link,
            stored,
            raw,
        } = event;
        let place = place(log, offset);
        let index = spot.map_or(0, |spot| spot.index.0);
        let (session, index) = (session.0.cast_signed(), index.cast_signed());
        let (writer, seq) = match writer {
            None => (None, None),
            Some((id, seq)) => {
                let number = writers.get(&id);
                let number = number.ok_or_else(|| error::corrupt(format!("writer {id} was not written")))?;
                (Some(*number), Some(seq.cast_signed()))
            }
        };
        values.extend::<[Value; 11]>([
            place.into(),
            session.into(),
            index.into(),
            i32::from(kind.0).into(),
            item.map(|item| item.0.cast_signed()).into(),
            item_step.map(step_number).into(),
            writer.into(),
            seq.into(),
            raw.is_some().into(),
            link.0.cast_signed().into(),
            stored.to_vec().into(),
        ]);
        if let Some(key) = dedupe {
            dedupes.extend::<[Value; 4]>([session.into(), key.0.to_vec().into(), place.into(), index.into()]);
        }
        if let Some(raw) = raw {
            raws.extend::<[Value; 3]>([place.into(), (*raw.media_type).into(), raw.content.to_vec().into()]);
        }
    }
    EVENTS.execute(connection, values).await?;
    RAWS.execute(connection, raws).await?;
    DEDUPES.execute(connection, dedupes).await?;
    Ok(())
}
