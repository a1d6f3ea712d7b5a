//! Whom events without a session are for.
//!
//! Believe this: a writer's audience is stored as what of it changed from one of its events to the next, so that a connector of ten
//! thousand sessions that comes and goes all day costs one row each time. A key is in the audience of an event iff one of its rows spans
//! the event's place; a row that still goes on ends behind the log's last place.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bellboard_core::audience::{Audience, AudienceKey};
use bellboard_core::id::WriterId;
use bellboard_core::interest::{Interests, Selector};
use bellboard_core::offset::{LogKey, Offset, SessionNumber};
use bellboard_core::store::{Error, EventRow, RowOf};
use sea_orm::sea_query::{Cond, Condition, Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Value};

use super::entity::{audience, event, tenant_event, writer};
use super::error;
use super::place::{OFFSET_MAX, Range, place};
use super::rows::{Rows, filled, lists};
use super::wanted::kinds;
use super::writers::writer_id;

const EVENTS: Rows = Rows {
    before: "INSERT INTO tenant_events (place,writer,kind) VALUES",
    columns: 3,
    after: "",
};

const BEGIN: Rows = Rows {
    before: "INSERT INTO audiences (writer,key,until_place,from_place) VALUES",
    columns: 4,
    after: "",
};

const END: Rows = Rows {
    before: "UPDATE audiences SET until_place=w.column3 FROM (VALUES",
    columns: 4,
    after: ") AS w WHERE audiences.writer=w.column1 AND audiences.key=w.column2 AND audiences.until_place=w.column4",
};

/// Bytes of audiences that one page of events may bring; what lies behind them comes with the next page.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// What stands in `events.session` where there is none.
pub(super) fn no_session(log: LogKey) -> i64 {
    SessionNumber::of_tenant(log).0.cast_signed()
}

/// Where rows end that still go on.
fn open_end(log: LogKey) -> i64 {
    place(log, Offset(OFFSET_MAX))
}

/// Writes whom these events are for, of those without a session. `numbers` has those of all writers.
pub(super) async fn write(
    connection: &impl ConnectionTrait,
    log: LogKey,
    events: &[EventRow],
    numbers: &HashMap<WriterId, i64>,
) -> Result<(), Error> {
    let mut rows: Vec<Value> = Vec::new();
    let mut changes: BTreeMap<i64, Change> = BTreeMap::new();
    for event in events {
        let RowOf::Tenant(audience) = &event.of else { continue };
        let id = audience.writer();
        let number = numbers.get(id).copied();
        let number = number.ok_or_else(|| error::corrupt(format!("writer {id} was not written")))?;
        let place = place(log, event.offset);
        rows.extend::<[Value; 3]>([place.into(), number.into(), i32::from(event.kind.0).into()]);
        let change = match changes.entry(number) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Change::after(open_keys(connection, log, number).await?))
            }
        };
        change.to(audience, place);
    }
    EVENTS.execute(connection, rows).await?;
    let (mut ended, mut begun): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let open = open_end(log);
    for (
        writer,
        Change {
            open: goes_on,
            ended: gone,
        },
    ) in changes
    {
        for (key, Span { from, until }) in gone {
            match from {
                None => ended.extend::<[Value; 4]>([writer.into(), key.into(), until.into(), open.into()]),
                Some(from) => begun.extend::<[Value; 4]>([writer.into(), key.into(), until.into(), from.into()]),
            }
        }
        for (key, from) in goes_on {
            if let Some(from) = from {
                begun.extend::<[Value; 4]>([writer.into(), key.into(), open.into(), from.into()]);
            }
        }
    }
    // Ended first: a key that ends and begins again would be there twice.
    END.execute(connection, ended).await?;
    BEGIN.execute(connection, begun).await?;
    Ok(())
}

/// What changes of a writer's audience over some events.
struct Change {
    /// Its keys, with where they began; none where their row is stored.
    open: BTreeMap<i64, Option<i64>>,
    /// Keys that left it.
    ended: Vec<(i64, Span)>,
}

struct Span {
    /// None where the row is stored.
    from: Option<i64>,
    until: i64,
}

impl Change {
    fn after(stored: Vec<i64>) -> Change {
        Change {
            open: stored.into_iter().map(|key| (key, None)).collect(),
            ended: Vec::new(),
        }
    }

    /// The event at this place is for this audience.
    fn to(&mut self, audience: &Audience, place: i64) {
        let is_in = |key: i64| audience.keys().binary_search(&AudienceKey(key.cast_unsigned())).is_ok();
        let left = self.open.extract_if(.., |key, _| !is_in(*key));
        self.ended
            .extend(left.map(|(key, from)| (key, Span { from, until: place })));
        for key in audience.keys() {
            self.open.entry(key.0.cast_signed()).or_insert(Some(place));
        }
    }
}

/// The keys that were in a writer's audience at its last event.
async fn open_keys(connection: &impl ConnectionTrait, log: LogKey, writer: i64) -> Result<Vec<i64>, Error> {
    let select = Query::select()
        .column(audience::Column::Key)
        .from(audience::Entity)
        .and_where(audience::Column::Until.eq(open_end(log)))
        .and_where(audience::Column::Writer.eq(writer))
        .take();
    let rows = connection.query_all(&select).await.map_err(error::of)?;
    rows.iter()
        .map(|row| row.try_get_by_index(0).map_err(error::of))
        .collect()
}

/// Whether a range has events without a session, trimmed ones included: most have none, and nobody need ask whom they are for.
pub(super) async fn any(connection: &impl ConnectionTrait, range: Range) -> Result<bool, Error> {
    let select = Query::select()
        .column(tenant_event::Column::Place)
        .from(tenant_event::Entity)
        .cond_where(within(range))
        .limit(1)
        .take();
    Ok(connection.query_one(&select).await.map_err(error::of)?.is_some())
}

fn within(range: Range) -> Condition {
    use tenant_event::Column;
    Cond::all()
        .add(Column::Place.gte(place(range.log, range.from)))
        .add(Column::Place.lt(place(range.log, range.until)))
}

/// Which events have no session and are for those who look at what any of these selectors selects.
pub(super) fn is_for(log: LogKey, selectors: &[&Selector]) -> Condition {
    let of = Query::select()
        .expr(Expr::val(1))
        .from(tenant_event::Entity)
        .and_where(
            Expr::col((tenant_event::Entity, tenant_event::Column::Place))
                .equals((event::Entity, event::Column::Place)),
        )
        .cond_where(selected(selectors))
        .take();
    Cond::all()
        .add(event::Column::Session.eq(no_session(log)))
        .add(Expr::exists(of))
}

/// Which rows of `tenant_events` are for those who look at what any of these selectors selects.
fn selected(selectors: &[&Selector]) -> Condition {
    use audience::Column;
    let keys: Option<Vec<AudienceKey>> = selectors.iter().map(|selector| AudienceKey::of(selector)).collect();
    // One of them selects everything.
    let Some(keys) = keys else { return Cond::all() };
    let keys: Vec<i64> = keys.into_iter().map(|key| key.0.cast_signed()).collect();
    let at = || Expr::col((tenant_event::Entity, tenant_event::Column::Place));
    let spans = Query::select()
        .expr(Expr::val(1))
        .from(audience::Entity)
        .and_where(
            Expr::col((audience::Entity, Column::Writer)).equals((tenant_event::Entity, tenant_event::Column::Writer)),
        )
        .and_where(Expr::col((audience::Entity, Column::Key)).is_in(filled(&keys)))
        .and_where(Expr::col((audience::Entity, Column::Until)).gt(at()))
        .and_where(Expr::col((audience::Entity, Column::From)).lte(at()))
        .take();
    Cond::all().add(Expr::exists(spans))
}

/// Whether a range has events without a session that are wanted, trimmed ones included.
pub(super) async fn any_wanted(
    connection: &impl ConnectionTrait,
    interests: &Interests,
    range: Range,
) -> Result<bool, Error> {
    if range.is_empty() || !interests.look_at_tenant() {
        return Ok(false);
    }
    let wanted = interests.iter().fold(Cond::any(), |any, interest| {
        let families = kinds(tenant_event::Column::Kind, interest.wanted());
        any.add(Cond::all().add(families).add(selected(&[&interest.selector])))
    });
    let select = Query::select()
        .column(tenant_event::Column::Place)
        .from(tenant_event::Entity)
        .cond_where(within(range))
        .cond_where(wanted)
        .limit(1)
        .take();
    Ok(connection.query_one(&select).await.map_err(error::of)?.is_some())
}

/// Lets go of whom events before this offset were for.
pub(super) async fn forget(connection: &impl ConnectionTrait, log: LogKey, before: Offset) -> Result<(), Error> {
    let (from, until) = (place(log, Offset::ZERO), place(log, before));
    audience::Entity::delete_many()
        .filter(audience::Column::Until.gte(from))
        .filter(audience::Column::Until.lt(until))
        .exec(connection)
        .await
        .map_err(error::of)?;
    tenant_event::Entity::delete_many()
        .filter(tenant_event::Column::Place.gte(from))
        .filter(tenant_event::Column::Place.lt(until))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// Whom the events at these places are for, of those without a session: of the first of them, as many as a page may bring, at least one.
pub(super) async fn of(
    connection: &impl ConnectionTrait,
    places: &[i64],
) -> Result<HashMap<i64, Arc<Audience>>, Error> {
    let mut found = HashMap::new();
    let (Some(first), Some(last)) = (places.iter().min(), places.iter().max()) else {
        return Ok(found);
    };
    let writers = writers(connection, places).await?;
    let mut spans: HashMap<i64, Vec<(i64, i64, i64)>> = HashMap::new();
    let mut numbers: Vec<i64> = writers.values().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for list in lists(&numbers) {
        let rows = audience::Entity::find()
            .filter(audience::Column::Writer.is_in(list))
            .filter(audience::Column::Until.gt(*first))
            .filter(audience::Column::From.lte(*last));
        for row in rows.all(connection).await.map_err(error::of)? {
            spans
                .entry(row.writer)
                .or_default()
                .push((row.key, row.from, row.until));
        }
    }
    let (mut bytes, mut newest): (usize, HashMap<i64, Arc<Audience>>) = (0, HashMap::new());
    for place in places {
        let lacks = || error::corrupt("an event of nobody: neither of a session nor of a writer");
        let (number, id) = writers.get(place).ok_or_else(lacks)?;
        let spans = spans.get(number).map_or(&[][..], Vec::as_slice);
        let at = spans.iter().filter(|(_, from, until)| (*from..*until).contains(place));
        let keys = at.map(|(key, ..)| AudienceKey(key.cast_unsigned())).collect();
        let mut audience = Arc::new(Audience::of_keys(id.clone(), keys));
        // Events one behind the other share it, as they do where they are new.
        match newest.get(number) {
            Some(same) if *same == audience => audience = Arc::clone(same),
            Some(_) | None => {
                bytes += audience.bytes();
                newest.insert(*number, Arc::clone(&audience));
            }
        }
        if bytes > PAGE_BYTES_MAX && !found.is_empty() {
            break;
        }
        found.insert(*place, audience);
    }
    Ok(found)
}

/// The writers, by number and id, of the events at these places.
async fn writers(connection: &impl ConnectionTrait, places: &[i64]) -> Result<HashMap<i64, (i64, WriterId)>, Error> {
    let mut found = HashMap::with_capacity(places.len());
    for list in lists(places) {
        let select = Query::select()
            .column((tenant_event::Entity, tenant_event::Column::Place))
            .columns([
                (writer::Entity, writer::Column::Number),
                (writer::Entity, writer::Column::Id),
            ])
            .from(tenant_event::Entity)
            .inner_join(
                writer::Entity,
                Expr::col((writer::Entity, writer::Column::Number))
                    .equals((tenant_event::Entity, tenant_event::Column::Writer)),
            )
            .and_where(Expr::col((tenant_event::Entity, tenant_event::Column::Place)).is_in(list))
            .take();
        let rows = connection.query_all(&select).await.map_err(error::of)?;
        for row in &rows {
            let number = |column| row.try_get_by_index::<i64>(column).map_err(error::of);
            let id: String = row.try_get_by_index(2).map_err(error::of)?;
            found.insert(number(0)?, (number(1)?, writer_id(&id)?));
        }
    }
    Ok(found)
}
