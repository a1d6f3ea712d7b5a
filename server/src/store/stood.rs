//! Where sessions stood before they were moved.
//!
//! Believe this: a session that never moved has no row here, and a read that meets nobody who moved asks one question more than if
//! nothing ever moved.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bellboard_core::event::Routing;
use bellboard_core::id::SessionId;
use bellboard_core::interest::Selector;
use bellboard_core::offset::{LogKey, Offset, SessionNumber};
use bellboard_core::session::Stood;
use bellboard_core::store::Error;
use sea_orm::sea_query::{Cond, Condition, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};

use super::entity::{event, session, stood, stood_below};
use super::error;
use super::place::{OFFSET_MAX, Range, offset, place};
use super::rows::{Rows, filled, lists};
use super::session_row::{id, ids, json};

const WRITE: Rows = Rows {
    before: "INSERT INTO stood (session,until_place,from_place,id,project,vendor,ancestors) VALUES",
    columns: 7,
    after: "",
};

const WRITE_BELOW: Rows = Rows {
    before: "INSERT INTO stood_below (session,until_place,ancestor) VALUES",
    columns: 3,
    after: "",
};

/// Whether a read must ask where sessions stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moves {
    /// Whoever it meets stands where it stood.
    None,
    /// Somebody may have stood elsewhere.
    Some,
}

/// Whether events of this range may be of sessions that were moved at them or later.
pub(super) async fn moves(connection: &impl ConnectionTrait, range: Range) -> Result<Moves, Error> {
    let select = Query::select()
        .column(stood::Column::Until)
        .from(stood::Entity)
        .and_where(stood::Column::Until.gte(place(range.log, range.from)))
        .and_where(stood::Column::Until.lte(place(range.log, Offset(OFFSET_MAX))))
        .limit(1)
        .take();
    let found = connection.query_one(&select).await.map_err(error::of)?;
    Ok(if found.is_some() { Moves::Some } else { Moves::None })
}

/// Writes where sessions stood.
pub(super) async fn write(connection: &impl ConnectionTrait, log: LogKey, stood: Vec<Stood>) -> Result<(), Error> {
    let (mut rows, mut below) = (Vec::new(), Vec::new());
    for Stood {
        session,
        from,
        until,
        routing,
    } in stood
    {
        let (session, until) = (session.0.cast_signed(), place(log, until));
        let ancestors: Vec<&str> = routing.ancestors.iter().map(SessionId::as_str).collect();
        for ancestor in &ancestors {
            below.extend::<[sea_orm::Value; 3]>([session.into(), until.into(), (*ancestor).into()]);
        }
        rows.extend::<[sea_orm::Value; 7]>([
            session.into(),
            until.into(),
            place(log, from).into(),
            routing.session.as_str().into(),
            (*routing.project).into(),
            (*routing.vendor).into(),
            json(&ancestors)?.into(),
        ]);
    }
    WRITE.execute(connection, rows).await?;
    WRITE_BELOW.execute(connection, below).await?;
    Ok(())
}

/// Where those sessions stood that the event at this offset moved.
pub(super) async fn moved_at(
    connection: &impl ConnectionTrait,
    log: LogKey,
    offset: Offset,
) -> Result<Vec<Arc<Routing>>, Error> {
    let rows = stood::Entity::find()
        .filter(stood::Column::Until.eq(place(log, offset)))
        .all(connection)
        .await
        .map_err(error::of)?;
    rows.into_iter().map(|row| routing(row).map(Arc::new)).collect()
}

fn routing(row: stood::Model) -> Result<Routing, Error> {
    Ok(Routing {
        session: id(&row.id)?,
        project: row.project.into(),
        vendor: row.vendor.into(),
        ancestors: ids(&row.ancestors)?,
    })
}

/// Where these sessions stood that they left at `range.from` or later, oldest first.
pub(super) async fn since(
    connection: &impl ConnectionTrait,
    sessions: &[i64],
    range: Range,
) -> Result<HashMap<i64, Vec<Stood>>, Error> {
    let mut since: HashMap<i64, Vec<Stood>> = HashMap::new();
    for list in lists(sessions) {
        let rows = stood::Entity::find()
            .filter(stood::Column::Session.is_in(list))
            .filter(stood::Column::Until.gte(place(range.log, range.from)))
            .order_by_asc(stood::Column::Until)
            .all(connection)
            .await
            .map_err(error::of)?;
        for row in rows {
            let (session, from, until) = (row.session, offset(row.from), offset(row.until));
            since.entry(session).or_default().push(Stood {
                session: SessionNumber(session.cast_unsigned()),
                from,
                until,
                routing: Arc::new(routing(row)?),
            });
        }
    }
    Ok(since)
}

/// Lets go of where sessions stood that they left before this offset.
pub(super) async fn forget(connection: &impl ConnectionTrait, log: LogKey, before: Offset) -> Result<(), Error> {
    let (from, until) = (place(log, Offset::ZERO), place(log, before));
    stood_below::Entity::delete_many()
        .filter(stood_below::Column::Until.gte(from))
        .filter(stood_below::Column::Until.lt(until))
        .exec(connection)
        .await
        .map_err(error::of)?;
    stood::Entity::delete_many()
        .filter(stood::Column::Until.gte(from))
        .filter(stood::Column::Until.lt(until))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// Which rows of `sessions` left a place at `range.from` or later where any of these selectors selected them.
pub(super) fn left(selectors: &[&Selector], range: Range) -> Condition {
    let mut left = Query::select()
        .expr(Expr::val(1))
        .from(stood::Entity)
        .and_where(
            Expr::col((stood::Entity, stood::Column::Session)).equals((session::Entity, session::Column::Number)),
        )
        .and_where(Expr::col((stood::Entity, stood::Column::Until)).gte(place(range.log, range.from)))
        .take();
    left.cond_where(selected(selectors));
    Cond::all().add(Expr::exists(left))
}

/// Where some sessions stood, each by the place until which it did.
#[derive(Debug, Default)]
pub(super) struct Past(HashMap<i64, BTreeMap<i64, Arc<Routing>>>);

impl Past {
    /// That of these sessions, as far as it concerns events from this place on.
    pub(super) async fn of(connection: &impl ConnectionTrait, sessions: &[i64], from: i64) -> Result<Past, Error> {
        let mut past: HashMap<i64, BTreeMap<i64, Arc<Routing>>> = HashMap::new();
        for list in lists(sessions) {
            let rows = stood::Entity::find()
                .filter(stood::Column::Session.is_in(list))
                .filter(stood::Column::Until.gte(from))
                .all(connection)
                .await
                .map_err(error::of)?;
            for row in rows {
                let (session, until) = (row.session, row.until);
                past.entry(session).or_default().insert(until, Arc::new(routing(row)?));
            }
        }
        Ok(Past(past))
    }

    /// Where a session stood at this place; none when it stood where it stands now.
    pub(super) fn at(&self, session: i64, place: i64) -> Option<&Arc<Routing>> {
        let later = self.0.get(&session)?.range(place + 1..).next();
        later.map(|(_, routing)| routing)
    }

    /// Where the event at this place moved its session from, if it did.
    pub(super) fn moved_from(&self, session: i64, place: i64) -> Option<&Arc<Routing>> {
        self.0.get(&session)?.get(&place)
    }
}

/// Which events were of a session that any of these selectors selected then, if it does not stand there any more.
pub(super) fn stood_at(selectors: &[&Selector]) -> Condition {
    let place = Expr::col((event::Entity, event::Column::Place));
    let mut then = of_session();
    then.and_where(Expr::col((stood::Entity, stood::Column::From)).lte(place.clone()))
        .and_where(Expr::col((stood::Entity, stood::Column::Until)).gt(place))
        .cond_where(selected(selectors));
    Cond::all().add(Expr::exists(then))
}

/// Which events moved a session from where any of these selectors selected it.
pub(super) fn moved_from(selectors: &[&Selector]) -> Condition {
    let mut before = moving();
    before.cond_where(selected(selectors));
    Cond::all().add(Expr::exists(before))
}

/// Which events moved a session.
pub(super) fn moved() -> Condition {
    Cond::all().add(Expr::exists(moving()))
}

/// Which rows of `sessions` stand where they stood at the event.
pub(super) fn stands(log: LogKey) -> Condition {
    let since = Expr::col((session::Entity, session::Column::StandsFrom)).add(place(log, Offset::ZERO));
    Cond::all().add(Expr::col((event::Entity, event::Column::Place)).gte(since))
}

fn moving() -> SelectStatement {
    let place = Expr::col((event::Entity, event::Column::Place));
    let mut moving = of_session();
    moving.and_where(Expr::col((stood::Entity, stood::Column::Until)).eq(place));
    moving
}

fn of_session() -> SelectStatement {
    Query::select()
        .expr(Expr::val(1))
        .from(stood::Entity)
        .and_where(Expr::col((stood::Entity, stood::Column::Session)).equals((event::Entity, event::Column::Session)))
        .take()
}

/// Which rows of `stood` any of these selectors selects.
fn selected(selectors: &[&Selector]) -> Condition {
    use stood::Column;
    let (mut projects, mut vendors, mut ids, mut trees) = (vec![], vec![], vec![], vec![]);
    for selector in selectors {
        match selector {
            Selector::All => return Cond::all(),
            Selector::Project(project) => projects.push(project.as_str()),
            Selector::Vendor(vendor) => vendors.push(vendor.as_str()),
            Selector::Session(id) => ids.push(id.as_str()),
            Selector::Subtree(id) => {
                ids.push(id.as_str());
                trees.push(id.as_str());
            }
        }
    }
    let mut any = Cond::any();
    for (column, names) in [
        (Column::Project, &projects),
        (Column::Vendor, &vendors),
        (Column::Id, &ids),
    ] {
        if !names.is_empty() {
            any = any.add(Expr::col((stood::Entity, column)).is_in(filled(names)));
        }
    }
    if !trees.is_empty() {
        let same = |below: stood_below::Column, of: stood::Column| {
            Expr::col((stood_below::Entity, below)).equals((stood::Entity, of))
        };
        let below = Query::select()
            .expr(Expr::val(1))
            .from(stood_below::Entity)
            .and_where(same(stood_below::Column::Session, Column::Session))
            .and_where(same(stood_below::Column::Until, Column::Until))
            .and_where(stood_below::Column::Ancestor.is_in(filled(&trees)))
            .take();
        any = any.add(Expr::exists(below));
    }
    any
}
