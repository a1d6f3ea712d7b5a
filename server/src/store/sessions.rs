//! Writing and finding sessions.
//!
//! Believe this: `session_ancestors` says the same as the rows' own lists of ancestors, and is changed with them.

use std::collections::HashMap;
use std::sync::Arc;

use bellboard_core::event::Routing;
use bellboard_core::hold::Hold;
use bellboard_core::id::{SessionId, WriterId};
use bellboard_core::offset::{LogKey, Offset, SessionNumber};
use bellboard_core::session::{Session, SessionKey};
use bellboard_core::store::{Error, Progress, SessionFilter, SessionOrder};
use sea_orm::sea_query::{Cond, Condition, Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, Value};

use super::entity::{ancestor, session};
use super::error;
use super::place::signed;
use super::rows::{Rows, filled, lists};
use super::session_row::{LIVE, NO_ANCESTORS, id, ids, key_hash, model, push, session as of_row};

/// Leaves alone, and does not count, a session whose identity or lineage changed: that is rare, and setting an indexed column costs
/// a page of its index even when its value stays.
const WRITE: Rows = Rows {
    before: "INSERT INTO sessions (number,log,id,key_hash,key_vendor,key_installation,key_project,key_native,ancestors,life,\
             lifecycle,archived,title,project,vendor,facts,next_index,opened_offset,last_offset,stands_from,created,updated,\
             closed) VALUES",
    columns: 23,
    after: "ON CONFLICT (number) DO UPDATE SET life=excluded.life,lifecycle=excluded.lifecycle,archived=excluded.archived,\
            title=excluded.title,project=excluded.project,vendor=excluded.vendor,facts=excluded.facts,\
            next_index=excluded.next_index,last_offset=excluded.last_offset,stands_from=excluded.stands_from,updated=excluded.updated,closed=excluded.closed \
            WHERE sessions.id=excluded.id AND sessions.key_hash IS NOT DISTINCT FROM excluded.key_hash AND \
            sessions.ancestors=excluded.ancestors AND sessions.opened_offset=excluded.opened_offset AND \
            sessions.created=excluded.created",
};

/// Of a row only what every event moves: the rest of it is long, and most events leave it alone.
const PROGRESS: Rows = Rows {
    before: "UPDATE sessions SET next_index=v.column2,last_offset=v.column3,updated=v.column4 FROM (VALUES",
    columns: 4,
    after: ") AS v WHERE sessions.number=v.column1",
};

const WRITE_ANCESTORS: Rows = Rows {
    before: "INSERT INTO session_ancestors (log,ancestor,session,depth) VALUES",
    columns: 4,
    after: "ON CONFLICT (log,ancestor,session) DO NOTHING",
};

/// Which of these sessions are held by whom from now on. An empty name, which no writer has, stands for nobody: a null among
/// values has no type.
const WRITE_HOLDS: Rows = Rows {
    before: "UPDATE sessions SET owner=NULLIF(w.column2,''),owner_fence=w.column3 FROM (VALUES",
    columns: 3,
    after: ") AS w WHERE sessions.number=w.column1",
};

/// Writes who holds sessions.
pub(super) async fn write_holds(
    connection: &impl ConnectionTrait,
    holds: Vec<(SessionNumber, Hold)>,
) -> Result<(), Error> {
    let values = holds
        .into_iter()
        .flat_map(|(number, Hold { owner, fence })| -> [Value; 3] {
            let owner = owner.as_ref().map_or("", WriterId::as_str);
            [number.0.cast_signed().into(), owner.into(), fence.cast_signed().into()]
        });
    WRITE_HOLDS.execute(connection, values.collect()).await?;
    Ok(())
}

/// The sessions that these writers hold.
pub(super) async fn held(
    connection: &impl ConnectionTrait,
    log: LogKey,
    writers: &[WriterId],
    most: usize,
) -> Result<Vec<Session>, Error> {
    let ids: Vec<&str> = writers.iter().map(WriterId::as_str).collect();
    let mut found = Vec::new();
    for list in lists(&ids) {
        let room = most.saturating_sub(found.len()) as u64;
        let held = session::Entity::find()
            .filter(session::Column::Log.eq(i64::from(log.0)))
            .filter(session::Column::Owner.is_in(list))
            .limit(room);
        found.extend(held.all(connection).await.map_err(error::of)?);
    }
    found.into_iter().map(of_row).collect()
}

/// Writes new and changed sessions.
pub(super) async fn write(connection: &impl ConnectionTrait, log: LogKey, sessions: Vec<Session>) -> Result<(), Error> {
    let mut models = Vec::with_capacity(sessions.len());
    for session in sessions {
        models.push(model(log, session)?);
    }
    let values = || {
        let mut values = Vec::with_capacity(models.len() * WRITE.columns);
        models.iter().cloned().for_each(|model| push(&mut values, model));
        values
    };
    let all = models.len() as u64;
    if WRITE.execute(connection, values()).await? < all {
        change_identities(connection, &models).await?;
        if WRITE.execute(connection, values()).await? < all {
            return Err(error::corrupt("a session's row does not take its identity"));
        }
    }
    let mut ancestors = Vec::new();
    for model in &models {
        ancestors.extend(ancestor_rows(model)?);
    }
    WRITE_ANCESTORS.execute(connection, ancestors).await?;
    Ok(())
}

/// Moves sessions on.
pub(super) async fn write_progress(connection: &impl ConnectionTrait, progress: Vec<Progress>) -> Result<(), Error> {
    let all = progress.len() as u64;
    let values = progress.into_iter().flat_map(
        |Progress {
             session,
             next_index,
             last_offset,
             updated,
         }|
         -> [Value; 4] {
            [
                session.0.cast_signed().into(),
                next_index.0.cast_signed().into(),
                last_offset.0.cast_signed().into(),
                updated.0.into(),
            ]
        },
    );
    if PROGRESS.execute(connection, values.collect()).await? == all {
        Ok(())
    } else {
        Err(Error::Constraint("a session that got further has no row".into()))
    }
}

fn ancestor_rows(model: &session::Model) -> Result<Vec<Value>, Error> {
    let ids = ids(&model.ancestors)?;
    let mut values = Vec::with_capacity(ids.len() * WRITE_ANCESTORS.columns);
    for (depth, id) in (0i16..).zip(ids) {
        values.extend::<[Value; 4]>([model.log.into(), id.as_str().into(), model.number.into(), depth.into()]);
    }
    Ok(values)
}

/// Sets what [`WRITE`] does not set, in the rows where it differs.
async fn change_identities(connection: &impl ConnectionTrait, models: &[session::Model]) -> Result<(), Error> {
    let numbers: Vec<i64> = models.iter().map(|model| model.number).collect();
    let mut before = HashMap::with_capacity(models.len());
    for list in lists(&numbers) {
        let found = session::Entity::find()
            .filter(session::Column::Number.is_in(list))
            .all(connection)
            .await
            .map_err(error::of)?;
        before.extend(found.into_iter().map(|model| (model.number, model)));
    }
    for model in models {
        if let Some(old) = before.get(&model.number)
            && identity(old) != identity(model)
        {
            change_identity(connection, old, model).await?;
        }
    }
    Ok(())
}

/// What [`WRITE`] compares.
fn identity(model: &session::Model) -> (&str, Option<&[u8]>, &str, i64, i64) {
    let key = model.key_hash.as_deref();
    (&model.id, key, &model.ancestors, model.opened_offset, model.created)
}

async fn change_identity(
    connection: &impl ConnectionTrait,
    old: &session::Model,
    model: &session::Model,
) -> Result<(), Error> {
    use session::Column;
    let ids = ids(&old.ancestors)?;
    let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
    for list in lists(&ids) {
        ancestor::Entity::delete_many()
            .filter(ancestor::Column::Log.eq(old.log))
            .filter(ancestor::Column::Ancestor.is_in(list))
            .filter(ancestor::Column::Session.eq(old.number))
            .exec(connection)
            .await
            .map_err(error::of)?;
    }
    session::Entity::update_many()
        .col_expr(Column::Id, Expr::val(&model.id))
        .col_expr(Column::KeyHash, Expr::val(model.key_hash.clone()))
        .col_expr(Column::KeyVendor, Expr::val(model.key_vendor.clone()))
        .col_expr(Column::KeyInstallation, Expr::val(model.key_installation.clone()))
        .col_expr(Column::KeyProject, Expr::val(model.key_project.clone()))
        .col_expr(Column::KeyNative, Expr::val(model.key_native.clone()))
        .col_expr(Column::Ancestors, Expr::val(&model.ancestors))
        .col_expr(Column::OpenedOffset, Expr::val(model.opened_offset))
        .col_expr(Column::Created, Expr::val(model.created))
        .filter(Column::Number.eq(model.number))
        .exec(connection)
        .await
        .map_err(error::of)?;
    Ok(())
}

/// The sessions of these ids.
pub(super) async fn by_ids(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ids: &[SessionId],
) -> Result<Vec<Session>, Error> {
    let ids: Vec<&str> = ids.iter().map(SessionId::as_str).collect();
    let mut found = Vec::with_capacity(ids.len());
    for list in lists(&ids) {
        found.extend(
            session::Entity::find()
                .filter(session::Column::Log.eq(i64::from(log.0)))
                .filter(session::Column::Id.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?,
        );
    }
    found.into_iter().map(of_row).collect()
}

/// The sessions of these native keys.
pub(super) async fn by_keys(
    connection: &impl ConnectionTrait,
    log: LogKey,
    keys: &[SessionKey],
) -> Result<Vec<Session>, Error> {
    let hashes: Vec<Vec<u8>> = keys.iter().map(key_hash).collect();
    let mut found = Vec::with_capacity(keys.len());
    for list in lists(&hashes) {
        found.extend(
            session::Entity::find()
                .filter(session::Column::Log.eq(i64::from(log.0)))
                .filter(session::Column::KeyHash.is_in(list))
                .all(connection)
                .await
                .map_err(error::of)?,
        );
    }
    found.into_iter().map(of_row).collect()
}

/// The sessions below these, at any depth.
pub(super) async fn below(
    connection: &impl ConnectionTrait,
    log: LogKey,
    ancestors: &[SessionId],
    most: usize,
) -> Result<Vec<Session>, Error> {
    let ids: Vec<&str> = ancestors.iter().map(SessionId::as_str).collect();
    let mut found = Vec::new();
    for list in lists(&ids) {
        let below = Query::select()
            .column(ancestor::Column::Session)
            .from(ancestor::Entity)
            .and_where(ancestor::Column::Log.eq(i64::from(log.0)))
            .and_where(ancestor::Column::Ancestor.is_in(list.iter().copied()))
            .take();
        let select = session::Entity::find().filter(session::Column::Number.in_subquery(below));
        let room = most.saturating_sub(found.len()) as u64;
        found.extend(select.limit(room).all(connection).await.map_err(error::of)?);
    }
    found.into_iter().map(of_row).collect()
}

/// A page of a list.
pub(super) async fn list(
    connection: &impl ConnectionTrait,
    log: LogKey,
    filter: &SessionFilter,
    order: SessionOrder,
    below: Offset,
    limit: usize,
) -> Result<Vec<Session>, Error> {
    use session::Column;
    let SessionFilter {
        project,
        vendor,
        parent,
        roots_only,
        include_closed,
        include_archived,
    } = filter;
    let by = match order {
        SessionOrder::Recent => Column::LastOffset,
        SessionOrder::Opened => Column::OpenedOffset,
    };
    let mut wanted = Cond::all()
        .add(Column::Log.eq(i64::from(log.0)))
        .add(by.lt(signed(below)));
    for (column, name) in [(Column::Project, project), (Column::Vendor, vendor)] {
        if let Some(name) = name {
            wanted = wanted.add(is_any(column, &[name]));
        }
    }
    if let Some(parent) = parent {
        let children = Query::select()
            .column(ancestor::Column::Session)
            .from(ancestor::Entity)
            .and_where(ancestor::Column::Log.eq(i64::from(log.0)))
            .and_where(ancestor::Column::Ancestor.eq(parent.as_str()))
            .and_where(ancestor::Column::Depth.eq(0i16))
            .take();
        wanted = wanted.add(Column::Number.in_subquery(children));
    }
    if *roots_only {
        wanted = wanted.add(Column::Ancestors.eq(NO_ANCESTORS));
    }
    if !include_closed {
        wanted = wanted.add(Column::Lifecycle.eq(LIVE));
    }
    if !include_archived {
        wanted = wanted.add(Column::Archived.eq(false));
    }
    session::Entity::find()
        .filter(wanted)
        .order_by(by, Order::Desc)
        .limit(limit as u64)
        .all(connection)
        .await
        .map_err(error::of)?
        .into_iter()
        .map(of_row)
        .collect()
}

/// Whether a project or vendor is one of these names. Where none is known it is the empty one.
pub(super) fn is_any(column: session::Column, names: &[&str]) -> Condition {
    let known = Cond::any().add(column.is_in(filled(names)));
    if names.contains(&"") {
        known.add(column.is_null())
    } else {
        known
    }
}

/// Where these sessions stand, by number.
pub(super) async fn routings(
    connection: &impl ConnectionTrait,
    numbers: &[i64],
) -> Result<HashMap<i64, Arc<Routing>>, Error> {
    use session::Column;
    let mut found = HashMap::with_capacity(numbers.len());
    for list in lists(numbers) {
        let select = stands().and_where(Expr::col(Column::Number).is_in(list)).take();
        for row in connection.query_all(&select).await.map_err(error::of)? {
            let (number, routing) = standing(&row)?;
            found.insert(number, Arc::new(routing));
        }
    }
    Ok(found)
}

/// The columns that say where sessions stand.
fn stands() -> SelectStatement {
    use session::Column;
    Query::select()
        .columns([
            Column::Number,
            Column::Id,
            Column::Project,
            Column::Vendor,
            Column::Ancestors,
        ])
        .from(session::Entity)
        .take()
}

/// Number and place of a row of [`stands`].
fn standing(row: &QueryResult) -> Result<(i64, Routing), Error> {
    let number = row.try_get_by_index(0).map_err(error::of)?;
    let text = |index| -> Result<String, Error> {
        let text: Option<String> = row.try_get_by_index(index).map_err(error::of)?;
        Ok(text.unwrap_or_default())
    };
    let routing = Routing {
        session: id(&text(1)?)?,
        project: text(2)?.into(),
        vendor: text(3)?.into(),
        ancestors: ids(&text(4)?)?,
    };
    Ok((number, routing))
}

/// Where the sessions stand that a writer holds.
pub(super) async fn held_routings(
    connection: &impl ConnectionTrait,
    log: LogKey,
    writer: &WriterId,
) -> Result<Vec<Routing>, Error> {
    let held = stands()
        .and_where(session::Column::Log.eq(i64::from(log.0)))
        .and_where(session::Column::Owner.eq(writer.as_str()))
        .take();
    let rows = connection.query_all(&held).await.map_err(error::of)?;
    rows.iter().map(|row| Ok(standing(row)?.1)).collect()
}
